//! Who owns which field of an object that is written in several versions.

use http::StatusCode;
use serde_json::{Value, json};

use super::{define, one_version};
use crate::every_kind::calls::Http;
use crate::registered::hook_server::{HookServer, Reply};
use crate::support::World;

const APPLY: &str = "application/apply-patch+yaml";

/// A definition whose first version has a size as a text, and the second one a count as a number.
fn definition(hook: &HookServer) -> Value {
    let mut definition = one_version("Tab", Value::Null);
    let version = |name: &str, properties: Value| {
        json!({
            "name": name, "served": true, "storage": name == "v1",
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": properties}}}},
        })
    };
    let color = json!({"type": "string"});
    definition["spec"]["versions"] = json!([
        version("v1", json!({"color": color, "size": {"type": "string"}})),
        version("v2", json!({"color": color, "count": {"type": "integer"}})),
    ]);
    definition["spec"]["conversion"] = json!({
        "strategy": "Webhook",
        "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": hook.client_config("convert")},
    });
    definition
}

fn converted(object: &Value, wanted: &str) -> Value {
    let mut object = object.clone();
    object["apiVersion"] = wanted.into();
    if let Some(spec) = object["spec"].as_object_mut() {
        if let Some(size) = spec.remove("size") {
            spec.insert("count".to_owned(), size.as_str().unwrap().parse::<i64>().unwrap().into());
        } else if let Some(count) = spec.remove("count") {
            spec.insert("size".to_owned(), count.to_string().into());
        }
    }
    object
}

async fn hook() -> HookServer {
    HookServer::start(|_, review| {
        let wanted = review["request"]["desiredAPIVersion"].as_str().unwrap();
        let objects = review["request"]["objects"].as_array().unwrap().iter();
        let objects: Vec<Value> = objects.map(|object| converted(object, wanted)).collect();
        Reply::Response(json!({"result": {"status": "Success"}, "convertedObjects": objects}))
    })
    .await
}

/// Applies in a version, as somebody.
async fn apply(http: &Http, version: &str, manager: &str, spec: Value) -> (StatusCode, Value) {
    let path = format!("/apis/cr.example.com/{version}/namespaces/default/tabs/a?fieldManager={manager}");
    let object = json!({
        "apiVersion": format!("cr.example.com/{version}"), "kind": "Tab", "metadata": {"name": "a"}, "spec": spec,
    });
    http.call("PATCH", &path, APPLY, &object).await
}

/// Manager, version and fields of the spec of each entry.
fn owners(object: &Value) -> Vec<(String, String, Value)> {
    let entries = object["metadata"]["managedFields"].as_array().cloned().unwrap_or_default();
    let text = |entry: &Value, name: &str| entry[name].as_str().unwrap_or("").to_owned();
    let of = |entry: &Value| {
        let version = text(entry, "apiVersion").rsplit('/').next().unwrap().to_owned();
        (text(entry, "manager"), version, entry["fieldsV1"]["f:spec"].clone())
    };
    entries.iter().map(of).collect()
}

fn entry(manager: &str, version: &str, fields: &[&str]) -> (String, String, Value) {
    let fields = fields.iter().map(|name| (format!("f:{name}"), json!({}))).collect();
    (manager.to_owned(), version.to_owned(), Value::Object(fields))
}

