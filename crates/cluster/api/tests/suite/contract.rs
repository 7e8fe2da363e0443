//! What every transport has to deliver alike: one suite, run in-process and over HTTPS, and over HTTPS for the objects of a
//! definition.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::StreamExt as _;
use hako_client::{
    Api, Change, Client, DeleteOptions, Informers, ListParams, Object, Patch, Propagation, WatchEvent,
    WatchStream, WriteOptions, is_expired,
};
use hako_error::Kind;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, Service};
use serde_json::{Value, json};

use crate::plain::{Plain, merge_of};
use crate::support::World;

/// Tests of one transport.
macro_rules! over {
    ($module:ident, $client:ident, $kind:ty, [$($plain:ident),*], [$($other:ident),*]) => {
        mod $module {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $plain() {
                let world = World::start().await;
                super::$plain::<$kind>(&world, world.$client()).await;
            })*
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $other() {
                let world = World::start().await;
                super::$other(&world, world.$client()).await;
            })*
        }
    };
}

/// The tests that hold of plain objects, of a built-in kind and of a definition's, and those of some built-in kind.
macro_rules! contract {
    (plain: [$($plain:ident),* $(,)?], others: [$($other:ident),* $(,)?] $(,)?) => {
        crate::contract::over!(inside, inside, ConfigMap, [$($plain),*], [$($other),*]);
        crate::contract::over!(outside, outside, ConfigMap, [$($plain),*], [$($other),*]);
        mod defined {
            use super::*;
            $(#[tokio::test(flavor = "multi_thread")]
            async fn $plain() {
                let world = World::start().await;
                crate::plain::Gadget::define(&world).await;
                super::$plain::<crate::plain::Gadget>(&world, world.outside()).await;
            })*
        }
    };
}

pub(crate) use {contract, over};

contract!(
    plain: [
        what_was_written_reads_back_with_a_revision,
        a_stale_replace_is_a_conflict_and_changes_nothing,
        generated_names_differ,
        pages_show_one_state_while_others_write,
        a_watch_tells_what_comes_into_and_goes_out_of_its_selection,
        a_watch_goes_on_where_another_ended,
        a_compacted_revision_is_expired,
        initial_events_end_with_a_bookmark,
        finalizers_hold_a_deleted_object,
        preconditions_guard_deletion,
        a_dry_run_stores_nothing,
        collections_are_deleted_by_selector,
        informers_follow_and_share,
    ],
    others: [
        failures_have_the_apis_kinds_and_words,
        selectors_choose_by_labels_and_fields,
        patches_of_three_formats_change_parts,
        status_and_spec_are_written_apart,
        pods_end_gracefully_once_they_are_on_a_node,
        a_pod_is_bound_once,
        a_gated_pod_is_not_bound,
        scale_reads_and_writes_replicas,
        a_namespace_ends_by_its_finalizer,
        services_get_addresses_and_ports_of_their_own,
    ],
);

pub fn from<K: Object>(value: Value) -> K {
    serde_json::from_value(value).unwrap()
}

pub fn config_map(name: &str, label: &str) -> ConfigMap {
    from(json!({"metadata": {"name": name, "labels": {"app": label}}, "data": {"key": "value"}}))
}

pub fn pod(name: &str) -> Pod {
    from(json!({"metadata": {"name": name}, "spec": {"containers": [{"name": "main", "image": "app:1"}]}}))
}

pub fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 2, "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "main", "image": "app:1"}]},
            },
        },
    })
}

fn version<K: Object>(object: &K) -> String {
    object.metadata().resource_version.clone().unwrap()
}

async fn next<K: Object>(stream: &mut WatchStream<K>) -> WatchEvent<K> {
    tokio::time::timeout(Duration::from_secs(10), stream.next()).await.expect("an event").unwrap().unwrap()
}

/// The next event as a word and a name.
async fn told<K: Object>(stream: &mut WatchStream<K>) -> (&'static str, String) {
    let name = |object: &K| object.metadata().name.clone().unwrap();
    match next(stream).await {
        WatchEvent::Added(object) => ("added", name(&object)),
        WatchEvent::Modified(object) => ("modified", name(&object)),
        WatchEvent::Deleted(object) => ("deleted", name(&object)),
        WatchEvent::Bookmark { .. } => ("bookmark", String::new()),
    }
}

