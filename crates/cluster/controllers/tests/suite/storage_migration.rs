//! Storage version migrations, with what the store holds before and after.

use crate::cluster::{Cluster, eventually};
use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hako_client::{Body, Client, DynamicApi, Patch, ResourceType, Transport, WriteOptions};
use hako_error::Result;
use hako_store::{Range, Revision, Store as _};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

const GROUP: &str = "cr.example.com";
const TABS: &str = "/registry/cr.example.com/tabs/";
const OPTIONS: WriteOptions = WriteOptions { dry_run: false, field_manager: None, field_validation: None };

fn definitions(cluster: &Cluster) -> DynamicApi {
    let resource = ResourceType::new("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    cluster.client.dynamic(&resource, None)
}

fn migrations(cluster: &Cluster) -> DynamicApi {
    let resource = ResourceType::new("storagemigration.k8s.io", "v1beta1", "storageversionmigrations");
    cluster.client.dynamic(&resource, None)
}

fn tabs(cluster: &Cluster, version: &str) -> DynamicApi {
    cluster.client.dynamic(&ResourceType::new(GROUP, version, "tabs"), Some("default"))
}

/// The versions of the definition; one of them is stored.
fn versions(names: &[&str], stored: &str) -> Value {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let version =
        |name: &&str| json!({"name": name, "served": true, "storage": *name == stored, "schema": schema});
    names.iter().map(version).collect()
}

/// Makes a kind of two versions, and so many objects in the first one.
async fn define(cluster: &Cluster, objects: usize) {
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("tabs.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": {"plural": "tabs", "kind": "Tab"},
            "versions": versions(&["v1", "v2"], "v1"),
        },
    });
    definitions(cluster).create(&definition, &OPTIONS).await.unwrap();
    eventually("the kind is served", async || {
        cluster.client.get_text(&format!("/apis/{GROUP}/v2")).await.is_ok()
    })
    .await;
    for at in 0..objects {
        let tab = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "Tab", "metadata": {"name": format!("t{at}")}, "at": at,
        });
        tabs(cluster, "v1").create(&tab, &OPTIONS).await.unwrap();
    }
}

async fn redefine(cluster: &Cluster, versions: Value) -> Result<Value> {
    let patch = Patch::Merge(json!({"spec": {"versions": versions}}));
    definitions(cluster).patch(&format!("tabs.{GROUP}"), None, &patch, &OPTIONS).await
}

async fn migrate(cluster: &Cluster, name: &str, group: &str, plural: &str) {
    let object = json!({
        "apiVersion": "storagemigration.k8s.io/v1beta1", "kind": "StorageVersionMigration",
        "metadata": {"name": name}, "spec": {"resource": {"group": group, "resource": plural}},
    });
    migrations(cluster).create(&object, &OPTIONS).await.unwrap();
}

