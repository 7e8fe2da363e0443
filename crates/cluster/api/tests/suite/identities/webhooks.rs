//! Webhooks that say whose token it is, and who may do what.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hako_api::ExternalOptions;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{call, elsewhere, webhook_config, whoami};
use crate::support::World;

/// A webhook at a path, and how often it was asked.
async fn webhook(answer: impl Fn(&Value) -> Value + Send + Sync + 'static) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/review?x=y", listener.local_addr().unwrap().port());
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let reply: elsewhere::Answer = Arc::new(move |path, review| {
        assert_eq!(path, "/review?x=y");
        count.fetch_add(1, Ordering::Relaxed);
        let mut review = review;
        review["status"] = answer(&review["spec"]);
        (200, review)
    });
    elsewhere::serve(listener, None, reply);
    (url, asked)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_says_whose_token_it_is_and_is_asked_once() {
    let dir = tempfile::tempdir().unwrap();
    let (url, asked) = webhook(|spec| match spec["token"].as_str().unwrap() {
        "good" => json!({"authenticated": true, "user": {"username": "jane", "uid": "7", "groups": ["dev"], "extra": {"a": ["b"]}}}),
        "elsewhere" => json!({"authenticated": true, "user": {"username": "jane"}, "audiences": ["other"]}),
        _ => json!({"authenticated": false, "error": "never heard of it"}),
    })
    .await;
    let options =
        ExternalOptions { token_webhook: Some(webhook_config(&dir, &url)), ..ExternalOptions::default() };
    let world = World::start_external(&options).await;
    for _ in 0..3 {
        let (code, user) = whoami(&world, None, Some("good"), &[]).await;
        let wanted = json!({"username": "jane", "uid": "7", "groups": ["dev", "system:authenticated"], "extra": {"a": ["b"]}});
        assert_eq!((code, user), (201, wanted));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(whoami(&world, None, Some("bad"), &[]).await.0, 401);
    assert_eq!(whoami(&world, None, Some("elsewhere"), &[]).await.0, 401, "it is for another audience");
    let review =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "spec": {"token": "good"}});
    let answer = world.kubectl_with(&["create", "-o", "json", "-f", "-"], &review.to_string()).await;
    let answer: Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["status"]["user"]["username"], "jane", "reviews ask it too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_allows_what_roles_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let (url, asked) = webhook(|spec| {
        let wanted = &spec["resourceAttributes"];
        let is_fine =
            spec["user"] == "jane" && wanted["verb"] == "list" && wanted["resource"] == "configmaps";
        json!({"allowed": is_fine, "reason": if is_fine { "" } else { "not on my watch" }})
    })
    .await;
    let options =
        ExternalOptions { access_webhook: Some(webhook_config(&dir, &url)), ..ExternalOptions::default() };
    let world = World::start_external(&options).await;
    let jane = world.pki.client("jane", &[]).unwrap();
    let jane = Some((jane.certificate.as_str(), jane.key.as_str()));
    let list = async |plural: &'static str| {
        let path = format!("/api/v1/namespaces/default/{plural}");
        call(&world, jane, None, &[], ("GET", &path), None).await
    };
    assert_eq!(list("configmaps").await.0, 200);
    let before = asked.load(Ordering::Relaxed);
    assert_eq!(list("configmaps").await.0, 200);
    assert_eq!(asked.load(Ordering::Relaxed), before, "the answer is good for a while");
    let (code, status) = list("secrets").await;
    assert_eq!(code, 403);
    assert!(status["message"].as_str().unwrap().ends_with(": not on my watch"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_is_not_there_lets_nobody_in() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://127.0.0.1:{}/review", listener.local_addr().unwrap().port());
    drop(listener);
    let config = webhook_config(&dir, &url);
    let options = ExternalOptions {
        token_webhook: Some(config.clone()),
        access_webhook: Some(config),
        ..ExternalOptions::default()
    };
    let world = World::start_external(&options).await;
    assert_eq!(whoami(&world, None, Some("good"), &[]).await.0, 401);
    let jane = world.pki.client("jane", &[]).unwrap();
    let path = "/api/v1/namespaces/default/secrets";
    let (code, _) = call(&world, Some((&jane.certificate, &jane.key)), None, &[], ("GET", path), None).await;
    assert_eq!(code, 403);
}