#[tokio::test(flavor = "multi_thread")]
async fn fields_belong_to_managers_in_the_version_in_which_they_write() {
    let world = World::start().await;
    let http = Http::new(&world);
    let hook = hook().await;
    define(&world, &definition(&hook)).await;
    let (code, made) = apply(&http, "v1", "one", json!({"size": "7", "color": "red"})).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let (code, said) = apply(&http, "v2", "two", json!({"count": 8})).await;
    assert_eq!(code, StatusCode::CONFLICT, "{said}");
    let message = said["message"].as_str().unwrap();
    assert!(message.ends_with("conflict with \"one\": .spec.size"), "{message}");
    let (code, shared) = apply(&http, "v2", "two", json!({"count": 7})).await;
    assert_eq!(code, StatusCode::OK, "{shared}");
    // Who changed nothing has no time, and comes before all others.
    let wanted = [entry("two", "v2", &["count"]), entry("one", "v1", &["color", "size"])];
    assert_eq!(owners(&shared), wanted);
    // Whoever moves to another version takes along what he applied, and what he leaves out goes.
    let (code, moved) = apply(&http, "v2", "one", json!({"count": 7})).await;
    assert_eq!((code, &moved["spec"]), (StatusCode::OK, &json!({"count": 7})), "{moved}");
    let mut found = owners(&moved);
    found.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(found, [entry("one", "v2", &["count"]), entry("two", "v2", &["count"])]);
    // What one owns whom the other version lets go of stays with the other.
    let (code, left) = apply(&http, "v2", "one", json!({"color": "blue"})).await;
    assert_eq!((code, &left["spec"]), (StatusCode::OK, &json!({"color": "blue", "count": 7})), "{left}");
    // A write that is no application takes fields from those who own them in the other version.
    let path = "/apis/cr.example.com/v1/namespaces/default/tabs/a";
    let change = json!({"spec": {"size": "9"}});
    let merge = "application/merge-patch+json";
    let changed = http.ok("PATCH", &format!("{path}?fieldManager=three"), merge, &change).await;
    let wanted = [entry("one", "v2", &["color"]), entry("three", "v1", &["size"])];
    assert_eq!(owners(&changed), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_of_a_version_that_is_gone_owns_nothing_any_more() {
    let world = World::start().await;
    let http = Http::new(&world);
    let hook = hook().await;
    let mut all = definition(&hook);
    for version in all["spec"]["versions"].as_array_mut().unwrap() {
        version["storage"] = (version["name"] == "v2").into();
    }
    define(&world, &all).await;
    apply(&http, "v1", "one", json!({"size": "7", "color": "red"})).await;
    all["spec"]["versions"].as_array_mut().unwrap().remove(0);
    define(&world, &all).await;
    super::until("the version is gone", async || {
        let path = "/apis/cr.example.com/v1/namespaces/default/tabs";
        http.call("GET", path, "", &Value::Null).await.0 == StatusCode::NOT_FOUND
    })
    .await;
    let (code, taken) = apply(&http, "v2", "two", json!({"count": 8})).await;
    assert_eq!(code, StatusCode::OK, "{taken}");
    assert_eq!(owners(&taken), [entry("two", "v2", &["count"])]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_of_the_program_has_owners_in_each_of_its_versions_too() {
    let world = World::start().await;
    let http = Http::new(&world);
    let send = async |version: &str, manager: &str, own: Value| {
        let path = format!(
            "/apis/autoscaling/{version}/namespaces/default/horizontalpodautoscalers/a?fieldManager={manager}"
        );
        let mut spec = json!({"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}, "maxReplicas": 3});
        spec.as_object_mut().unwrap().extend(own.as_object().unwrap().clone());
        let object = json!({
            "apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler",
            "metadata": {"name": "a"}, "spec": spec,
        });
        http.call("PATCH", &path, APPLY, &object).await
    };
    let (code, made) = send("v1", "one", json!({"targetCPUUtilizationPercentage": 50})).await;
    assert_eq!(code, StatusCode::CREATED, "{made}");
    let metrics = |percent: u32| json!({"metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}}]});
    let (code, said) = send("v2", "two", metrics(60)).await;
    assert_eq!(code, StatusCode::CONFLICT, "{said}");
    let message = said["message"].as_str().unwrap();
    assert!(message.ends_with("conflict with \"one\": .spec.targetCPUUtilizationPercentage"), "{message}");
    let (code, shared) = send("v2", "two", metrics(50)).await;
    assert_eq!(code, StatusCode::OK, "{shared}");
    let versions: Vec<String> = owners(&shared).into_iter().map(|(_, version, _)| version).collect();
    assert_eq!(versions, ["v2", "v1"]);
}

/// A definition whose objects have a list of items and a map that are shared as it says.
fn sharing(list: &Value, map: &str) -> Value {
    let text = json!({"type": "string"});
    let mut items = json!({
        "type": "array",
        "items": {"type": "object", "required": ["name"], "properties": {"name": text, "value": text}},
    });
    items.as_object_mut().unwrap().extend(list.as_object().unwrap().clone());
    let texts = json!({
        "type": "object", "additionalProperties": text, "x-kubernetes-map-type": map,
    });
    one_version(
        "Tab",
        json!({"type": "object", "properties": {
            "spec": {"type": "object", "properties": {"items": items, "texts": texts}}}}),
    )
}

/// Changes how the list and the map are shared, and waits until that is told.
async fn share(world: &World, http: &Http, definition: &Value, list_type: &str) {
    let name = definition["metadata"]["name"].as_str().unwrap();
    let path = format!("/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}");
    let patch = json!({"spec": {"versions": definition["spec"]["versions"]}});
    http.ok("PATCH", &path, "application/merge-patch+json", &patch).await;
    super::until("the other type is served", async || {
        let text = world.kubectl(&["get", "--raw", "/openapi/v3/apis/cr.example.com/v1"]).await;
        let document: Value = serde_json::from_str(&text).unwrap();
        let schemas = document["components"]["schemas"].as_object().unwrap();
        let told = "/properties/spec/properties/items/x-kubernetes-list-type";
        schemas.values().any(|schema| schema.pointer(told) == Some(&json!(list_type)))
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_owns_parts_of_a_list_or_map_owns_it_all_when_the_definition_makes_it_one_and_back() {
    let world = World::start().await;
    let http = Http::new(&world);
    let parts = sharing(
        &json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}),
        "granular",
    );
    let whole = sharing(&json!({"x-kubernetes-list-type": "atomic"}), "atomic");
    define(&world, &parts).await;
    let spec = |name: &str| json!({"items": [{"name": name, "value": "x"}], "texts": {name: "x"}});
    for name in ["one", "two"] {
        assert!(apply(&http, "v1", name, spec(name)).await.0.is_success());
    }
    share(&world, &http, &whole, "atomic").await;
    let (code, said) = apply(&http, "v1", "one", spec("one")).await;
    assert_eq!(code, StatusCode::CONFLICT, "{said}");
    let mut fields: Vec<&str> = said["details"]["causes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|cause| cause["field"].as_str().unwrap())
        .collect();
    fields.sort_unstable();
    assert_eq!(fields, [".spec.items", ".spec.texts"]);
    let path = "/apis/cr.example.com/v1/namespaces/default/tabs/a";
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let labelled = http.ok("PATCH", path, "application/merge-patch+json", &label).await;
    let all = owners(&labelled);
    for name in ["one", "two"] {
        assert!(all.contains(&entry(name, "v1", &["items", "texts"])), "{all:?}");
    }
    let same = labelled["spec"].clone();
    assert_eq!(same["items"].as_array().unwrap().len(), 2);

    share(&world, &http, &parts, "map").await;
    // One gives up its own, and two has the whole of what there was.
    let (code, said) = apply(&http, "v1", "one", spec("one")).await;
    assert_eq!((code, &said["spec"]), (StatusCode::OK, &same), "{said}");
    let (code, said) = apply(&http, "v1", "two", spec("two")).await;
    assert_eq!((code, &said["spec"]), (StatusCode::OK, &same), "{said}");
    let (code, said) = apply(&http, "v1", "two", spec("three")).await;
    let names = |said: &Value| -> Vec<String> {
        said["spec"]["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!((code, names(&said)), (StatusCode::OK, vec!["one".to_owned(), "three".to_owned()]), "{said}");
}
