//! A proxy in front.

use hako_api::ExternalOptions;
use hako_api::pki::{Pki, ServerNames};
use serde_json::json;

use super::{file, whoami};
use crate::support::World;

#[tokio::test(flavor = "multi_thread")]
async fn only_a_proxy_with_a_certificate_of_its_authority_says_for_whom_it_asks() {
    let dir = tempfile::tempdir().unwrap();
    let proxies = Pki::open(&dir.path().join("proxies"), &ServerNames::default()).unwrap();
    let ca = file(&dir, "proxy-ca.crt", proxies.ca());
    let options = ExternalOptions {
        proxy_ca: Some(ca),
        proxy_names: vec!["front".into()],
        ..ExternalOptions::default()
    };
    let world = World::start_external(&options).await;
    let headers = [
        ("x-remote-user", "jane"),
        ("x-remote-group", "dev"),
        ("x-remote-group", "ops"),
        ("x-remote-extra-acme.com%2fa", "b"),
    ];
    let front = proxies.client("front", &[]).unwrap();
    let (code, user) = whoami(&world, Some((&front.certificate, &front.key)), None, &headers).await;
    let wanted = json!({"username": "jane", "groups": ["dev", "ops", "system:authenticated"], "extra": {"acme.com/a": ["b"]}});
    assert_eq!((code, user), (201, wanted));
    let other = proxies.client("other", &["system:masters"]).unwrap();
    let other = Some((other.certificate.as_str(), other.key.as_str()));
    let (code, user) = whoami(&world, other, None, &headers).await;
    assert_eq!(code, 403, "it is nobody: neither a proxy by name nor of our own authority: {user}");
    let jane = world.pki.client("eve", &[]).unwrap();
    let (_, user) = whoami(&world, Some((&jane.certificate, &jane.key)), None, &headers).await;
    assert_eq!(user["username"], "eve", "headers of others say nothing");
}
