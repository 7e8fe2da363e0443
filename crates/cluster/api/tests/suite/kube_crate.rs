//! The `kube` crate, as controllers in Rust use it.

use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::json;

use crate::contract::{config_map, pod};
use crate::support::World;

async fn client(world: &World) -> Client {
    let kubeconfig = kube::config::Kubeconfig::read_from(&world.kubeconfig).unwrap();
    Client::try_from(Config::from_custom_kubeconfig(kubeconfig, &Default::default()).await.unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kube_client_creates_patches_lists_and_deletes() {
    let world = World::start().await;
    let client = client(&world).await;
    assert_eq!(client.apiserver_version().await.unwrap().git_version, "v1.36.0+hako");
    let api: Api<Pod> = Api::default_namespaced(client);
    let created = api.create(&PostParams::default(), &pod("p")).await.unwrap();
    assert_eq!(created.spec.unwrap().restart_policy.as_deref(), Some("Always"));
    let patch = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    let patched = api.patch("p", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(patched.labels()["a"], "b");
    assert_eq!(api.list(&ListParams::default().labels("a=b")).await.unwrap().items.len(), 1);
    api.delete("p", &DeleteParams::default()).await.unwrap();
    let error = api.get("p").await.unwrap_err();
    assert!(matches!(error, kube::Error::Api(status) if status.code == 404 && status.reason == "NotFound"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kube_watcher_sees_the_present_and_what_follows() {
    let world = World::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client(&world).await);
    api.create(&PostParams::default(), &config_map("a", "x")).await.unwrap();
    for config in [watcher::Config::default(), watcher::Config::default().streaming_lists()] {
        let mut objects = watcher(api.clone(), config).applied_objects().boxed();
        let next = tokio::time::timeout(Duration::from_secs(10), objects.try_next());
        assert_eq!(next.await.unwrap().unwrap().unwrap().name_any(), "a");
        let name = format!("b{}", world.server.client(hako_api::Identity::admin()).manager().len());
        let _ = api.delete(&name, &DeleteParams::default()).await;
        api.create(&PostParams::default(), &config_map(&name, "x")).await.unwrap();
        let next = tokio::time::timeout(Duration::from_secs(10), objects.try_next());
        assert_eq!(next.await.unwrap().unwrap().unwrap().name_any(), name);
        api.delete(&name, &DeleteParams::default()).await.unwrap();
    }
}
