//! Parts of an object that one applies no more.

use serde_json::{Value, json};

use super::ask_as;
use crate::support::World;

const APPLY: &str = "application/apply-patch+yaml";

/// Applies one after the other, as one manager, and gives back what comes of the last.
async fn apply_both(world: &World, path: &str, both: [&Value; 2]) -> Value {
    let path = format!("{path}?fieldManager=one");
    ask_as(world, "PATCH", &path, APPLY, both[0]).await.is(201);
    ask_as(world, "PATCH", &path, APPLY, both[1]).await.is(200)
}

/// A deployment with parts of its spec, of its pods, and of their container.
fn deployment(name: &str, own: Value, pod: Value, container: Value) -> Value {
    let with = |mut base: Value, more: Value| {
        base.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        base
    };
    let container = with(json!({"name": "c", "image": "i"}), container);
    let pod = with(json!({"containers": [container]}), pod);
    let template = json!({"metadata": {"labels": {"a": "b"}}, "spec": pod});
    let spec = with(json!({"selector": {"matchLabels": {"a": "b"}}, "template": template}), own);
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": spec})
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_deployment_that_are_no_longer_applied_go_whole() {
    let world = World::start().await;
    let none = || json!({});
    let pod = |name: &str, part: Value| deployment(name, none(), part, none());
    let container = |name: &str, part: Value| deployment(name, none(), none(), part);
    let strategy = |part: Value| deployment("strategy", json!({"strategy": part}), none(), none());
    let volumes = |source: Value| {
        let mut volume = source;
        volume["name"] = "v".into();
        pod("volumes", json!({"volumes": [volume]}))
    };
    let probe = |name: &str, part: Value| container(name, json!({"livenessProbe": part}));
    let http = json!({"httpGet": {"port": 80}});
    let affinity = json!({"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [
        {"weight": 1, "preference": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}]}});
    let handler = "/spec/template/spec/containers/0/livenessProbe";
    let cases = [
        (probe("probe", http.clone()), container("probe", none()), handler.to_owned()),
        (
            probe("exec", http),
            probe("exec", json!({"exec": {"command": ["x"]}})),
            format!("{handler}/httpGet"),
        ),
        (
            volumes(json!({"configMap": {"name": "x"}})),
            volumes(json!({"secret": {"secretName": "x"}})),
            "/spec/template/spec/volumes/0/configMap".into(),
        ),
        (
            strategy(json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 2}})),
            strategy(json!({"type": "Recreate"})),
            "/spec/strategy/rollingUpdate".into(),
        ),
        (
            pod("affinity", json!({"affinity": affinity})),
            pod("affinity", none()),
            "/spec/template/spec/affinity".into(),
        ),
        (
            container("context", json!({"securityContext": {"runAsUser": 1}})),
            container("context", none()),
            "/spec/template/spec/containers/0/securityContext".into(),
        ),
    ];
    for (first, second, gone) in cases {
        let name = first["metadata"]["name"].as_str().unwrap();
        let path = format!("/apis/apps/v1/namespaces/default/deployments/{name}");
        let object = apply_both(&world, &path, [&first, &second]).await;
        assert_eq!(object.pointer(&gone), None, "{gone} of {object}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_default_backend_of_an_ingress_goes_whole() {
    let world = World::start().await;
    let ingress = |spec: Value| json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i"}, "spec": spec});
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let paths = json!({"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]});
    let rules = json!([{"host": "a.example.com", "http": paths}]);
    let first = ingress(json!({"rules": rules, "defaultBackend": backend}));
    let path = "/apis/networking.k8s.io/v1/namespaces/default/ingresses/i";
    let object = apply_both(&world, path, [&first, &ingress(json!({"rules": rules}))]).await;
    assert_eq!(object["spec"].get("defaultBackend"), None);
}

/// A kind with one of two members, and a resource within it.
fn definition(conversion: Option<Value>) -> Value {
    let side = json!({"type": "object", "required": ["port"], "properties": {"port": {"type": "integer"}, "kept": {"type": "boolean", "default": true}}});
    let resource = json!({
        "type": "object", "x-kubernetes-embedded-resource": true, "x-kubernetes-preserve-unknown-fields": true,
    });
    let spec = json!({
        "type": "object", "properties": {"left": side, "right": side, "resource": resource},
        "oneOf": [{"required": ["left"]}, {"required": ["right"]}],
    });
    let schema = json!({"type": "object", "properties": {"spec": spec}});
    let mut definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "forks.parts.example.com"},
        "spec": {
            "group": "parts.example.com", "scope": "Namespaced", "names": {"plural": "forks", "kind": "Fork"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    });
    if let Some(conversion) = conversion {
        definition["spec"]["conversion"] = conversion;
    }
    definition
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_definitions_and_of_custom_resources_go_whole() {
    let world = World::start().await;
    let path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/forks.parts.example.com";
    let convert = json!({"strategy": "Webhook", "webhook": {"conversionReviewVersions": ["v1"], "clientConfig": {"url": "https://127.0.0.1:1/"}}});
    let made = apply_both(&world, path, [&definition(Some(convert)), &definition(None)]).await;
    assert_eq!(made["spec"]["conversion"], json!({"strategy": "None"}));
    crate::custom_resources::define(&world, &definition(None)).await;
    let fork = |spec: Value| json!({"apiVersion": "parts.example.com/v1", "kind": "Fork", "metadata": {"name": "f"}, "spec": spec});
    let resource =
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x"}, "data": {"a": "b"}});
    let first = fork(json!({"left": {"port": 1}, "resource": resource}));
    let second = fork(json!({"right": {"port": 2}}));
    let path = "/apis/parts.example.com/v1/namespaces/default/forks/f";
    let object = apply_both(&world, path, [&first, &second]).await;
    assert_eq!(object["spec"], json!({"right": {"port": 2, "kept": true}}));
}
