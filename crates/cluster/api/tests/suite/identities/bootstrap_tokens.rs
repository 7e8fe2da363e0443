//! Bootstrap tokens.

use k8s_openapi::api::core::v1::Secret;
use serde_json::{Value, json};

use super::whoami;
use crate::support::World;

async fn token(world: &World, id: &str, more: Value) {
    let mut data = json!({
        "token-id": id, "token-secret": "0123456789abcdef", "usage-bootstrap-authentication": "true",
    });
    for (key, value) in more.as_object().unwrap() {
        data[key] = value.clone();
    }
    let secret = json!({
        "metadata": {"name": format!("bootstrap-token-{id}")}, "type": "bootstrap.kubernetes.io/token", "stringData": data,
    });
    let secrets = world.inside().namespaced::<Secret>("kube-system");
    secrets.create(&serde_json::from_value(secret).unwrap()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bootstrap_token_lets_a_machine_in_with_its_groups() {
    let world = World::start().await;
    token(&world, "aaaaaa", json!({"auth-extra-groups": "system:bootstrappers:web"})).await;
    let (code, user) = whoami(&world, None, Some("aaaaaa.0123456789abcdef"), &[]).await;
    assert_eq!((code, &user["username"]), (201, &json!("system:bootstrap:aaaaaa")), "{user}");
    let groups = json!(["system:bootstrappers", "system:bootstrappers:web", "system:authenticated"]);
    assert_eq!(user["groups"], groups);
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_tokens_that_are_not_good_are_unauthorized() {
    let world = World::start().await;
    token(&world, "aaaaaa", json!({})).await;
    token(&world, "bbbbbb", json!({"expiration": "2020-01-01T00:00:00Z"})).await;
    token(&world, "cccccc", json!({"usage-bootstrap-authentication": "false"})).await;
    token(&world, "dddddd", json!({"auth-extra-groups": "system:masters"})).await;
    for bad in [
        "aaaaaa.0000000000000000",
        "bbbbbb.0123456789abcdef",
        "cccccc.0123456789abcdef",
        "dddddd.0123456789abcdef",
        "eeeeee.0123456789abcdef",
    ] {
        assert_eq!(whoami(&world, None, Some(bad), &[]).await.0, 401, "{bad}");
    }
}
