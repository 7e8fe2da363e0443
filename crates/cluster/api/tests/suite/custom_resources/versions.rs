//! Several versions of a definition, on objects that are there.

use http::StatusCode;
use serde_json::{Value, json};

use super::{condition, define, one_version, until};
use crate::every_kind::calls::{Http, Watch};
use crate::support::World;

const TABS: &str = "/apis/cr.example.com";
const JSON: &str = "application/json";

/// A definition with two versions, one of which is stored; the second one knows a field more.
fn definition(stored: &str, served: [bool; 2]) -> Value {
    let mut definition = one_version("Tab", Value::Null);
    let version = |name: &str, is_served: bool, properties: Value| {
        json!({
            "name": name, "served": is_served, "storage": name == stored,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": properties}}}},
        })
    };
    definition["spec"]["versions"] = json!([
        version("v1", served[0], json!({"color": {"type": "string"}})),
        version(
            "v2",
            served[1],
            json!({"color": {"type": "string"}, "size": {"type": "integer", "default": 3}})
        ),
    ]);
    definition
}

fn path(version: &str, name: &str) -> String {
    format!("{TABS}/{version}/namespaces/default/tabs{}{name}", if name.is_empty() { "" } else { "/" })
}

fn tab(version: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": format!("cr.example.com/{version}"), "kind": "Tab", "metadata": {"name": name}, "spec": spec,
    })
}

