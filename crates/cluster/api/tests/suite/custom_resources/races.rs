//! What happens at once: creations while the definition goes, and definitions that wish for the same names.

use std::sync::Arc;
use std::time::Duration;

use hako_store::{Range, Store as _};
use http::StatusCode;
use parking_lot::{Condvar, Mutex};
use serde_json::{Value, json};

use super::{condition, define, one_version, until};
use crate::every_kind::calls::Http;
use crate::registered::hook_server::{HookServer, Reply};
use crate::registered::webhooks::{hook, register_hooks};
use crate::support::World;

const JSON: &str = "application/json";
const TABS: &str = "/apis/cr.example.com/v1/namespaces/default/tabs";
const NAME: &str = "tabs.cr.example.com";

/// What holds reviews up until it is opened.
#[derive(Default)]
struct Gate(Mutex<bool>, Condvar);

impl Gate {
    fn wait(&self) {
        let mut is_open = self.0.lock();
        while !*is_open {
            let timed_out = self.1.wait_for(&mut is_open, Duration::from_secs(60)).timed_out();
            assert!(!timed_out, "the gate is opened");
        }
    }

    fn open(&self) {
        *self.0.lock() = true;
        self.1.notify_all();
    }
}

/// A world in which every creation of a tab named `late` waits in a webhook until the gate is opened.
async fn held_up() -> (World, Http, HookServer, Arc<Gate>) {
    let world = World::start().await;
    let http = Http::new(&world);
    let schema = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    define(&world, &one_version("Tab", schema)).await;
    let gate = Arc::new(Gate::default());
    let opened = Arc::clone(&gate);
    let server = HookServer::start(move |_, _| {
        tokio::task::block_in_place(|| opened.wait());
        Reply::Response(json!({"allowed": true}))
    })
    .await;
    let rules = json!([{"apiGroups": ["cr.example.com"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["tabs"]}]);
    let selector = json!({"matchLabels": {"held": "up"}});
    let held =
        hook(&server, "gate", json!({"rules": rules, "objectSelector": selector, "timeoutSeconds": 30}));
    register_hooks(&world, "Validating", "gate", &[held]).await;
    (world, http, server, gate)
}

fn tab(name: &str, metadata: Value) -> Value {
    let mut tab = json!({"apiVersion": "cr.example.com/v1", "kind": "Tab", "metadata": metadata});
    tab["metadata"]["name"] = name.into();
    tab
}

/// Begins a creation that waits in the webhook.
async fn begin(world: &World, server: &HookServer) -> tokio::task::JoinHandle<(StatusCode, Value)> {
    let http = Http::new(world);
    let late = tab("late", json!({"labels": {"held": "up"}}));
    let creation = tokio::spawn(async move { http.call("POST", TABS, JSON, &late).await });
    until("the creation is under way", async || !server.asked().is_empty()).await;
    creation
}

/// How many objects of the kind are stored.
async fn stored(world: &World) -> usize {
    let range = Range::all(b"/registry/cr.example.com/tabs/".to_vec());
    world.store.range(range).await.unwrap().entries.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_creation_that_was_admitted_before_its_definition_went_leaves_nothing() {
    let (world, http, server, gate) = held_up().await;
    let creation = begin(&world, &server).await;
    world.kubectl(&["delete", "crd", NAME]).await;
    until("the definition is gone", async || !world.try_kubectl(&["get", "crd", NAME], "").await.0).await;
    gate.open();
    let (code, status) = creation.await.unwrap();
    assert_eq!(code, StatusCode::NOT_FOUND, "{status}");
    assert_eq!(stored(&world).await, 0);
    define(&world, &one_version("Tab", json!({"type": "object"}))).await;
    assert_eq!(http.ok("GET", TABS, "", &Value::Null).await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_creation_under_another_definition_of_the_name_leaves_nothing() {
    let (world, http, server, gate) = held_up().await;
    let creation = begin(&world, &server).await;
    world.kubectl(&["delete", "crd", NAME]).await;
    until("the definition is gone", async || !world.try_kubectl(&["get", "crd", NAME], "").await.0).await;
    define(&world, &one_version("Tab", json!({"type": "object", "required": ["spec"]}))).await;
    gate.open();
    let (code, status) = creation.await.unwrap();
    assert_eq!(code, StatusCode::NOT_FOUND, "{status}");
    assert_eq!(http.ok("GET", TABS, "", &Value::Null).await["items"], json!([]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_creation_while_the_definition_waits_for_others_is_refused_and_holds_nothing_up() {
    let (world, http, server, gate) = held_up().await;
    http.ok("POST", TABS, JSON, &tab("held", json!({"finalizers": ["example.com/hold"]}))).await;
    let creation = begin(&world, &server).await;
    world.kubectl(&["delete", "crd", NAME, "--wait=false"]).await;
    until("it waits", async || {
        condition(&world.definition(NAME).await, "Terminating")["reason"] == "InstanceDeletionInProgress"
    })
    .await;
    gate.open();
    let (code, status) = creation.await.unwrap();
    assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED, "{status}");
    assert_eq!(status["message"], "create not allowed while custom resource definition is terminating");
    assert_eq!(stored(&world).await, 1);
    let free = json!({"metadata": {"finalizers": null}});
    http.ok("PATCH", &format!("{TABS}/held"), "application/merge-patch+json", &free).await;
    until("the definition is gone", async || !world.try_kubectl(&["get", "crd", NAME], "").await.0).await;
    assert_eq!(stored(&world).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_creation_that_was_admitted_before_its_namespace_went_leaves_nothing() {
    const SPACE: &str = "/api/v1/namespaces/gone";
    let (world, http, server, gate) = held_up().await;
    let space = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "gone"}});
    let made = http.ok("POST", "/api/v1/namespaces", JSON, &space).await;
    let late = tab("late", json!({"labels": {"held": "up"}}));
    let path = TABS.replace("default", "gone");
    let creation = {
        let http = Http::new(&world);
        tokio::spawn(async move { http.call("POST", &path, JSON, &late).await })
    };
    until("the creation is under way", async || !server.asked().is_empty()).await;
    http.ok("DELETE", SPACE, "", &Value::Null).await;
    let mut ended = made;
    ended["spec"]["finalizers"] = json!([]);
    ended["metadata"]["resourceVersion"] = "".into();
    http.ok("PUT", &format!("{SPACE}/finalize"), JSON, &ended).await;
    until("the namespace is gone", async || {
        http.call("GET", SPACE, "", &Value::Null).await.0 == StatusCode::NOT_FOUND
    })
    .await;
    gate.open();
    let (code, status) = creation.await.unwrap();
    assert_eq!((code, &status["message"]), (StatusCode::NOT_FOUND, &json!("namespaces \"gone\" not found")));
    assert_eq!(stored(&world).await, 0);
}

/// A definition that wishes for the kind `Tab` and the short name `t` under a plural of its own.
fn rival(at: usize) -> Value {
    let mut definition = one_version("Tab", json!({"type": "object"}));
    let plural = format!("tabs{at}");
    definition["metadata"]["name"] = format!("{plural}.cr.example.com").into();
    definition["spec"]["names"] =
        json!({"plural": plural, "singular": format!("tab{at}"), "kind": "Tab", "shortNames": ["t"]});
    definition
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// The plurals that are served under the kind `Tab`.
async fn served(http: &Http) -> Vec<String> {
    let (code, list) = http.call("GET", "/apis/cr.example.com/v1", "", &Value::Null).await;
    if code == StatusCode::NOT_FOUND {
        return Vec::new();
    }
    let resources = list["resources"].as_array().unwrap().iter();
    resources.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_those_who_wish_for_a_name_at_once_one_has_it_and_the_next_one_follows() {
    const RIVALS: usize = 6;
    let world = World::start().await;
    let http = Http::new(&world);
    let all = (0..RIVALS).map(|at| {
        let http = &http;
        async move { http.ok("POST", DEFINITIONS, JSON, &rival(at)).await }
    });
    futures::future::join_all(all).await;
    for left in (1..=RIVALS).rev() {
        until("one is served, and all say how they stand", async || {
            let now = served(&http).await;
            assert!(now.len() <= 1, "{now:?}");
            let list = http.ok("GET", DEFINITIONS, "", &Value::Null).await;
            let items = list["items"].as_array().unwrap();
            let are = |kind: &str, status: &str| {
                items.iter().filter(|it| condition(it, kind)["status"] == status).count()
            };
            now.len() == 1 && are("Established", "True") == 1 && are("NamesAccepted", "False") == left - 1
        })
        .await;
        let now = served(&http).await;
        let list = http.ok("GET", DEFINITIONS, "", &Value::Null).await;
        for one in list["items"].as_array().unwrap() {
            let is_it = one["spec"]["names"]["plural"] == now[0].as_str();
            let accepted = &one["status"]["acceptedNames"]["kind"];
            assert_eq!(accepted == "Tab", is_it, "{one}");
        }
        http.ok("DELETE", &format!("{DEFINITIONS}/{}.cr.example.com", now[0]), "", &Value::Null).await;
    }
    until("nothing is served", async || served(&http).await.is_empty()).await;
}
