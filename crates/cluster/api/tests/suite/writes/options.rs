//! Options of writes: dry runs, who writes, what becomes of fields that nobody knows.

use serde_json::{Value, json};

use super::{CONFIG_MAPS, PODS, ask, ask_as, ask_text};
use crate::support::World;

fn named(name: &str) -> Value {
    json!({"metadata": {"name": name}})
}

#[tokio::test(flavor = "multi_thread")]
async fn options_that_make_no_sense_are_refused_by_name() {
    let world = World::start().await;
    ask(&world, "POST", CONFIG_MAPS, &named("a")).await.is(201);
    let map = format!("{CONFIG_MAPS}/a");
    let long = "m".repeat(129);
    for (query, text) in [
        ("dryRun=Some", "dryRun: Unsupported value: []string{\"Some\"}: supported values: \"All\""),
        ("fieldValidation=Loose", "fieldValidation: Unsupported value: \"Loose\": supported values: "),
        (&format!("fieldManager={long}"), "fieldManager: Too long: may not be more than 128 bytes"),
        ("fieldManager=a%07b", "invalid character U+0007 (at position 1)"),
    ] {
        for (method, path, kind) in [
            ("POST", CONFIG_MAPS, "CreateOptions"),
            ("PUT", map.as_str(), "UpdateOptions"),
            ("PATCH", map.as_str(), "PatchOptions"),
        ] {
            let said = ask(&world, method, &format!("{path}?{query}"), &named("a")).await;
            said.refuses(422, text);
            said.refuses(422, &format!("{kind}.meta.k8s.io \"\" is invalid: "));
        }
    }
    let said = ask(&world, "PATCH", &format!("{map}?force=true"), &json!({})).await;
    said.refuses(422, "force: Forbidden: may not be specified for non-apply patch");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_way_to_write_can_be_tried_without_storing_anything() {
    let world = World::start().await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let scaled = json!({"metadata": {"name": "r", "labels": {"a": "b"}}, "spec": {"replicas": 1, "template":
        {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let controllers = "/api/v1/namespaces/default/replicationcontrollers";
    ask(&world, "POST", PODS, &pod).await.is(201);
    ask(&world, "POST", controllers, &scaled).await.is(201);
    let binding =
        json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"name": "n"}});
    let look = json!({"spec": {"ephemeralContainers": [{"name": "e", "image": "i"}]}});
    let scale = json!({"metadata": {"name": "r"}, "spec": {"replicas": 7}});
    let token =
        json!({"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {"audiences": []}});
    let read = async || {
        let (pods, controllers) = (
            ask(&world, "GET", PODS, &Value::Null).await,
            ask(&world, "GET", controllers, &Value::Null).await,
        );
        (pods.is(200)["items"].clone(), controllers.is(200)["items"].clone())
    };
    let before = read().await;
    let rc = format!("{controllers}/r");
    for (method, path, body, code) in [
        ("POST", format!("{PODS}/p/binding"), &binding, 201),
        ("PATCH", format!("{PODS}/p/ephemeralcontainers"), &look, 200),
        ("PATCH", format!("{PODS}/p/status"), &json!({"status": {"phase": "Failed"}}), 200),
        ("PATCH", format!("{PODS}/p/resize"), &json!({}), 200),
        ("PATCH", format!("{PODS}/p"), &json!({"metadata": {"labels": {"x": "y"}}}), 200),
        ("PUT", format!("{rc}/scale"), &scale, 200),
        ("PATCH", format!("{rc}/scale"), &json!({"spec": {"replicas": 9}}), 200),
        ("POST", "/api/v1/namespaces/default/serviceaccounts/default/token".to_owned(), &token, 201),
        ("DELETE", format!("{PODS}/p"), &Value::Null, 200),
    ] {
        ask(&world, method, &format!("{path}?dryRun=All"), body).await.is(code);
    }
    assert_eq!(read().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_and_duplicate_fields_are_refused_told_or_ignored_as_asked() {
    let world = World::start().await;
    let text = r#"{"metadata": {"name": "NAME"}, "data": {"k": "a", "k": "b"}, "extra": 1}"#;
    let send = async |name: &str, mode: &str| {
        let path = format!("{CONFIG_MAPS}?fieldValidation={mode}");
        ask_text(&world, "POST", &path, "application/json", &text.replace("NAME", name)).await
    };
    let said = send("a", "Strict").await;
    said.refuses(400, "strict decoding error: ");
    said.refuses(400, "unknown field \"extra\"");
    said.refuses(400, "duplicate field \"data.k\"");
    let said = send("b", "Warn").await;
    let told = said.warnings.join("\n");
    assert!(
        told.contains("unknown field \\\"extra\\\"") && told.contains("duplicate field \\\"data.k\\\""),
        "{said:?}"
    );
    assert_eq!(said.is(201)["data"]["k"], "b", "the last one counts");
    let said = send("c", "Ignore").await;
    assert!(said.warnings.is_empty(), "{said:?}");
    let made = said.is(201);
    assert_eq!(made.get("extra"), None);
    // Without a word senders are told.
    assert_eq!(send("d", "").await.warnings.len(), 2);
    let patch = json!({"extra": 1});
    let path = format!("{CONFIG_MAPS}/b");
    let said = ask_as(&world, "PATCH", &path, "application/merge-patch+json", &patch).await;
    assert!(said.warnings.join("").contains("unknown field \\\"extra\\\""), "{said:?}");
    let path = format!("{path}?fieldValidation=Strict");
    let said = ask_as(&world, "PATCH", &path, "application/merge-patch+json", &patch).await;
    said.refuses(422, "unknown field \"extra\"");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_patch_says_twice_or_in_vain_is_refused_where_fields_are_validated_strictly() {
    let world = World::start().await;
    ask(&world, "POST", CONFIG_MAPS, &named("a")).await.is(201);
    let operations = r#"[{"op": "add", "path": "/data", "value": {"k": "b"}, "values": 1}]"#;
    let twice = r#"{"data": {"k": "a", "k": "b"}}"#;
    let in_vain = "json patch unknown field \"[0].values\"";
    let double = "duplicate field \"data.k\"";
    for (kind, patch, fault) in [
        ("application/json-patch+json", operations, in_vain),
        ("application/merge-patch+json", twice, double),
        ("application/strategic-merge-patch+json", twice, double),
    ] {
        let send = async |mode: &str| {
            let path = format!("{CONFIG_MAPS}/a?fieldValidation={mode}");
            ask_text(&world, "PATCH", &path, kind, patch).await
        };
        let said = send("Strict").await;
        said.refuses(422, &format!("strict decoding error: {fault}"));
        assert_eq!(said.body["details"]["causes"][0]["field"], "patch", "{said:?}");
        let kept = ask(&world, "GET", &format!("{CONFIG_MAPS}/a"), &Value::Null).await.is(200);
        assert_eq!(kept.get("data"), None, "{kind}");
        let said = send("Ignore").await;
        assert!(said.warnings.is_empty(), "{said:?}");
        assert_eq!(said.is(200)["data"]["k"], "b");
        let said = send("Warn").await;
        assert!(said.warnings.join("").contains(&fault.replace('"', "\\\"")), "{said:?}");
        let away = json!({"data": null});
        ask(&world, "PATCH", &format!("{CONFIG_MAPS}/a"), &away).await.is(200);
    }
}
