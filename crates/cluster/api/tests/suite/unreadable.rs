//! Objects whose key is lost: a list says which, and whoever may do that deletes them unread.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hako_api::{Identity, Server, ServerConfig};
use hako_client::Client;
use hako_store::Store as _;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::support::World;

const SECRETS: &str = "/api/v1/namespaces/default/secrets";
const OPTION: &str = "ignoreStoreReadErrorWithClusterBreakingPotential";

/// A server on the same store that has another key than that with which `a` and `b` are sealed.
async fn without_the_key() -> (World, Server) {
    let world = World::start().await;
    for name in ["a", "b"] {
        world.kubectl(&["create", "secret", "generic", name, "--from-literal=k=v"]).await;
    }
    world
        .kubectl(&["patch", "secret", "a", "-p", r#"{"metadata": {"finalizers": ["example.com/hold"]}}"#])
        .await;
    let key = format!("{} {}\n", "07".repeat(8), "11".repeat(32));
    std::fs::write(world.dir.path().join("pki/sealing.keys"), key).unwrap();
    let mut config = ServerConfig::new(Arc::clone(&world.store) as _, Arc::clone(&world.pki));
    config.recorder = Some(crate::seen::recorder());
    let server = Server::new(config).await.unwrap();
    (world, server)
}

async fn ask(client: &Client, method: &str, path: &str, body: Value) -> (u16, Value) {
    let body = if body.is_null() { Bytes::new() } else { Bytes::from(body.to_string()) };
    let request =
        http::Request::builder().method(method).uri(path).header("content-type", "application/json");
    let response = client.send(request.body(body).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&body).unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_says_which_of_its_objects_cannot_be_read() {
    let (_world, server) = without_the_key().await;
    let client = server.client(Identity::admin());
    let secret = json!({"metadata": {"name": "new"}, "data": {"k": "dg=="}});
    assert_eq!(ask(&client, "POST", SECRETS, secret).await.0, 201);
    assert_eq!(ask(&client, "GET", &format!("{SECRETS}/new"), Value::Null).await.0, 200);
    for path in [SECRETS, "/api/v1/secrets", "/api/v1/secrets?limit=1&labelSelector=a"] {
        let (code, status) = ask(&client, "GET", path, Value::Null).await;
        assert_eq!((code, &status["reason"]), (500, &json!("StorageReadError")), "{path}: {status}");
        assert_eq!(status["message"], "failed to read one or more secrets from the storage");
        let causes = status["details"]["causes"].as_array().unwrap();
        let keys: Vec<&str> = causes.iter().map(|it| it["field"].as_str().unwrap()).collect();
        assert_eq!(keys, ["/registry/core/secrets/default/a", "/registry/core/secrets/default/b"]);
        for cause in causes {
            assert_eq!(cause["reason"], "UnexpectedServerResponse");
            assert!(cause["message"].as_str().unwrap().contains("sealing.keys"), "{cause}");
        }
    }
    let (code, status) = ask(&client, "GET", &format!("{SECRETS}/a"), Value::Null).await;
    assert_eq!((code, &status["reason"]), (500, &json!("InternalError")), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_deleted_with_the_option_for_it_alone_by_who_may() {
    let (world, server) = without_the_key().await;
    let client = server.client(Identity::admin());
    let path = format!("{SECRETS}/a");
    let options = json!({"apiVersion": "v1", "kind": "DeleteOptions", OPTION: true});
    assert_eq!(ask(&client, "DELETE", &path, Value::Null).await.0, 500, "not in the ordinary way");
    for (member, value) in [
        ("dryRun", json!(["All"])),
        ("propagationPolicy", json!("Background")),
        ("orphanDependents", json!(true)),
        ("gracePeriodSeconds", json!(1)),
        ("preconditions", json!({"uid": "x"})),
    ] {
        let mut both = options.clone();
        both[member] = value;
        let (code, status) = ask(&client, "DELETE", &path, both).await;
        let text = format!("{OPTION}: Invalid value: true: cannot be set together with .{member}");
        assert!(code == 422 && status["message"].as_str().unwrap().contains(&text), "{status}");
    }
    let (code, status) = ask(&client, "DELETE", SECRETS, options.clone()).await;
    let text = "is not allowed with DELETECOLLECTION, try again after removing the option";
    assert!(code == 422 && status["message"].as_str().unwrap().contains(text), "{status}");

    // Who may delete may not do this.
    let rules = ["create", "role", "deleter", "--verb=delete", "--resource=secrets"];
    world.kubectl(&rules).await;
    world.kubectl(&["create", "rolebinding", "deleter", "--role=deleter", "--user=jane"]).await;
    let jane = server.client(Identity::new("jane", &["system:authenticated"]));
    let denied = async || ask(&jane, "DELETE", &path, options.clone()).await;
    let mut last = denied().await;
    for _ in 0..1000 {
        if !last.1["message"].as_str().unwrap().contains("cannot delete") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        last = denied().await;
    }
    let text = "secrets \"a\" is forbidden: not permitted to do \"unsafe-delete-ignore-read-errors\"";
    assert!(last.0 == 403 && last.1["message"].as_str().unwrap().starts_with(text), "{last:?}");

    // Its finalizers do not keep it.
    let (code, status) = ask(&client, "DELETE", &path, options.clone()).await;
    assert_eq!((code, &status["status"]), (200, &json!("Success")), "{status}");
    assert_eq!(ask(&client, "GET", &path, Value::Null).await.0, 404);
    assert_eq!(ask(&client, "DELETE", &path, options.clone()).await.0, 404);
    let query = format!("{SECRETS}/b?{OPTION}=true");
    assert_eq!(ask(&client, "DELETE", &query, Value::Null).await.0, 200);
    assert_eq!(ask(&client, "GET", SECRETS, Value::Null).await.0, 200, "the list is whole again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_be_read_is_not_deleted_unread_and_damaged_objects_are() {
    let world = World::start().await;
    world.kubectl(&["create", "configmap", "c"]).await;
    let (client, path) = (world.inside(), "/api/v1/namespaces/default/configmaps/c");
    let options = json!({OPTION: true});
    let (code, status) = ask(&client, "DELETE", path, options.clone()).await;
    let text = "is exclusively used to delete corrupt object(s), try again by removing this option";
    assert!(code == 422 && status["message"].as_str().unwrap().contains(text), "{status}");
    assert_eq!(ask(&client, "GET", path, Value::Null).await.0, 200);
    let key = Bytes::from("/registry/core/configmaps/default/c");
    let write = hako_store::Write::put(key, Bytes::from("{\"kind\":"), hako_store::Expect::Any);
    world.store.write(write).await.unwrap();
    assert_eq!(ask(&client, "DELETE", path, Value::Null).await.0, 500);
    assert_eq!(ask(&client, "DELETE", path, options).await.0, 200);
    assert_eq!(ask(&client, "GET", path, Value::Null).await.0, 404);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_meets_what_cannot_be_read_says_so_and_ends() {
    let (_world, server) = without_the_key().await;
    let client = server.client(Identity::admin());
    let now = ask(&client, "GET", "/api/v1/namespaces/default/configmaps", Value::Null).await.1;
    let version = now["metadata"]["resourceVersion"].as_str().unwrap();
    let mut watch = client.get_stream(&format!("{SECRETS}?watch=1&resourceVersion={version}")).await.unwrap();
    let gone = ask(&client, "DELETE", &format!("{SECRETS}/a"), json!({OPTION: true})).await;
    assert_eq!(gone.0, 200, "{gone:?}");
    let line = watch.frame().await.unwrap().unwrap().into_data().unwrap();
    let event: Value = serde_json::from_slice(&line).unwrap();
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(500)), "{event}");
    assert_eq!(event["object"]["reason"], "StorageReadError");
    assert!(watch.frame().await.is_none(), "the watch is over");
}
