//! What is in the reviews of a conversion webhook, how much at once, and what is kept of its answers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::{condition, define, one_version, until};
use crate::every_kind::calls::Http;
use crate::registered::hook_server::{HookServer, Reply};
use crate::support::World;

const JSON: &str = "application/json";

/// A definition with two versions of one schema, kept as the first one.
fn definition(hook: &HookServer, review_versions: &[&str]) -> Value {
    let mut definition = one_version("Tab", Value::Null);
    let version = |name: &str| {
        json!({
            "name": name, "served": true, "storage": name == "v1",
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {
                "spec": {"type": "object", "properties": {
                    "text": {"type": "string"}, "usual": {"type": "string", "default": format!("of {name}")},
                }},
            }}},
        })
    };
    definition["spec"]["versions"] = json!([version("v1"), version("v2")]);
    definition["spec"]["conversion"] = json!({
        "strategy": "Webhook",
        "webhook": {"conversionReviewVersions": review_versions, "clientConfig": hook.client_config("convert")},
    });
    definition
}

fn path(version: &str, name: &str) -> String {
    let slash = if name.is_empty() { "" } else { "/" };
    format!("/apis/cr.example.com/{version}/namespaces/default/tabs{slash}{name}")
}

fn tab(version: &str, name: &str, text: &str) -> Value {
    json!({
        "apiVersion": format!("cr.example.com/{version}"), "kind": "Tab", "metadata": {"name": name},
        "spec": {"text": text},
    })
}

