//! ServiceCIDRs and IPAddresses: what there is at the start, what comes and goes with services, and what is repaired.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use hako_client::{Client, DeleteOptions, DynamicApi, Patch, ResourceType, WriteOptions};
use hako_error::Kind;
use hako_store::{Embedded, Expect, Range, Store as _, Write};
use serde_json::{Value, json};

use crate::informers::{self, bed::Bed};
use crate::support::World;

const ADDRESSES: &str = "/registry/networking.k8s.io/ipaddresses/";

fn of(world: &World, group: &str, plural: &str, namespace: Option<&str>) -> DynamicApi {
    world.inside().dynamic(&ResourceType::new(group, "v1", plural), namespace)
}

fn addresses(world: &World) -> DynamicApi {
    of(world, "networking.k8s.io", "ipaddresses", None)
}

fn cidrs(world: &World) -> DynamicApi {
    of(world, "networking.k8s.io", "servicecidrs", None)
}

fn services(world: &World) -> DynamicApi {
    of(world, "", "services", Some("default"))
}

fn service(name: &str, spec: Value) -> Value {
    let mut service = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
    service["spec"].as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
    service
}

async fn create(api: &DynamicApi, object: &Value) -> hako_error::Result<Value> {
    api.create(object, &WriteOptions::default()).await
}

async fn make(world: &World, name: &str, spec: Value) -> Value {
    create(&services(world), &service(name, spec)).await.unwrap()
}

async fn delete(api: &DynamicApi, name: &str) {
    api.delete(name, &DeleteOptions::default()).await.unwrap();
}

fn ip(service: &Value) -> String {
    service["spec"]["clusterIP"].as_str().unwrap().to_owned()
}

