//! Conversion by a webhook, which runs and answers reviews, well or badly.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use serde_json::{Value, json};

use super::{define, one_version, until};
use crate::every_kind::calls::{Http, Watch};
use crate::registered::hook_server::{HookServer, Reply};
use crate::support::World;

const JSON: &str = "application/json";

/// A definition whose first version has the size of a tab as a text and the second one as a number.
fn definition(hook: &HookServer) -> Value {
    let mut definition = one_version("Tab", Value::Null);
    let version = |name: &str, is_stored: bool, kind: &str| {
        json!({
            "name": name, "served": true, "storage": is_stored,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"size": {"type": kind}}}}}},
        })
    };
    definition["spec"]["versions"] = json!([version("v1", true, "string"), version("v2", false, "integer")]);
    definition["spec"]["conversion"] = json!({
        "strategy": "Webhook",
        "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": hook.client_config("convert")},
    });
    definition
}

fn converted(object: &Value, wanted: &str) -> Value {
    let mut object = object.clone();
    let size = match &object["spec"]["size"] {
        Value::String(text) => json!(text.parse::<i64>().unwrap()),
        number => json!(number.to_string()),
    };
    object["spec"]["size"] = size;
    object["apiVersion"] = wanted.into();
    object["metadata"]["generation"] = 77.into();
    object["metadata"]["labels"]["by"] = "hook".into();
    object
}

/// A webhook that converts as long as it is well.
async fn hook(is_well: Arc<AtomicBool>) -> HookServer {
    HookServer::start(move |_, review| {
        if !is_well.load(Ordering::SeqCst) {
            return Reply::Response(json!({"result": {"status": "Failure", "message": "not today"}}));
        }
        let wanted = review["request"]["desiredAPIVersion"].as_str().unwrap();
        let objects = review["request"]["objects"].as_array().unwrap().iter();
        let objects: Vec<Value> = objects.map(|object| converted(object, wanted)).collect();
        Reply::Response(json!({"result": {"status": "Success"}, "convertedObjects": objects}))
    })
    .await
}

fn path(version: &str, name: &str) -> String {
    let slash = if name.is_empty() { "" } else { "/" };
    format!("/apis/cr.example.com/{version}/namespaces/default/tabs{slash}{name}")
}

fn tab(version: &str, name: &str, size: Value) -> Value {
    json!({
        "apiVersion": format!("cr.example.com/{version}"), "kind": "Tab", "metadata": {"name": name},
        "spec": {"size": size},
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_read_written_listed_and_watched_through_a_webhook() {
    let world = World::start().await;
    let http = Http::new(&world);
    let is_well = Arc::new(AtomicBool::new(true));
    let hook = hook(Arc::clone(&is_well)).await;
    define(&world, &definition(&hook)).await;
    let created = http.ok("POST", &path("v2", ""), JSON, &tab("v2", "a", json!(7))).await;
    assert_eq!((&created["apiVersion"], &created["spec"]["size"]), (&json!("cr.example.com/v2"), &json!(7)));
    let one = http.ok("GET", &path("v1", "a"), "", &Value::Null).await;
    assert_eq!((&one["spec"]["size"], &one["metadata"]["generation"]), (&json!("7"), &json!(1)));
    assert_eq!(one["metadata"]["labels"]["by"], "hook");
    let version = one["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch =
        Watch::open(&http, &format!("{}?watch=1&resourceVersion={version}", path("v2", ""))).await;
    http.ok("POST", &path("v1", ""), JSON, &tab("v1", "b", json!("8"))).await;
    let (word, object) = watch.next().await;
    assert_eq!((word.as_str(), &object["spec"]["size"]), ("ADDED", &json!(8)));
    let list = http.ok("GET", &path("v2", ""), "", &Value::Null).await;
    let sizes: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|it| &it["spec"]["size"]).collect();
    assert_eq!(sizes, [&json!(7), &json!(8)]);
    // A page is converted by one review.
    let together = hook
        .asked()
        .iter()
        .any(|asked| asked.review["request"]["objects"].as_array().is_some_and(|objects| objects.len() == 2));
    assert!(together);
    let change = json!({"spec": {"size": 9}});
    let changed = http.ok("PATCH", &path("v2", "a"), "application/merge-patch+json", &change).await;
    assert_eq!((&changed["spec"]["size"], &changed["metadata"]["generation"]), (&json!(9), &json!(2)));
    is_well.store(false, Ordering::SeqCst);
    let (code, status) = http.call("GET", &path("v2", "a"), "", &Value::Null).await;
    assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR, "{status}");
    let message = status["message"].as_str().unwrap();
    assert!(
        message.contains("conversion webhook for cr.example.com/v2, Kind=Tab failed: not today"),
        "{message}"
    );
    // What needs no conversion is not harmed, and the definition can be taken away.
    http.ok("GET", &path("v1", "a"), "", &Value::Null).await;
    world.kubectl(&["delete", "crd", "tabs.cr.example.com"]).await;
    until("it is gone", async || {
        http.call("GET", &path("v1", ""), "", &Value::Null).await.0 == StatusCode::NOT_FOUND
    })
    .await;
}
