//! The `kube` crate, as controllers in Rust use it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::controller::Action;
use kube::runtime::finalizer::{Event as Finalize, finalizer};
use kube::runtime::reflector::{self, ObjectRef};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::{Controller, WatchStreamExt as _, watcher};
use kube::{Api, Client, Config, ResourceExt as _};
use parking_lot::Mutex;
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

const LIMIT: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread")]
async fn a_kube_reflector_holds_what_is_there() {
    let world = World::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client(&world).await);
    api.create(&PostParams::default(), &config_map("a", "x")).await.unwrap();
    let (store, writer) = reflector::store();
    let config = watcher::Config::default().labels("app=x");
    let mut changes = reflector::reflector(writer, watcher(api.clone(), config)).touched_objects().boxed();
    tokio::time::timeout(LIMIT, changes.try_next()).await.unwrap().unwrap().unwrap();
    let held = |name: &str| store.get(&ObjectRef::new(name).within("default"));
    api.create(&PostParams::default(), &config_map("b", "x")).await.unwrap();
    while held("b").is_none() {
        tokio::time::timeout(LIMIT, changes.try_next()).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(*held("b").unwrap(), api.get("b").await.unwrap());
    api.delete("a", &DeleteParams::default()).await.unwrap();
    while held("a").is_some() {
        tokio::time::timeout(LIMIT, changes.try_next()).await.unwrap().unwrap().unwrap();
    }
    assert_eq!(store.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kube_client_applies_and_takes_over_by_force() {
    let world = World::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client(&world).await);
    let map = |value: &str| {
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"k": value}});
        Patch::Apply(object)
    };
    api.patch("m", &PatchParams::apply("one"), &map("1")).await.unwrap();
    let error = api.patch("m", &PatchParams::apply("two"), &map("2")).await.unwrap_err();
    let kube::Error::Api(status) = error else { panic!("{error}") };
    assert!(status.code == 409 && status.message.contains("conflict with \"one\""), "{status:?}");
    let forced = api.patch("m", &PatchParams::apply("two").force(), &map("2")).await.unwrap();
    assert_eq!(forced.data.unwrap()["k"], "2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kube_controller_sees_objects_come_and_cleans_up_after_them() {
    let world = World::start().await;
    let api: Api<ConfigMap> = Api::default_namespaced(client(&world).await);
    let cleaned: Arc<Mutex<BTreeSet<String>>> = Arc::default();
    let controller = Controller::new(api.clone(), watcher::Config::default().labels("app=x"));
    let (objects, seen) = (api.clone(), Arc::clone(&cleaned));
    let reconcile = move |object: Arc<ConfigMap>, _: Arc<()>| {
        let (objects, seen) = (objects.clone(), Arc::clone(&seen));
        async move {
            finalizer(&objects, "example.com/clean", object, async |event| {
                if let Finalize::Cleanup(object) = event {
                    seen.lock().insert(object.name_any());
                }
                Ok::<_, kube::Error>(Action::await_change())
            })
            .await
        }
    };
    let again = |_: Arc<ConfigMap>, _: &_, _: Arc<()>| Action::requeue(Duration::from_millis(50));
    let running = tokio::spawn(controller.run(reconcile, again, Arc::new(())).for_each(async |_| {}));
    let made = api.create(&PostParams::default(), &config_map("a", "x")).await.unwrap();
    let is_held = |object: Option<&ConfigMap>| object.is_some_and(|object| !object.finalizers().is_empty());
    tokio::time::timeout(LIMIT, await_condition(api.clone(), "a", is_held)).await.unwrap().unwrap();
    api.delete("a", &DeleteParams::default()).await.unwrap();
    let uid = made.uid().unwrap();
    let is_gone = conditions::is_deleted(&uid);
    tokio::time::timeout(LIMIT, await_condition(api.clone(), "a", is_gone)).await.unwrap().unwrap();
    assert!(cleaned.lock().contains("a"));
    running.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_has_one_holder() {
    let world = World::start().await;
    let api: Api<Lease> = Api::default_namespaced(client(&world).await);
    let lease = json!({"metadata": {"name": "l"}, "spec": {"leaseDurationSeconds": 1}});
    let free = api.create(&PostParams::default(), &crate::contract::from(lease)).await.unwrap();
    let candidates = (0..8).map(|at| {
        let (api, mut lease) = (api.clone(), free.clone());
        lease.spec.as_mut().unwrap().holder_identity = Some(format!("c{at}"));
        async move { api.replace("l", &PostParams::default(), &lease).await }
    });
    let results = futures::future::join_all(candidates).await;
    let won: Vec<&Lease> = results.iter().flatten().collect();
    assert_eq!(won.len(), 1, "{results:?}");
    assert_eq!(api.get("l").await.unwrap().spec, won[0].spec);
}
