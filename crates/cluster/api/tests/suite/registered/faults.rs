//! Webhooks that are down, slow, wrong, or never come to an end.

use serde_json::{Value, json};

use super::hook_server::{HookServer, Reply, allowed, patched};
use super::webhooks::{hook, register_hooks};
use super::{configmap, create, until};
use crate::support::World;

/// What a webhook answers badly, by path, and what is said of it.
const FAULTS: [(&str, &str); 13] = [
    ("uid", "received invalid webhook response: expected response.uid="),
    (
        "kind",
        "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
    ),
    ("absent", "received invalid webhook response: webhook response was absent"),
    ("garbage", "json parse error"),
    ("empty", "json parse error"),
    ("patch", "received undecodable patch in webhook response"),
    ("type", "received invalid webhook response: unsupported patch type \"Strategic\""),
    (
        "error",
        "failed to call webhook: an error on the server (\"oh no\") has prevented the request from succeeding",
    ),
    ("missing", "failed to call webhook: the server could not find the requested resource"),
    ("redirect", "redirects are not followed"),
    ("large", "the answer is longer than 8388608 bytes"),
    ("never", "?timeout=1s\": context deadline exceeded"),
    ("close", "connection"),
];

fn badly(path: &str, _: &Value) -> Reply {
    let json = |value: Value| Reply::Raw("200 OK".into(), value.to_string().into_bytes());
    let review = |response: Value| json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response});
    match path {
        "uid" => json(review(json!({"uid": "other", "allowed": true}))),
        "kind" => Reply::Response(json!({"allowed": true})),
        "absent" => json(json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview"})),
        "garbage" => Reply::Raw("200 OK".into(), b"<html>".to_vec()),
        "empty" => Reply::Raw("200 OK".into(), Vec::new()),
        "patch" => Reply::Response(json!({"allowed": true, "patch": "e30x", "patchType": "JSONPatch"})),
        "type" => Reply::Response(json!({"allowed": true, "patch": "W10=", "patchType": "Strategic"})),
        "error" => Reply::Raw("500 Internal Server Error".into(), b"oh no".to_vec()),
        "missing" => Reply::Raw("404 Not Found".into(), Vec::new()),
        "redirect" => Reply::Raw("302 Found\r\nlocation: /allowed".into(), Vec::new()),
        "large" => Reply::Raw("200 OK".into(), vec![b' '; 9 << 20]),
        "never" => Reply::Never,
        "close" => Reply::Close,
        _ => allowed(),
    }
}

/// The answer to `kind` without its names.
fn unnamed(path: &str, review: &Value) -> Reply {
    if path == "kind" {
        let answer = json!({"response": {"uid": review["request"]["uid"], "allowed": true}});
        return Reply::Raw("200 OK".into(), answer.to_string().into_bytes());
    }
    badly(path, review)
}

/// One webhook for each fault, about the ConfigMap that is labelled with it.
fn hooks(server: &HookServer, policy: &str) -> Vec<Value> {
    let one = |(name, _): &(&str, &str)| {
        let change = json!({
            "failurePolicy": policy, "timeoutSeconds": 1, "objectSelector": {"matchLabels": {"fault": name}},
        });
        hook(server, name, change)
    };
    FAULTS.iter().map(one).collect()
}

