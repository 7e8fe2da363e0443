use crate::support::{Fixture, OCI_MANIFEST, manifest_of, run};
use hako_names::Digest;
use hako_registry::config::UpstreamConfig;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A cache of `host` whose tags are compared each time.
fn cache_of(prefix: &str, host: &str) -> Fixture {
    let mut upstream = UpstreamConfig::new(prefix, host);
    upstream.fresh = Duration::ZERO;
    Fixture::start_with(|config| config.upstreams = vec![upstream])
}

#[test]
fn skopeo_pulls_through_and_goes_on_when_the_upstream_is_away() {
    let upstream = Fixture::start();
    let work = tempfile::tempdir().unwrap();
    let source = work.path().join("source");
    crate::skopeo::layout(&source, &vec![9; 5 << 20]);
    let oci = format!("oci:{}", source.display());
    run(
        "skopeo",
        &["copy", "--dest-tls-verify=false", &oci, &format!("docker://{}/team/app:v1", upstream.host())],
    );

    let cache = cache_of("up.test", &upstream.host());
    let image = format!("docker://{}/up.test/team/app:v1", cache.host());
    let pull = |to: &str| {
        let to = format!("dir:{}", work.path().join(to).display());
        run("skopeo", &["copy", "--src-tls-verify=false", &image, &to]);
    };
    pull("first");
    // A blob is recorded as its last piece is sent.
    cache.until(|| cache.stored() == 3);
    drop(upstream);
    pull("second");
    let stale = cache.get("/v2/up.test/team/app/manifests/v1");
    assert_eq!((stale.status, stale.header("warning")), (200, "110 - \"Response is Stale\""));
    let missing = cache.get("/v2/up.test/team/app/manifests/v2");
    assert_eq!(missing.status, 503, "{missing:?}");
    let push = cache.send("POST", "/v2/up.test/team/app/blobs/uploads/", &[], "");
    assert_eq!((push.status, push.code().as_str()), (403, "DENIED"));
}

#[test]
fn a_tag_follows_its_upstream_and_what_is_unknown_there_is_unknown_here() {
    let upstream = Fixture::start();
    let cache = cache_of("", &upstream.host());
    let head = || cache.send("HEAD", "/v2/a/manifests/v", &[], "").header("docker-content-digest").to_owned();
    for layer in ["one", "two"] {
        let digest = upstream.push_image("a", "v", layer.as_bytes());
        assert_eq!(head(), digest.to_string());
    }
    let blob = Digest::of(b"two");
    let sized = cache.send("HEAD", &format!("/v2/a/blobs/{blob}"), &[], "");
    assert_eq!((sized.status, sized.header("content-length")), (200, "3"));
    assert_eq!(cache.send("GET", &format!("/v2/a/blobs/{blob}"), &[("range", "bytes=1-1")], "").body, b"w");
    assert_eq!(cache.get("/v2/a/manifests/none").code(), "MANIFEST_UNKNOWN");
    let absent = Digest::of(b"absent");
    assert_eq!(cache.get(&format!("/v2/a/blobs/{absent}")).code(), "BLOB_UNKNOWN");
    assert_eq!(cache.send("HEAD", &format!("/v2/a/blobs/{absent}"), &[], "").status, 404);
}

#[test]
fn many_who_ask_for_a_blob_at_once_get_it_whole() {
    let upstream = Fixture::start();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = upstream.push_blob("a", &bytes);
    let cache = cache_of("", &upstream.host());
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                let got = cache.get(&format!("/v2/a/blobs/{digest}"));
                assert!(got.status == 200 && got.body == bytes);
            });
        }
    });
    cache.until(|| cache.stored() == 1);
    drop(upstream);
    assert!(cache.get(&format!("/v2/a/blobs/{digest}")).body == bytes);
}

/// An upstream that answers as the test says; what it was asked, head by head.
struct Said {
    host: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Said {
    fn start(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let host = listener.local_addr().unwrap().to_string();
        let (asked, answer) = (Arc::new(Mutex::new(Vec::new())), Arc::new(answer));
        let heads = Arc::clone(&asked);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (heads, answer) = (Arc::clone(&heads), Arc::clone(&answer));
                std::thread::spawn(move || serve(stream.unwrap(), &heads, &*answer));
            }
        });
        Self { host, asked }
    }

    fn asked(&self, part: &str) -> usize {
        self.asked.lock().unwrap().iter().filter(|head| head.contains(part)).count()
    }
}

/// One request; what is no HTTP is TLS tried first, and not counted.
fn serve(mut stream: TcpStream, heads: &Mutex<Vec<String>>, answer: &dyn Fn(&str) -> Vec<u8>) {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte).unwrap_or(0) == 0 || !byte[0].is_ascii() {
            return;
        }
        head.push(byte[0]);
        if head.len() == 4 && head != b"GET " && head != b"HEAD" {
            return;
        }
    }
    let head = String::from_utf8(head).unwrap().to_lowercase();
    heads.lock().unwrap().push(head.clone());
    let _ = stream.write_all(&answer(&head));
}