/// What the store holds of an object.
async fn stored(world: &World, name: &str) -> Value {
    use hako_store::Store as _;
    let key = format!("/registry/cr.example.com/tabs/default/{name}");
    let entry = world.store.get(key.as_bytes()).await.unwrap().entry.unwrap();
    serde_json::from_slice(&entry.value).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_are_shown_in_every_version_and_kept_in_one() {
    let world = World::start().await;
    let http = Http::new(&world);
    define(&world, &definition("v1", [true, true])).await;
    http.ok("POST", &path("v2", ""), JSON, &tab("v2", "a", json!({"color": "red", "size": 9}))).await;
    assert_eq!(stored(&world, "a").await["apiVersion"], "cr.example.com/v1");
    let one = http.ok("GET", &path("v1", "a"), "", &Value::Null).await;
    assert_eq!((&one["apiVersion"], &one["spec"]), (&json!("cr.example.com/v1"), &json!({"color": "red"})));
    let two = http.ok("GET", &path("v2", ""), "", &Value::Null).await;
    assert_eq!(two["apiVersion"], "cr.example.com/v2");
    assert_eq!(two["items"][0]["apiVersion"], "cr.example.com/v2");
    let group = http.ok("GET", TABS, "", &Value::Null).await;
    assert_eq!(group["preferredVersion"]["version"], "v2");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_stored_version_changes_on_live_objects_and_a_write_moves_them() {
    let world = World::start().await;
    let http = Http::new(&world);
    define(&world, &definition("v1", [true, true])).await;
    let created = http.ok("POST", &path("v1", ""), JSON, &tab("v1", "a", json!({"color": "red"}))).await;
    define(&world, &definition("v2", [true, true])).await;
    until("the new version is kept", async || {
        let name = uuid::Uuid::new_v4().to_string();
        http.ok("POST", &path("v1", ""), JSON, &tab("v1", &name, json!({}))).await;
        stored(&world, &name).await["apiVersion"] == "cr.example.com/v2"
    })
    .await;
    let name = "tabs.cr.example.com";
    assert_eq!(world.definition(name).await["status"]["storedVersions"], json!(["v1", "v2"]));
    let read = http.ok("GET", &path("v1", "a"), "", &Value::Null).await;
    assert_eq!(read, created);
    // A write that changes nothing moves the object.
    http.ok("PUT", &path("v1", "a"), JSON, &read).await;
    assert_eq!(stored(&world, "a").await["apiVersion"], "cr.example.com/v2");
    let still = world.try_kubectl(&["apply", "-f", "-"], &one_of("v2").to_string()).await;
    assert!(!still.0 && still.2.contains("must remain in spec.versions"), "{}", still.2);
    let patch = r#"{"status": {"storedVersions": ["v2"]}}"#;
    world.kubectl(&["patch", "crd", name, "--subresource=status", "--type=merge", "-p", patch]).await;
    world.kubectl_with(&["apply", "-f", "-"], &one_of("v2").to_string()).await;
    until("the old version is gone", async || {
        http.call("GET", &path("v1", "a"), "", &Value::Null).await.0 == StatusCode::NOT_FOUND
    })
    .await;
    let read = http.ok("GET", &path("v2", "a"), "", &Value::Null).await;
    assert_eq!(read["spec"], json!({"color": "red", "size": 3}));
}

/// The definition with one of its versions.
fn one_of(version: &str) -> Value {
    let mut definition = definition(version, [true, true]);
    let versions = definition["spec"]["versions"].as_array_mut().unwrap();
    versions.retain(|it| it["name"] == version);
    definition
}

#[tokio::test(flavor = "multi_thread")]
async fn a_version_that_is_not_served_is_not_there_and_objects_stay() {
    let world = World::start().await;
    let http = Http::new(&world);
    define(&world, &definition("v1", [true, true])).await;
    http.ok("POST", &path("v1", ""), JSON, &tab("v1", "a", json!({"color": "red"}))).await;
    define(&world, &definition("v1", [false, true])).await;
    until("it is gone", async || {
        http.call("GET", &path("v1", "a"), "", &Value::Null).await.0 == StatusCode::NOT_FOUND
    })
    .await;
    let read = http.ok("GET", &path("v2", "a"), "", &Value::Null).await;
    assert_eq!(read["spec"]["color"], "red");
    let found = world.definition("tabs.cr.example.com").await;
    assert_eq!(condition(&found, "Established")["status"], "True");
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_uses_an_old_version_is_warned() {
    let world = World::start().await;
    let mut definition = definition("v2", [true, true]);
    definition["spec"]["versions"][0]["deprecated"] = true.into();
    define(&world, &definition).await;
    let (_, _, warned) = world.try_kubectl(&["get", "tabs.v1.cr.example.com"], "").await;
    assert!(warned.contains("Warning: cr.example.com/v1 Tab is deprecated"), "{warned}");
    let (_, _, quiet) = world.try_kubectl(&["get", "tabs.v2.cr.example.com"], "").await;
    assert!(!quiet.contains("Warning"), "{quiet}");
}

/// Watches a version after a state.
async fn watch_after(http: &Http, version: &str, after: &str) -> Watch {
    Watch::open(http, &format!("{}?watch=1&resourceVersion={after}", path(version, ""))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_while_the_definition_goes_is_told_the_end_of_each_object() {
    let world = World::start().await;
    let http = Http::new(&world);
    define(&world, &definition("v1", [true, true])).await;
    http.ok("POST", &path("v1", ""), JSON, &tab("v1", "a", json!({"color": "red"}))).await;
    let mut held = tab("v1", "held", json!({"color": "blue"}));
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    let made = http.ok("POST", &path("v1", ""), JSON, &held).await;
    let after = made["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watches = [watch_after(&http, "v1", after).await, watch_after(&http, "v2", after).await];
    world.kubectl(&["delete", "crd", "tabs.cr.example.com", "--wait=false"]).await;
    for watch in &mut watches {
        let mut told = Vec::new();
        for _ in 0..2 {
            let (word, object) = watch.next().await;
            told.push(format!("{word} {}", object["metadata"]["name"].as_str().unwrap()));
        }
        told.sort();
        assert_eq!(told, ["DELETED a", "MODIFIED held"]);
    }
    let release = json!({"metadata": {"finalizers": null}});
    http.ok("PATCH", &path("v1", "held"), "application/merge-patch+json", &release).await;
    for watch in &mut watches {
        // Without its finalizer, and then no more.
        let mut words = Vec::new();
        while words.last().is_none_or(|word| word != "DELETED") {
            words.push(watch.next().await.0);
        }
        watch.ends().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_watches_while_versions_change_looks_again_and_misses_nothing() {
    let world = World::start().await;
    let http = Http::new(&world);
    define(&world, &definition("v1", [true, true])).await;
    let made = http.ok("POST", &path("v1", ""), JSON, &tab("v1", "a", json!({"color": "red"}))).await;
    let after = made["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watches = [watch_after(&http, "v1", after).await, watch_after(&http, "v2", after).await];
    // The stored version changes, then one is no longer served, then it is again.
    define(&world, &definition("v2", [true, true])).await;
    for watch in &mut watches {
        watch.ends().await;
    }
    http.ok("POST", &path("v1", ""), JSON, &tab("v1", "b", json!({"color": "blue"}))).await;
    http.ok("POST", &path("v2", ""), JSON, &tab("v2", "c", json!({"color": "green", "size": 5}))).await;
    for (version, sizes) in [("v1", [Value::Null, Value::Null]), ("v2", [json!(3), json!(5)])] {
        let mut watch = watch_after(&http, version, after).await;
        for (name, size) in ["b", "c"].iter().zip(sizes) {
            let (word, object) = watch.next().await;
            assert_eq!((word.as_str(), &object["metadata"]["name"]), ("ADDED", &json!(name)));
            assert_eq!(object["apiVersion"], format!("cr.example.com/{version}"));
            assert_eq!(object["spec"]["size"], size);
        }
    }
    let mut first = watch_after(&http, "v1", after).await;
    define(&world, &definition("v2", [false, true])).await;
    first.ends().await;
    until("it is not served", async || {
        http.call("GET", &path("v1", "a"), "", &Value::Null).await.0 == StatusCode::NOT_FOUND
    })
    .await;
    http.ok("DELETE", &path("v2", "b"), "", &Value::Null).await;
    define(&world, &definition("v2", [true, true])).await;
    until("it is served again", async || {
        http.call("GET", &path("v1", "a"), "", &Value::Null).await.0 == StatusCode::OK
    })
    .await;
    let mut again = watch_after(&http, "v1", after).await;
    let mut told = Vec::new();
    for _ in 0..3 {
        let (word, object) = again.next().await;
        assert_eq!(object["apiVersion"], "cr.example.com/v1");
        told.push(format!("{word} {}", object["metadata"]["name"].as_str().unwrap()));
    }
    assert_eq!(told, ["ADDED b", "ADDED c", "DELETED b"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_of_a_version_that_was_forgotten_is_shown_in_those_there_are() {
    let world = World::start().await;
    let http = Http::new(&world);
    define(&world, &definition("v1", [true, true])).await;
    http.ok("POST", &path("v1", ""), JSON, &tab("v1", "a", json!({"color": "red"}))).await;
    let mut definition = definition("v2", [true, true]);
    define(&world, &definition).await;
    // Somebody says that nothing of it is left, which is not so.
    let lie = r#"{"status": {"storedVersions": ["v2"]}}"#;
    world
        .kubectl(&["patch", "crd", "tabs.cr.example.com", "--subresource=status", "--type=merge", "-p", lie])
        .await;
    definition["spec"]["versions"].as_array_mut().unwrap().remove(0);
    define(&world, &definition).await;
    until("the version is gone", async || {
        http.call("GET", &path("v1", "a"), "", &Value::Null).await.0 == StatusCode::NOT_FOUND
    })
    .await;
    let shown = http.ok("GET", &path("v2", "a"), "", &Value::Null).await;
    let shown_as = (&shown["apiVersion"], &shown["spec"]);
    assert_eq!(shown_as, (&json!("cr.example.com/v2"), &json!({"color": "red", "size": 3})));
    http.ok("PUT", &path("v2", "a"), JSON, &shown).await;
}
