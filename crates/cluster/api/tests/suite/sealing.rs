//! Secrets as they are kept, another key for them, and what administrators ask of the store.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use hako_api::{Server, ServerConfig};
use hako_client::{Client, HttpTransport, Tls};
use hako_error::Kind;
use hako_store::snapshot::{Part, Parts};
use hako_store::{Range, Store as _};
use http_body_util::BodyExt as _;
use serde_json::Value;

use crate::contract::config_map;
use crate::support::World;

const SECRET: &str = "plain-text-that-nobody-finds";
const PATHS: [&str; 3] = ["/hako/v1/store", "/hako/v1/store/snapshot", "/hako/v1/store/keys"];

async fn keep_secret(world: &World) {
    let argument = format!("--from-literal=key={SECRET}");
    world.kubectl(&["create", "secret", "generic", "mine", &argument]).await;
}

async fn secret(world: &World) -> String {
    world.kubectl(&["get", "secret", "mine", "-o", "go-template={{.data.key | base64decode}}"]).await
}

fn is_below(dir: &std::path::Path, text: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().flatten().any(|entry| match entry.file_type().unwrap().is_dir() {
        true => is_below(&entry.path(), text),
        false => std::fs::read(entry.path()).unwrap().windows(text.len()).any(|window| window == text),
    })
}

/// `SECRET` as JSON has it, in base64.
const ENCODED: &str = "cGxhaW4tdGV4dC10aGF0LW5vYm9keS1maW5kcw";

async fn keys(world: &World) -> Value {
    serde_json::from_str(&world.outside().get_text(PATHS[2]).await.unwrap()).unwrap()
}

async fn settled(world: &World) -> Value {
    let began = Instant::now();
    loop {
        let keys = keys(world).await;
        if keys["settled"] == true {
            return keys;
        }
        assert!(began.elapsed() < Duration::from_secs(60), "{keys}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn change_key(client: &Client) -> (u16, Value) {
    let request = http::Request::post(PATHS[2]).body(Bytes::new()).unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    (code, serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_is_read_as_it_was_written_and_lies_nowhere_in_the_files_of_the_store() {
    let world = World::start().await;
    keep_secret(&world).await;
    world.kubectl(&["create", "configmap", "plain", "--from-literal=key=that-everybody-finds"]).await;
    assert_eq!(secret(&world).await, SECRET);
    let listed = world.kubectl(&["get", "secrets", "-A", "-o", "json"]).await;
    assert!(listed.contains(ENCODED));
    world.kubectl(&["label", "secret", "mine", "a=b"]).await;
    assert_eq!(secret(&world).await, SECRET);
    let store = world.dir.path().join("store");
    assert!(is_below(&store, b"that-everybody-finds"));
    assert!(!is_below(&store, SECRET.as_bytes()) && !is_below(&store, ENCODED.as_bytes()));
    let raw = world.store.get(b"/registry/core/secrets/default/mine").await.unwrap().entry.unwrap();
    assert!(!raw.value.starts_with(b"{"), "sealed in memory too");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_key_seals_everything_while_clients_read_and_write() {
    let world = World::start().await;
    keep_secret(&world).await;
    let before = settled(&world).await;
    let (code, begun) = change_key(&world.outside()).await;
    assert_eq!((code, begun["keys"].as_array().unwrap().len()), (202, 2), "{begun}");
    assert_eq!(secret(&world).await, SECRET);
    let after = settled(&world).await;
    assert_eq!(after["keys"].as_array().unwrap().len(), 1);
    assert_ne!(after["keys"], before["keys"]);
    assert_eq!(secret(&world).await, SECRET);
    // A server that begins anew has the new key alone.
    let config = ServerConfig::new(Arc::clone(&world.store) as _, Arc::clone(&world.pki));
    let again = Server::new(config).await.unwrap().client(hako_api::Identity::admin());
    let read = again.get_text("/api/v1/namespaces/default/secrets/mine").await.unwrap();
    assert!(read.contains(ENCODED), "{read}");
}

#[tokio::test(flavor = "multi_thread")]
async fn secrets_without_their_keys_are_refused_by_name_and_other_kinds_are_served() {
    let world = World::start().await;
    keep_secret(&world).await;
    let path = world.dir.path().join("pki/sealing.keys");
    std::fs::rename(&path, path.with_extension("away")).unwrap();
    let config = ServerConfig::new(Arc::clone(&world.store) as _, Arc::clone(&world.pki));
    let client = Server::new(config).await.unwrap().client(hako_api::Identity::admin());
    let error = client.get_text("/api/v1/namespaces/default/secrets/mine").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unavailable);
    let text = error.to_string();
    assert!(text.contains("sealing.keys") && text.contains("backup"), "{text}");
    client.namespaced("default").create(&config_map("a", "x")).await.unwrap();
    assert!(client.get_text("/api/v1/namespaces/default/configmaps/a").await.unwrap().contains("\"x\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_snapshot_is_whole_and_sealed_and_the_size_adds_up() {
    let world = World::start().await;
    keep_secret(&world).await;
    let mut body = world.outside().get_stream(PATHS[1]).await.unwrap();
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(frame.unwrap().data_ref().unwrap());
    }
    assert!(!bytes.windows(ENCODED.len()).any(|window| window == ENCODED.as_bytes()));
    let parts: Vec<Part> = Parts::new(&bytes[..]).map(Result::unwrap).collect();
    let kept = |part: &&Part| matches!(part, Part::Entry(_));
    let report: Value = serde_json::from_str(&world.outside().get_text(PATHS[0]).await.unwrap()).unwrap();
    let stored = world.store.range(Range::all("")).await.unwrap().entries.len();
    assert_eq!(
        (parts.iter().filter(kept).count(), report["objects"].as_u64()),
        (stored, Some(stored as u64))
    );
    let kinds = report["kinds"].as_array().unwrap();
    let sum = |name: &str| kinds.iter().map(|kind| kind[name].as_u64().unwrap()).sum::<u64>();
    assert_eq!(
        (Some(sum("objects")), Some(sum("bytes"))),
        (report["objects"].as_u64(), report["bytes"].as_u64())
    );
    let secrets = kinds.iter().find(|kind| kind["resource"] == "secrets" && kind["group"] == "").unwrap();
    assert_eq!(secrets["objects"], 1);
    assert!(
        report["diskBytes"].as_u64() > Some(0) && report["history"]["events"].as_u64() > Some(0),
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn only_administrators_ask_the_store_and_methods_are_checked() {
    let world = World::start().await;
    for (user, groups) in [("jane", &["dev"][..]), ("system:node:n1", &["system:nodes"])] {
        let pair = world.pki.client(user, groups).unwrap();
        let identity = Some((pair.certificate.as_bytes(), pair.key.as_bytes()));
        let tls = Tls::from_pem(world.pki.ca().as_bytes(), identity).unwrap();
        let client = Client::new(Arc::new(HttpTransport::new(&world.url, Some(tls), None).unwrap()));
        for path in PATHS {
            assert_eq!(client.get_text(path).await.unwrap_err().kind(), Kind::Forbidden, "{user} {path}");
        }
        assert_eq!(change_key(&client).await.0, 403);
    }
    let request = http::Request::post(PATHS[0]).body(Bytes::new()).unwrap();
    assert_eq!(world.outside().send(request).await.unwrap().status(), 405);
}
