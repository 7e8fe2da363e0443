//! Controllers and kinds that come while they run: they learn of them through discovery alone.

use crate::cluster::{Cluster, eventually};
use hako_client::{DeleteOptions, DynamicApi, Patch, ResourceType, WriteOptions};
use k8s_openapi::api::core::v1::Namespace;
use serde_json::{Value, json};

const GROUP: &str = "cr.example.com";

fn resource(group: &str, version: &str, plural: &str) -> ResourceType {
    ResourceType::new(group, version, plural)
}

fn tabs(cluster: &Cluster, namespace: &str) -> DynamicApi {
    cluster.client.dynamic(&resource(GROUP, "v1", "tabs"), Some(namespace))
}

async fn create(api: &DynamicApi, object: &Value) -> Value {
    api.create(object, &WriteOptions::default()).await.unwrap()
}

fn tab(name: &str, owners: Value) -> Value {
    json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "Tab", "metadata": {"name": name, "ownerReferences": owners},
    })
}

/// Makes a kind and waits until it is served.
async fn define(cluster: &Cluster) {
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("tabs.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": {"plural": "tabs", "kind": "Tab"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": schema}],
        },
    });
    let group = "apiextensions.k8s.io";
    let api = cluster.client.dynamic(&resource(group, "v1", "customresourcedefinitions"), None);
    create(&api, &definition).await;
    eventually("the kind is served", async || {
        cluster.client.get_text(&format!("/apis/{GROUP}/v1")).await.is_ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn custom_objects_go_with_their_namespace_which_says_what_holds_them() {
    let cluster = Cluster::start().await;
    define(&cluster).await;
    let namespaces = cluster.client.all::<Namespace>();
    let namespace = json!({"metadata": {"name": "space"}});
    namespaces.create(&serde_json::from_value(namespace).unwrap()).await.unwrap();
    let api = tabs(&cluster, "space");
    create(&api, &tab("free", json!([]))).await;
    let mut held = tab("held", json!([]));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    create(&api, &held).await;
    namespaces.delete("space", &DeleteOptions::default()).await.unwrap();
    eventually("it says what holds it", async || {
        let Ok(Some(namespace)) = namespaces.get_opt("space").await else { return false };
        serde_json::to_string(&namespace.status)
            .unwrap()
            .contains("tabs.cr.example.com has 1 resource instances")
    })
    .await;
    let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("held", None, &free, &WriteOptions::default()).await.unwrap();
    eventually("the namespace is gone", async || namespaces.get_opt("space").await.unwrap().is_none()).await;
}

fn owner(object: &Value) -> Value {
    let metadata = &object["metadata"];
    json!([{
        "apiVersion": object["apiVersion"], "kind": object["kind"], "name": metadata["name"], "uid": metadata["uid"],
    }])
}

fn map(name: &str, owners: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "ownerReferences": owners}})
}

/// A kind is not watched as soon as it is served. Who looks at an object before that sees its owner, and not its end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_went_before_its_kind_was_watched_leaves_nothing_behind() {
    let cluster = Cluster::start().await;
    let maps = cluster.client.dynamic(&resource("", "v1", "configmaps"), Some("default"));
    let is_gone = async |name: &str| maps.get(name).await.is_err_and(|it| it.is_not_found());
    let mut ghost =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "ghost", "uid": "never"}});
    create(&maps, &map("first", owner(&ghost))).await;
    eventually("the collector works", async || is_gone("first").await).await;
    define(&cluster).await;
    let short = create(&tabs(&cluster, "default"), &tab("short", json!([]))).await;
    create(&maps, &map("leaf", owner(&short))).await;
    ghost["metadata"]["name"] = "gone".into();
    create(&maps, &map("marker", owner(&ghost))).await;
    eventually("the leaf was looked at, as what came after it was", async || is_gone("marker").await).await;
    assert!(!is_gone("leaf").await, "its owner is there");
    tabs(&cluster, "default").delete("short", &DeleteOptions::default()).await.unwrap();
    eventually("the leaf is gone", async || is_gone("leaf").await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn owners_of_custom_and_other_kinds_take_each_other_along() {
    let cluster = Cluster::start().await;
    define(&cluster).await;
    let maps = cluster.client.dynamic(&resource("", "v1", "configmaps"), Some("default"));
    let root = create(&maps, &map("root", json!([]))).await;
    let middle = create(&tabs(&cluster, "default"), &tab("middle", owner(&root))).await;
    create(&maps, &map("leaf", owner(&middle))).await;
    maps.delete("root", &DeleteOptions::default()).await.unwrap();
    eventually("all are gone", async || {
        let is_gone =
            async |api: &DynamicApi, name: &str| api.get(name).await.is_err_and(|it| it.is_not_found());
        is_gone(&tabs(&cluster, "default"), "middle").await && is_gone(&maps, "leaf").await
    })
    .await;
}
