//! `AuthenticationConfiguration`: what is refused, and who may look without showing anything.

use hako_api::{External, ExternalOptions};
use hako_error::{Classify as _, Kind};
use serde_json::{Value, json};

use super::{call, file, whoami};
use crate::support::World;

fn configuration(more: Value) -> String {
    let mut file = json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration"});
    for (key, value) in more.as_object().unwrap() {
        file[key] = value.clone();
    }
    file.to_string()
}

fn load(content: &str) -> Result<External, hako_api::ExternalError> {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "authentication.yaml", content);
    External::load(&ExternalOptions { authentication_config: Some(path), ..ExternalOptions::default() })
}

#[test]
fn a_file_says_all_its_faults_by_field() {
    let jwt = json!([{"issuer": {"url": "http://issuer.example", "audiences": []}, "claimMappings": {"username": {"claim": "sub"}}}]);
    let error = load(&configuration(json!({"jwt": jwt}))).unwrap_err().to_string();
    for text in [
        "jwt[0].issuer.url: Invalid value: \"http://issuer.example\": URL scheme must be https",
        "jwt[0].issuer.audiences: Required value: at least one jwt[0].issuer.audiences is required",
        "jwt[0].claimMappings.username.prefix: Required value: prefix is required when claim is set",
    ] {
        assert!(error.contains(text), "{error} should say {text}");
    }
    assert!(load("kind: Other\napiVersion: v1\n").is_err());
    let error = load(&configuration(json!({"jwtt": []}))).unwrap_err().to_string();
    assert!(error.contains("jwtt"), "{error}");
}

#[test]
fn expressions_are_refused_by_the_name_of_their_field() {
    let issuer = json!({"url": "https://issuer.example", "audiences": ["a"]});
    let named = json!({"username": {"claim": "sub", "prefix": ""}});
    for (jwt, field) in [
        (
            json!({"issuer": issuer, "claimMappings": {"username": {"expression": "claims.sub"}}}),
            "claimMappings.username.expression",
        ),
        (
            json!({"issuer": issuer, "claimMappings": named, "claimValidationRules": [{"expression": "true"}]}),
            "claimValidationRules[0].expression",
        ),
        (
            json!({"issuer": issuer, "claimMappings": named, "userValidationRules": [{"expression": "true"}]}),
            "userValidationRules[0].expression",
        ),
    ] {
        let error = load(&configuration(json!({"jwt": [jwt]}))).unwrap_err();
        assert_eq!(error.kind(), Kind::Unimplemented, "{error}");
        assert!(error.to_string().contains(&format!("jwt[0].{field} is a CEL expression")), "{error}");
    }
}

async fn with_anonymous(anonymous: Value) -> World {
    let dir = tempfile::tempdir().unwrap();
    let path = file(&dir, "authentication.yaml", &configuration(json!({"anonymous": anonymous})));
    let options = ExternalOptions { authentication_config: Some(path), ..ExternalOptions::default() };
    World::start_external(&options).await
}

#[tokio::test(flavor = "multi_thread")]
async fn who_shows_nothing_is_let_in_only_where_the_file_says() {
    let world = with_anonymous(json!({"enabled": true, "conditions": [{"path": "/livez"}]})).await;
    let get = async |path: &'static str| call(&world, None, None, &[], ("GET", path), None).await.0;
    assert_eq!((get("/livez").await, get("/version").await), (200, 401));
    let world = with_anonymous(json!({"enabled": false})).await;
    assert_eq!(call(&world, None, None, &[], ("GET", "/livez"), None).await.0, 401);
    let admin = world.pki.admin();
    let (code, user) = whoami(&world, Some((&admin.certificate, &admin.key)), None, &[]).await;
    assert_eq!((code, &user["username"]), (201, &json!("hako-admin")));
}