async fn what_was_written_reads_back_with_a_revision<K: Plain>(_: &World, client: Client) {
    let api: Api<K> = client.namespaced("default");
    let created = api.create(&K::labelled("a", "x")).await.unwrap();
    let meta = created.metadata();
    assert!(meta.uid.is_some() && meta.creation_timestamp.is_some());
    assert_eq!(meta.generation, K::IS_DEFINED.then_some(1));
    assert_eq!(api.get("a").await.unwrap(), created);
    let same = api.replace("a", &created).await.unwrap();
    assert_eq!(version(&same), version(&created), "a write that changes nothing is none");
    let changed = api.replace("a", &created.with("key", "other")).await.unwrap();
    assert_ne!(version(&changed), version(&created));
    assert_eq!(changed.metadata().uid, created.metadata().uid);
    api.delete("a", &DeleteOptions::default()).await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
}

async fn failures_have_the_apis_kinds_and_words(_: &World, client: Client) {
    let api: Api<Pod> = client.namespaced("default");
    let missing = api.get("x").await.unwrap_err();
    assert_eq!((missing.kind(), missing.to_string().as_str()), (Kind::NotFound, "pods \"x\" not found"));
    api.create(&pod("x")).await.unwrap();
    let twice = api.create(&pod("x")).await.unwrap_err();
    assert_eq!(
        (twice.kind(), twice.to_string().as_str()),
        (Kind::AlreadyExists, "pods \"x\" already exists")
    );
    let empty: Pod = from(json!({"metadata": {"name": "y"}, "spec": {"containers": []}}));
    let invalid = api.create(&empty).await.unwrap_err();
    assert_eq!(invalid.kind(), Kind::Invalid);
    assert_eq!(invalid.to_string(), "Pod \"y\" is invalid: spec.containers: Required value");
    assert_eq!(invalid.causes()[0].field, "spec.containers");
    let lost = client.namespaced::<Pod>("nowhere").create(&pod("x")).await.unwrap_err();
    assert_eq!(
        (lost.kind(), lost.to_string().as_str()),
        (Kind::NotFound, "namespaces \"nowhere\" not found")
    );
}

async fn a_stale_replace_is_a_conflict_and_changes_nothing<K: Plain>(_: &World, client: Client) {
    let api: Api<K> = client.namespaced("default");
    let first = api.create(&K::labelled("a", "x")).await.unwrap();
    let mut second = first.clone();
    second.metadata_mut().labels = Some(BTreeMap::from([("app".into(), "y".into())]));
    let second = api.replace("a", &second).await.unwrap();
    let mut late = first.with("key", "late");
    let error = api.replace("a", &late).await.unwrap_err();
    let text = format!(
        "Operation cannot be fulfilled on {} \"a\": the object has been modified; please apply your changes to the \
         latest version and try again",
        K::RESOURCE
    );
    assert_eq!((error.kind(), error.to_string()), (Kind::Conflict, text));
    late.metadata_mut().resource_version = None;
    if K::IS_DEFINED {
        assert_eq!(api.replace("a", &late).await.unwrap_err().kind(), Kind::Invalid);
        return;
    }
    api.replace("a", &late).await.unwrap();
    assert_ne!(version(&api.get("a").await.unwrap()), version(&second));
}

async fn generated_names_differ<K: Plain>(_: &World, client: Client) {
    let api: Api<K> = client.namespaced("default");
    let mut unnamed = K::labelled("", "x");
    (unnamed.metadata_mut().name, unnamed.metadata_mut().generate_name) = (None, Some("job-".into()));
    let mut names = Vec::new();
    for _ in 0..5 {
        names.push(api.create(&unnamed).await.unwrap().metadata().name.clone().unwrap());
    }
    assert!(names.iter().all(|name| name.len() == 9 && name.starts_with("job-")), "{names:?}");
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 5);
}

