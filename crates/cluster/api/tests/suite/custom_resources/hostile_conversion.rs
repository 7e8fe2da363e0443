//! Conversion webhooks that answer slowly, wrongly, twice or never, or ask for what they are asked about.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use hako_client::{DynamicApi, ResourceType};
use http::StatusCode;
use serde_json::{Value, json};

use super::{define, one_version};
use crate::every_kind::calls::Http;
use crate::registered::hook_server::{HookServer, Reply};
use crate::support::World;

const JSON: &str = "application/json";

/// A definition with two versions of anything, between which the webhook converts.
fn definition(hook: &HookServer) -> Value {
    let mut definition = one_version("Tab", Value::Null);
    let version = |name: &str| {
        json!({
            "name": name, "served": true, "storage": name == "v1",
            "schema": {"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
        })
    };
    definition["spec"]["versions"] = json!([version("v1"), version("v2")]);
    definition["spec"]["conversion"] = json!({
        "strategy": "Webhook",
        "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": hook.client_config("convert")},
    });
    definition
}

fn path(version: &str, name: &str) -> String {
    let slash = if name.is_empty() { "" } else { "/" };
    format!("/apis/cr.example.com/{version}/namespaces/default/tabs{slash}{name}")
}

fn tab(name: &str) -> Value {
    json!({"apiVersion": "cr.example.com/v1", "kind": "Tab", "metadata": {"name": name}})
}

fn converted(review: &Value) -> Vec<Value> {
    let wanted = &review["request"]["desiredAPIVersion"];
    let objects = review["request"]["objects"].as_array().unwrap().iter();
    objects
        .map(|object| {
            let mut object = object.clone();
            object["apiVersion"] = wanted.clone();
            object
        })
        .collect()
}

fn success(objects: Vec<Value>) -> Value {
    json!({"result": {"status": "Success"}, "convertedObjects": objects})
}

/// What the object's name asks the webhook to do wrong.
fn badly(review: &Value) -> Reply {
    let mut objects = converted(review);
    let one = &mut objects[0];
    let name = one["metadata"]["name"].as_str().unwrap().to_owned();
    match name.as_str() {
        "version" => one["apiVersion"] = "cr.example.com/v3".into(),
        "kind" => one["kind"] = "Tub".into(),
        "renamed" => one["metadata"]["name"] = "other".into(),
        "moved" => one["metadata"]["namespace"] = "kube-system".into(),
        "identity" => one["metadata"]["uid"] = "other".into(),
        "labels" => one["metadata"]["labels"] = json!({"a": ["b"]}),
        "text" => *one = "text".into(),
        "nothing" => objects.clear(),
        "more" => objects = vec![objects[0].clone(), objects[0].clone()],
        "uid" => return Reply::Response(json!({"uid": "other", "result": {"status": "Success"}})),
        "silent" => return Reply::Response(json!({"result": {}, "convertedObjects": objects})),
        "garbage" => return Reply::Raw("200 OK".into(), b"<html>".to_vec()),
        "deep" => return Reply::Raw("200 OK".into(), [vec![b'['; 100_000], vec![b']'; 100_000]].concat()),
        "large" => return Reply::Raw("200 OK".into(), vec![b' '; 9 << 20]),
        "error" => return Reply::Raw("500 Internal Server Error".into(), b"oh no".to_vec()),
        "redirect" => return Reply::Raw("302 Found\r\nlocation: /good".into(), Vec::new()),
        "close" => return Reply::Close,
        "never" => return Reply::Never,
        "twice" => return Reply::Twice(success(objects.clone()), success(objects)),
        _ => {}
    }
    Reply::Response(success(objects))
}

