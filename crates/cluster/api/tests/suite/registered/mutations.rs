//! `MutatingAdmissionPolicy` as clients meet it.

use hako_client::{ResourceType, WriteOptions};
use hako_error::Kind;
use serde_json::{Value, json};

use super::{GROUP, create, register, settled};
use crate::support::World;

/// Puts a policy in force about what is created.
async fn enforce(world: &World, name: &str, resource: (&str, &str), spec: Value) {
    let (group, plural) = resource;
    let mut policy = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "MutatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {
            "reinvocationPolicy": "Never",
            "matchConstraints": {"resourceRules": [{
                "apiGroups": [group], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": [plural],
            }]},
        },
    });
    for (key, value) in spec.as_object().unwrap() {
        policy["spec"][key] = value.clone();
    }
    register(world, "mutatingadmissionpolicies", policy).await;
    let binding = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "MutatingAdmissionPolicyBinding", "metadata": {"name": name},
        "spec": {"policyName": name},
    });
    register(world, "mutatingadmissionpolicybindings", binding).await;
    settled(world).await;
}

fn apply(expression: &str) -> Value {
    json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": expression}})
}

fn patch(expression: &str) -> Value {
    json!({"patchType": "JSONPatch", "jsonPatch": {"expression": expression}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_configuration_is_merged_by_the_keys_of_lists() {
    let world = World::start().await;
    let sidecar = "Object{
        metadata: Object.metadata{labels: {'injected': 'yes'}},
        spec: Object.spec{
            initContainers: [Object.spec.initContainers{name: 'mesh', image: variables.image, restartPolicy: 'Always'}],
            containers: [Object.spec.containers{name: 'main', imagePullPolicy: 'Never'}]
        }
    }";
    let spec = json!({
        "variables": [{"name": "image", "expression": "'mesh:' + object.metadata.name"}],
        "matchConditions": [{"name": "not-yet", "expression": "!object.spec.?initContainers.orValue([]).exists(c, c.name == 'mesh')"}],
        "mutations": [apply(sidecar)],
    });
    enforce(&world, "mesh", ("", "pods"), spec).await;
    let pod = json!({"metadata": {"name": "p"}, "spec": {
        "initContainers": [{"name": "first", "image": "i"}], "containers": [{"name": "main", "image": "m"}, {"name": "other", "image": "o"}],
    }});
    let pods = world.outside().dynamic(&ResourceType::new("", "v1", "pods"), Some("default"));
    let made = pods.create(&pod, &WriteOptions::default()).await.unwrap();
    let names = |list: &str| -> Vec<String> {
        made["spec"][list]
            .as_array()
            .unwrap()
            .iter()
            .map(|it| it["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        (names("initContainers"), names("containers")),
        (vec!["first".into(), "mesh".into()], vec!["main".into(), "other".into()])
    );
    let mesh = &made["spec"]["initContainers"][1];
    assert_eq!((&mesh["image"], &mesh["imagePullPolicy"]), (&json!("mesh:p"), &json!("IfNotPresent")));
    assert_eq!(mesh["volumeMounts"].as_array().map(Vec::len), Some(1), "plugins are asked again: {mesh}");
    let main = &made["spec"]["containers"][0];
    assert_eq!((&main["image"], &main["imagePullPolicy"]), (&json!("m"), &json!("Never")));
    assert_eq!(made["metadata"]["labels"], json!({"injected": "yes"}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn json_patches_are_made_of_expressions_and_a_test_that_fails_changes_nothing() {
    let world = World::start().await;
    let expression = "[
        JSONPatch{op: 'test', path: '/data/a', value: 'b'},
        JSONPatch{op: 'add', path: '/data/' + jsonpatch.escapeKey('x/y~z'), value: string(size(object.data))},
        JSONPatch{op: 'copy', from: '/data/a', path: '/data/c'}
    ] + (has(object.metadata.labels) ? [] : [
        JSONPatch{op: 'add', path: '/metadata/labels', value: {'by': request.userInfo.username}}
    ])";
    // Keys of ConfigMaps have no slashes: that one is made where nothing looks at keys.
    let expression =
        expression.replace("'/data/' + jsonpatch.escapeKey('x/y~z')", "'/metadata/annotations'").replace(
            "value: string(size(object.data))",
            "value: {'size': string(size(object.data)), 'key': jsonpatch.escapeKey('x/y~z')}",
        );
    enforce(&world, "patches", ("", "configmaps"), json!({"mutations": [patch(&expression)]})).await;
    let made = create(&world, "x", json!({"a": "b"})).await.unwrap();
    assert_eq!(made["data"], json!({"a": "b", "c": "b"}));
    assert_eq!(made["metadata"]["labels"], json!({"by": "hako-admin"}));
    assert_eq!(made["metadata"]["annotations"], json!({"size": "1", "key": "x~1y~0z"}));
    let made = create(&world, "y", json!({"a": "c"})).await.unwrap();
    assert_eq!((&made["data"], made["metadata"].get("labels")), (&json!({"a": "c"}), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn policies_are_asked_again_once_by_what_comes_after_them() {
    let world = World::start().await;
    let append = |name: &str| {
        patch(&format!("[JSONPatch{{op: 'add', path: '/data/log', value: object.data.log + ' {name}'}}]"))
    };
    for (name, again) in [("a", "IfNeeded"), ("b", "Never"), ("c", "IfNeeded")] {
        let spec = json!({"reinvocationPolicy": again, "mutations": [append(name)]});
        enforce(&world, name, ("", "configmaps"), spec).await;
    }
    let made = create(&world, "x", json!({"log": ""})).await.unwrap();
    assert_eq!(made["data"]["log"], " a b c a c");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_applied_is_refused_and_says_where() {
    let world = World::start().await;
    for (name, mutation, text) in [
        (
            "atomic",
            apply(
                "Object{spec: Object.spec{template: Object.spec.template{spec: Object.spec.template.spec{containers: [Object.spec.template.spec.containers{name: 'web', command: ['x']}]}}}}",
            ),
            "error applying patch: invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.template.spec.containers[0].command",
        ),
        (
            "unknown",
            apply("Object{spec: Object.spec{relicas: 1}}"),
            "error applying patch: failed to convert patch object to typed object: .spec.relicas: field not declared in schema",
        ),
        (
            "misnamed",
            apply("Object{spec: Object.status{replicas: 1}}"),
            "type mismatch: unexpected type name \"Object.status\", expected \"Object.spec\", which matches field name path from root Object type",
        ),
        (
            "twice",
            apply("Object{metadata: Object.metadata{finalizers: ['a/b', 'a/b']}}"),
            "error applying patch: failed to convert patch object to typed object: .metadata.finalizers: duplicate entries for key [=\"a/b\"]",
        ),
        (
            "mistyped",
            apply("Object{spec: Object.spec{paused: 'yes'}}"),
            "error applying patch: failed to convert patch object to typed object: .spec.paused: expected boolean, got &{yes}",
        ),
        ("missing", patch("[JSONPatch{op: 'remove', path: '/spec/nothing'}]"), "JSON Patch: "),
        (
            "fails",
            apply("Object{spec: Object.spec{replicas: object.spec.nothing}}"),
            "resulted in error: no such key: nothing",
        ),
    ] {
        let mine = json!([{"name": "mine", "expression": format!("object.metadata.name == '{name}'")}]);
        let spec = json!({"matchConditions": mine, "mutations": [mutation]});
        enforce(&world, name, ("apps", "deployments"), spec).await;
        let manifest = crate::contract::deployment(name).to_string();
        let (done, _, error) = world.try_kubectl(&["create", "-f", "-"], &manifest).await;
        let by = format!("policy '{name}' with binding '{name}' denied request: ");
        assert!(!done && error.contains(&by) && error.contains(text), "{name}: {error}");
        world
            .kubectl(&[
                "patch",
                "mutatingadmissionpolicy",
                name,
                "--type=merge",
                "-p",
                r#"{"spec":{"failurePolicy":"Ignore"}}"#,
            ])
            .await;
        settled(&world).await;
        world.kubectl_with(&["create", "-f", "-"], &manifest).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_json_patch_that_leaves_no_object_of_the_kind_is_a_failure_whatever_the_policy_says() {
    let world = World::start().await;
    let add =
        |path: &str, value: &str| patch(&format!("[JSONPatch{{op: 'add', path: '{path}', value: {value}}}]"));
    for (name, mutation, why) in [
        ("unknown", add("/spec/relicas", "1"), "strict decoding error: unknown field \"spec.relicas\""),
        ("aside", add("/metadata/owner", "'me'"), "strict decoding error: unknown field \"metadata.owner\""),
        (
            "another",
            add("/kind", "'StatefulSet'"),
            "a patch made kind \"StatefulSet\" of \"Deployment\", which stays",
        ),
        (
            "mistyped",
            add("/spec/paused", "'yes'"),
            "json: cannot unmarshal string into Go struct field DeploymentSpec.spec.paused of type bool",
        ),
    ] {
        let mine = json!([{"name": "mine", "expression": format!("object.metadata.name == '{name}'")}]);
        let spec = json!({"failurePolicy": "Ignore", "matchConditions": mine, "mutations": [mutation]});
        enforce(&world, name, ("apps", "deployments"), spec).await;
        let deployments = ResourceType::new("apps", "v1", "deployments");
        let deployments = world.outside().dynamic(&deployments, Some("default"));
        let manifest = crate::contract::deployment(name);
        let error = deployments.create(&manifest, &WriteOptions::default()).await.unwrap_err();
        let text = format!("Internal error occurred: {why}");
        assert!(error.kind() == Kind::Internal && error.to_string().starts_with(&text), "{name}: {error}");
    }
    world.kubectl_with(&["create", "-f", "-"], &crate::contract::deployment("scaled").to_string()).await;
    let spec = json!({"failurePolicy": "Ignore", "mutations": [add("/spec/relicas", "1")]});
    enforce(&world, "scale", ("apps", "deployments/scale"), spec).await;
    let (done, _, error) = world.try_kubectl(&["scale", "deployment/scaled", "--replicas=7"], "").await;
    let text = "Internal error occurred: strict decoding error: unknown field \"spec.relicas\"";
    assert!(!done && error.contains(text), "{error}");
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": "main", "image": "i"}]}});
    let pods = world.outside().dynamic(&ResourceType::new("", "v1", "pods"), Some("default"));
    pods.create(&pod, &WriteOptions::default()).await.unwrap();
    let spec = json!({"failurePolicy": "Ignore", "mutations": [add("/target/nodes", "'n'")]});
    enforce(&world, "binding", ("", "pods/binding"), spec).await;
    let bind = json!({"apiVersion": "v1", "kind": "Binding", "metadata": {"name": "p"}, "target": {"kind": "Node", "name": "n"}});
    let path = "/api/v1/namespaces/default/pods/p/binding";
    let (done, _, error) = world.try_kubectl(&["create", "--raw", path, "-f", "-"], &bind.to_string()).await;
    let text = "Internal error occurred: strict decoding error: unknown field \"target.nodes\"";
    assert!(!done && error.contains(text), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_json_patch_that_tests_what_cannot_be_there_fails() {
    let world = World::start().await;
    for (name, path, value, fails) in [
        ("another", "/data/a", "'c'", false),
        ("none", "/data/c", "'c'", false),
        ("below", "/data/c/d", "'c'", true),
        ("beyond", "/metadata/finalizers/7", "'c'", true),
    ] {
        let test = format!("[JSONPatch{{op: 'test', path: '{path}', value: {value}}}]");
        let mine = json!([{"name": "mine", "expression": format!("object.metadata.name == '{name}'")}]);
        let spec = json!({"matchConditions": mine, "mutations": [patch(&test)]});
        enforce(&world, name, ("", "configmaps"), spec).await;
        let made = create(&world, name, json!({"a": "b"})).await;
        let text = format!("JSON Patch: test operation does not apply, there is no such path: {path:?}");
        let failed = made.as_ref().is_err_and(|error| error.to_string().contains(&text));
        assert_eq!((made.is_err(), failed), (fails, fails), "{name}: {made:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mutations_are_compiled_when_they_are_written() {
    let world = World::start().await;
    for (mutation, text) in [
        (apply("'x'"), "must evaluate to Object"),
        (apply("Object{spec: Objekt{}}"), "undeclared reference to 'Objekt'"),
        (patch("[JSONPatch{op: 7}]"), "expected type of field 'op' is 'string' but provided type is 'int'"),
        (patch("Object{}"), "must evaluate to list(JSONPatch)"),
        (patch("[JSONPatch{what: 'x'}]"), "undefined field 'what'"),
    ] {
        let policy = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "MutatingAdmissionPolicy", "metadata": {"name": "p"},
            "spec": {
                "reinvocationPolicy": "Never", "mutations": [mutation],
                "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}]},
            },
        });
        let (done, _, error) = world.try_kubectl(&["create", "-f", "-"], &policy.to_string()).await;
        assert!(!done && error.contains(text), "{error}\n should say {text}");
    }
}