async fn pages_show_one_state_while_others_write<K: Plain>(_: &World, client: Client) {
    let api: Api<K> = client.namespaced("default");
    for at in 0..7 {
        api.create(&K::labelled(&format!("c{at}"), "x")).await.unwrap();
    }
    let first = api.list(&ListParams::default().limit(3)).await.unwrap();
    assert_eq!((first.items.len(), first.remaining), (3, Some(4)));
    api.create(&K::labelled("c3-late", "x")).await.unwrap();
    api.delete("c5", &DeleteOptions::default()).await.unwrap();
    let mut names: Vec<String> = Vec::new();
    let mut page = first;
    loop {
        names.extend(page.items.iter().map(|item| item.metadata().name.clone().unwrap()));
        let Some(token) = page.continue_token else { break };
        let params = ListParams { limit: Some(3), continue_token: Some(token), ..ListParams::default() };
        page = api.list(&params).await.unwrap();
    }
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
    let all = client.all::<K>().list_all(&ListParams::default().labels("app=x").limit(2)).await.unwrap();
    assert_eq!(all.items.len(), 7);
}

async fn selectors_choose_by_labels_and_fields(_: &World, client: Client) {
    let api: Api<ConfigMap> = client.namespaced("default");
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        api.create(&config_map(name, label)).await.unwrap();
    }
    let names = async |params: ListParams| -> Vec<String> {
        let list = api.list(&params).await.unwrap();
        list.items.into_iter().map(|item| item.metadata.name.unwrap()).collect()
    };
    assert_eq!(names(ListParams::default().labels("app=x")).await, ["a", "c"]);
    assert_eq!(names(ListParams::default().labels("app in (x,y),app!=x")).await, ["b"]);
    assert_eq!(names(ListParams::default().fields("metadata.name=b")).await, ["b"]);
    let error = api.list(&ListParams::default().fields("spec.nope=b")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    let pods: Api<Pod> = client.namespaced("default");
    pods.create(&pod("p")).await.unwrap();
    pods.bind("p", None, "n1").await.unwrap();
    let on = |node: &str| ListParams::default().fields(format!("spec.nodeName={node}"));
    assert_eq!(pods.list(&on("n1")).await.unwrap().items.len(), 1);
    assert_eq!(pods.list(&on("n2")).await.unwrap().items.len(), 0);
}

async fn a_watch_tells_what_comes_into_and_goes_out_of_its_selection<K: Plain>(_: &World, client: Client) {
    let api: Api<K> = client.namespaced("default");
    let start = api.list(&ListParams::default()).await.unwrap().resource_version;
    let mut watch = api.watch(&ListParams::default().labels("app=x"), &start).await.unwrap();
    api.create(&K::labelled("other", "y")).await.unwrap();
    let mut object = api.create(&K::labelled("a", "y")).await.unwrap();
    for label in ["x", "x", "y", "x"] {
        object.metadata_mut().labels = Some(BTreeMap::from([("app".into(), label.into())]));
        let at = version(&object);
        object = api.replace("a", &object.with("at", &at)).await.unwrap();
    }
    api.delete("a", &DeleteOptions::default()).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..5 {
        seen.push(told(&mut watch).await);
    }
    let words: Vec<&str> = seen.iter().map(|(word, _)| *word).collect();
    assert_eq!(words, ["added", "modified", "deleted", "added", "deleted"]);
}

async fn a_watch_goes_on_where_another_ended<K: Plain>(_: &World, client: Client) {
    let api: Api<K> = client.namespaced("default");
    let start = api.list(&ListParams::default()).await.unwrap().resource_version;
    let mut watch = api.watch(&ListParams::default(), &start).await.unwrap();
    api.create(&K::labelled("a", "x")).await.unwrap();
    let WatchEvent::Added(first) = next(&mut watch).await else { panic!("added") };
    drop(watch);
    api.create(&K::labelled("b", "x")).await.unwrap();
    api.delete("a", &DeleteOptions::default()).await.unwrap();
    let mut watch = api.watch(&ListParams::default(), &version(&first)).await.unwrap();
    assert_eq!(told(&mut watch).await, ("added", "b".into()));
    let WatchEvent::Deleted(gone) = next(&mut watch).await else { panic!("deleted") };
    let number = |text: String| text.parse::<u64>().unwrap();
    assert!(number(version(&gone)) > number(version(&first)), "a deletion carries its own revision");
    let short = ListParams { timeout_seconds: Some(1), no_bookmarks: true, ..ListParams::default() };
    let mut watch = api.watch(&short, &version(&gone)).await.unwrap();
    assert!(watch.next().await.is_none(), "the server ends it in time");
}