const FAULTS: [(&str, &str); 18] = [
    ("version", "invalid groupVersion (expected cr.example.com/v2, received cr.example.com/v3)"),
    ("kind", "invalid kind (expected Tab, received Tub)"),
    ("renamed", "must have the same name"),
    ("moved", "must have the same namespace"),
    ("identity", "must have the same UID"),
    ("labels", "metadata.labels[a] must be a string in converted object"),
    ("text", "invalid groupVersion"),
    ("nothing", "returned 0 objects, expected 1"),
    ("more", "returned 2 objects, expected 1"),
    ("uid", "expected response.uid="),
    ("silent", "response.result.status was '', not 'Success'"),
    ("garbage", "expected value at line 1 column 1"),
    ("deep", "recursion limit exceeded"),
    ("large", "the answer is longer than 8388608 bytes"),
    ("error", "an error on the server (\"oh no\") has prevented the request from succeeding"),
    ("redirect", "redirects are not followed"),
    ("close", "connection"),
    ("never", "?timeout=30s\": context deadline exceeded"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_a_conversion_webhook_does_wrong_is_told_and_harms_nobody_else() {
    let world = World::start().await;
    let http = Http::new(&world);
    let hook = HookServer::start(|_, review| badly(review)).await;
    define(&world, &definition(&hook)).await;
    for name in FAULTS.iter().map(|(name, _)| *name).chain(["twice", "good"]) {
        http.ok("POST", &path("v1", ""), JSON, &tab(name)).await;
    }
    let all = FAULTS.map(|(name, expected)| {
        let http = &http;
        async move {
            let (code, status) = http.call("GET", &path("v2", name), "", &Value::Null).await;
            assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR, "{name}: {status}");
            let message = status["message"].as_str().unwrap();
            let begins = "conversion webhook for cr.example.com/v1, Kind=Tab ";
            assert!(message.contains(begins) && message.contains(expected), "{name}: {message}");
        }
    });
    let others = async {
        for name in ["twice", "good", "twice", "good"] {
            let one = http.ok("GET", &path("v2", name), "", &Value::Null).await;
            assert_eq!(
                (&one["metadata"]["name"], &one["apiVersion"]),
                (&json!(name), &json!("cr.example.com/v2"))
            );
        }
        http.ok("GET", &path("v1", "never"), "", &Value::Null).await;
        world.kubectl(&["create", "configmap", "unharmed"]).await;
    };
    tokio::join!(futures::future::join_all(all), others);
    // What is stored is as it was.
    assert_eq!(
        http.ok("GET", &path("v1", ""), "", &Value::Null).await["items"].as_array().unwrap().len(),
        20
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_conversion_that_asks_for_itself_comes_to_an_end() {
    let world = World::start().await;
    let http = Http::new(&world);
    let inner: Arc<OnceLock<DynamicApi>> = Arc::default();
    let (begun, before) = (Arc::new(AtomicUsize::new(0)), Arc::new(OnceLock::new()));
    let (asked, counts) = (Arc::clone(&inner), (begun, Arc::clone(&before)));
    let hook = HookServer::start(move |_, review| {
        counts.0.fetch_add(1, Ordering::SeqCst);
        // It reads the object in the version that it is asked to make, and gives up at last. Until the first one does so
        // no call has ended.
        let read = async {
            let mut read = std::pin::pin!(asked.get().unwrap().get("a"));
            let outcome = tokio::time::timeout(Duration::from_secs(5), read.as_mut()).await;
            counts.1.get_or_init(|| counts.0.load(Ordering::SeqCst));
            outcome
        };
        let read = tokio::task::block_in_place(|| tokio::runtime::Handle::current().block_on(read));
        let is_read = read.is_ok_and(|read| read.is_ok());
        let result = if is_read { "Success" } else { "Failure" };
        Reply::Response(json!({
            "result": {"status": result, "message": "it could not be read"}, "convertedObjects": converted(review),
        }))
    })
    .await;
    let kind = ResourceType::new("cr.example.com", "v2", "tabs");
    assert!(inner.set(world.outside().dynamic(&kind, Some("default"))).is_ok());
    define(&world, &definition(&hook)).await;
    http.ok("POST", &path("v1", ""), JSON, &tab("a")).await;
    let looped = async {
        let (code, status) = http.call("GET", &path("v2", "a"), "", &Value::Null).await;
        assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR, "{status}");
        let message = status["message"].as_str().unwrap();
        assert!(message.contains("conversion webhook for cr.example.com/v1, Kind=Tab failed"), "{message}");
    };
    let others = async {
        http.ok("GET", &path("v1", "a"), "", &Value::Null).await;
        world.kubectl(&["create", "configmap", "unharmed"]).await;
    };
    tokio::join!(looped, others);
    let most: usize = *before.get().unwrap();
    assert!(most <= 256, "{most} calls were under way at once");
}