fn response(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\n{headers}content-length: {length}\r\nconnection: close\r\n\r\n");
    [head.as_bytes(), body].concat()
}

/// Some manifest, and the answer that brings it.
fn manifest() -> (String, Vec<u8>) {
    let config = Digest::of(b"{}");
    let text = manifest_of(config, 2, config, 2, 0).to_string();
    let answer = response("200 OK", &format!("content-type: {OCI_MANIFEST}\r\n"), text.as_bytes());
    (text, answer)
}

const STALE: &str = "110 - \"Response is Stale\"";

#[test]
fn an_upstream_that_asks_for_fewer_requests_gets_none() {
    let busy = response("429 Too Many Requests", "retry-after: 60\r\n", b"");
    let upstream = Said::start(move |_| busy.clone());
    let cache = cache_of("", &upstream.host);
    let first = cache.get("/v2/a/manifests/v1");
    assert_eq!((first.status, first.header("retry-after")), (429, "60"));
    let before = upstream.asked("get ");
    let second = cache.get("/v2/a/manifests/v2");
    assert_eq!((second.status, second.code().as_str()), (429, "TOOMANYREQUESTS"));
    assert_eq!(upstream.asked("get "), before);
}

#[test]
fn an_upstream_that_wants_to_be_left_alone_for_ever_is_left_alone_for_a_day() {
    let busy = response("429 Too Many Requests", "retry-after: 18446744073709551615\r\n", b"");
    let upstream = Said::start(move |_| busy.clone());
    let cache = cache_of("", &upstream.host);
    let answer = cache.get("/v2/a/manifests/v1");
    assert_eq!((answer.status, answer.header("retry-after")), (429, "86400"));
    assert_eq!(cache.get("/v2/a/manifests/v2").status, 429);
}

#[test]
fn while_an_upstream_is_left_alone_what_is_here_is_served() {
    let is_busy = Arc::new(AtomicBool::new(false));
    let (seen, (text, whole)) = (Arc::clone(&is_busy), manifest());
    let upstream = Said::start(move |_| match seen.load(Ordering::SeqCst) {
        true => response("429 Too Many Requests", "retry-after: 60\r\n", b""),
        false => whole.clone(),
    });
    let cache = cache_of("", &upstream.host);
    let pull = || cache.get("/v2/a/manifests/v1");
    assert_eq!((pull().status, pull().header("warning")), (200, ""));
    is_busy.store(true, Ordering::SeqCst);
    for _ in 0..2 {
        let stale = pull();
        assert_eq!((stale.status, stale.header("warning")), (200, STALE));
        assert_eq!(stale.body, text.as_bytes());
    }
    let before = upstream.asked("get ");
    assert_eq!(pull().header("warning"), STALE);
    assert_eq!(cache.get(&format!("/v2/a/blobs/{}", Digest::of(b"{}"))).code(), "TOOMANYREQUESTS");
    assert_eq!(upstream.asked("get "), before, "it had named a minute");
}

#[test]
fn an_upstream_is_asked_again_after_the_time_that_it_named() {
    let is_busy = Arc::new(AtomicBool::new(false));
    let (seen, (_, whole)) = (Arc::clone(&is_busy), manifest());
    let upstream = Said::start(move |_| match seen.load(Ordering::SeqCst) {
        true => response("429 Too Many Requests", "retry-after: 1\r\n", b""),
        false => whole.clone(),
    });
    let cache = cache_of("", &upstream.host);
    let warning = || cache.get("/v2/a/manifests/v1").header("warning").to_owned();
    assert_eq!(warning(), "");
    is_busy.store(true, Ordering::SeqCst);
    assert_eq!(warning(), STALE);
    is_busy.store(false, Ordering::SeqCst);
    cache.until(|| warning().is_empty());
}

#[test]
fn an_upstream_that_answers_with_faults_is_one_that_is_away() {
    let is_broken = Arc::new(AtomicBool::new(false));
    let (seen, (text, whole)) = (Arc::clone(&is_broken), manifest());
    let upstream = Said::start(move |_| match seen.load(Ordering::SeqCst) {
        true => response("503 Service Unavailable", "", b""),
        false => whole.clone(),
    });
    let cache = cache_of("", &upstream.host);
    assert_eq!(cache.get("/v2/a/manifests/v1").status, 200);
    is_broken.store(true, Ordering::SeqCst);
    let stale = cache.get("/v2/a/manifests/v1");
    assert_eq!((stale.status, stale.header("warning")), (200, STALE));
    assert_eq!(stale.body, text.as_bytes());
    assert_eq!(cache.get("/v2/a/manifests/v2").status, 503, "what was never here is not made up");
}

