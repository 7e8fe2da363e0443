//! Garbage collection over owners of all sorts.

use crate::cluster::{Cluster, eventually};
use hako_client::{DeleteOptions, DynamicApi, ListParams, Patch, Propagation, ResourceType, WriteOptions};
use k8s_openapi::api::core::v1::Event;
use serde_json::{Value, json};
use std::path::PathBuf;

fn maps(cluster: &Cluster, namespace: &str) -> DynamicApi {
    cluster.client.dynamic(&ResourceType::new("", "v1", "configmaps"), Some(namespace))
}

fn roles(cluster: &Cluster) -> DynamicApi {
    cluster.client.dynamic(&ResourceType::new("rbac.authorization.k8s.io", "v1", "clusterroles"), None)
}

/// A reference to an object that blocks its end.
fn owner(object: &Value) -> Value {
    let meta = &object["metadata"];
    json!({ "apiVersion": object["apiVersion"], "kind": object["kind"], "name": meta["name"], "uid": meta["uid"],
        "blockOwnerDeletion": true })
}

fn nobody() -> Value {
    json!({ "apiVersion": "v1", "kind": "ConfigMap", "name": "nobody", "uid": "11111111-2222-3333-4444-555555555555" })
}

async fn create(api: &DynamicApi, kind: &str, name: &str, owners: &[Value]) -> Value {
    let api_version = if kind == "ConfigMap" { "v1" } else { "rbac.authorization.k8s.io/v1" };
    let object = json!({ "apiVersion": api_version, "kind": kind, "metadata": { "name": name, "ownerReferences": owners } });
    api.create(&object, &WriteOptions::default()).await.unwrap()
}

async fn map(cluster: &Cluster, name: &str, owners: &[Value]) -> Value {
    create(&maps(cluster, "default"), "ConfigMap", name, owners).await
}

async fn own(cluster: &Cluster, name: &str, owners: &[Value]) {
    let patch = Patch::Merge(json!({ "metadata": { "ownerReferences": owners } }));
    maps(cluster, "default").patch(name, None, &patch, &WriteOptions::default()).await.unwrap();
}

async fn delete(cluster: &Cluster, name: &str, propagation: Propagation) {
    let options = DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
    maps(cluster, "default").delete(name, &options).await.unwrap();
}

async fn is_gone(api: &DynamicApi, name: &str) -> bool {
    api.get(name).await.is_err_and(|error| error.is_not_found())
}

async fn gone(cluster: &Cluster, names: &[&str]) {
    for name in names {
        eventually(name, async || is_gone(&maps(cluster, "default"), name).await).await;
    }
}

