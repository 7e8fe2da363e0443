//! What the server tells about itself in numbers and checks, read by the rules of the format.

use std::collections::{BTreeMap, HashMap, HashSet};

use hako_api::pki::KeyPair;
use hako_client::{ResourceType, WriteOptions};
use serde_json::json;
use tokio::io::AsyncReadExt as _;

use crate::raw::{DEADLINE, Raw};
use crate::support::World;

/// Code and body of the answer to a GET.
async fn get(world: &World, pair: Option<&KeyPair>, path: &str) -> (u16, String) {
    let mut raw = Raw::open_as(world, pair, "http/1.1").await;
    raw.request(&format!("GET {path}"), "Connection: close\r\n").await;
    let mut answer = String::new();
    tokio::time::timeout(DEADLINE, raw.0.read_to_string(&mut answer)).await.unwrap().unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
}

/// A page in the text format of Prometheus: the kind of each metric, and all samples by name and labels.
struct Page {
    kinds: HashMap<String, String>,
    samples: BTreeMap<(String, BTreeMap<String, String>), f64>,
}

impl Page {
    /// Reads a page strictly: a head before the samples, no sample twice, nothing left over.
    fn parse(text: &str) -> Self {
        let mut page = Self { kinds: HashMap::new(), samples: BTreeMap::new() };
        let (mut current, mut closed) = (String::new(), HashSet::new());
        assert!(text.ends_with('\n'));
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(["counter", "gauge", "histogram", "summary"].contains(&kind), "{line}");
                assert!(closed.insert(name.to_owned()), "all of {name} stands together");
                page.kinds.insert(name.to_owned(), kind.to_owned());
                current = name.to_owned();
            } else if !line.starts_with("# HELP ") {
                let (name, labels, value) = sample(line);
                let family = match page.kinds.get(&current).map(String::as_str) {
                    Some("histogram") => ["_bucket", "_sum", "_count"]
                        .iter()
                        .find_map(|end| name.strip_suffix(end))
                        .unwrap_or_else(|| panic!("no part of a histogram: {line}")),
                    Some("summary") if !labels.contains_key("quantile") => ["_sum", "_count"]
                        .iter()
                        .find_map(|end| name.strip_suffix(end))
                        .unwrap_or_else(|| panic!("no part of a summary: {line}")),
                    _ => &name,
                };
                assert_eq!(family, current, "{line}");
                assert!(page.samples.insert((name, labels), value).is_none(), "twice: {line}");
            }
        }
        page.check_histograms();
        page
    }

    /// Buckets grow, and the last one holds all.
    fn check_histograms(&self) {
        for name in self.kinds.iter().filter(|(_, kind)| *kind == "histogram").map(|(name, _)| name) {
            for ((_, labels), count) in self.of(&format!("{name}_count")) {
                let mut buckets: Vec<(f64, f64)> = self
                    .of(&format!("{name}_bucket"))
                    .filter(|((_, bucket), _)| {
                        labels.iter().all(|(label, value)| bucket.get(label) == Some(value))
                    })
                    .map(|((_, bucket), value)| {
                        (bucket["le"].replace("+Inf", "inf").parse().unwrap(), *value)
                    })
                    .collect();
                buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
                assert!(buckets.windows(2).all(|pair| pair[0].1 <= pair[1].1), "{name} {buckets:?}");
                assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{name}");
            }
        }
    }

    fn of<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = (&'a (String, BTreeMap<String, String>), &'a f64)> {
        self.samples.iter().filter(move |((of, _), _)| of == name)
    }

    /// The sum of all samples of a metric that have these labels.
    fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |all: &BTreeMap<String, String>| {
            labels.iter().all(|(label, value)| all.get(*label).is_some_and(|given| given == value))
        };
        self.of(name).filter(|((_, all), _)| has(all)).map(|(_, value)| value).sum()
    }
}

fn sample(line: &str) -> (String, BTreeMap<String, String>, f64) {
    let end = line.find(['{', ' ']).unwrap();
    let name = &line[..end];
    let is_sound = |name: &str| {
        !name.starts_with(|sign: char| sign.is_ascii_digit())
            && name.chars().all(|sign| sign.is_ascii_alphanumeric() || sign == '_' || sign == ':')
    };
    assert!(is_sound(name), "{line}");
    let mut labels = BTreeMap::new();
    let mut rest = &line[end..];
    if let Some(inside) = rest.strip_prefix('{') {
        rest = inside;
        while !rest.starts_with('}') {
            let (label, after) = rest.trim_start_matches(',').split_once("=\"").unwrap();
            let close = (0..)
                .find(|place| after[*place..].starts_with('"') && !after[..*place].ends_with('\\'))
                .unwrap();
            assert!(is_sound(label), "{line}");
            assert!(labels.insert(label.to_owned(), after[..close].to_owned()).is_none(), "{line}");
            rest = &after[close + 1..];
        }
        rest = &rest[1..];
    }
    (name.to_owned(), labels, rest.trim_start().parse().unwrap_or_else(|_| panic!("{line}")))
}