async fn a_compacted_revision_is_expired<K: Plain>(world: &World, client: Client) {
    use hako_store::{Revision, Store as _};
    let api: Api<K> = client.namespaced("default");
    for at in 0..4 {
        api.create(&K::labelled(&format!("c{at}"), "x")).await.unwrap();
    }
    let page = api.list(&ListParams::default().limit(2)).await.unwrap();
    api.create(&K::labelled("late", "x")).await.unwrap();
    let now = world.store.revision().await.unwrap();
    world.store.compact(now).await.unwrap();
    let watch = match api.watch(&ListParams::default(), &page.resource_version).await {
        Err(error) => error,
        Ok(mut stream) => stream.next().await.unwrap().unwrap_err(),
    };
    assert!(is_expired(&watch), "{watch:?}");
    let params = ListParams { continue_token: page.continue_token, limit: Some(2), ..ListParams::default() };
    let list = api.list(&params).await.unwrap_err();
    assert!(is_expired(&list), "{list:?}");
    let future = Revision(now.0 + 1000).0.to_string();
    let params = ListParams { resource_version: Some(future), ..ListParams::default() };
    assert_eq!(api.list(&params).await.unwrap_err().kind(), Kind::DeadlineExceeded);
}

async fn initial_events_end_with_a_bookmark<K: Plain>(_: &World, client: Client) {
    let api: Api<K> = client.namespaced("default");
    api.create(&K::labelled("a", "x")).await.unwrap();
    let params = ListParams { send_initial_events: true, ..ListParams::default() };
    let mut watch = api.watch(&params, "").await.unwrap();
    assert_eq!(told(&mut watch).await, ("added", "a".into()));
    let WatchEvent::Bookmark { initial_events_end, resource_version } = next(&mut watch).await else {
        panic!("a bookmark")
    };
    assert!(initial_events_end && !resource_version.is_empty());
    api.create(&K::labelled("b", "x")).await.unwrap();
    assert_eq!(told(&mut watch).await, ("added", "b".into()));
}

async fn patches_of_three_formats_change_parts(_: &World, client: Client) {
    let api: Api<Deployment> = client.namespaced("default");
    api.create(&from(deployment("web"))).await.unwrap();
    let merge = Patch::Merge(json!({"metadata": {"labels": {"a": "1"}}}));
    assert_eq!(api.patch("web", &merge).await.unwrap().metadata.labels.unwrap()["a"], "1");
    let operations = Patch::Json(json!([{"op": "replace", "path": "/spec/replicas", "value": 5}]));
    assert_eq!(api.patch("web", &operations).await.unwrap().spec.unwrap().replicas, Some(5));
    let strategic = Patch::Strategic(json!({
        "spec": {"template": {"spec": {"containers": [{"name": "side", "image": "side:1"}]}}},
    }));
    let containers =
        api.patch("web", &strategic).await.unwrap().spec.unwrap().template.spec.unwrap().containers;
    let mut names: Vec<&str> = containers.iter().map(|container| container.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["main", "side"]);
    let stale = Patch::Merge(json!({"metadata": {"resourceVersion": "1", "labels": {"a": "2"}}}));
    assert_eq!(api.patch("web", &stale).await.unwrap_err().kind(), Kind::Conflict);
    let bad = Patch::Json(json!([{"op": "test", "path": "/spec/replicas", "value": 1}]));
    assert_eq!(api.patch("web", &bad).await.unwrap_err().kind(), Kind::Invalid);
}