/// The condition of that type of a migration, as text.
async fn state(cluster: &Cluster, name: &str, kind: &str) -> String {
    let migration = migrations(cluster).get(name).await.unwrap();
    let conditions = migration["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = conditions.iter().find(|it| it["type"] == kind);
    found.map_or(String::new(), |it| format!("{} {}", it["status"].as_str().unwrap(), it["message"]))
}

async fn succeeded(cluster: &Cluster, name: &str) {
    eventually("the migration is done", async || state(cluster, name, "Succeeded").await == "True \"\"")
        .await;
    assert_eq!(state(cluster, name, "Running").await, "False \"\"");
}

/// What the store holds below a key: in what version, and since when.
async fn stored(cluster: &Cluster, prefix: &str) -> Vec<(String, Revision)> {
    let page = cluster.store.range(Range::all(Bytes::from(prefix.to_owned()))).await.unwrap();
    let of =
        |value: &[u8]| serde_json::from_slice::<Value>(value).unwrap()["apiVersion"].as_str().unwrap().into();
    page.entries.iter().map(|entry| (of(&entry.value), entry.modified)).collect()
}

async fn stored_as(cluster: &Cluster, version: &str) -> usize {
    let wanted = format!("{GROUP}/{version}");
    stored(cluster, TABS).await.iter().filter(|(is, _)| *is == wanted).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_migration_nothing_is_left_of_a_version_and_it_can_go() {
    let cluster = Cluster::start().await;
    define(&cluster, 5).await;
    redefine(&cluster, versions(&["v1", "v2"], "v2")).await.unwrap();
    let refused = redefine(&cluster, versions(&["v2"], "v2")).await.unwrap_err().to_string();
    assert!(refused.contains("must remain in spec.versions until a storage migration"), "{refused}");
    // At once: the server may not have taken in the change of the definition yet.
    migrate(&cluster, "tabs", GROUP, "tabs").await;
    succeeded(&cluster, "tabs").await;
    assert_eq!(stored_as(&cluster, "v2").await, 5);
    let version = migrations(&cluster).get("tabs").await.unwrap()["status"]["resourceVersion"].clone();
    assert!(version.as_str().unwrap().parse::<u64>().unwrap() > 0);
    let trimmed = Patch::Merge(json!({"status": {"storedVersions": ["v2"]}}));
    let name = format!("tabs.{GROUP}");
    definitions(&cluster).patch(&name, Some("status"), &trimmed, &OPTIONS).await.unwrap();
    redefine(&cluster, versions(&["v2"], "v2")).await.unwrap();
    eventually("the version is gone", async || tabs(&cluster, "v1").get("t3").await.is_err()).await;
    let tab = tabs(&cluster, "v2").get("t3").await.unwrap();
    assert_eq!((&tab["apiVersion"], &tab["at"]), (&json!("cr.example.com/v2"), &json!(3)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_of_what_is_kept_as_it_should_be_writes_nothing() {
    let cluster = Cluster::start().await;
    define(&cluster, 2).await;
    let maps = cluster.client.dynamic(&ResourceType::new("", "v1", "configmaps"), Some("default"));
    let map = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "map"}});
    maps.create(&map, &OPTIONS).await.unwrap();
    const MAP: &str = "/registry/core/configmaps/default/map";
    let before = (stored(&cluster, TABS).await, stored(&cluster, MAP).await);
    migrate(&cluster, "tabs", GROUP, "tabs").await;
    migrate(&cluster, "maps", "", "configmaps").await;
    succeeded(&cluster, "tabs").await;
    succeeded(&cluster, "maps").await;
    assert_eq!((stored(&cluster, TABS).await, stored(&cluster, MAP).await), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_cannot_be_says_why() {
    let cluster = Cluster::start().await;
    migrate(&cluster, "parts", "", "componentstatuses").await;
    eventually("it has failed", async || {
        state(&cluster, "parts", "Failed").await == "True \"componentstatuses cannot be listed and patched\""
    })
    .await;
    assert_eq!(state(&cluster, "parts", "Running").await.split(' ').next(), Some("False"));
}

/// The API with so many patches of tabs left; all further ones are never answered, as for a process that was killed.
struct Ending {
    client: Client,
    left: AtomicUsize,
}

impl Transport for Ending {
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>>> {
        let is_tab = request.method() == http::Method::PATCH
            && request.uri().path().contains("/namespaces/default/tabs/");
        let count = |left: usize| left.checked_sub(1);
        if is_tab && self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_err() {
            return std::future::pending().boxed();
        }
        self.client.send(request).boxed()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_was_cut_goes_on_where_it_was() {
    let mut cluster = Cluster::start().await;
    define(&cluster, 6).await;
    cluster.stop_controllers();
    redefine(&cluster, versions(&["v1", "v2"], "v2")).await.unwrap();
    migrate(&cluster, "tabs", GROUP, "tabs").await;
    let client = cluster.client.clone();
    cluster.start_controllers_through(Arc::new(Ending { client, left: AtomicUsize::new(3) }));
    eventually("half of it is done", async || stored_as(&cluster, "v2").await == 3).await;
    assert_eq!(state(&cluster, "tabs", "Running").await, "True \"\"");
    cluster.stop_controllers();
    let moved = stored(&cluster, TABS).await;
    cluster.start_controllers();
    succeeded(&cluster, "tabs").await;
    assert_eq!(stored_as(&cluster, "v2").await, 6);
    let now = stored(&cluster, TABS).await;
    let is_moved = |one: &&(String, Revision)| one.0.ends_with("/v2");
    assert!(moved.iter().filter(is_moved).all(|one| now.contains(one)), "what was done is not done again");
}
