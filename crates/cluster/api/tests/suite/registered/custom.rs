//! Policies about custom resources, with custom resources as parameters: the same as about built-in kinds.

use serde_json::{Value, json};

use super::{GROUP, binding, register, settled, until};
use crate::support::World;

/// A definition with two versions of one schema, whose items are told apart by their names.
fn definition() -> Value {
    let item = json!({
        "type": "object", "required": ["name"], "properties": {"name": {"type": "string"}, "v": {"type": "string"}},
    });
    let items = json!({
        "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"], "items": item,
    });
    let spec = json!({"type": "object", "properties": {"size": {"type": "integer"}, "items": items}});
    let version = |name: &str, is_stored: bool| {
        let schema = json!({"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}});
        json!({"name": name, "served": true, "storage": is_stored, "schema": schema})
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "tabs.registered.example.com"},
        "spec": {
            "group": "registered.example.com", "scope": "Namespaced",
            "names": {"plural": "tabs", "singular": "tab", "kind": "Tab", "listKind": "TabList"},
            "versions": [version("v1", true), version("v2", false)],
        },
    })
}

/// Rules about a version of the kind.
fn rules(version: &str) -> Value {
    json!([{
        "apiGroups": ["registered.example.com"], "apiVersions": [version], "operations": ["CREATE", "UPDATE"],
        "resources": ["tabs"],
    }])
}

async fn try_create(world: &World, version: &str, name: &str, size: u32, labels: Value) -> String {
    let tab = json!({
        "apiVersion": format!("registered.example.com/{version}"), "kind": "Tab",
        "metadata": {"name": name, "labels": labels},
        "spec": {"size": size, "items": [{"name": "b", "v": "x"}, {"name": "a", "v": "y"}]},
    });
    world.try_kubectl(&["create", "-f", "-"], &tab.to_string()).await.2
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_about_custom_resources_in_any_version_and_take_parameters_of_them() {
    let world = World::start().await;
    world.kubectl_with(&["create", "-f", "-"], &definition().to_string()).await;
    let served =
        async || world.try_kubectl(&["get", "--raw", "/apis/registered.example.com/v2/tabs"], "").await.0;
    until("the kind is served", served, |is_served| *is_served).await;
    let policy = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "tabs"},
        "spec": {
            "paramKind": {"apiVersion": "registered.example.com/v1", "kind": "Tab"},
            "matchConstraints": {
                "resourceRules": rules("v2"),
                "objectSelector": {"matchExpressions": [{"key": "param", "operator": "DoesNotExist"}]},
            },
            "validations": [
                {"expression": "object.apiVersion == 'registered.example.com/v2'", "message": "version"},
                {"expression": "object.spec.size <= params.spec.size", "messageExpression": "'at most ' + string(params.spec.size)"},
                {"expression": "object.spec.sise <= 1 || true"},
            ],
        },
    });
    let made = register(&world, "validatingadmissionpolicies", policy).await;
    let warnings = &made["status"]["typeChecking"]["expressionWarnings"];
    let text = "registered.example.com/v2, Kind=Tab: ERROR: <input>:1:12: undefined field 'sise'";
    assert!(warnings[0]["warning"].as_str().unwrap().starts_with(text), "{made}");
    assert_eq!(warnings.as_array().map(Vec::len), Some(1), "{warnings}");
    let mut bound = binding("tabs", "tabs", &["Deny"]);
    bound["spec"]["paramRef"] =
        json!({"name": "limit", "namespace": "default", "parameterNotFoundAction": "Deny"});
    register(&world, "validatingadmissionpolicybindings", bound).await;
    let expression = "Object{spec: Object.spec{items: [Object.spec.items{name: 'a', v: 'policy'}]}}";
    let mutating = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "MutatingAdmissionPolicy", "metadata": {"name": "tabs"},
        "spec": {
            "reinvocationPolicy": "Never", "matchConstraints": {"resourceRules": rules("v1")},
            "mutations": [{"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}}],
        },
    });
    register(&world, "mutatingadmissionpolicies", mutating).await;
    let bound = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": "tabs"},
        "spec": {"policyName": "tabs"},
    });
    register(&world, "mutatingadmissionpolicybindings", bound).await;
    settled(&world).await;
    let error = try_create(&world, "v1", "first", 3, json!({})).await;
    assert!(error.contains("no params found for policy binding"), "{error}");
    assert_eq!(try_create(&world, "v1", "limit", 2, json!({"param": "yes"})).await, "");
    let error = try_create(&world, "v1", "first", 3, json!({})).await;
    assert!(error.contains("with binding 'tabs' denied request: at most 2"), "{error}");
    for (version, name) in [("v1", "first"), ("v2", "second")] {
        assert_eq!(try_create(&world, version, name, 2, json!({})).await, "");
        let kind = format!("tabs.{version}.registered.example.com");
        let made = world.kubectl_json(&["get", &kind, name, "-o", "json"]).await;
        assert_eq!(
            made["spec"]["items"],
            json!([{"name": "b", "v": "x"}, {"name": "a", "v": "policy"}]),
            "{version}"
        );
    }
}