async fn status_and_spec_are_written_apart(_: &World, client: Client) {
    let api: Api<Deployment> = client.namespaced("default");
    let mut object = api.create(&from(deployment("web"))).await.unwrap();
    assert_eq!(object.metadata.generation, Some(1));
    object.status.get_or_insert_default().replicas = Some(2);
    object.spec.as_mut().unwrap().replicas = Some(9);
    let object = api.replace_status("web", &object).await.unwrap();
    assert_eq!(object.spec.as_ref().unwrap().replicas, Some(2), "spec is not written through status");
    assert_eq!(object.status.as_ref().unwrap().replicas, Some(2));
    assert_eq!(object.metadata.generation, Some(1));
    let mut object = object;
    object.status.get_or_insert_default().replicas = Some(7);
    object.spec.as_mut().unwrap().replicas = Some(3);
    let object = api.replace("web", &object).await.unwrap();
    assert_eq!(object.spec.as_ref().unwrap().replicas, Some(3));
    assert_eq!(object.status.as_ref().unwrap().replicas, Some(2), "status is not written with the spec");
    assert_eq!(object.metadata.generation, Some(2));
    let patch = Patch::Merge(json!({"status": {"readyReplicas": 1}}));
    let object = api.patch_status("web", &patch).await.unwrap();
    assert_eq!(object.status.unwrap().ready_replicas, Some(1));
}

async fn finalizers_hold_a_deleted_object<K: Plain>(_: &World, client: Client) {
    let api: Api<K> = client.namespaced("default");
    let mut object = K::labelled("a", "x");
    object.metadata_mut().finalizers = Some(vec!["example.com/hold".into()]);
    api.create(&object).await.unwrap();
    api.delete("a", &DeleteOptions::default()).await.unwrap();
    let held = api.get("a").await.unwrap();
    assert!(held.metadata().deletion_timestamp.is_some());
    api.delete("a", &DeleteOptions::default()).await.unwrap();
    assert_eq!(version(&api.get("a").await.unwrap()), version(&held), "asking again changes nothing");
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("a", &release).await.unwrap();
    assert!(api.get_opt("a").await.unwrap().is_none());
    api.create(&K::labelled("b", "x")).await.unwrap();
    let foreground = DeleteOptions { propagation: Some(Propagation::Foreground), ..DeleteOptions::default() };
    api.delete("b", &foreground).await.unwrap();
    let held = api.get("b").await.unwrap();
    assert_eq!(held.metadata().finalizers.as_deref(), Some(&["foregroundDeletion".to_owned()][..]));
}

async fn preconditions_guard_deletion<K: Plain>(_: &World, client: Client) {
    let api: Api<K> = client.namespaced("default");
    let object = api.create(&K::labelled("a", "x")).await.unwrap();
    let other = DeleteOptions { uid: Some("other".into()), ..DeleteOptions::default() };
    assert_eq!(api.delete("a", &other).await.unwrap_err().kind(), Kind::Conflict);
    let stale = DeleteOptions { resource_version: Some("1".into()), ..DeleteOptions::default() };
    assert_eq!(api.delete("a", &stale).await.unwrap_err().kind(), Kind::Conflict);
    let right = DeleteOptions { uid: object.metadata().uid.clone(), ..DeleteOptions::default() };
    api.delete("a", &right).await.unwrap();
}

async fn a_dry_run_stores_nothing<K: Plain>(_: &World, client: Client) {
    let api: Api<K> = client.namespaced("default");
    let dry = WriteOptions { dry_run: true, ..WriteOptions::default() };
    let object = api.create_with(&K::labelled("a", "x"), &dry).await.unwrap();
    assert!(object.metadata().uid.is_some());
    assert!(api.get_opt("a").await.unwrap().is_none());
    let stored = api.create(&K::labelled("a", "x")).await.unwrap();
    assert_eq!(api.create_with(&K::labelled("a", "x"), &dry).await.unwrap_err().kind(), Kind::AlreadyExists);
    let patched = api.patch_with("a", &merge_of::<K>("key", "dry"), &dry).await.unwrap();
    assert_eq!(patched.value("key").as_deref(), Some("dry"));
    api.delete("a", &DeleteOptions { dry_run: true, ..DeleteOptions::default() }).await.unwrap();
    assert_eq!(api.get("a").await.unwrap(), stored);
}

