//! Bindings and the states of components: kinds of which nothing is kept.

use std::time::{Duration, Instant};

use hako_api::Identity;
use http::StatusCode;
use k8s_openapi::api::core::v1::{Node, Pod};
use serde_json::{Value, json};

use crate::contract::{from, pod};
use crate::support::World;
use crate::writes::{ask, ask_as};

const BINDINGS: &str = "/api/v1/namespaces/default/bindings";

#[tokio::test(flavor = "multi_thread")]
async fn a_binding_names_its_pod_and_puts_it_on_a_node_once() {
    let world = World::start().await;
    world.inside().all::<Node>().create(&from(json!({"metadata": {"name": "n1"}}))).await.unwrap();
    world.inside().namespaced::<Pod>("default").create(&pod("p")).await.unwrap();
    let binding = |name: &str, target: Value| json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": name}, "target": target});
    let node = json!({"kind": "Node", "name": "n1"});
    for (target, text) in [
        (json!({"kind": "Node"}), "Binding \"p\" is invalid: target.name: Required value"),
        (
            json!({"kind": "Pod", "name": "n1"}),
            "target.kind: Unsupported value: \"Pod\": supported values: \"Node\", \"<empty>\"",
        ),
    ] {
        ask(&world, "POST", BINDINGS, &binding("p", target.clone())).await.refuses(422, text);
        let of_pod = "/api/v1/namespaces/default/pods/p/binding";
        ask(&world, "POST", of_pod, &binding("p", target)).await.refuses(422, text);
    }
    let none = ask(&world, "POST", BINDINGS, &binding("none", node.clone())).await;
    none.refuses(404, "pods \"none\" not found");
    let dry = format!("{BINDINGS}?dryRun=All");
    ask(&world, "POST", &dry, &binding("p", node.clone())).await.is(201);
    let said = ask(&world, "POST", BINDINGS, &binding("p", node.clone())).await.is(201);
    assert_eq!((&said["kind"], &said["status"]), (&json!("Status"), &json!("Success")));
    let there = ask(&world, "GET", "/api/v1/namespaces/default/pods/p", &Value::Null).await.is(200);
    assert_eq!(there["spec"]["nodeName"], "n1");
    let again = ask(&world, "POST", BINDINGS, &binding("p", node)).await;
    again.refuses(409, "pod p is already assigned to node \"n1\"");
    ask(&world, "GET", BINDINGS, &Value::Null).await.refuses(405, "does not allow this method");
}

#[tokio::test(flavor = "multi_thread")]
async fn components_are_healthy_while_they_work_through_the_server() {
    let world = World::start().await;
    let scheduler = world.server.client(Identity::component("system:kube-scheduler"));
    let shown = world.kubectl(&["get", "cs"]).await;
    let line = |name: &str, shown: &str| {
        let line = shown.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(line("NAME", &shown), "NAME STATUS MESSAGE ERROR");
    assert_eq!(line("etcd-0", &shown), "etcd-0 Healthy ok");
    assert_eq!(line("scheduler", &shown), "scheduler Healthy ok");
    let absent = "controller-manager Unhealthy it is not connected to this API server";
    assert_eq!(line("controller-manager", &shown), absent);
    drop(scheduler);
    let began = Instant::now();
    while line("scheduler", &world.kubectl(&["get", "componentstatuses"]).await).contains(" Healthy") {
        assert!(began.elapsed() < Duration::from_secs(20), "it is gone");
    }
    let one = ask(&world, "GET", "/api/v1/componentstatuses/etcd-0", &Value::Null).await.is(200);
    assert_eq!(one["conditions"], json!([{"type": "Healthy", "status": "True", "message": "ok"}]));
    let none = ask(&world, "GET", "/api/v1/componentstatuses/none", &Value::Null).await;
    none.refuses(404, "componentstatuses \"none\" not found");
    let selected = "/api/v1/componentstatuses?fieldSelector=metadata.name=scheduler";
    let list = ask(&world, "GET", selected, &Value::Null).await.is(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 1, "{list}");
    let kind = "application/json";
    let made = ask_as(&world, "POST", "/api/v1/componentstatuses", kind, &one).await;
    made.refuses(StatusCode::METHOD_NOT_ALLOWED.as_u16(), "does not allow this method");
}