async fn has_event(cluster: &Cluster, namespace: &str, name: &str, reason: &str) -> bool {
    let events = cluster.client.namespaced::<Event>(namespace).list(&ListParams::default()).await.unwrap();
    events.items.iter().any(|event| {
        event.involved_object.name.as_deref() == Some(name) && event.reason.as_deref() == Some(reason)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_object_stays_as_long_as_one_of_its_owners_does() {
    let cluster = Cluster::start().await;
    let (a, b) = (map(&cluster, "a", &[]).await, map(&cluster, "b", &[]).await);
    map(&cluster, "both", &[owner(&a), owner(&b), nobody()]).await;
    let owners = async || {
        let both = maps(&cluster, "default").get("both").await.unwrap();
        both["metadata"]["ownerReferences"].as_array().map_or(0, Vec::len)
    };
    eventually("no reference to nobody", async || owners().await == 2).await;
    delete(&cluster, "a", Propagation::Background).await;
    eventually("no reference to a", async || owners().await == 1).await;
    delete(&cluster, "b", Propagation::Background).await;
    gone(&cluster, &["both"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_deleted_in_the_foreground_waits_for_what_nobody_else_keeps() {
    let cluster = Cluster::start().await;
    let (a, b) = (map(&cluster, "a", &[]).await, map(&cluster, "b", &[]).await);
    let only = map(&cluster, "only", &[owner(&a), nobody()]).await;
    map(&cluster, "below", &[owner(&only)]).await;
    map(&cluster, "kept", &[owner(&a), owner(&b)]).await;
    let hold = Patch::Merge(json!({ "metadata": { "finalizers": ["example.com/hold"] } }));
    maps(&cluster, "default").patch("below", None, &hold, &WriteOptions::default()).await.unwrap();
    delete(&cluster, "a", Propagation::Foreground).await;
    eventually("the lowest is on its way", async || {
        maps(&cluster, "default").get("below").await.unwrap()["metadata"]["deletionTimestamp"].is_string()
    })
    .await;
    assert!(!is_gone(&maps(&cluster, "default"), "a").await, "it waits");
    assert!(!is_gone(&maps(&cluster, "default"), "only").await, "it waits, too");
    let free = Patch::Merge(json!({ "metadata": { "finalizers": null } }));
    maps(&cluster, "default").patch("below", None, &free, &WriteOptions::default()).await.unwrap();
    gone(&cluster, &["below", "only", "a"]).await;
    let kept = maps(&cluster, "default").get("kept").await.unwrap();
    assert_eq!(kept["metadata"]["ownerReferences"], json!([owner(&b)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_counts_only_with_uid_name_and_kind() {
    let cluster = Cluster::start().await;
    let a = map(&cluster, "a", &[]).await;
    let mut references = [owner(&a), owner(&a), owner(&a)];
    references[0]["uid"] = "11111111-2222-3333-4444-555555555555".into();
    references[1]["name"] = "another".into();
    references[2]["kind"] = "Secret".into();
    for (reference, name) in references.iter().zip(["uid", "name", "kind"]) {
        map(&cluster, name, std::slice::from_ref(reference)).await;
    }
    map(&cluster, "sound", &[owner(&a)]).await;
    gone(&cluster, &["uid", "name", "kind"]).await;
    assert!(!is_gone(&maps(&cluster, "default"), "sound").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_are_cluster_wide_or_of_the_same_namespace() {
    let cluster = Cluster::start().await;
    let role = create(&roles(&cluster), "ClusterRole", "role", &[]).await;
    let a = map(&cluster, "a", &[]).await;
    create(&maps(&cluster, "kube-system"), "ConfigMap", "of-role", &[owner(&role)]).await;
    create(&maps(&cluster, "kube-system"), "ConfigMap", "of-another-space", &[owner(&a)]).await;
    create(&roles(&cluster), "ClusterRole", "of-a-space", &[owner(&a)]).await;
    let system = maps(&cluster, "kube-system");
    eventually("of-another-space", async || is_gone(&system, "of-another-space").await).await;
    const REASON: &str = "OwnerRefInvalidNamespace";
    eventually("an event", async || has_event(&cluster, "kube-system", "of-another-space", REASON).await)
        .await;
    eventually("an event", async || has_event(&cluster, "default", "of-a-space", REASON).await).await;
    assert!(!is_gone(&system, "of-role").await);
    assert!(!is_gone(&roles(&cluster), "of-a-space").await, "whether its owner is there cannot be asked");
    roles(&cluster).delete("role", &DeleteOptions::default()).await.unwrap();
    eventually("of-role", async || is_gone(&system, "of-role").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn circles_end() {
    let cluster = Cluster::start().await;
    for (prefix, propagation) in [("f", Propagation::Foreground), ("b", Propagation::Background)] {
        let names = ["1", "2", "3"].map(|number| format!("{prefix}{number}"));
        let first = map(&cluster, &names[0], &[]).await;
        let second = map(&cluster, &names[1], &[owner(&first)]).await;
        let third = map(&cluster, &names[2], &[owner(&second)]).await;
        own(&cluster, &names[0], &[owner(&third)]).await;
        delete(&cluster, &names[0], propagation).await;
        gone(&cluster, &[&names[0], &names[1], &names[2]]).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_asked_for_while_no_controller_ran_is_done_by_the_next() {
    let mut cluster = Cluster::start().await;
    let (a, b, c) =
        (map(&cluster, "a", &[]).await, map(&cluster, "b", &[]).await, map(&cluster, "c", &[]).await);
    cluster.stop_controllers();
    map(&cluster, "orphan", &[owner(&a)]).await;
    map(&cluster, "first", &[owner(&b)]).await;
    map(&cluster, "later", &[owner(&c)]).await;
    delete(&cluster, "a", Propagation::Orphan).await;
    delete(&cluster, "b", Propagation::Foreground).await;
    delete(&cluster, "c", Propagation::Background).await;
    for name in ["a", "b"] {
        assert!(!is_gone(&maps(&cluster, "default"), name).await, "{name} waits for a controller");
    }
    cluster.start_controllers();
    gone(&cluster, &["a", "b", "c", "first", "later"]).await;
    let orphan = maps(&cluster, "default").get("orphan").await.unwrap();
    assert_eq!(orphan["metadata"]["ownerReferences"], Value::Null);
}

/// Samples of the API's own suite: `PLURAL.GROUP.yaml`.
fn sample(plural: &str, group: &str) -> Value {
    let group = if group.is_empty() { "core" } else { group };
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../api/tests/suite/samples");
    let bytes = std::fs::read(dir.join(format!("{plural}.{group}.yaml"))).unwrap();
    hako_api::schema::decode::yaml(&bytes).unwrap().value
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn objects_of_every_stored_kind_go_with_their_owner() {
    let cluster = Cluster::start().await;
    let mut made = Vec::new();
    for row in hako_api::kinds::table() {
        let is_kept = ["create", "list", "watch", "delete"].iter().all(|verb| row.verbs.contains(verb));
        if !is_kept || row.stored.is_some() || row.plural == "events" {
            continue;
        }
        let mut object = sample(row.plural, row.group);
        object["metadata"]["ownerReferences"] = json!([{ "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole", "name": "nobody", "uid": "11111111-2222-3333-4444-555555555555" }]);
        let namespace = row.is_namespaced().then_some("default");
        let resource = ResourceType::new(row.group, row.version, row.plural);
        let api = cluster.client.dynamic(&resource, namespace);
        let created = api.create(&object, &WriteOptions::default()).await;
        let created = created.unwrap_or_else(|error| panic!("{}: {}", row.plural, error.chain()));
        made.push((api, created, row.plural));
    }
    assert!(made.len() > 40, "{} kinds", made.len());
    for (api, created, plural) in made {
        let (name, uid) = (&created["metadata"]["name"], &created["metadata"]["uid"]);
        // A controller may have made another one of that name.
        eventually(plural, async || match api.get(name.as_str().unwrap()).await {
            Ok(object) => {
                object["metadata"]["deletionTimestamp"].is_string() || object["metadata"]["uid"] != *uid
            }
            Err(error) => error.is_not_found(),
        })
        .await;
    }
}
