//! `ValidatingAdmissionPolicy` as clients meet it.

use hako_client::{Patch, ResourceType, WriteOptions};
use hako_error::Kind;
use serde_json::{Value, json};

use super::{GROUP, binding, configmap, configmaps, create, register, settled};
use crate::support::World;

/// A policy about ConfigMaps.
fn policy(name: &str, spec: Value) -> Value {
    let mut policy = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ValidatingAdmissionPolicy", "metadata": {"name": name},
        "spec": {"matchConstraints": {"resourceRules": [{
            "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE", "UPDATE"], "resources": ["configmaps"],
        }]}},
    });
    for (key, value) in spec.as_object().unwrap() {
        policy["spec"][key] = value.clone();
    }
    policy
}

/// A policy in force.
async fn enforce(world: &World, name: &str, spec: Value, actions: &[&str]) {
    register(world, "validatingadmissionpolicies", policy(name, spec)).await;
    register(world, "validatingadmissionpolicybindings", binding(&format!("{name}-binding"), name, actions))
        .await;
    settled(world).await;
}

fn refusal(error: &hako_error::Error, policy: &str, text: &str) {
    let text = format!(
        "ValidatingAdmissionPolicy '{policy}' with binding '{policy}-binding' denied request: {text}"
    );
    assert!(error.to_string().contains(&text), "{error}\n should say {text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kubectl_apply_is_refused_in_upstreams_words() {
    let world = World::start().await;
    let policy = r#"
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: small}
spec:
  failurePolicy: Fail
  matchConstraints:
    resourceRules:
    - {apiGroups: [apps], apiVersions: [v1], operations: [CREATE, UPDATE], resources: [deployments]}
  validations:
  - expression: object.spec.replicas <= 5
    messageExpression: "'at most 5 replicas, not ' + string(object.spec.replicas)"
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: small-everywhere}
spec: {policyName: small, validationActions: [Deny]}
"#;
    world.kubectl_with(&["apply", "-f", "-"], policy).await;
    settled(&world).await;
    let mut deployment = crate::contract::deployment("web");
    deployment["spec"]["replicas"] = 6.into();
    let (done, _, error) = world.try_kubectl(&["apply", "-f", "-"], &deployment.to_string()).await;
    assert!(!done);
    let text = "The deployments \"web\" is invalid: : ValidatingAdmissionPolicy 'small' with binding 'small-everywhere' denied \
                request: at most 5 replicas, not 6";
    assert!(error.contains(text), "{error}");
    deployment["spec"]["replicas"] = 5.into();
    world.kubectl_with(&["apply", "-f", "-"], &deployment.to_string()).await;
    let (done, _, error) = world.try_kubectl(&["scale", "deployment/web", "--replicas=7"], "").await;
    assert!(done, "the rule is not about the scale: {error}");
    let (done, _, error) = world.try_kubectl(&["label", "deployment/web", "a=b"], "").await;
    assert!(!done && error.contains("at most 5 replicas, not 7"), "{error}");
    world.kubectl(&["delete", "validatingadmissionpolicybinding", "small-everywhere"]).await;
    settled(&world).await;
    world.kubectl(&["label", "deployment/web", "a=b"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_reason_of_a_validation_is_the_code_of_the_answer() {
    let world = World::start().await;
    for (name, reason, code, kind) in [
        ("invalid", None, 422, Kind::Invalid),
        ("forbidden", Some("Forbidden"), 403, Kind::Forbidden),
        ("large", Some("RequestEntityTooLarge"), 413, Kind::Invalid),
    ] {
        let mut validation = json!({"expression": format!("object.metadata.name != '{name}'")});
        if let Some(reason) = reason {
            validation["reason"] = reason.into();
        }
        enforce(&world, name, json!({"validations": [validation]}), &["Deny"]).await;
        let error = create(&world, name, json!({})).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{code} {error}");
        refusal(&error, name, &format!("failed expression: object.metadata.name != '{name}'"));
        let cause = &error.causes()[0];
        assert!(cause.message.starts_with("ValidatingAdmissionPolicy"), "{cause:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn variables_are_made_of_each_other_and_messages_too() {
    let world = World::start().await;
    let spec = json!({
        "variables": [
            {"name": "words", "expression": "object.?data.?words.orValue('').split(' ')"},
            {"name": "long", "expression": "variables.words.filter(word, size(word) > 5)"},
            {"name": "broken", "expression": "object.data.nothing"},
        ],
        "validations": [
            {"expression": "size(variables.long) == 0", "messageExpression": "'too long: ' + variables.long.join(', ')", "message": "never shown"},
            {"expression": "!(request.name == 'broken') || variables.broken == 'x'", "message": "never reached"},
        ],
    });
    enforce(&world, "words", spec, &["Deny"]).await;
    create(&world, "good", json!({"words": "a bc def"})).await.unwrap();
    let error = create(&world, "bad", json!({"words": "short something anything"})).await.unwrap_err();
    refusal(&error, "words", "too long: something, anything");
    let error = create(&world, "broken", json!({"words": "a"})).await.unwrap_err();
    let text = "resulted in error: composited variable \"broken\" fails to evaluate: no such key: nothing";
    assert!(error.to_string().contains(text), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_that_fails_counts_as_its_policy_says() {
    let world = World::start().await;
    for (name, failure) in [("closed", "Fail"), ("open", "Ignore")] {
        let spec = json!({
            "failurePolicy": failure,
            "matchConditions": [{"name": "mine", "expression": format!("request.name == '{name}'")}],
            "validations": [{"expression": "object.data.nothing == 'x'"}],
        });
        enforce(&world, name, spec, &["Deny"]).await;
    }
    let error = create(&world, "closed", json!({"a": "b"})).await.unwrap_err();
    refusal(
        &error,
        "closed",
        "expression 'object.data.nothing == 'x'' resulted in error: no such key: nothing",
    );
    create(&world, "open", json!({"a": "b"})).await.unwrap();
    create(&world, "other", json!({"a": "b"})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_expression_may_cost_so_much_and_all_of_a_policy_so_much_more() {
    let world = World::start().await;
    let squares = "[0,1,2,3,4,5,6,7,8,9]";
    let loops = |depth: usize| {
        (0..depth).fold("true".to_owned(), |inner, at| format!("{squares}.all(x{at}, {inner})"))
    };
    let one = json!({
        "matchConditions": [{"name": "mine", "expression": "request.name == 'one'"}],
        "validations": [{"expression": loops(6)}],
    });
    enforce(&world, "one", one, &["Deny"]).await;
    let error = create(&world, "one", json!({})).await.unwrap_err().to_string();
    assert!(error.contains("resulted in error: operation cancelled: actual cost limit exceeded"), "{error}");
    // Each of them is allowed, all of them are not.
    let all: Vec<_> = (0..60).map(|_| json!({"expression": loops(5)})).collect();
    let many = json!({
        "matchConditions": [{"name": "mine", "expression": "request.name == 'many'"}], "validations": all,
    });
    enforce(&world, "many", many, &["Deny"]).await;
    let error = create(&world, "many", json!({})).await.unwrap_err();
    let text = "validation failed due to running out of cost budget, no further validation rules will be run";
    refusal(&error, "many", text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn parameters_are_of_a_name_or_of_labels_in_the_namespace_of_the_request() {
    let world = World::start().await;
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "validations": [{"expression": "!(object.metadata.name in params.data)", "messageExpression": "params.data[object.metadata.name]"}],
    });
    let mut policy = policy("listed", spec);
    // Parameters themselves are written freely.
    policy["spec"]["matchConstraints"]["objectSelector"] =
        json!({"matchExpressions": [{"key": "set", "operator": "DoesNotExist"}]});
    register(&world, "validatingadmissionpolicies", policy).await;
    let bind = async |name: &str, reference: Value| {
        let mut binding = binding(name, "listed", &["Deny"]);
        binding["spec"]["paramRef"] = reference;
        register(&world, "validatingadmissionpolicybindings", binding).await;
    };
    bind("by-name", json!({"name": "first", "namespace": "default", "parameterNotFoundAction": "Deny"}))
        .await;
    settled(&world).await;
    let error = create(&world, "x", json!({})).await.unwrap_err().to_string();
    let text = "binding 'by-name' denied request: failed to configure binding: no params found for policy binding with `Deny` \
                parameterNotFoundAction";
    assert!(error.contains(text), "{error}");
    let param = async |name: &str, data: Value| {
        let mut param = configmap(name, data);
        param["metadata"]["labels"] = json!({"set": "yes"});
        configmaps(&world).create(&param, &WriteOptions::default()).await.unwrap();
    };
    param("first", json!({"x": "not x"})).await;
    let error = create(&world, "x", json!({})).await.unwrap_err().to_string();
    assert!(error.contains("denied request: not x"), "the parameter that was just written counts: {error}");
    create(&world, "y", json!({})).await.unwrap();
    bind(
        "by-labels",
        json!({"selector": {"matchLabels": {"set": "yes"}}, "parameterNotFoundAction": "Allow"}),
    )
    .await;
    settled(&world).await;
    param("second", json!({"z": "not z"})).await;
    let error = create(&world, "z", json!({})).await.unwrap_err().to_string();
    assert!(error.contains("binding 'by-labels' denied request: not z"), "{error}");
    create(&world, "w", json!({})).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_binding_warns_or_records_instead_of_refusing() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("audit.log");
    let audit =
        hako_api::Audit::open(&hako_api::AuditOptions { log: Some(log.clone()), ..Default::default() })
            .unwrap();
    let world = World::start_as(|config| config.audit = audit).await;
    let spec = json!({
        "validations": [{"expression": "object.metadata.name != 'x'", "message": "not x"}],
        "auditAnnotations": [{"key": "who", "valueExpression": "request.userInfo.username + '/' + request.name"}],
    });
    enforce(&world, "soft", spec, &["Warn", "Audit"]).await;
    let manifest = configmap("x", json!({})).to_string();
    let (done, _, error) = world.try_kubectl(&["create", "-f", "-"], &manifest).await;
    assert!(done, "{error}");
    let warning =
        "Warning: Validation failed for ValidatingAdmissionPolicy 'soft' with binding 'soft-binding': not x";
    assert!(error.contains(warning), "{error}");
    let of_x = |event: &Value| {
        event["objectRef"]["name"] == "x" || event["requestURI"].to_string().contains("configmaps?")
    };
    let read = async || {
        let text = std::fs::read_to_string(&log).unwrap();
        let lines = text.rsplit_once('\n').map_or("", |(whole, _)| whole).lines();
        let events = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
        let mut events = events.filter(|event| event["verb"] == "create" && of_x(event));
        events.find(|event| event["annotations"]["soft/who"].is_string()).unwrap_or_default()
    };
    let event = super::until("the event is recorded", read, |event| event.is_object()).await;
    assert_eq!(event["annotations"]["soft/who"], "hako-admin/x");
    let failure =
        event["annotations"]["validation.policy.admission.k8s.io/validation_failure"].as_str().unwrap();
    let failure: Value = serde_json::from_str(failure).unwrap();
    let wanted = json!([{
        "message": "not x", "policy": "soft", "binding": "soft-binding", "expressionIndex": 0,
        "validationActions": ["Warn", "Audit"],
    }]);
    assert_eq!(failure, wanted);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_ask_the_authorizer_for_whoever_writes() {
    let world = World::start().await;
    let spec = json!({"validations": [
        {"expression": "authorizer.group('').resource('secrets').namespace('default').check('list').allowed()", "message": "who may not list secrets"},
        {"expression": "authorizer.serviceAccount('default', 'robot').path('/metrics').check('get').allowed() == false", "message": "robots"},
        {"expression": "authorizer.requestResource.check('delete').allowed()", "message": "who may not delete it"},
    ]});
    enforce(&world, "asks", spec, &["Deny"]).await;
    create(&world, "by-admin", json!({})).await.unwrap();
    let grant = |name: &str, verbs: &str, resource: &str| {
        format!(
            "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {{name: {name}, namespace: default}}\nrules:\n- \
             {{apiGroups: [''], resources: [{resource}], verbs: [{verbs}]}}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: \
             RoleBinding\nmetadata: {{name: {name}, namespace: default}}\nroleRef: {{apiGroup: rbac.authorization.k8s.io, kind: Role, \
             name: {name}}}\nsubjects:\n- {{apiGroup: rbac.authorization.k8s.io, kind: User, name: jane}}\n"
        )
    };
    world.kubectl_with(&["apply", "-f", "-"], &grant("writes", "create, get", "configmaps")).await;
    let manifest = configmap("by-jane", json!({})).to_string();
    let attempt = async || world.try_kubectl(&["create", "--as=jane", "-f", "-"], &manifest).await.2;
    super::until("jane may write", attempt, |error| error.contains("who may not list secrets")).await;
    world.kubectl_with(&["apply", "-f", "-"], &grant("lists", "list", "secrets")).await;
    super::until("jane may list", attempt, |error| error.contains("who may not delete it")).await;
    world.kubectl_with(&["apply", "-f", "-"], &grant("deletes", "delete", "configmaps")).await;
    super::until("jane may all", attempt, String::is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_see_the_old_object_the_namespace_and_the_request() {
    let world = World::start().await;
    world.kubectl(&["label", "namespace", "default", "tier=gold"]).await;
    let spec = json!({"validations": [
        {"expression": "namespaceObject.metadata.labels.tier == 'gold'", "message": "tier"},
        {"expression": "namespaceObject.status.phase == 'Active' && !has(namespaceObject.status.conditions)", "message": "status"},
        {"expression": "request.operation != 'UPDATE' || object.data.a == oldObject.data.a", "message": "a is fixed"},
        {"expression": "request.operation == 'UPDATE' || oldObject == null", "message": "old"},
        {"expression": "request.resource.resource == 'configmaps' && request.kind.kind == 'ConfigMap' && request.namespace == 'default'", "message": "names"},
        {"expression": "'system:masters' in request.userInfo.groups && !request.dryRun && request.options.kind in ['CreateOptions', 'UpdateOptions']", "message": "user"},
    ]});
    enforce(&world, "sees", spec, &["Deny"]).await;
    create(&world, "x", json!({"a": "1"})).await.unwrap();
    let patch = Patch::Merge(json!({"data": {"a": "2"}}));
    let error = configmaps(&world).patch("x", None, &patch, &WriteOptions::default()).await.unwrap_err();
    refusal(&error, "sees", "a is fixed");
    let patch = Patch::Merge(json!({"data": {"b": "2"}}));
    configmaps(&world).patch("x", None, &patch, &WriteOptions::default()).await.unwrap();
    world.kubectl(&["label", "namespace", "default", "tier=none", "--overwrite"]).await;
    let error = create(&world, "y", json!({})).await.unwrap_err();
    refusal(&error, "sees", "tier");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_status_of_a_policy_warns_of_what_does_not_fit_the_types() {
    let world = World::start().await;
    let object = json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "ValidatingAdmissionPolicy", "metadata": {"name": "typed"},
        "spec": {
            "matchConstraints": {"resourceRules": [{
                "apiGroups": ["apps"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["deployments"],
            }]},
            "validations": [
                {"expression": "object.spec.replicas > 1"},
                {"expression": "object.spec.relicas > 1", "messageExpression": "object.spec.replicas"},
            ],
        },
    });
    let mut bad = object.clone();
    bad["spec"]["validations"][1]["messageExpression"] = "'x' + object.spec.nothing".into();
    let made = register(&world, "validatingadmissionpolicies", bad).await;
    assert_eq!(made["status"]["observedGeneration"], 1, "{made}");
    let warnings = &made["status"]["typeChecking"]["expressionWarnings"];
    assert_eq!(warnings.as_array().map(Vec::len), Some(2), "{warnings}");
    assert_eq!(warnings[0]["fieldRef"], "spec.validations[1].expression");
    let text = "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'relicas'\n | object.spec.relicas > 1\n | ...........^\n";
    assert_eq!(warnings[0]["warning"], text);
    assert_eq!(warnings[1]["fieldRef"], "spec.validations[1].messageExpression");
    let api = world.outside().dynamic(&ResourceType::new(GROUP, "v1", "validatingadmissionpolicies"), None);
    let patch = Patch::Merge(json!({"spec": {"validations": [{"expression": "object.spec.replicas > 1"}]}}));
    let changed = api.patch("typed", None, &patch, &WriteOptions::default()).await.unwrap();
    assert_eq!(changed["status"], json!({"observedGeneration": 2, "typeChecking": {}}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fields_are_of_their_types_wherever_a_type_stands_in_another() {
    let world = World::start().await;
    let deployments = ("apps", "v1", "deployments");
    let definitions = ("apiextensions.k8s.io", "v1", "customresourcedefinitions");
    for (at, ((group, version, resource), expression, wrong)) in [
        (deployments, "object.metadata.name > 5", "'_>_' applied to '(string, int)'"),
        (deployments, "object.metadata.labels['a'] == 1", "'_==_' applied to '(string, int)'"),
        (deployments, "object.metadata.ownerReferences.all(it, it.knd == 'a')", "undefined field 'knd'"),
        (deployments, "object.spec.template.metadata.name > 5", "'_>_' applied to '(string, int)'"),
        (
            deployments,
            "object.spec.template.spec.volumes.all(it, it.ephemeral.volumeClaimTemplate.metadata.name > 5)",
            "'_>_' applied to '(string, int)'",
        ),
        (
            definitions,
            "object.spec.versions[0].schema.openAPIV3Schema.type == 1",
            "'_==_' applied to '(string, int)'",
        ),
        // What holds itself is looked into once.
        (definitions, "object.spec.versions[0].schema.openAPIV3Schema.items.schema.type == 1", ""),
    ]
    .into_iter()
    .enumerate()
    {
        let policy = json!({
            "apiVersion": format!("{GROUP}/v1"), "kind": "ValidatingAdmissionPolicy",
            "metadata": {"name": format!("typed-{at}")},
            "spec": {
                "matchConstraints": {"resourceRules": [{
                    "apiGroups": [group], "apiVersions": [version], "operations": ["CREATE"], "resources": [resource],
                }]},
                "validations": [{"expression": expression}],
            },
        });
        let made = register(&world, "validatingadmissionpolicies", policy).await;
        let said = &made["status"]["typeChecking"];
        let is_so = match wrong {
            "" => *said == json!({}),
            wrong => {
                said["expressionWarnings"][0]["warning"].as_str().is_some_and(|text| text.contains(wrong))
            }
        };
        assert!(is_so, "{expression}: {said}");
    }
}
