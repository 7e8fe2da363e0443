//! Deployments from their creation to their end.

use crate::cluster::{Cluster, eventually};
use crate::fake_node::is_ready;
use hako_client::{DeleteOptions, ListParams, Patch, Propagation};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};
use k8s_openapi::api::core::v1::{ConfigMap, Endpoints, Event, Namespace, Pod, Service, ServiceAccount};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use serde_json::{Value, json};
use std::sync::atomic::Ordering;

fn deployment(replicas: i32, image: &str) -> Value {
    json!({ "metadata": { "name": "web" }, "spec": {
        "replicas": replicas,
        "selector": { "matchLabels": { "app": "web" } },
        "template": { "metadata": { "labels": { "app": "web" } }, "spec": { "containers": [{ "name": "c", "image": image }] } },
    } })
}

fn image(image: &str) -> Patch {
    Patch::Strategic(
        json!({ "spec": { "template": { "spec": { "containers": [{ "name": "c", "image": image }] } } } }),
    )
}

async fn is_rolled_out(cluster: &Cluster, replicas: i32, image: &str) -> bool {
    let deployment = cluster.api::<Deployment>().get("web").await.unwrap();
    let status = deployment.status.clone().unwrap_or_default();
    let counts = [status.replicas, status.updated_replicas, status.ready_replicas, status.available_replicas];
    let pods = cluster.list::<Pod>().await;
    let runs = |pod: &Pod| pod.spec.as_ref().unwrap().containers[0].image.as_deref() == Some(image);
    status.observed_generation == deployment.metadata.generation
        && counts.iter().all(|count| count.unwrap_or(0) == replicas)
        && pods.len() == usize::try_from(replicas).unwrap()
        && pods.iter().all(|pod| runs(pod) && is_ready(pod))
}

