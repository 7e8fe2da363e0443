//! Priority, and the tolerations that every pod has.

use serde_json::json;

use super::{assert_forbidden, create, make, pod};
use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_has_the_priority_of_its_class() {
    let world = World::start().await;
    let class = json!({"metadata": {"name": "high"}, "value": 1000, "preemptionPolicy": "Never"});
    make(&world, "priorityclasses", class).await;
    let made = create(&world, "pods", pod("a", json!({"priorityClassName": "high"}))).await.unwrap();
    let spec = &made["spec"];
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(1000), &json!("Never")));
    let made = create(&world, "pods", pod("b", json!({}))).await.unwrap();
    let spec = &made["spec"];
    assert_eq!((&spec["priority"], &spec["preemptionPolicy"]), (&json!(0), &json!("PreemptLowerPriority")));
    assert_eq!(spec.get("priorityClassName"), None);
    let refused = create(&world, "pods", pod("c", json!({"priorityClassName": "none"}))).await;
    assert_forbidden(refused, "pods \"c\" is forbidden: no PriorityClass with name none was found");
    let refused = create(&world, "pods", pod("d", json!({"priorityClassName": "high", "priority": 7}))).await;
    assert_forbidden(
        refused,
        "the integer value of priority (7) must not be provided in pod spec; priority admission controller computed \
         1000 from the given PriorityClass name",
    );
    let spec = json!({"priorityClassName": "high", "preemptionPolicy": "PreemptLowerPriority"});
    let refused = create(&world, "pods", pod("e", spec)).await;
    assert_forbidden(
        refused,
        "the string value of PreemptionPolicy (PreemptLowerPriority) must not be provided",
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn one_class_may_be_for_all_pods_without_one() {
    let world = World::start().await;
    let class = |name: &str| json!({"metadata": {"name": name}, "value": 5, "globalDefault": true});
    make(&world, "priorityclasses", class("usual")).await;
    let made = create(&world, "pods", pod("a", json!({}))).await.unwrap();
    assert_eq!((&made["spec"]["priorityClassName"], &made["spec"]["priority"]), (&json!("usual"), &json!(5)));
    let (worked, _, error) =
        world.try_kubectl(&["create", "priorityclass", "other", "--value=6", "--global-default"], "").await;
    assert!(!worked);
    assert!(
        error.contains("PriorityClass usual is already marked as default. Only one default can exist"),
        "{error}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_tolerate_lost_nodes_for_five_minutes_unless_they_say_otherwise() {
    let world = World::start().await;
    let made = create(&world, "pods", pod("a", json!({}))).await.unwrap();
    let toleration = |key: &str| {
        let key = format!("node.kubernetes.io/{key}");
        json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    };
    assert_eq!(made["spec"]["tolerations"], json!([toleration("not-ready"), toleration("unreachable")]));
    let all = json!([{"operator": "Exists"}]);
    let made = create(&world, "pods", pod("b", json!({"tolerations": all}))).await.unwrap();
    assert_eq!(made["spec"]["tolerations"], all);
}
