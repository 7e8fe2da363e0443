//! Tokens of service accounts: issued, used, judged, and ended with what they are bound to.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hako_client::DeleteOptions;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use serde_json::{Value, json};

use crate::contract::pod;
use crate::support::World;
use crate::writes::ask;

async fn account(world: &World, name: &str) {
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": name}})).unwrap();
    world.inside().namespaced::<ServiceAccount>("default").create(&account).await.unwrap();
}

/// kubectl with nothing but a token.
async fn with_token(world: &World, token: &str, arguments: &[&str]) -> (bool, String, String) {
    let ca = world.dir.path().join("ca.crt");
    std::fs::write(&ca, world.pki.ca()).unwrap();
    let ca = ca.to_str().unwrap();
    let all =
        [&["--server", &world.url, "--certificate-authority", ca, "--token", token], arguments].concat();
    world.try_kubectl_in(&all, &[("KUBECONFIG", "/dev/null")]).await
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap()
}

async fn review(world: &World, token: &str, audiences: Value) -> Value {
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview",
        "spec": {"token": token, "audiences": audiences},
    });
    let out = world.kubectl_with(&["create", "-o", "json", "-f", "-"], &review.to_string()).await;
    serde_json::from_str::<Value>(&out).unwrap()["status"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_lets_its_account_in_and_says_what_upstreams_say() {
    let world = World::start().await;
    account(&world, "robot").await;
    let token = world.kubectl(&["create", "token", "robot", "--duration", "10m"]).await.trim().to_owned();
    let said = claims(&token);
    assert_eq!(said["sub"], "system:serviceaccount:default:robot");
    assert_eq!(said["aud"], json!(["https://kubernetes.default.svc.cluster.local"]));
    assert_eq!(said["exp"].as_i64().unwrap() - said["iat"].as_i64().unwrap(), 600);
    assert_eq!(said["kubernetes.io"]["serviceaccount"]["name"], "robot");
    let (worked, out, error) = with_token(&world, &token, &["auth", "whoami", "-o", "json"]).await;
    assert!(worked, "{error}");
    let who: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(who["status"]["userInfo"]["username"], "system:serviceaccount:default:robot");
    assert_eq!(
        who["status"]["userInfo"]["groups"],
        json!(["system:serviceaccounts", "system:serviceaccounts:default", "system:authenticated"])
    );
    let (worked, _, error) = with_token(&world, &token, &["get", "pods"]).await;
    assert!(!worked && error.contains("User \"system:serviceaccount:default:robot\" cannot list"), "{error}");
    let (worked, ..) = with_token(&world, &token, &["get", "--raw", "/openid/v1/jwks"]).await;
    assert!(worked);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_token_is_unauthorized_and_not_anonymous() {
    let world = World::start().await;
    account(&world, "robot").await;
    let token = world.kubectl(&["create", "token", "robot"]).await.trim().to_owned();
    let (head, rest) = token.split_once('.').unwrap();
    let (body, signature) = rest.split_once('.').unwrap();
    let mut forged = claims(&token);
    forged["sub"] = "system:serviceaccount:kube-system:root".into();
    let forged = URL_SAFE_NO_PAD.encode(forged.to_string());
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"JWT"}"#);
    for bad in [
        "x".to_owned(),
        format!("{head}.{forged}.{signature}"),
        format!("{none}.{body}."),
        format!("{head}.{body}.{}", "A".repeat(86)),
        "a".repeat(60_000),
    ] {
        let (worked, _, error) = with_token(&world, &bad, &["get", "--raw", "/version"]).await;
        assert!(!worked && error.contains("Unauthorized"), "{bad:.40}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_ends_with_its_pod_and_with_its_account() {
    let world = World::start().await;
    account(&world, "robot").await;
    let mut bound = pod("p");
    bound.spec.as_mut().unwrap().service_account_name = Some("robot".into());
    let pods = world.inside().namespaced::<Pod>("default");
    pods.create(&bound).await.unwrap();
    let flags = ["create", "token", "robot", "--bound-object-kind", "Pod", "--bound-object-name", "p"];
    let token = world.kubectl(&flags).await.trim().to_owned();
    let free = world.kubectl(&["create", "token", "robot"]).await.trim().to_owned();
    let status = review(&world, &token, json!([])).await;
    assert_eq!(status["authenticated"], true);
    assert_eq!(status["user"]["extra"]["authentication.kubernetes.io/pod-name"], json!(["p"]));
    let now = DeleteOptions { grace_period_seconds: Some(0), ..DeleteOptions::default() };
    pods.delete("p", &now).await.unwrap();
    let status = review(&world, &token, json!([])).await;
    assert!(
        status["authenticated"] != true && status["error"].as_str().unwrap().contains("is gone"),
        "{status}"
    );
    assert_eq!(review(&world, &free, json!([])).await["authenticated"], true);
    let accounts = world.inside().namespaced::<ServiceAccount>("default");
    accounts.delete("robot", &DeleteOptions::default()).await.unwrap();
    account(&world, "robot").await;
    let status = review(&world, &free, json!([])).await;
    assert!(status["authenticated"] != true, "an account of the same name is another one: {status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_good_for_its_audience_alone() {
    let world = World::start().await;
    account(&world, "robot").await;
    let token = world.kubectl(&["create", "token", "robot", "--audience", "vault"]).await.trim().to_owned();
    let status = review(&world, &token, json!(["vault", "other"])).await;
    assert_eq!((&status["authenticated"], &status["audiences"]), (&json!(true), &json!(["vault"])));
    assert_ne!(review(&world, &token, json!([])).await["authenticated"], true);
    let (worked, _, error) = with_token(&world, &token, &["get", "--raw", "/version"]).await;
    assert!(!worked && error.contains("Unauthorized"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_tokens_are_held_to_what_they_may_ask() {
    let world = World::start().await;
    account(&world, "robot").await;
    for (flags, wanted) in [
        (&["--duration", "1m"][..], "may not specify a duration less than 10 minutes"),
        (&["--bound-object-kind", "Pod", "--bound-object-name", "none"], "pods \"none\" not found"),
    ] {
        let (worked, _, error) =
            world.try_kubectl(&[&["create", "token", "robot"][..], flags].concat(), "").await;
        assert!(!worked && error.contains(wanted), "{error}");
    }
    world.inside().namespaced::<Pod>("default").create(&pod("p")).await.unwrap();
    let flags = ["create", "token", "robot", "--bound-object-kind", "Pod", "--bound-object-name", "p"];
    let (worked, _, error) = world.try_kubectl(&flags, "").await;
    assert!(!worked && error.contains("different serviceaccount name"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_requests_for_tokens_say_of_the_account_and_what_binds_them_has_to_hold() {
    let world = World::start().await;
    account(&world, "robot").await;
    world.inside().namespaced::<Pod>("default").create(&pod("p")).await.unwrap();
    let path = "/api/v1/namespaces/default/serviceaccounts/robot/token";
    let bound = |kind: &str, version: &str| json!({"boundObjectRef": {"kind": kind, "apiVersion": version, "name": "p", "uid": "u"}});
    for (metadata, spec, code, why) in [
        (
            json!({"name": "other"}),
            json!({}),
            422,
            "TokenRequest.authentication.k8s.io \"robot\" is invalid: metadata.name: Invalid value: \"other\": must match the \
             service account name if specified",
        ),
        (
            json!({"namespace": "other"}),
            json!({}),
            422,
            "metadata.namespace: Invalid value: \"other\": must match the service account namespace if specified",
        ),
        (
            json!({"uid": "u"}),
            json!({}),
            409,
            "Operation cannot be fulfilled on TokenRequest.authentication.k8s.io \"robot\": the UID in the token request (u) \
             does not match the UID of the service account (",
        ),
        (
            json!({}),
            json!({"expirationSeconds": 5}),
            422,
            "TokenRequest.authentication.k8s.io \"\" is invalid: spec.expirationSeconds: Invalid value: 5:",
        ),
        (json!({}), bound("ConfigMap", "v1"), 400, "cannot bind token to object of type /v1, Kind=ConfigMap"),
        (json!({}), bound("Pod", "apps/v1"), 400, "cannot bind token to object of type apps/v1, Kind=Pod"),
        (json!({}), bound("Node", "v1"), 404, "nodes \"p\" not found"),
        (
            json!({}),
            bound("Pod", "v1"),
            400,
            "cannot bind token for serviceaccount \"robot\" to pod running with",
        ),
    ] {
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "metadata": metadata, "spec": spec,
        });
        ask(&world, "POST", path, &request).await.refuses(code, why);
    }
    let account = world.kubectl_json(&["get", "serviceaccount", "robot", "-o", "json"]).await;
    let request = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {},
        "metadata": {"name": "robot", "namespace": "default", "uid": account["metadata"]["uid"]},
    });
    let made = ask(&world, "POST", path, &request).await.is(201);
    assert_eq!(made["metadata"]["uid"], account["metadata"]["uid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_can_check_tokens_by_the_published_key() {
    let world = World::start().await;
    account(&world, "robot").await;
    let token = world.kubectl(&["create", "token", "robot"]).await.trim().to_owned();
    let configuration = world.kubectl_json(&["get", "--raw", "/.well-known/openid-configuration"]).await;
    assert_eq!(configuration["issuer"], claims(&token)["iss"]);
    let keys = world.kubectl_json(&["get", "--raw", "/openid/v1/jwks"]).await;
    let key = &keys["keys"][0];
    let text = |name: &str| key[name].as_str().unwrap();
    let mut rules = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    rules.set_audience(&["https://kubernetes.default.svc.cluster.local"]);
    let public = jsonwebtoken::DecodingKey::from_ec_components(text("x"), text("y")).unwrap();
    let decoded = jsonwebtoken::decode::<Value>(&token, &public, &rules).unwrap();
    assert_eq!(decoded.header.kid.as_deref(), Some(text("kid")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_secret_says_when_it_was_used_and_is_refused_once_marked() {
    const TRACKING: &str = "kube-apiserver-legacy-service-account-token-tracking";
    let world = World::start().await;
    let map = ["get", "configmap", "-n", "kube-system", TRACKING, "-o", "jsonpath={.data.since}"];
    let since = world.kubectl(&map).await;
    assert!(since.len() == 10, "{since}");
    let account = json!({"metadata": {"name": "robot"}, "secrets": [{"name": "auto"}]});
    let account: ServiceAccount = serde_json::from_value(account).unwrap();
    world.inside().namespaced::<ServiceAccount>("default").create(&account).await.unwrap();
    let secret = json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"name": "auto", "annotations": {"kubernetes.io/service-account.name": "robot"}},
    });
    world.kubectl_with(&["create", "-f", "-"], &secret.to_string()).await;
    // What a controller puts in there.
    let flags = ["create", "token", "robot", "--bound-object-kind", "Secret", "--bound-object-name", "auto"];
    let token = world.kubectl(&flags).await.trim().to_owned();
    let (worked, _, warning) = with_token(&world, &token, &["get", "--raw", "/version"]).await;
    assert!(worked && warning.contains("Use tokens from the TokenRequest API"), "{warning}");
    let label = |name: &str| format!("jsonpath={{.metadata.labels.kubernetes\\.io/legacy-token-{name}}}");
    let used = async || world.kubectl(&["get", "secret", "auto", "-o", &label("last-used")]).await;
    assert!(used().await >= since, "{}", used().await);
    let mark = "kubernetes.io/legacy-token-invalid-since=2026-01-01";
    world.kubectl(&["label", "secret", "auto", mark, "kubernetes.io/legacy-token-last-used-"]).await;
    let status = review(&world, &token, json!([])).await;
    let error = status["error"].as_str().unwrap();
    let text = "the token in secret default/auto for service account default/robot has been marked invalid";
    assert!(status["authenticated"] != true && error.contains(text), "{status}");
    assert!(used().await >= since, "whoever misses it shows in the label");
    let (worked, _, error) = with_token(&world, &token, &["get", "--raw", "/version"]).await;
    assert!(!worked && error.contains("Unauthorized"), "{error}");
}