async fn ready_endpoints(cluster: &Cluster) -> usize {
    let slices = cluster.list::<EndpointSlice>().await;
    let endpoints = slices
        .iter()
        .filter(|slice| slice.metadata.name.as_deref().unwrap().starts_with("web"))
        .flat_map(|slice| slice.endpoints.iter().flatten());
    endpoints.filter(|endpoint| endpoint.conditions.as_ref().unwrap().ready == Some(true)).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deployment_lives_scales_heals_rolls_and_goes() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(3, "web:1")).await;
    let service = json!({ "metadata": { "name": "web" }, "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80 }] } });
    cluster.create::<Service>(service).await;
    eventually("three pods", async || is_rolled_out(&cluster, 3, "web:1").await).await;
    eventually("three endpoints", async || ready_endpoints(&cluster).await == 3).await;

    let scaled = Patch::Merge(json!({ "spec": { "replicas": 30 } }));
    cluster.api::<Deployment>().patch("web", &scaled).await.unwrap();
    eventually("thirty pods", async || is_rolled_out(&cluster, 30, "web:1").await).await;
    assert_eq!(cluster.node.extremes().0, 30, "never more than asked for");
    eventually("thirty endpoints", async || ready_endpoints(&cluster).await == 30).await;
    cluster.api::<Deployment>().scale("web", 3).await.unwrap();
    eventually("three pods again", async || is_rolled_out(&cluster, 3, "web:1").await).await;

    let victim = cluster.list::<Pod>().await.remove(0).metadata.name.unwrap();
    cluster.api::<Pod>().delete(&victim, &DeleteOptions::default()).await.unwrap();
    eventually("a replacement", async || {
        cluster.api::<Pod>().get_opt(&victim).await.unwrap().is_none()
            && is_rolled_out(&cluster, 3, "web:1").await
    })
    .await;

    cluster.node.extremes();
    cluster.api::<Deployment>().patch("web", &image("web:2")).await.unwrap();
    eventually("the new image", async || is_rolled_out(&cluster, 3, "web:2").await).await;
    let (most, fewest) = cluster.node.extremes();
    assert!(most <= 4, "one above the three at most, not {most}");
    assert!(fewest >= 3, "never less than three ready, not {fewest}");
    let sets = cluster.list::<ReplicaSet>().await;
    assert_eq!(sets.len(), 2, "the old template is kept for going back");
    let web = cluster.api::<Deployment>().get("web").await.unwrap();
    assert_eq!(web.metadata.annotations.unwrap()["deployment.kubernetes.io/revision"], "2");

    cluster.api::<Deployment>().patch("web", &image("web:1")).await.unwrap();
    eventually("the old image", async || is_rolled_out(&cluster, 3, "web:1").await).await;
    assert_eq!(cluster.list::<ReplicaSet>().await.len(), 2, "the old ReplicaSet is used again");

    cluster.api::<Deployment>().delete("web", &DeleteOptions::default()).await.unwrap();
    eventually("nothing left", async || {
        cluster.list::<Pod>().await.is_empty() && cluster.list::<ReplicaSet>().await.is_empty()
    })
    .await;
    eventually("no endpoints", async || ready_endpoints(&cluster).await == 0).await;
    eventually("no addresses of the older kind", async || {
        cluster.api::<Endpoints>().get("web").await.unwrap().subsets.is_none()
    })
    .await;
    cluster.api::<Service>().delete("web", &DeleteOptions::default()).await.unwrap();
    eventually("no endpoints of the older kind", async || {
        cluster.api::<Endpoints>().get_opt("web").await.unwrap().is_none()
    })
    .await;
    eventually("no slices", async || {
        let slices = cluster.list::<EndpointSlice>().await;
        !slices.iter().any(|slice| slice.metadata.name.as_deref().unwrap().starts_with("web"))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_image_stops_a_rollout_and_going_back_ends_it() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(3, "web:1")).await;
    eventually("three pods", async || is_rolled_out(&cluster, 3, "web:1").await).await;
    cluster.node.extremes();
    cluster.api::<Deployment>().patch("web", &image("broken")).await.unwrap();
    eventually("one broken pod", async || cluster.list::<Pod>().await.len() == 4).await;
    cluster.api::<Deployment>().patch("web", &image("web:1")).await.unwrap();
    eventually("three sound pods", async || is_rolled_out(&cluster, 3, "web:1").await).await;
    assert!(cluster.node.extremes().1 >= 3, "all three stayed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recreate_ends_the_old_before_it_makes_the_new() {
    let cluster = Cluster::start().await;
    let mut object = deployment(3, "web:1");
    object["spec"]["strategy"] = json!({ "type": "Recreate" });
    cluster.create::<Deployment>(object).await;
    eventually("three pods", async || is_rolled_out(&cluster, 3, "web:1").await).await;
    cluster.node.extremes();
    cluster.api::<Deployment>().patch("web", &image("web:2")).await.unwrap();
    eventually("the new image", async || is_rolled_out(&cluster, 3, "web:2").await).await;
    assert!(cluster.node.extremes().0 <= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dependents_go_first_in_the_foreground_and_stay_as_orphans() {
    let cluster = Cluster::start().await;
    cluster.create::<Deployment>(deployment(2, "web:1")).await;
    eventually("two pods", async || is_rolled_out(&cluster, 2, "web:1").await).await;
    let options = |propagation| DeleteOptions { propagation: Some(propagation), ..DeleteOptions::default() };
    cluster.api::<Deployment>().delete("web", &options(Propagation::Orphan)).await.unwrap();
    eventually("no deployment", async || cluster.list::<Deployment>().await.is_empty()).await;
    assert_eq!(cluster.list::<Pod>().await.len(), 2);
    let sets = cluster.list::<ReplicaSet>().await;
    assert_eq!(sets[0].metadata.owner_references, None);

    cluster.create::<Deployment>(deployment(2, "web:1")).await;
    eventually("adoption", async || is_rolled_out(&cluster, 2, "web:1").await).await;
    assert_eq!(cluster.list::<ReplicaSet>().await.len(), 1, "the orphan was adopted");
    cluster.api::<Deployment>().delete("web", &options(Propagation::Foreground)).await.unwrap();
    eventually("nothing left", async || {
        let is_empty = cluster.list::<Deployment>().await.is_empty();
        assert!(!is_empty || cluster.list::<Pod>().await.is_empty(), "the owner went before its pods");
        is_empty
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_namespace_gets_its_account_and_goes_with_all_it_has() {
    let cluster = Cluster::start().await;
    let namespaces = cluster.client.all::<Namespace>();
    let namespace = json!({ "metadata": { "name": "space" } });
    namespaces.create(&serde_json::from_value(namespace).unwrap()).await.unwrap();
    eventually("the account and the authority", async || {
        let accounts = cluster.client.namespaced::<ServiceAccount>("space").get_opt("default").await.unwrap();
        let config =
            cluster.client.namespaced::<ConfigMap>("space").get_opt("kube-root-ca.crt").await.unwrap();
        accounts.is_some() && config.is_some_and(|config| config.data.unwrap()["ca.crt"] == "the authority")
    })
    .await;
    let deployments = cluster.client.namespaced::<Deployment>("space");
    deployments.create(&serde_json::from_value(deployment(3, "web:1")).unwrap()).await.unwrap();
    let pods = cluster.client.namespaced::<Pod>("space");
    eventually("three pods", async || pods.list(&ListParams::default()).await.unwrap().items.len() == 3)
        .await;
    namespaces.delete("space", &DeleteOptions::default()).await.unwrap();
    eventually("no namespace", async || namespaces.get_opt("space").await.unwrap().is_none()).await;
    assert!(pods.list(&ListParams::default()).await.unwrap().items.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pods_that_are_refused_are_told_in_conditions_and_events_until_they_are_made() {
    let cluster = Cluster::start().await;
    cluster.quota_is_full.store(true, Ordering::Relaxed);
    cluster.create::<Deployment>(deployment(2, "web:1")).await;
    let failure = async || {
        let status = cluster.api::<Deployment>().get("web").await.unwrap().status.unwrap_or_default();
        status.conditions.into_iter().flatten().find(|condition| condition.type_ == "ReplicaFailure")
    };
    eventually("the deployment says so", async || failure().await.is_some()).await;
    let told = failure().await.unwrap();
    assert_eq!((told.status.as_str(), told.reason.as_deref()), ("True", Some("FailedCreate")));
    assert!(told.message.as_deref().unwrap().contains("exceeded quota"), "{told:?}");
    let set = cluster.list::<ReplicaSet>().await.remove(0);
    let of_set = set.status.unwrap().conditions.unwrap().remove(0);
    assert_eq!((of_set.type_.as_str(), of_set.message), ("ReplicaFailure", told.message));
    eventually("an event", async || {
        let events = cluster.list::<Event>().await;
        events.iter().any(|event| {
            event.reason.as_deref() == Some("FailedCreate")
                && event.involved_object.kind.as_deref() == Some("ReplicaSet")
        })
    })
    .await;

    cluster.quota_is_full.store(false, Ordering::Relaxed);
    eventually("two pods", async || is_rolled_out(&cluster, 2, "web:1").await).await;
    eventually("nothing to say", async || failure().await.is_none()).await;
    let set = cluster.list::<ReplicaSet>().await.remove(0);
    assert_eq!(set.status.unwrap().conditions, None);
}