async fn pods_end_gracefully_once_they_are_on_a_node(_: &World, client: Client) {
    let api: Api<Pod> = client.namespaced("default");
    api.create(&pod("waiting")).await.unwrap();
    api.delete("waiting", &DeleteOptions::default()).await.unwrap();
    assert!(api.get_opt("waiting").await.unwrap().is_none(), "a pod on no node goes at once");
    api.create(&pod("running")).await.unwrap();
    api.bind("running", None, "n1").await.unwrap();
    api.delete("running", &DeleteOptions::default()).await.unwrap();
    let ending = api.get("running").await.unwrap();
    assert_eq!(ending.metadata.deletion_grace_period_seconds, Some(30));
    let sooner = DeleteOptions { grace_period_seconds: Some(5), ..DeleteOptions::default() };
    api.delete("running", &sooner).await.unwrap();
    assert_eq!(api.get("running").await.unwrap().metadata.deletion_grace_period_seconds, Some(5));
    api.delete("running", &DeleteOptions::now()).await.unwrap();
    assert!(api.get_opt("running").await.unwrap().is_none());
    api.create(&pod("evicted")).await.unwrap();
    api.bind("evicted", None, "n1").await.unwrap();
    api.evict("evicted", &DeleteOptions::default()).await.unwrap();
    assert!(api.get("evicted").await.unwrap().metadata.deletion_timestamp.is_some());
}

async fn a_pod_is_bound_once(_: &World, client: Client) {
    let api: Api<Pod> = client.namespaced("default");
    let created = api.create(&pod("p")).await.unwrap();
    let wrong = api.bind("p", Some("other"), "n1").await.unwrap_err();
    assert_eq!(wrong.kind(), Kind::Conflict);
    api.bind("p", created.metadata.uid.as_deref(), "n1").await.unwrap();
    let bound = api.get("p").await.unwrap();
    assert_eq!(bound.spec.unwrap().node_name.as_deref(), Some("n1"));
    let conditions = bound.status.unwrap().conditions.unwrap();
    assert!(conditions.iter().any(|it| it.type_ == "PodScheduled" && it.status == "True"));
    let again = api.bind("p", None, "n2").await.unwrap_err();
    let text = "Operation cannot be fulfilled on pods \"p\": pod p is already assigned to node \"n1\"";
    assert_eq!((again.kind(), again.to_string().as_str()), (Kind::Conflict, text));
}

async fn a_gated_pod_is_not_bound(_: &World, client: Client) {
    let api: Api<Pod> = client.namespaced("default");
    let gated: Pod = from(json!({"metadata": {"name": "p"}, "spec": {
        "schedulingGates": [{"name": "example.com/wait"}], "containers": [{"name": "main", "image": "app:1"}]}}));
    let created = api.create(&gated).await.unwrap();
    let conditions = created.status.unwrap().conditions.unwrap();
    assert_eq!(conditions[0].reason.as_deref(), Some("SchedulingGated"));
    let refused = api.bind("p", None, "n1").await.unwrap_err();
    let text = "Operation cannot be fulfilled on pods \"p\": pod p has non-empty .spec.schedulingGates";
    assert_eq!((refused.kind(), refused.to_string().as_str()), (Kind::Conflict, text));
    api.patch("p", &Patch::Merge(json!({"spec": {"schedulingGates": null}}))).await.unwrap();
    api.bind("p", None, "n1").await.unwrap();
}

async fn scale_reads_and_writes_replicas(_: &World, client: Client) {
    let api: Api<Deployment> = client.namespaced("default");
    api.create(&from(deployment("web"))).await.unwrap();
    api.scale("web", 30).await.unwrap();
    let object = api.get("web").await.unwrap();
    assert_eq!((object.spec.unwrap().replicas, object.metadata.generation), (Some(30), Some(2)));
    let text = client.get_text("/apis/apps/v1/namespaces/default/deployments/web/scale").await.unwrap();
    let scale: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(scale["kind"], "Scale");
    assert_eq!((&scale["spec"]["replicas"], &scale["status"]["selector"]), (&json!(30), &json!("app=web")));
    assert_eq!(api.scale("web", -1).await.unwrap_err().kind(), Kind::Invalid);
}