async fn page(world: &World) -> Page {
    let (code, text) = get(world, Some(world.pki.admin()), "/metrics").await;
    assert_eq!(code, 200);
    Page::parse(&text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_counted_by_what_they_are_about_and_never_by_a_clients_words() {
    let world = World::start().await;
    let admin = Some(world.pki.admin());
    let maps = "/api/v1/namespaces/default/configmaps";
    let before = page(&world).await;
    for path in [maps, maps, "/api/v1/namespaces/default/configmaps/none", "/api/v1/made-up/x", "/made-up"] {
        get(&world, admin, path).await;
    }
    let now = page(&world).await;
    let labels = |verb, scope, code| {
        [
            ("verb", verb),
            ("resource", "configmaps"),
            ("group", ""),
            ("version", "v1"),
            ("scope", scope),
            ("code", code),
        ]
    };
    let grown = |labels: &[(&str, &str)]| {
        now.sum("apiserver_request_total", labels) - before.sum("apiserver_request_total", labels)
    };
    assert_eq!(grown(&labels("LIST", "namespace", "200")) as u32, 2);
    assert_eq!(grown(&labels("GET", "resource", "404")) as u32, 1);
    assert_eq!(grown(&[("code", "404"), ("resource", ""), ("subresource", "")]) as u32, 2, "both of nothing");
    assert!(now.samples.keys().all(|(_, labels)| labels.values().all(|value| !value.contains("made-up"))));
    let took = [("verb", "LIST"), ("resource", "configmaps")];
    assert!(now.sum("apiserver_request_duration_seconds_count", &took) >= 2.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_tells_of_objects_watches_seats_and_the_process() {
    let world = World::start().await;
    let maps = world.inside().dynamic(&ResourceType::new("", "v1", "configmaps"), Some("default"));
    let before = page(&world).await;
    maps.create(&json!({"metadata": {"name": "a"}}), &WriteOptions::default()).await.unwrap();
    let mut watch = Raw::admin(&world).await;
    watch.request("GET /api/v1/namespaces/default/configmaps?watch=1", "").await.status().await;
    let now = page(&world).await;
    let of = [("resource", "configmaps")];
    for name in ["apiserver_storage_objects", "apiserver_resource_objects"] {
        assert_eq!((now.sum(name, &of) - before.sum(name, &of)) as u32, 1, "{name}");
    }
    let long = [("verb", "WATCH"), ("resource", "configmaps")];
    assert_eq!(now.sum("apiserver_longrunning_requests", &long) as u32, 1);
    assert_eq!(
        now.sum("apiserver_current_inflight_requests", &[("request_kind", "readOnly")]) as u32,
        1,
        "this one"
    );
    let level = [("priority_level", "workload-low")];
    assert_eq!(now.sum("apiserver_flowcontrol_nominal_limit_seats", &level) as u32, 245);
    assert!(now.sum("process_resident_memory_bytes", &[]) > 1e6);
    assert!(now.sum("process_open_fds", &[]) > 3.0 && now.sum("process_start_time_seconds", &[]) > 1e9);
    for name in [
        "process_cpu_seconds_total",
        "process_virtual_memory_bytes",
        "process_max_fds",
        "kubernetes_build_info",
    ] {
        assert!(now.of(name).next().is_some(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_monitors_reads_the_page_and_others_do_not() {
    let world = World::start().await;
    let jane = world.pki.client("jane", &[]).unwrap();
    let monitor = world.pki.client("prometheus", &["system:monitoring"]).unwrap();
    for path in ["/metrics", "/metrics/slis"] {
        assert_eq!(get(&world, None, path).await.0, 403, "{path}");
        assert_eq!(get(&world, Some(&jane), path).await.0, 403, "{path}");
        let (code, text) = get(&world, Some(&monitor), path).await;
        assert_eq!(code, 200, "{path}");
        Page::parse(&text);
    }
    get(&world, None, "/readyz").await;
    let (_, text) = get(&world, Some(&monitor), "/metrics/slis").await;
    let slis = Page::parse(&text);
    let etcd = [("name", "etcd"), ("type", "readyz")];
    assert_eq!(slis.sum("kubernetes_healthcheck", &etcd) as u32, 1);
    assert_eq!(
        slis.sum("kubernetes_healthchecks_total", &[etcd[0], etcd[1], ("status", "success")]) as u32,
        1
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn checks_of_health_are_told_one_by_one_and_may_be_left_out() {
    let world = World::start().await;
    for endpoint in ["healthz", "livez", "readyz"] {
        assert_eq!(get(&world, None, &format!("/{endpoint}")).await, (200, "ok".to_owned()));
        assert_eq!(get(&world, None, &format!("/{endpoint}/etcd")).await, (200, "ok".to_owned()));
        assert_eq!(get(&world, None, &format!("/{endpoint}/none")).await.0, 404);
        let (code, text) = get(&world, None, &format!("/{endpoint}?verbose&exclude=etcd")).await;
        assert_eq!(code, 200);
        assert!(text.starts_with("[+]ping ok\n[+]log ok\n[+]etcd excluded: ok\n"), "{text}");
        assert!(text.ends_with(&format!("\n{endpoint} check passed\n")), "{text}");
    }
    assert_eq!(get(&world, None, "/readyz/poststarthook/rbac/bootstrap-roles").await.0, 200);
    let (_, text) = get(&world, None, "/readyz?verbose&exclude=none").await;
    assert!(
        text.contains("\nwarn: some health checks cannot be excluded: no matches for \"none\"\n"),
        "{text}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn discovery_that_has_not_changed_is_not_sent_again() {
    let world = World::start().await;
    for (path, accept) in [
        ("/apis", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
        ("/api", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"),
        ("/openapi/v3", "*/*"),
        ("/openapi/v2", "*/*"),
    ] {
        let accept = format!("Accept: {accept}\r\n");
        let mut raw = Raw::admin(&world).await;
        let head = raw.request(&format!("GET {path}"), &accept).await.head().await;
        let etag = head
            .lines()
            .find_map(|line| line.strip_prefix("etag: "))
            .unwrap_or_else(|| panic!("{path}: {head}"));
        let etag = etag.to_uppercase();
        let mut raw = Raw::admin(&world).await;
        let again = format!("{accept}If-None-Match: {etag}\r\n");
        assert_eq!(raw.request(&format!("GET {path}"), &again).await.status().await, 304, "{path}");
    }
}