#[test]
fn a_tag_that_did_not_move_is_compared_and_not_fetched_again() {
    let (text, whole) = manifest();
    let known = format!("if-none-match: \"{}\"", Digest::of(text.as_bytes()));
    let condition = known.clone();
    let upstream = Said::start(move |head| match head.contains(&condition) {
        true => response("304 Not Modified", "", b""),
        false => whole.clone(),
    });
    let cache = cache_of("", &upstream.host);
    for _ in 0..3 {
        let pulled = cache.get("/v2/a/manifests/v1");
        assert_eq!((pulled.status, pulled.header("warning")), (200, ""));
        assert_eq!(pulled.body, text.as_bytes());
    }
    assert_eq!((upstream.asked("/manifests/v1"), upstream.asked(&known)), (3, 2));
}

#[test]
fn a_blob_that_many_want_at_once_is_asked_for_once() {
    const CLIENTS: usize = 8;
    let blob: Vec<u8> = (0..100_000_u32).map(|n| (n % 251) as u8).collect();
    let digest = Digest::of(&blob);
    let waiting = Arc::new(AtomicUsize::new(0));
    let (clients, whole) = (Arc::clone(&waiting), response("200 OK", "", &blob));
    let upstream = Said::start(move |_| {
        // Not before all have said what they want.
        while clients.load(Ordering::SeqCst) < CLIENTS {
            std::thread::yield_now();
        }
        whole.clone()
    });
    let cache = cache_of("", &upstream.host);
    let host = cache.host();
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut stream = TcpStream::connect(&host).unwrap();
                write!(stream, "GET /v2/a/blobs/{digest} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                    .unwrap();
                waiting.fetch_add(1, Ordering::SeqCst);
                let mut got = Vec::new();
                stream.read_to_end(&mut got).unwrap();
                assert!(got.starts_with(b"HTTP/1.1 200 ") && got.ends_with(&blob));
            });
        }
    });
    assert_eq!(upstream.asked("/blobs/"), 1);
}

#[test]
fn of_several_upstreams_the_one_with_the_longest_prefix_is_asked() {
    let prefixes = ["", "deep", "deep/er"];
    let upstreams = prefixes.map(|_| Fixture::start());
    let digests = [0, 1, 2].map(|at| {
        let name = if at == 0 { "else/app" } else { "app" };
        upstreams[at].push_image(name, "v1", prefixes[at].as_bytes()).to_string()
    });
    let cache = Fixture::start_with(|config| {
        let of = |(prefix, upstream): (&str, &Fixture)| UpstreamConfig::new(prefix, upstream.host());
        config.upstreams = prefixes.into_iter().zip(&upstreams).map(of).collect();
    });
    let got = ["else/app", "deep/app", "deep/er/app"].map(|name| {
        cache.get(&format!("/v2/{name}/manifests/v1")).header("docker-content-digest").to_owned()
    });
    assert_eq!(got, digests);
}

#[test]
fn tags_and_referrers_are_listed_as_the_upstream_has_them() {
    let upstream = Fixture::start();
    let subject = upstream.push_image("a", "v1", b"one");
    for tag in ["v2", "v3"] {
        upstream.push_image("a", tag, tag.as_bytes());
    }
    let signature = crate::referrers::artifact(&upstream, subject, "application/signature");
    let signature = upstream.put_manifest("a", "sig", &signature);
    let cache = cache_of("up", &upstream.host());
    let tags = |path: &str| {
        let answer = cache.get(path);
        (answer.json()["tags"].clone(), answer.header("link").to_owned(), answer.header("warning").to_owned())
    };
    let path = "/v2/up/a/tags/list";
    assert_eq!(tags(path), (serde_json::json!(["sig", "v1", "v2", "v3"]), String::new(), String::new()));
    let (first, link, _) = tags(&format!("{path}?n=3"));
    assert_eq!(first, serde_json::json!(["sig", "v1", "v2"]));
    let next = link.split(['<', '>']).nth(1).unwrap();
    assert_eq!(tags(next), (serde_json::json!(["v3"]), String::new(), String::new()));
    assert_eq!(cache.get("/v2/up/none/tags/list").code(), "NAME_UNKNOWN");
    let referrers = format!("/v2/up/a/referrers/{subject}");
    assert_eq!(cache.get(&referrers).json()["manifests"][0]["digest"], signature.to_string());
    let filtered = cache.get(&format!("{referrers}?artifactType=application%2Fsbom"));
    assert_eq!(filtered.json()["manifests"], serde_json::json!([]));

    assert_eq!(cache.get("/v2/up/a/manifests/v2").status, 200);
    drop(upstream);
    let stale = "110 - \"Response is Stale\"".to_owned();
    assert_eq!(tags(path), (serde_json::json!(["v2"]), String::new(), stale));
    assert_eq!(cache.get(&referrers).status, 503);
}
