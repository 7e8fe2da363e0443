//! ResourceQuota. No controller counts here: the tests write the status that one would.

use hako_api::Identity;
use hako_client::ResourceType;
use hako_error::{Kind, Result};
use serde_json::{Value, json};

use super::{assert_forbidden, create, make, patch, pod};
use crate::support::World;

/// A quota that has been counted: nothing is used.
async fn quota(world: &World, name: &str, hard: Value, more: Value) {
    let mut spec = json!({"hard": hard});
    for (key, value) in more.as_object().into_iter().flatten() {
        spec[key] = value.clone();
    }
    create(world, "resourcequotas", json!({"metadata": {"name": name}, "spec": spec})).await.unwrap();
    let used: Value = hard.as_object().unwrap().keys().map(|key| (key.clone(), json!("0"))).collect();
    let status = json!({"status": {"hard": hard, "used": used}});
    patch(world, "resourcequotas", name, Some("status"), status).await.unwrap();
}

async fn used(world: &World, name: &str) -> Value {
    let quotas = world.inside().dynamic(&ResourceType::new("", "v1", "resourcequotas"), Some("default"));
    quotas.get(name).await.unwrap()["status"]["used"].clone()
}

async fn with(world: &World, name: &str, resources: Value) -> Result<Value> {
    let mut made = pod(name, json!({}));
    made["spec"]["containers"][0]["resources"] = resources;
    create(world, "pods", made).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_exceeds_a_quota_is_refused_and_the_rest_is_counted() {
    let world = World::start().await;
    quota(&world, "q", json!({"pods": "3", "requests.cpu": "1", "limits.memory": "1Gi"}), json!({})).await;
    let resources = |cpu: &str| json!({"requests": {"cpu": cpu}, "limits": {"memory": "100Mi"}});
    with(&world, "a", resources("600m")).await.unwrap();
    assert_eq!(
        used(&world, "q").await,
        json!({"pods": "1", "requests.cpu": "600m", "limits.memory": "100Mi"})
    );
    assert_forbidden(
        with(&world, "b", resources("500m")).await,
        "pods \"b\" is forbidden: exceeded quota: q, requested: requests.cpu=500m, used: requests.cpu=600m, limited: \
         requests.cpu=1",
    );
    assert_forbidden(
        with(&world, "c", json!({})).await,
        "failed quota: q: must specify limits.memory for: main; requests.cpu for: main",
    );
    with(&world, "d", resources("400m")).await.unwrap();
    assert_eq!(used(&world, "q").await["requests.cpu"], "1");
    let again = with(&world, "a", resources("0")).await.unwrap_err();
    assert_eq!(again.kind(), Kind::AlreadyExists);
    assert_eq!(used(&world, "q").await["pods"], "2", "what was not stored is given back");
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_the_same_time_do_not_exceed_a_quota_together() {
    let world = World::start().await;
    quota(&world, "q", json!({"count/configmaps": "5"}), json!({})).await;
    let attempts = (0..20).map(|number| {
        let map = json!({"metadata": {"name": format!("m{number}")}});
        let world = &world;
        async move { create(world, "configmaps", map).await }
    });
    let outcomes = futures::future::join_all(attempts).await;
    assert_eq!(outcomes.iter().filter(|it| it.is_ok()).count(), 5);
    let text = "exceeded quota: q, requested: count/configmaps=1, used: count/configmaps=5, limited: count/configmaps=5";
    assert_forbidden(outcomes.into_iter().find(Result::is_err).unwrap(), text);
    assert_eq!(used(&world, "q").await["count/configmaps"], "5");
}

#[tokio::test(flavor = "multi_thread")]
async fn kinds_are_counted_by_what_they_use() {
    let world = World::start().await;
    let hard = json!({
        "services": "2", "services.nodeports": "1", "services.loadbalancers": "0", "secrets": "1",
        "count/deployments.apps": "0", "requests.storage": "3Gi",
        "fast.storageclass.storage.k8s.io/persistentvolumeclaims": "1",
    });
    quota(&world, "q", hard, json!({})).await;
    let service = |name: &str, kind: &str| json!({"metadata": {"name": name}, "spec": {"type": kind, "selector": {"a": "b"}, "ports": [{"port": 80}]}});
    create(&world, "services", service("a", "NodePort")).await.unwrap();
    let refused = create(&world, "services", service("b", "NodePort")).await;
    assert_forbidden(
        refused,
        "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=1",
    );
    let refused = create(&world, "services", service("c", "LoadBalancer")).await;
    assert_forbidden(refused, "requested: services.loadbalancers=1,services.nodeports=1");
    create(&world, "services", service("d", "ClusterIP")).await.unwrap();
    let refused = patch(&world, "services", "d", None, json!({"spec": {"type": "NodePort"}})).await;
    assert_forbidden(refused, "exceeded quota: q, requested: services.nodeports=1");
    patch(
        &world,
        "services",
        "a",
        None,
        json!({"spec": {"type": "ClusterIP", "ports": [{"port": 80, "nodePort": null}]}}),
    )
    .await
    .unwrap();
    assert_eq!(used(&world, "q").await["services.nodeports"], "0", "an update gives back what it lets go");
    create(&world, "secrets", json!({"metadata": {"name": "a"}})).await.unwrap();
    assert_forbidden(
        create(&world, "secrets", json!({"metadata": {"name": "b"}})).await,
        "requested: secrets=1",
    );
    let template =
        json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let deployment = json!({"metadata": {"name": "d"}, "spec": {"selector": {"matchLabels": {"a": "b"}}, "template": template}});
    let refused = create(&world, "deployments", deployment).await;
    assert_forbidden(
        refused,
        "deployments.apps \"d\" is forbidden: exceeded quota: q, requested: count/deployments.apps=1",
    );
    let claim = |name: &str, size: &str| {
        json!({"metadata": {"name": name}, "spec": {"storageClassName": "fast", "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": size}}}})
    };
    create(&world, "persistentvolumeclaims", claim("a", "2Gi")).await.unwrap();
    let text = "requested: fast.storageclass.storage.k8s.io/persistentvolumeclaims=1,requests.storage=2Gi";
    assert_forbidden(create(&world, "persistentvolumeclaims", claim("b", "2Gi")).await, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_counts_what_is_in_its_scopes() {
    let world = World::start().await;
    make(&world, "priorityclasses", json!({"metadata": {"name": "high"}, "value": 5})).await;
    let one = || json!({"pods": "0"});
    let select = |scope: &str, operator: &str, values: Value| {
        let mut expression = json!({"scopeName": scope, "operator": operator});
        if !values.is_null() {
            expression["values"] = values;
        }
        json!({"scopeSelector": {"matchExpressions": [expression]}})
    };
    quota(&world, "high", one(), select("PriorityClass", "In", json!(["high"]))).await;
    quota(&world, "ending", one(), json!({"scopes": ["Terminating"]})).await;
    quota(&world, "wide", one(), select("CrossNamespacePodAffinity", "Exists", Value::Null)).await;
    create(&world, "pods", pod("a", json!({}))).await.unwrap();
    let refused = create(&world, "pods", pod("b", json!({"priorityClassName": "high"}))).await;
    assert_forbidden(refused, "exceeded quota: high, requested: pods=1, used: pods=0, limited: pods=0");
    let refused = create(&world, "pods", pod("c", json!({"activeDeadlineSeconds": 5}))).await;
    assert_forbidden(refused, "exceeded quota: ending");
    let term =
        json!({"topologyKey": "k", "namespaces": ["other"], "labelSelector": {"matchLabels": {"a": "b"}}});
    let affinity = json!({"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]}});
    assert_forbidden(
        create(&world, "pods", pod("d", json!({"affinity": affinity}))).await,
        "exceeded quota: wide",
    );
    quota(&world, "effort", one(), json!({"scopes": ["BestEffort"]})).await;
    assert_forbidden(create(&world, "pods", pod("e", json!({}))).await, "exceeded quota: effort");
    with(&world, "f", json!({"requests": {"cpu": "1m"}})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_nobody_has_counted_says_so() {
    let world = World::start().await;
    let spec = json!({"hard": {"secrets": "5"}});
    create(&world, "resourcequotas", json!({"metadata": {"name": "q"}, "spec": spec})).await.unwrap();
    patch(&world, "resourcequotas", "q", Some("status"), json!({"status": {"hard": {"secrets": "5"}}}))
        .await
        .unwrap();
    let refused = create(&world, "secrets", json!({"metadata": {"name": "a"}})).await;
    assert_forbidden(refused, "secrets \"a\" is forbidden: status unknown for quota: q, resources: secrets");
    let admin = super::create_as(
        &world,
        Identity::admin(),
        "configmaps",
        Some("default"),
        json!({"metadata": {"name": "m"}}),
    );
    admin.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dry_run_is_held_to_the_quota_and_uses_nothing_of_it() {
    let world = World::start().await;
    quota(&world, "q", json!({"configmaps": "1"}), json!({})).await;
    world.kubectl(&["create", "configmap", "a", "--dry-run=server"]).await;
    assert_eq!(used(&world, "q").await["configmaps"], "0");
    world.kubectl(&["create", "configmap", "a"]).await;
    let (worked, _, error) = world.try_kubectl(&["create", "configmap", "b", "--dry-run=server"], "").await;
    assert!(!worked && error.contains("exceeded quota: q"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resize_is_charged_by_what_it_adds() {
    let world = World::start().await;
    quota(&world, "q", json!({"requests.cpu": "2", "limits.cpu": "4"}), json!({})).await;
    let cpu = |request: &str, limit: &str| json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
    with(&world, "a", cpu("1", "2")).await.unwrap();
    let resize = async |request: &str, limit: &str| {
        let containers = json!([{"name": "main", "image": "i", "resources": cpu(request, limit)}]);
        patch(&world, "pods", "a", Some("resize"), json!({"spec": {"containers": containers}})).await
    };
    let text =
        "exceeded quota: q, requested: requests.cpu=1500m, used: requests.cpu=1, limited: requests.cpu=2";
    assert_forbidden(resize("2500m", "3").await, text);
    resize("2", "3").await.unwrap();
    assert_eq!(used(&world, "q").await, json!({"requests.cpu": "2", "limits.cpu": "3"}));
    resize("500m", "1").await.unwrap();
    assert_eq!(used(&world, "q").await, json!({"requests.cpu": "500m", "limits.cpu": "1"}));
}
