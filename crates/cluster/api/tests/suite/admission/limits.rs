//! LimitRanger.

use hako_error::Result;
use serde_json::{Value, json};

use super::{assert_forbidden, create, patch, pod};
use crate::support::World;

async fn range(world: &World, limits: Value) {
    create(world, "limitranges", json!({"metadata": {"name": "l"}, "spec": {"limits": limits}}))
        .await
        .unwrap();
}

async fn with(world: &World, name: &str, resources: Value) -> Result<Value> {
    let mut made = pod(name, json!({}));
    made["spec"]["containers"][0]["resources"] = resources;
    create(world, "pods", made).await
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_ask_for_nothing_get_the_defaults() {
    let world = World::start().await;
    let item = json!({"type": "Container", "default": {"cpu": "500m", "memory": "64Mi"}, "defaultRequest": {"cpu": "100m"}});
    range(&world, json!([item])).await;
    let made = with(&world, "a", json!({})).await.unwrap();
    let resources = &made["spec"]["containers"][0]["resources"];
    assert_eq!(resources["limits"], json!({"cpu": "500m", "memory": "64Mi"}));
    assert_eq!(resources["requests"], json!({"cpu": "100m", "memory": "64Mi"}));
    let note = made["metadata"]["annotations"]["kubernetes.io/limit-ranger"].as_str().unwrap();
    assert_eq!(
        note,
        "LimitRanger plugin set: cpu, memory request for container main; cpu, memory limit for container main"
    );
    assert_eq!(made["status"]["qosClass"], "Burstable");
    let own = json!({"limits": {"cpu": "1", "memory": "1Mi"}});
    let made = with(&world, "b", own.clone()).await.unwrap();
    assert_eq!(made["spec"]["containers"][0]["resources"]["limits"], own["limits"]);
    assert_eq!(made["metadata"].get("annotations"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn containers_are_held_to_least_most_and_ratio() {
    let world = World::start().await;
    let item = json!({"type": "Container", "min": {"cpu": "100m"}, "max": {"cpu": "1"}, "maxLimitRequestRatio": {"cpu": "2"},
        "default": {"cpu": "200m"}, "defaultRequest": {"cpu": "100m"}});
    range(&world, json!([item])).await;
    let cpu = |request: &str, limit: &str| json!({"requests": {"cpu": request}, "limits": {"cpu": limit}});
    for (name, resources, text) in [
        ("a", cpu("50m", "100m"), "minimum cpu usage per Container is 100m, but request is 50m"),
        ("b", cpu("1", "1500m"), "maximum cpu usage per Container is 1, but limit is 1500m"),
        (
            "c",
            cpu("200m", "500m"),
            "cpu max limit to request ratio per Container is 2, but provided ratio is 2.500000",
        ),
        (
            "d",
            cpu("50m", "2"),
            "pods \"d\" is forbidden: [minimum cpu usage per Container is 100m, but request is 50m, maximum cpu usage \
             per Container is 1, but limit is 2, cpu max limit to request ratio per Container is 2, but provided ratio \
             is 40.000000]",
        ),
    ] {
        assert_forbidden(with(&world, name, resources).await, text);
    }
    with(&world, "e", cpu("500m", "1")).await.unwrap();
    with(&world, "f", json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_are_held_to_the_sum_of_their_containers() {
    let world = World::start().await;
    range(&world, json!([{"type": "Pod", "max": {"memory": "100Mi"}}])).await;
    let container =
        |name: &str| json!({"name": name, "image": "i", "resources": {"limits": {"memory": "60Mi"}}});
    let refused =
        create(&world, "pods", pod("a", json!({"containers": [container("x"), container("y")]}))).await;
    assert_forbidden(refused, "maximum memory usage per Pod is 100Mi, but limit is 120Mi");
    let after = json!({"containers": [container("x")], "initContainers": [container("y")]});
    create(&world, "pods", pod("b", after)).await.unwrap();
    assert_forbidden(
        with(&world, "c", json!({})).await,
        "maximum memory usage per Pod is 100Mi.  No limit is specified",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn claims_are_held_to_least_and_most() {
    let world = World::start().await;
    let item = json!({"type": "PersistentVolumeClaim", "min": {"storage": "1Gi"}, "max": {"storage": "2Gi"}});
    range(&world, json!([item])).await;
    let claim = |name: &str, size: &str| {
        json!({"metadata": {"name": name}, "spec": {
            "accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": size}}}})
    };
    let text = "minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 1Mi";
    assert_forbidden(create(&world, "persistentvolumeclaims", claim("a", "1Mi")).await, text);
    let text = "maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi";
    assert_forbidden(create(&world, "persistentvolumeclaims", claim("b", "3Gi")).await, text);
    create(&world, "persistentvolumeclaims", claim("c", "2Gi")).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_resize_is_held_to_the_ranges_too() {
    let world = World::start().await;
    range(&world, json!([{"type": "Container", "max": {"cpu": "1"}}])).await;
    let cpu = |request: &str| json!({"requests": {"cpu": request}, "limits": {"cpu": "1"}});
    with(&world, "a", cpu("500m")).await.unwrap();
    let resize = async |limit: &str| {
        let resources = json!({"requests": {"cpu": "500m"}, "limits": {"cpu": limit}});
        let containers = json!([{"name": "main", "image": "i", "resources": resources}]);
        patch(&world, "pods", "a", Some("resize"), json!({"spec": {"containers": containers}})).await
    };
    assert_forbidden(resize("2").await, "maximum cpu usage per Container is 1, but limit is 2");
    let resized = resize("750m").await.unwrap();
    assert_eq!(resized["spec"]["containers"][0]["resources"]["limits"]["cpu"], "750m");
}