fn converted(review: &Value) -> Vec<Value> {
    let convert = |object: &Value| {
        let mut object = object.clone();
        object["apiVersion"] = review["request"]["desiredAPIVersion"].clone();
        object
    };
    review["request"]["objects"].as_array().unwrap().iter().map(convert).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_that_is_longer_than_an_answer_may_be_is_converted_in_several_reviews() {
    const OBJECTS: usize = 10;
    let world = World::start().await;
    let http = Http::new(&world);
    let hook = HookServer::start(|_, review| {
        let objects = converted(review);
        Reply::Response(json!({"result": {"status": "Success"}, "convertedObjects": objects}))
    })
    .await;
    define(&world, &definition(&hook, &["v1"])).await;
    let text = "x".repeat(900 << 10);
    for at in 0..OBJECTS {
        http.ok("POST", &path("v1", ""), JSON, &tab("v1", &format!("a{at:02}"), &text)).await;
    }
    let list = http.ok("GET", &path("v2", ""), "", &Value::Null).await;
    let items = list["items"].as_array().unwrap();
    let names: Vec<&str> = items.iter().map(|item| item["metadata"]["name"].as_str().unwrap()).collect();
    assert_eq!(names, (0..OBJECTS).map(|at| format!("a{at:02}")).collect::<Vec<_>>());
    assert!(items.iter().all(|item| item["apiVersion"] == "cr.example.com/v2"));
    let longest = hook.asked().iter().map(|asked| asked.review.to_string().len()).max().unwrap();
    assert!(longest < 2 << 20, "{longest}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_webhook_makes_of_an_object_to_keep_is_pruned_and_defaulted_as_that_version_says() {
    let world = World::start().await;
    let http = Http::new(&world);
    let hook = HookServer::start(|_, review| {
        let mut objects = converted(review);
        for object in &mut objects {
            object["unknown"] = 1.into();
            object["spec"]["unknown"] = 1.into();
            object["spec"].as_object_mut().unwrap().shift_remove("usual");
        }
        Reply::Response(json!({"result": {"status": "Success"}, "convertedObjects": objects}))
    })
    .await;
    define(&world, &definition(&hook, &["v1"])).await;
    let made = http.ok("POST", &path("v2", ""), JSON, &tab("v2", "a", "b")).await;
    assert_eq!(made["spec"], json!({"text": "b", "usual": "of v2"}));
    let change = json!({"metadata": {"labels": {"a": "b"}}});
    for step in ["created", "changed"] {
        let kept = http.ok("GET", &path("v1", "a"), "", &Value::Null).await;
        assert_eq!(kept["spec"], json!({"text": "b", "usual": "of v1"}), "{step}");
        assert!(kept.get("unknown").is_none(), "{step}");
        http.ok("PATCH", &path("v2", "a"), "application/merge-patch+json", &change).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_form_of_reviews_that_a_webhook_takes_and_the_server_knows_is_spoken() {
    let world = World::start().await;
    let http = Http::new(&world);
    // It answers as those of the older form may: without saying to which review.
    let hook = HookServer::start(|_, review| {
        let mut answer =
            json!({"response": {"result": {"status": "Success"}, "convertedObjects": converted(review)}});
        if review["apiVersion"] == "apiextensions.k8s.io/v1" {
            answer["apiVersion"] = review["apiVersion"].clone();
            answer["kind"] = "ConversionReview".into();
            answer["response"]["uid"] = review["request"]["uid"].clone();
        }
        Reply::Raw("200 OK".to_owned(), answer.to_string().into_bytes())
    })
    .await;
    for (versions, spoken) in
        [(&["v1beta1"][..], "v1beta1"), (&["v1beta1", "v1"], "v1beta1"), (&["v9", "v1", "v1beta1"], "v1")]
    {
        define(&world, &definition(&hook, versions)).await;
        let wanted = format!("apiextensions.k8s.io/{spoken}");
        until(&wanted, async || {
            let name = uuid::Uuid::new_v4().to_string();
            let made = http.ok("POST", &path("v2", ""), JSON, &tab("v2", &name, "b")).await;
            assert_eq!(made["apiVersion"], "cr.example.com/v2");
            let asked = hook.asked();
            let last = asked.iter().rev().find(|asked| asked.review.to_string().contains(&name)).unwrap();
            assert_eq!(last.review["kind"], "ConversionReview");
            last.review["apiVersion"] == wanted
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_that_goes_says_which_object_cannot_and_the_others_do() {
    let world = World::start().await;
    let http = Http::new(&world);
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let hook = HookServer::start(move |_, review| {
        if !well.load(Ordering::SeqCst) && review.to_string().contains("\"stuck\"") {
            return Reply::Response(json!({"result": {"status": "Failure", "message": "no way"}}));
        }
        Reply::Response(json!({"result": {"status": "Success"}, "convertedObjects": converted(review)}))
    })
    .await;
    let mut definition = definition(&hook, &["v1"]);
    define(&world, &definition).await;
    for name in ["a", "stuck", "z"] {
        http.ok("POST", &path("v1", ""), JSON, &tab("v1", name, "b")).await;
    }
    for at in 0..2 {
        definition["spec"]["versions"][at]["storage"] = json!(at == 1);
    }
    define(&world, &definition).await;
    let name = "tabs.cr.example.com";
    world.kubectl(&["delete", "crd", name, "--wait=false"]).await;
    until("it says what is wrong", async || {
        let found = world.definition(name).await;
        let said = condition(&found, "Terminating");
        let wanted = "could not issue all deletes: Internal error occurred: conversion webhook for cr.example.com/v1, \
                      Kind=Tab failed: no way";
        (&said["reason"], &said["message"]) == (&json!("InstanceDeletionFailed"), &json!(wanted))
    })
    .await;
    let left = http.ok("GET", &path("v1", ""), "", &Value::Null).await;
    let left: Vec<&Value> =
        left["items"].as_array().unwrap().iter().map(|it| &it["metadata"]["name"]).collect();
    assert_eq!(left, ["stuck"]);
    is_well.store(true, Ordering::SeqCst);
    world.kubectl(&["wait", "--for=delete", "--timeout=60s", &format!("crd/{name}")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_whose_webhook_nobody_could_trust_is_served_once_somebody_can() {
    let world = World::start().await;
    let hook = HookServer::start(|_, _| Reply::Close).await;
    let good = definition(&hook, &["v1"]);
    let mut bad = good.clone();
    bad["spec"]["conversion"]["webhook"]["clientConfig"]["caBundle"] = "bm90IGEgY2VydGlmaWNhdGU=".into();
    world.kubectl_with(&["apply", "-f", "-"], &bad.to_string()).await;
    let name = "tabs.cr.example.com";
    until("it says what is wrong", async || {
        let found = world.definition(name).await;
        let said = condition(&found, "Established");
        (&said["status"], &said["reason"]) == (&json!("False"), &json!("InvalidCABundle"))
    })
    .await;
    define(&world, &good).await;
    let (done, _, error) = world.try_kubectl(&["apply", "-f", "-"], &bad.to_string()).await;
    let refused = "spec.conversion.webhookClientConfig.caBundle: Invalid value: \"17 bytes\": unable to load root \
                   certificates: unable to parse bytes as PEM block";
    assert!(!done && error.contains(refused), "{error}");
}