async fn a_namespace_ends_by_its_finalizer(_: &World, client: Client) {
    let api: Api<Namespace> = client.all();
    api.create(&from(json!({"metadata": {"name": "team"}}))).await.unwrap();
    api.delete("team", &DeleteOptions::default()).await.unwrap();
    let mut ending = api.get("team").await.unwrap();
    assert_eq!(ending.status.as_ref().unwrap().phase.as_deref(), Some("Terminating"));
    let error = client.namespaced::<ConfigMap>("team").create(&config_map("a", "x")).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Forbidden);
    assert!(error.to_string().contains("because it is being terminated"), "{error}");
    ending.spec.as_mut().unwrap().finalizers = None;
    api.replace_subresource("team", "finalize", &ending).await.unwrap();
    assert!(api.get_opt("team").await.unwrap().is_none());
    let kept = api.delete("default", &DeleteOptions::default()).await.unwrap_err();
    assert_eq!(kept.kind(), Kind::Forbidden);
}

async fn collections_are_deleted_by_selector<K: Plain>(_: &World, client: Client) {
    let api: Api<K> = client.namespaced("default");
    for (name, label) in [("a", "x"), ("b", "y"), ("c", "x")] {
        api.create(&K::labelled(name, label)).await.unwrap();
    }
    api.delete_collection(&ListParams::default().labels("app=x"), &DeleteOptions::default()).await.unwrap();
    let left = api.list(&ListParams::default()).await.unwrap();
    assert_eq!(left.items.len(), 1);
    assert_eq!(left.items[0].metadata().name.as_deref(), Some("b"));
}

async fn informers_follow_and_share<K: Plain>(_: &World, client: Client) {
    let api: Api<K> = client.namespaced("default");
    api.create(&K::labelled("a", "x")).await.unwrap();
    let informers = Informers::new(client.clone());
    let informer = informers.get::<K>();
    let mut changes = informers.get::<K>().changes();
    assert!(matches!(changes.next().await, Some(Change::Resync)));
    assert!(informer.is_synced());
    assert_eq!(informer.list_in("default").len(), 1);
    api.create(&K::labelled("b", "x")).await.unwrap();
    let Some(Change::Applied { old: None, new }) = changes.next().await else { panic!("applied") };
    assert_eq!(new.metadata().name.as_deref(), Some("b"));
    api.patch("b", &merge_of::<K>("k", "2")).await.unwrap();
    let Some(Change::Applied { old: Some(_), new }) = changes.next().await else { panic!("applied") };
    assert_eq!(informer.get("default", "b").unwrap(), new);
    api.delete("b", &DeleteOptions::default()).await.unwrap();
    assert!(matches!(changes.next().await, Some(Change::Deleted(_))));
    assert!(informer.get("default", "b").is_none());
}

async fn services_get_addresses_and_ports_of_their_own(_: &World, client: Client) {
    let api: Api<Service> = client.namespaced("default");
    let service = |at: usize| -> Service {
        from(json!({
            "metadata": {"name": format!("s{at}")},
            "spec": {"type": "NodePort", "selector": {"app": "x"}, "ports": [{"port": 80}]},
        }))
    };
    let all = futures::future::join_all((0..40).map(|at| {
        let (api, service) = (api.clone(), service(at));
        async move { api.create(&service).await.unwrap().spec.unwrap() }
    }))
    .await;
    let mut ips: Vec<String> = all.iter().map(|spec| spec.cluster_ip.clone().unwrap()).collect();
    let mut ports: Vec<i32> =
        all.iter().map(|spec| spec.ports.as_ref().unwrap()[0].node_port.unwrap()).collect();
    ips.sort();
    ips.dedup();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!((ips.len(), ports.len()), (40, 40));
    let taken = ips[0].clone();
    let wish = |ip: &str| -> Service {
        from(json!({"metadata": {"name": "wish"}, "spec": {"clusterIP": ip, "ports": [{"port": 80}]}}))
    };
    let error = api.create(&wish(&taken)).await.unwrap_err();
    assert!(error.to_string().ends_with("provided IP is already allocated"), "{error}");
    let error = api.create(&wish("192.168.0.1")).await.unwrap_err();
    assert!(error.to_string().contains("the provided network does not match the current range"), "{error}");
    let holder = api.list(&ListParams::default()).await.unwrap().items.into_iter();
    let holder =
        holder.into_iter().find(|it| it.spec.as_ref().unwrap().cluster_ip.as_ref() == Some(&taken)).unwrap();
    api.delete(holder.metadata.name.as_deref().unwrap(), &DeleteOptions::default()).await.unwrap();
    api.create(&wish(&taken)).await.unwrap();
}
