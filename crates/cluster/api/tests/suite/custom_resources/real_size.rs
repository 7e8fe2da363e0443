//! A definition of the size and shape that operators of monitoring systems publish: the whole of what pods can say,
//! written out, with numbers that may be texts, alternatives, open parts and rules.

use http::StatusCode;
use serde_json::{Map, Value, json};

use super::until;
use crate::every_kind::calls::Http;
use crate::support::World;

const MONITORS: &str = "/apis/real.example.com/v1/namespaces/default/monitors";
const JSON: &str = "application/json";
/// What is published of the program's types and not part of a definition's schema.
const PUBLISHED_ONLY: [&str; 3] =
    ["x-kubernetes-group-version-kind", "x-kubernetes-patch-merge-key", "x-kubernetes-patch-strategy"];

/// A published type with all that it refers to written out.
fn written_out(types: &Value, schema: &Value) -> Value {
    let target = schema["$ref"].as_str().or_else(|| schema["allOf"][0]["$ref"].as_str());
    if let Some(target) = target {
        let name = target.rsplit('/').next().unwrap();
        if name.ends_with("ObjectMeta") || name.ends_with("FieldsV1") {
            return json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
        }
        return written_out(types, &types[name]);
    }
    if schema["oneOf"].is_array() {
        return json!({
            "x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}],
            "description": schema["description"],
        });
    }
    let mut out = Map::new();
    for (name, value) in schema.as_object().unwrap() {
        let written = match name.as_str() {
            name if PUBLISHED_ONLY.contains(&name) => continue,
            "properties" => {
                let properties = value.as_object().unwrap().iter();
                properties.map(|(name, inner)| (name.clone(), written_out(types, inner))).collect()
            }
            "items" | "additionalProperties" => written_out(types, value),
            _ => value.clone(),
        };
        out.insert(name.clone(), written);
    }
    if out["type"] == "object" && !out.contains_key("properties") && !out.contains_key("additionalProperties")
    {
        out.insert("x-kubernetes-preserve-unknown-fields".to_owned(), true.into());
    }
    Value::Object(out)
}

/// The schema of the whole of what a pod can say.
pub(super) async fn pod_spec(http: &Http) -> Value {
    let document = http.ok("GET", "/openapi/v3/api/v1", "", &Value::Null).await;
    let types = &document["components"]["schemas"];
    written_out(types, &types["io.k8s.api.core.v1.PodSpec"])
}

async fn definition(http: &Http) -> Value {
    let pod = pod_spec(http).await;
    let schema = json!({
        "type": "object", "required": ["spec"],
        "properties": {
            "spec": {
                "type": "object",
                "properties": {
                    "podTemplate": {"type": "object", "properties": {"spec": pod}},
                    "retention": {"type": "string", "default": "24h", "maxLength": 16,
                        "pattern": "^(0|(([0-9]+)y)?(([0-9]+)d)?(([0-9]+)h)?(([0-9]+)m)?)$"},
                    "shards": {"type": "integer", "format": "int32", "default": 1},
                    "extra": {"x-kubernetes-preserve-unknown-fields": true},
                    "auth": {"type": "object", "properties": {"basic": {"type": "string"}, "token": {"type": "string"}},
                        "oneOf": [{"required": ["basic"]}, {"required": ["token"]}]},
                    "targets": {"type": "array", "maxItems": 64, "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["job"], "items": {"type": "object", "required": ["job"],
                        "properties": {"job": {"type": "string", "maxLength": 63},
                            "url": {"type": "string", "maxLength": 256}}}},
                },
                "x-kubernetes-validations": [
                    {"rule": "self.shards >= 1", "message": "there is one shard at least"},
                    {"rule": "!has(self.targets) || self.targets.all(t, !has(t.url) || isURL(t.url))",
                        "messageExpression": "'of the targets kept for ' + self.retention + ' one is no URL'"},
                ],
            },
            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        },
    });
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "monitors.real.example.com"},
        "spec": {
            "group": "real.example.com", "scope": "Namespaced",
            "names": {"plural": "monitors", "kind": "Monitor", "shortNames": ["mon"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema},
                "subresources": {"status": {}},
            }],
        },
    })
}

fn monitor(name: &str, spec: Value) -> Value {
    json!({"apiVersion": "real.example.com/v1", "kind": "Monitor", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_definition_of_hundreds_of_kilobytes_is_served() {
    let world = World::start().await;
    let http = Http::new(&world);
    let definition = definition(&http).await;
    let size = definition.to_string().len();
    assert!(size > 300_000, "{size} bytes");
    world.kubectl_with(&["create", "-f", "-"], &definition.to_string()).await;
    world.kubectl(&["wait", "--for=condition=Established", "crd/monitors.real.example.com"]).await;
    let container = json!({
        "name": "c", "image": "i", "surprise": true, "ports": [{"containerPort": 80}],
        "resources": {"limits": {"cpu": 1, "memory": "1Gi"}}, "livenessProbe": {"httpGet": {"port": "http"}},
    });
    let spec = json!({
        "podTemplate": {"spec": {"containers": [container]}}, "extra": {"any": [1, "x"]},
        "auth": {"token": "t"}, "targets": [{"job": "a", "url": "https://example.com/metrics"}],
    });
    let created = http.ok("POST", MONITORS, JSON, &monitor("a", spec)).await;
    let container = &created["spec"]["podTemplate"]["spec"]["containers"][0];
    assert_eq!((&container["surprise"], &container["ports"][0]["protocol"]), (&Value::Null, &json!("TCP")));
    assert_eq!(
        (&created["spec"]["retention"], &created["spec"]["extra"]["any"][1]),
        (&json!("24h"), &json!("x"))
    );
    for (spec, wanted) in [
        (json!({"podTemplate": {"spec": {"containers": [{"name": 1}]}}}), "containers[0].name"),
        (json!({"auth": {"token": "t", "basic": "b"}}), "spec.auth"),
        (json!({"retention": "soon"}), "spec.retention"),
        (json!({"shards": 0}), "there is one shard at least"),
        (json!({"targets": [{"job": "a", "url": "no url"}]}), "kept for 24h one is no URL"),
    ] {
        let (code, status) = http.call("POST", MONITORS, JSON, &monitor("b", spec)).await;
        assert_eq!(code, StatusCode::UNPROCESSABLE_ENTITY, "{status}");
        assert!(status["message"].as_str().unwrap().contains(wanted), "{wanted}: {status}");
    }
    let path = "monitor.spec.podTemplate.spec.containers.livenessProbe.httpGet";
    let explained = world.kubectl(&["explain", path]).await;
    assert!(explained.contains("httpHeaders"), "{explained}");
    world.kubectl(&["delete", "crd", "monitors.real.example.com"]).await;
    until("it is gone", async || {
        http.call("GET", MONITORS, "", &Value::Null).await.0 == StatusCode::NOT_FOUND
    })
    .await;
}
