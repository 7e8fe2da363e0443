//! Evicting pods that a budget guards.

use serde_json::{Value, json};

use super::{PODS, Said, ask};
use crate::support::World;

const BUDGETS: &str = "/apis/policy/v1/namespaces/default/poddisruptionbudgets";

/// A pod on a node, running, ready or not.
async fn pod(world: &World, name: &str, is_ready: bool) {
    let pod = json!({"metadata": {"name": name, "labels": {"app": "web"}},
        "spec": {"nodeName": "n", "containers": [{"name": "c", "image": "i"}]}});
    ask(world, "POST", PODS, &pod).await.is(201);
    let ready = if is_ready { "True" } else { "False" };
    let status = json!({"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]});
    ask(world, "PATCH", &format!("{PODS}/{name}/status"), &json!({"status": status})).await.is(200);
}

/// A budget, with the status that its controller would give it.
async fn budget(world: &World, name: &str, spec: Value, status: Value) {
    let mut spec = spec;
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    ask(world, "POST", BUDGETS, &json!({"metadata": {"name": name}, "spec": spec})).await.is(201);
    if !status.is_null() {
        ask(world, "PATCH", &format!("{BUDGETS}/{name}/status"), &json!({"status": status})).await.is(200);
    }
}

fn counted(allowed: i64, healthy: i64, desired: i64) -> Value {
    json!({"observedGeneration": 1, "disruptionsAllowed": allowed, "currentHealthy": healthy, "desiredHealthy": desired,
        "expectedPods": 3})
}

async fn evict(world: &World, name: &str) -> Said {
    let eviction = json!({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name}});
    ask(world, "POST", &format!("{PODS}/{name}/eviction"), &eviction).await
}

#[track_caller]
fn refused_by_budget(said: &Said, why: &str) {
    said.refuses(429, "Cannot evict pod as it would violate the pod's disruption budget.");
    assert_eq!(said.body["reason"], "TooManyRequests");
    assert_eq!(said.body["details"]["causes"], json!([{"reason": "DisruptionBudget", "message": why}]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_eviction_is_charged_to_the_budget_and_refused_when_nothing_is_left() {
    let world = World::start().await;
    pod(&world, "a", true).await;
    pod(&world, "b", true).await;
    budget(&world, "web", json!({"minAvailable": 1}), counted(1, 2, 1)).await;
    let text = "name in URL does not match name in Eviction object";
    let other = json!({"metadata": {"name": "b"}});
    ask(&world, "POST", &format!("{PODS}/a/eviction"), &other).await.refuses(400, text);
    let status = evict(&world, "a").await.is(201);
    assert_eq!(status["status"], "Success");
    let leaving = ask(&world, "GET", &format!("{PODS}/a"), &Value::Null).await.is(200);
    let conditions = leaving["status"]["conditions"].as_array().unwrap();
    let target = conditions.iter().find(|it| it["type"] == "DisruptionTarget").unwrap();
    assert_eq!((&target["status"], &target["reason"]), (&json!("True"), &json!("EvictionByEvictionAPI")));
    assert!(leaving["metadata"]["deletionTimestamp"].is_string());
    let budget = ask(&world, "GET", &format!("{BUDGETS}/web"), &Value::Null).await.is(200);
    assert_eq!(budget["status"]["disruptionsAllowed"], 0);
    assert!(budget["status"]["disruptedPods"]["a"].is_string(), "{budget}");
    let said = evict(&world, "b").await;
    refused_by_budget(&said, "The disruption budget web needs 1 healthy pods and has 2 currently");
    // What is leaving or over is nobody's to guard.
    evict(&world, "a").await.is(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_nobody_has_counted_yet_is_to_be_waited_for() {
    let world = World::start().await;
    pod(&world, "a", true).await;
    budget(&world, "web", json!({"minAvailable": 1}), Value::Null).await;
    let said = evict(&world, "a").await;
    refused_by_budget(&said, "The disruption budget web is still being processed by the server.");
    assert_eq!(said.body["details"]["retryAfterSeconds"], 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_of_two_budgets_cannot_be_evicted() {
    let world = World::start().await;
    pod(&world, "a", true).await;
    budget(&world, "one", json!({"minAvailable": 1}), counted(1, 2, 1)).await;
    budget(&world, "two", json!({"minAvailable": 1}), counted(1, 2, 1)).await;
    let text =
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.";
    evict(&world, "a").await.refuses(500, text);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_are_not_ready_go_while_enough_others_are_or_always_if_the_budget_says_so() {
    let world = World::start().await;
    pod(&world, "sick", false).await;
    budget(&world, "web", json!({"minAvailable": 2}), counted(0, 1, 2)).await;
    let said = evict(&world, "sick").await;
    refused_by_budget(&said, "The disruption budget web needs 2 healthy pods and has 1 currently");
    let healthy = json!({"status": counted(0, 2, 2)});
    ask(&world, "PATCH", &format!("{BUDGETS}/web/status"), &healthy).await.is(200);
    evict(&world, "sick").await.is(201);
    pod(&world, "worse", false).await;
    let mut always = counted(0, 0, 2);
    always["observedGeneration"] = 2.into();
    let policy = json!({"spec": {"unhealthyPodEvictionPolicy": "AlwaysAllow"}});
    ask(&world, "PATCH", &format!("{BUDGETS}/web"), &policy).await.is(200);
    ask(&world, "PATCH", &format!("{BUDGETS}/web/status"), &json!({"status": always})).await.is(200);
    evict(&world, "worse").await.is(201);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_wait_or_have_ended_are_evicted_whatever_the_budget_says() {
    let world = World::start().await;
    budget(&world, "web", json!({"minAvailable": 5}), counted(0, 0, 5)).await;
    for (name, phase) in [("waits", "Pending"), ("ended", "Succeeded")] {
        pod(&world, name, false).await;
        let status = json!({"status": {"phase": phase}});
        ask(&world, "PATCH", &format!("{PODS}/{name}/status"), &status).await.is(200);
        evict(&world, name).await.is(201);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn evictions_at_the_same_time_do_not_break_a_budget_together() {
    let world = World::start().await;
    let names: Vec<String> = (0..6).map(|number| format!("p{number}")).collect();
    for name in &names {
        pod(&world, name, true).await;
    }
    budget(&world, "web", json!({"minAvailable": 4}), counted(2, 6, 4)).await;
    let evictions = names.iter().map(|name| evict(&world, name));
    let codes: Vec<u16> = futures::future::join_all(evictions).await.iter().map(|said| said.code).collect();
    assert_eq!(codes.iter().filter(|code| **code == 201).count(), 2, "{codes:?}");
    assert_eq!(codes.iter().filter(|code| **code == 429).count(), 4, "{codes:?}");
}