async fn try_each(world: &World, kind: &str) -> Vec<Option<String>> {
    let mut all = Vec::new();
    for (name, _) in FAULTS {
        let mut object = configmap(&format!("{name}-{kind}"), json!({}));
        object["metadata"]["labels"] = json!({"fault": name});
        let api = super::configmaps(world);
        all.push(
            api.create(&object, &hako_client::WriteOptions::default()).await.err().map(|it| it.to_string()),
        );
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_webhook_does_wrong_is_its_failure_and_is_told() {
    let world = World::start().await;
    let server = HookServer::start(unnamed).await;
    register_hooks(&world, "Mutating", "m", &hooks(&server, "Fail")).await;
    for ((name, text), error) in FAULTS.iter().zip(try_each(&world, "fail").await) {
        let error = error.unwrap_or_default();
        let begins = format!("Internal error occurred: failed calling webhook \"{name}.example.com\": ");
        assert!(error.contains(&begins) && error.contains(text), "{name}: {error}");
    }
    create(&world, "unharmed", json!({})).await.unwrap();
    let metrics = world.kubectl(&["get", "--raw", "/metrics"]).await;
    let line = "apiserver_admission_webhook_rejection_count{error_type=\"calling_webhook_error\",rejection_code=\"500\",\
                name=\"error.example.com\",operation=\"CREATE\",type=\"admit\"} 1";
    assert!(metrics.contains(line), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_does_not_matter_where_the_policy_ignores_it() {
    let world = World::start().await;
    let server = HookServer::start(unnamed).await;
    register_hooks(&world, "Mutating", "m", &hooks(&server, "Ignore")).await;
    for ((name, _), error) in FAULTS.iter().zip(try_each(&world, "ignore").await) {
        assert_eq!(error, None, "{name}");
    }
    let metrics = world.kubectl(&["get", "--raw", "/metrics"]).await;
    assert!(metrics.contains(
        "apiserver_admission_webhook_fail_open_count{name=\"never.example.com\",type=\"admit\"} 1"
    ));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_down_stops_what_it_is_about_and_not_its_repair() {
    let world = World::start().await;
    let server = HookServer::start(|_, _| allowed()).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let gone = listener.local_addr().unwrap();
    drop(listener);
    let everything =
        json!([{"apiGroups": ["*"], "apiVersions": ["*"], "operations": ["*"], "resources": ["*/*"]}]);
    let down = json!({
        "rules": everything, "clientConfig": {"url": format!("https://{gone}/x"), "caBundle": server.ca},
    });
    register_hooks(&world, "Validating", "all", &[hook(&server, "down", down)]).await;
    let error = create(&world, "x", json!({})).await.unwrap_err().to_string();
    let text = format!(
        "failed calling webhook \"down.example.com\": failed to call webhook: Post \"https://{gone}/x?timeout=10s\": "
    );
    assert!(error.contains(&text) && error.contains("refused"), "{error}");
    let (done, _, error) =
        world.try_kubectl(&["delete", "configmap", "kube-root-ca.crt", "--ignore-not-found"], "").await;
    assert!(done || error.contains("failed calling webhook"), "{error}");
    // Whoever repairs it has to get at its registration.
    world.kubectl(&["annotate", "validatingwebhookconfiguration", "all", "a=b"]).await;
    world.kubectl(&["delete", "validatingwebhookconfiguration", "all"]).await;
    super::settled(&world).await;
    create(&world, "x", json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_of_somebody_else_is_not_believed() {
    let world = World::start().await;
    let (server, other) =
        (HookServer::start(|_, _| allowed()).await, HookServer::start(|_, _| allowed()).await);
    let client = json!({"url": format!("https://{}/x", server.address), "caBundle": other.ca});
    register_hooks(&world, "Validating", "v", &[hook(&server, "foreign", json!({"clientConfig": client}))])
        .await;
    let error = create(&world, "x", json!({})).await.unwrap_err().to_string();
    assert!(error.contains("invalid peer certificate"), "{error}");
    assert!(server.asked().is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn patches_that_do_not_apply_or_leave_nothing_are_refused() {
    let world = World::start().await;
    let server = HookServer::start(|path, _| {
        patched(&match path {
            "missing" => json!([{"op": "remove", "path": "/data/nothing"}]),
            "scalar" => json!([{"op": "replace", "path": "", "value": 7}]),
            "list" => json!([{"op": "replace", "path": "", "value": [7]}]),
            "wrong" => json!([{"op": "add", "path": "/data", "value": {"a": {"b": "c"}}}]),
            "bomb" => (0..40)
                .map(|at| json!({"op": "copy", "from": "/data", "path": format!("/data/{at}")}))
                .collect(),
            "many" => {
                Value::Array(vec![json!({"op": "test", "path": "/kind", "value": "ConfigMap"}); 10_001])
            }
            _ => json!([]),
        })
    })
    .await;
    let names = ["missing", "scalar", "list", "wrong", "bomb", "many"];
    let one = |name: &&str| hook(&server, name, json!({"objectSelector": {"matchLabels": {"patch": name}}}));
    register_hooks(&world, "Mutating", "m", &names.iter().map(one).collect::<Vec<_>>()).await;
    for (name, text) in names.iter().zip([
        "remove operation",
        "leaves neither object nor list",
        "left no object",
        "cannot be handled",
        "copies more than",
        "the allowed maximum operations",
    ]) {
        let mut object = configmap(name, json!({"a": "x".repeat(1000)}));
        object["metadata"]["labels"] = json!({"patch": name});
        let error = super::configmaps(&world).create(&object, &hako_client::WriteOptions::default()).await;
        let error = error.unwrap_err().to_string();
        assert!(error.contains("Internal error occurred: ") && error.contains(text), "{name}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_longer_than_the_request_says() {
    let world = World::start().await;
    let server = HookServer::start(|_, _| Reply::Never).await;
    register_hooks(&world, "Validating", "v", &[hook(&server, "never", json!({"timeoutSeconds": 30}))]).await;
    let raw = configmap("x", json!({})).to_string();
    let path = "/api/v1/namespaces/default/configmaps?timeout=1s";
    let (done, _, error) = world.try_kubectl(&["create", "--raw", path, "-f", "-"], &raw).await;
    // Of the two that end it, the call and the request, either may come first.
    let is_told =
        error.contains("context deadline exceeded") || error.contains("within the allotted timeout");
    assert!(!done && is_told, "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_too_many_is_nobodys() {
    let world = World::start().await;
    let server =
        HookServer::start(|_, _| Reply::Twice(json!({"allowed": true}), json!({"allowed": false}))).await;
    register_hooks(&world, "Validating", "v", &[hook(&server, "twice", json!({}))]).await;
    for name in ["a", "b", "c", "d"] {
        // Where it is taken for the answer of the next request, it is seen to be none.
        if let Err(error) = create(&world, name, json!({})).await {
            assert!(error.to_string().contains("expected response.uid="), "{name}: {error}");
        }
    }
    assert!(server.asked().len() >= 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_definition_says_how_it_stands_as_soon_as_a_webhook_lets_it() {
    let world = World::start().await;
    let server = HookServer::start(|_, _| Reply::Response(json!({"allowed": false}))).await;
    let rules = json!([{
        "apiGroups": ["apiextensions.k8s.io"], "apiVersions": ["v1"], "operations": ["UPDATE"],
        "resources": ["customresourcedefinitions/status"],
    }]);
    register_hooks(&world, "Validating", "v", &[hook(&server, "no", json!({"rules": rules}))]).await;
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tabs.registered.example.com"},
        "spec": {
            "group": "registered.example.com", "scope": "Cluster", "names": {"plural": "tabs", "kind": "Tab"},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}},
            }],
        },
    });
    world.kubectl_with(&["create", "-f", "-"], &definition.to_string()).await;
    until("the refusal", async || server.asked().len(), |asked| *asked > 0).await;
    let found = world.kubectl_json(&["get", "crd", "tabs.registered.example.com", "-o", "json"]).await;
    assert!(found["status"]["conditions"].as_array().is_none_or(Vec::is_empty), "{found}");
    // Nothing about the definition changes from now on.
    world.kubectl(&["delete", "validatingwebhookconfiguration", "v"]).await;
    world
        .kubectl(&["wait", "--for=condition=Established", "--timeout=60s", "crd/tabs.registered.example.com"])
        .await;
}
