//! Conversion by a webhook, which runs and answers reviews, well or badly.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::StatusCode;
use serde_json::{Value, json};

use super::{define, one_version, until};
use crate::every_kind::calls::{Http, Watch};
use crate::registered::hook_server::{HookServer, Reply, patched};
use crate::registered::webhooks::{hook as registration, register_hooks};
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
        message.contains("conversion webhook for cr.example.com/v1, Kind=Tab failed: not today"),
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

/// How many reviews asked for an object in the second version.
fn reviews(hook: &HookServer, name: &str) -> usize {
    let is_of = |review: &Value| {
        let objects = review["request"]["objects"].as_array().unwrap();
        review["request"]["desiredAPIVersion"] == "cr.example.com/v2"
            && objects.iter().any(|object| object["metadata"]["name"] == name)
    };
    hook.asked().iter().filter(|asked| is_of(&asked.review)).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_converted_once_for_all_who_watch() {
    const WATCHERS: usize = 8;
    let world = World::start().await;
    let http = Http::new(&world);
    let is_well = Arc::new(AtomicBool::new(true));
    let hook = hook(Arc::clone(&is_well)).await;
    define(&world, &definition(&hook)).await;
    let list = http.ok("GET", &path("v2", ""), "", &Value::Null).await;
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watches = Vec::new();
    for at in 0..WATCHERS {
        // Whatever they select by, and in whatever form they want it.
        let selector = if at % 2 == 0 { "" } else { "&labelSelector=by%3Dhook" };
        let query = format!("{}?watch=1&resourceVersion={version}{selector}", path("v2", ""));
        watches.push(Watch::open(&http, &query).await);
    }
    let told = async |watches: &mut Vec<Watch>, word: &str, size: i64| {
        for watch in watches {
            let (told, object) = watch.next().await;
            assert_eq!((told.as_str(), &object["spec"]["size"]), (word, &json!(size)));
        }
    };
    http.ok("POST", &path("v1", ""), JSON, &tab("v1", "a", json!("1"))).await;
    told(&mut watches, "ADDED", 1).await;
    assert_eq!(reviews(&hook, "a"), 1);
    let change = json!({"spec": {"size": "2"}});
    http.ok("PATCH", &path("v1", "a"), "application/merge-patch+json", &change).await;
    told(&mut watches, "MODIFIED", 2).await;
    assert_eq!(reviews(&hook, "a"), 2, "what was before is known");
    // That one failed is told to all who watch, and it is asked again for those who come back.
    is_well.store(false, Ordering::SeqCst);
    let list = http.ok("GET", &path("v1", ""), "", &Value::Null).await;
    http.ok("POST", &path("v1", ""), JSON, &tab("v1", "b", json!("3"))).await;
    for watch in &mut watches {
        let (told, status) = watch.next().await;
        assert_eq!((told.as_str(), &status["code"]), ("ERROR", &json!(500)), "{status}");
    }
    is_well.store(true, Ordering::SeqCst);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let mut again =
        Watch::open(&http, &format!("{}?watch=1&resourceVersion={version}", path("v2", ""))).await;
    let (told, object) = again.next().await;
    assert_eq!((told.as_str(), &object["spec"]["size"]), ("ADDED", &json!(3)));
    // Lists select, as watches do, by what is shown: the label is the webhook's.
    for (by, count) in [("hook", 2), ("nobody", 0)] {
        let query = format!("{}?labelSelector=by%3D{by}", path("v2", ""));
        let list = http.ok("GET", &query, "", &Value::Null).await;
        assert_eq!(list["items"].as_array().unwrap().len(), count, "{by}");
    }
    let metrics = world.kubectl(&["get", "--raw", "/metrics"]).await;
    for line in [
        "apiserver_conversion_webhook_request_total{failure_type=\"\",result=\"success\"}",
        "apiserver_conversion_webhook_request_total{failure_type=\"conversion_webhook_malformed_response_failure\",result=\"failure\"}",
    ] {
        assert!(metrics.contains(line), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn admission_sees_and_changes_objects_in_the_version_it_asks_for() {
    let world = World::start().await;
    let http = Http::new(&world);
    let server = HookServer::start(|path, review| {
        if path != "convert" {
            return patched(&json!([{"op": "replace", "path": "/spec/size", "value": 6}]));
        }
        let wanted = review["request"]["desiredAPIVersion"].as_str().unwrap();
        let objects = review["request"]["objects"].as_array().unwrap().iter();
        let objects: Vec<Value> = objects.map(|object| converted(object, wanted)).collect();
        Reply::Response(json!({"result": {"status": "Success"}, "convertedObjects": objects}))
    })
    .await;
    define(&world, &definition(&server)).await;
    let rules = json!({"rules": [{
        "apiGroups": ["cr.example.com"], "apiVersions": ["v2"], "operations": ["CREATE"], "resources": ["tabs"],
    }]});
    register_hooks(&world, "Mutating", "sizes", &[registration(&server, "sizes", rules)]).await;
    let made = http.ok("POST", &path("v1", ""), JSON, &tab("v1", "a", json!("5"))).await;
    assert_eq!((&made["apiVersion"], &made["spec"]["size"]), (&json!("cr.example.com/v1"), &json!("6")));
    let asked = server.asked();
    let review = asked.iter().find(|asked| asked.path.starts_with("sizes")).unwrap();
    let request = &review.review["request"];
    assert_eq!(
        (&request["kind"]["version"], &request["requestKind"]["version"]),
        (&json!("v2"), &json!("v1"))
    );
    assert_eq!(
        (&request["object"]["apiVersion"], &request["object"]["spec"]["size"]),
        (&json!("cr.example.com/v2"), &json!(5))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_is_not_what_was_asked_for_fails_the_request_and_says_how() {
    let world = World::start().await;
    let http = Http::new(&world);
    let fault = Arc::new(parking_lot::Mutex::new("none"));
    let kind = Arc::clone(&fault);
    let hook = HookServer::start(move |_, review| {
        let wanted = review["request"]["desiredAPIVersion"].as_str().unwrap();
        let objects = review["request"]["objects"].as_array().unwrap().iter();
        let mut objects: Vec<Value> = objects.map(|object| converted(object, wanted)).collect();
        match *kind.lock() {
            "order" => objects.reverse(),
            "fewer" => drop(objects.pop()),
            "version" => objects[0]["apiVersion"] = "cr.example.com/v9".into(),
            "kind" => objects[0]["kind"] = "Other".into(),
            "uid" => objects[0]["metadata"]["uid"] = "other".into(),
            "type" => objects[0] = json!("text"),
            "rubbish" => return Reply::Raw("200 OK".to_owned(), b"{".to_vec()),
            "code" => return Reply::Raw("500 Internal Server Error".to_owned(), b"on fire".to_vec()),
            "close" => return Reply::Close,
            _ => {}
        }
        Reply::Response(json!({"result": {"status": "Success"}, "convertedObjects": objects}))
    })
    .await;
    define(&world, &definition(&hook)).await;
    for (name, size) in [("a", "1"), ("b", "2")] {
        http.ok("POST", &path("v1", ""), JSON, &tab("v1", name, json!(size))).await;
    }
    for (kind, why) in [
        ("order", "returned invalid converted object at index 0: must have the same name: a != b"),
        ("fewer", "returned 1 objects, expected 2"),
        (
            "version",
            "at index 0: invalid groupVersion (expected cr.example.com/v2, received cr.example.com/v9)",
        ),
        ("kind", "at index 0: invalid kind"),
        ("uid", "at index 0: must have the same UID"),
        ("type", "at index 0: invalid groupVersion"),
        ("rubbish", "EOF while parsing"),
        ("code", "an error on the server (\"on fire\") has prevented the request from succeeding"),
        ("close", "Post \"https://"),
    ] {
        *fault.lock() = kind;
        let (code, status) = http.call("GET", &path("v2", ""), "", &Value::Null).await;
        assert_eq!(code, StatusCode::INTERNAL_SERVER_ERROR, "{kind}: {status}");
        let message = status["message"].as_str().unwrap();
        let head = "conversion webhook for cr.example.com/v1, Kind=Tab ";
        assert!(message.contains(head), "{message}");
        assert!(message.contains(why), "{kind}: {message}");
    }
    *fault.lock() = "none";
    let list = http.ok("GET", &path("v2", ""), "", &Value::Null).await;
    let sizes: Vec<&Value> = list["items"].as_array().unwrap().iter().map(|it| &it["spec"]["size"]).collect();
    assert_eq!(sizes, [&json!(1), &json!(2)]);
}