/// Waits until an address is as it should be.
async fn until(world: &World, name: &str, is_it: impl Fn(Option<&Value>) -> bool) {
    let mut last = None;
    for _ in 0..600 {
        last = match addresses(world).get(name).await {
            Ok(address) => Some(address),
            Err(error) if error.kind() == Kind::NotFound => None,
            Err(error) => panic!("{error}"),
        };
        if is_it(last.as_ref()) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{name} is {last:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_range_of_the_configuration_and_its_first_address_are_there_from_the_start() {
    let world = World::start().await;
    let shown = world.kubectl(&["get", "servicecidrs"]).await;
    let mut lines = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(lines.next().unwrap(), ["NAME", "CIDRS", "AGE"]);
    assert_eq!(lines.next().unwrap()[..2], ["kubernetes", "10.96.0.0/16"]);
    let cidr = cidrs(&world).get("kubernetes").await.unwrap();
    assert_eq!(cidr["metadata"]["finalizers"], json!(["networking.k8s.io/service-cidr-finalizer"]));
    let ready = &cidr["status"]["conditions"][0];
    assert_eq!(
        (&ready["type"], &ready["status"], &ready["message"]),
        (&json!("Ready"), &json!("True"), &json!("Kubernetes default Service CIDR is ready"))
    );
    let shown = world.kubectl(&["get", "ipaddresses"]).await;
    let mut lines = shown.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    assert_eq!(lines.next().unwrap(), ["NAME", "PARENTREF"]);
    assert_eq!(lines.next().unwrap(), ["10.96.0.1", "services/default/kubernetes"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_comes_and_goes_with_the_service_that_has_it() {
    let world = World::start().await;
    let web = make(&world, "web", json!({})).await;
    let address = addresses(&world).get(&ip(&web)).await.unwrap();
    assert_eq!(
        address["metadata"]["labels"],
        json!({
            "ipaddress.kubernetes.io/ip-family": "IPv4",
            "ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io",
        })
    );
    let parent = json!({"group": "", "resource": "services", "namespace": "default", "name": "web"});
    assert_eq!(address["spec"]["parentRef"], parent);
    // It is as if a client had made it.
    let sent = json!({
        "metadata": {"name": "10.96.7.7", "labels": address["metadata"]["labels"]}, "spec": {"parentRef": parent},
    });
    let made = create(&addresses(&world), &sent).await.unwrap();
    let names = |object: &Value| {
        let mut names: Vec<String> = object["metadata"].as_object().unwrap().keys().cloned().collect();
        names.sort_unstable();
        names
    };
    assert_eq!(names(&made), names(&address));

    let patch = |spec: Value| Patch::Merge(json!({ "spec": spec }));
    let name = ip(&web);
    let away = patch(json!({"type": "ExternalName", "externalName": "example.com"}));
    services(&world).patch("web", None, &away, &WriteOptions::default()).await.unwrap();
    until(&world, &name, |address| address.is_none()).await;
    let back = patch(json!({"type": "ClusterIP", "externalName": null, "clusterIP": name}));
    services(&world).patch("web", None, &back, &WriteOptions::default()).await.unwrap();
    assert_eq!(addresses(&world).get(&name).await.unwrap()["spec"]["parentRef"]["name"], "web");
    delete(&services(&world), "web").await;
    assert_eq!(addresses(&world).get(&name).await.unwrap_err().kind(), Kind::NotFound);
    let none = make(&world, "none", json!({"clusterIP": "None"})).await;
    assert_eq!(ip(&none), "None");
    // A dry run leaves nothing.
    let options = WriteOptions { dry_run: true, ..WriteOptions::default() };
    let dry = services(&world).create(&service("dry", json!({})), &options).await.unwrap();
    assert_eq!(addresses(&world).get(&ip(&dry)).await.unwrap_err().kind(), Kind::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_is_of_something_else_is_given_to_no_service() {
    let world = World::start_as(|config| config.service_cidr.1 = 29).await;
    let parent = json!({"group": "gateway.networking.k8s.io", "resource": "gateways", "namespace": "default", "name": "g"});
    for last in [2, 3] {
        let address = json!({"metadata": {"name": format!("10.96.0.{last}")}, "spec": {"parentRef": parent}});
        create(&addresses(&world), &address).await.unwrap();
    }
    let chosen = service("chosen", json!({"clusterIP": "10.96.0.2"}));
    let refused = create(&services(&world), &chosen).await.unwrap_err();
    assert!(
        refused.to_string().contains("failed to allocate IP 10.96.0.2: provided IP is already allocated"),
        "{refused}"
    );
    let mut given = Vec::new();
    for at in 0..3 {
        given.push(ip(&make(&world, &format!("s{at}"), json!({})).await));
    }
    given.sort_unstable();
    assert_eq!(given, ["10.96.0.4", "10.96.0.5", "10.96.0.6"]);
    let full = create(&services(&world), &service("late", json!({}))).await.unwrap_err();
    assert!(full.to_string().contains("failed to allocate a serviceIP: range is full"), "{full}");
    delete(&addresses(&world), "10.96.0.2").await;
    assert_eq!(ip(&make(&world, "late", json!({})).await), "10.96.0.2");
    for (wanted, why) in [
        ("10.97.0.1", "the provided network does not match the current range"),
        ("10.96.0.7", "provided IP is not in the valid range. The range of valid IPs is 10.96.0.0/29"),
    ] {
        let refused =
            create(&services(&world), &service("far", json!({"clusterIP": wanted}))).await.unwrap_err();
        assert!(refused.to_string().contains(why), "{refused}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_server_on_the_same_store_gives_other_addresses() {
    let world = World::start_as(|config| config.service_cidr.1 = 28).await;
    make(&world, "first", json!({})).await;
    let other = world.another().await;
    let others = other
        .client(hako_api::Identity::admin())
        .dynamic(&ResourceType::new("", "v1", "services"), Some("default"));
    // Both know what is there by now, and nothing of what the other one gives.
    let mut given = vec!["10.96.0.1".to_owned(), ip(&services(&world).get("first").await.unwrap())];
    create(&others, &service("second", json!({}))).await.map(|it| given.push(ip(&it))).unwrap();
    for at in 0..11 {
        let service = service(&format!("s{at}"), json!({}));
        let made = if at % 2 == 0 {
            create(&services(&world), &service).await
        } else {
            create(&others, &service).await
        };
        given.push(ip(&made.unwrap()));
    }
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 14, "{given:?}");
    other.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_missing_is_made_again_and_what_nobody_has_is_removed() {
    let world = World::start().await;
    let web = ip(&make(&world, "web", json!({})).await);
    let uid = addresses(&world).get(&web).await.unwrap()["metadata"]["uid"].clone();
    delete(&addresses(&world), &web).await;
    let is_again = |address: Option<&Value>| address.is_some_and(|it| it["metadata"]["uid"] != uid);
    until(&world, &web, is_again).await;
    // What a process might have left, or one that knew no such objects.
    let entry = world.store.get(format!("{ADDRESSES}{web}").as_bytes()).await.unwrap().entry.unwrap();
    let lone = String::from_utf8(entry.value.to_vec()).unwrap();
    let (lone, other) =
        (lone.replace(&web, "10.96.9.9").replace("web", "gone"), lone.replace("web", "kubernetes"));
    let put = |ip: &str, text: String| Write::put(format!("{ADDRESSES}{ip}"), text, Expect::Any);
    world.store.write(put("10.96.9.9", lone)).await.unwrap();
    world.store.write(put(&web, other)).await.unwrap();
    world.store.write(Write::delete(format!("{ADDRESSES}10.96.0.1"), Expect::Any)).await.unwrap();
    let again = world.another().await;
    until(&world, "10.96.9.9", |address| address.is_none()).await;
    let parent = |name: &'static str| {
        move |address: Option<&Value>| address.is_some_and(|it| it["spec"]["parentRef"]["name"] == name)
    };
    until(&world, &web, parent("web")).await;
    until(&world, "10.96.0.1", parent("kubernetes")).await;
    again.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_range_is_used_while_it_is_ready_and_not_longer() {
    let world = World::start_as(|config| config.service_cidr.1 = 30).await;
    make(&world, "only", json!({})).await;
    create(&services(&world), &service("late", json!({}))).await.unwrap_err();
    let more = json!({"metadata": {"name": "more", "finalizers": ["example.com/held"]}, "spec": {"cidrs": ["10.200.0.0/29"]}});
    create(&cidrs(&world), &more).await.unwrap();
    let mut late = create(&services(&world), &service("late", json!({}))).await;
    for _ in 0..600 {
        if late.is_ok() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
        late = create(&services(&world), &service("late", json!({}))).await;
    }
    let late = ip(&late.unwrap());
    assert!(late.starts_with("10.200.0."));
    let free = if late == "10.200.0.6" { "10.200.0.5" } else { "10.200.0.6" };
    delete(&cidrs(&world), "more").await;
    let mut at = 0;
    let refused = loop {
        at += 1;
        match create(&services(&world), &service(&format!("s{at}"), json!({"clusterIP": free}))).await {
            Ok(_) => delete(&services(&world), &format!("s{at}")).await,
            Err(error) => break error,
        }
        assert!(at < 600, "a range that is going still gives addresses");
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(
        refused.to_string().contains("the provided network does not match the current range"),
        "{refused}"
    );
    // Who has one keeps it.
    let label = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    services(&world).patch("late", None, &label, &WriteOptions::default()).await.unwrap();
    let page = world.store.range(Range::all(ADDRESSES)).await.unwrap();
    assert_eq!(page.entries.len(), 3);
}

/// Makes services, and takes every other one away again, until the server is gone.
async fn churn(client: Client, name: String, done: Arc<AtomicUsize>) {
    let services = client.dynamic(&ResourceType::new("", "v1", "services"), Some("default"));
    for at in 0.. {
        let name = format!("{name}-{at}");
        if create(&services, &service(&name, json!({}))).await.is_err() {
            return;
        }
        if at % 2 == 0 && services.delete(&name, &DeleteOptions::default()).await.is_err() {
            return;
        }
        done.fetch_add(1, Ordering::SeqCst);
    }
}

/// Who has which address, as services say it and as addresses say it.
async fn owners(store: &Embedded) -> [Vec<(String, String)>; 2] {
    let of = async |prefix: &'static str| {
        let page = store.range(Range::all(prefix)).await.unwrap();
        let first =
            |value: &[u8]| serde_json::Deserializer::from_slice(value).into_iter().next().unwrap().unwrap();
        page.entries.iter().map(|entry| first(&entry.value)).collect::<Vec<Value>>()
    };
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let services = of("/registry/core/services/").await;
    let mut said = services.iter().map(|it| (ip(it), text(&it["metadata"]["name"]))).collect::<Vec<_>>();
    let addresses = of(ADDRESSES).await;
    let parent = |it: &Value| (text(&it["metadata"]["name"]), text(&it["spec"]["parentRef"]["name"]));
    let mut kept = addresses.iter().map(parent).collect::<Vec<_>>();
    said.sort_unstable();
    kept.sort_unstable();
    [said, kept]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whenever_the_server_is_killed_each_service_has_its_address_and_no_address_is_left_over() {
    let mut bed = Bed::start(1_000_000).await;
    let mut most = 0;
    for round in 1..6 {
        let done = Arc::new(AtomicUsize::new(0));
        let churn =
            |task: usize| tokio::spawn(churn(bed.straight(), format!("s{round}-{task}"), Arc::clone(&done)));
        let work: Vec<_> = (0..4).map(churn).collect();
        let worked = async || match done.load(Ordering::SeqCst) {
            done if done >= round * 11 => Ok(()),
            done => Err(format!("{done} services")),
        };
        informers::until("services", worked).await;
        bed.kill();
        for task in work {
            task.await.unwrap();
        }
        let store = bed.store();
        let [said, kept] = owners(&store).await;
        assert_eq!(said, kept);
        assert!(said.is_sorted_by(|one, next| one.0 < next.0), "an address has two owners: {said:?}");
        most = most.max(said.len());
        store.close().await;
        drop(store);
        bed.restart().await;
    }
    assert!(most > 20, "{most}");
}
