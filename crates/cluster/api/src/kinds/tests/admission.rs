//! The kinds of `admissionregistration.k8s.io`.

use super::samples::{changed, refused, sample};
use super::*;

const HOOKS: [&str; 2] = ["ValidatingWebhookConfiguration", "MutatingWebhookConfiguration"];
const POLICIES: [&str; 2] = ["ValidatingAdmissionPolicy", "MutatingAdmissionPolicy"];
const BINDINGS: [&str; 2] = ["ValidatingAdmissionPolicyBinding", "MutatingAdmissionPolicyBinding"];

#[test]
fn webhooks_get_what_upstream_gives_them() {
    for kind in HOOKS {
        let made = created(kind, sample(kind));
        let hook = &made["webhooks"][0];
        for (name, value) in [
            ("failurePolicy", json!("Ignore")),
            ("matchPolicy", json!("Equivalent")),
            ("timeoutSeconds", json!(10)),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
        ] {
            assert_eq!(hook[name], value, "{kind} {name}");
        }
        assert_eq!(
            (&hook["rules"][0]["scope"], &hook["clientConfig"]["service"]["port"]),
            (&json!("*"), &json!(443))
        );
        let again = hook.get("reinvocationPolicy");
        assert_eq!(again, (kind == HOOKS[1]).then_some(&json!("Never")));
        assert_eq!(cells(kind, &made), ["sample", "1", "<unknown>"]);
        let mut new = made.clone();
        new["webhooks"][0]["timeoutSeconds"] = 3.into();
        (row(kind).prepare_update)(&mut new, &made);
        assert_eq!(new["metadata"]["generation"], 2);
    }
}

#[test]
fn a_webhook_has_a_name_a_place_and_no_side_effects() {
    for kind in HOOKS {
        let second = [sample(kind)["webhooks"][0].clone(), sample(kind)["webhooks"][0].clone()];
        refused(
            kind,
            [
                (
                    "webhooks.0.name",
                    json!("a.b"),
                    "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
                ),
                ("webhooks.0.name", json!(""), "webhooks[0].name: Required value"),
                ("webhooks", json!(second), "webhooks[1].name: Duplicate value: \"sample.example.com\""),
                (
                    "webhooks.0.sideEffects",
                    json!("Some"),
                    "webhooks[0].sideEffects: Unsupported value: \"Some\": supported values: \"None\", \"NoneOnDryRun\"",
                ),
                (
                    "webhooks.0.sideEffects",
                    Value::Null,
                    "webhooks[0].sideEffects: Required value: must specify one of None, NoneOnDryRun",
                ),
                (
                    "webhooks.0.timeoutSeconds",
                    json!(31),
                    "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
                ),
                (
                    "webhooks.0.failurePolicy",
                    json!("x"),
                    "webhooks[0].failurePolicy: Unsupported value: \"x\": supported values: \"Fail\", \"Ignore\"",
                ),
                (
                    "webhooks.0.matchPolicy",
                    json!("x"),
                    "webhooks[0].matchPolicy: Unsupported value: \"x\": supported values: \"Equivalent\", \"Exact\"",
                ),
                (
                    "webhooks.0.admissionReviewVersions",
                    json!([]),
                    "webhooks[0].admissionReviewVersions: Required value: must specify one of v1, v1beta1",
                ),
                (
                    "webhooks.0.admissionReviewVersions",
                    json!(["v2"]),
                    "webhooks[0].admissionReviewVersions: Invalid value: [\"v2\"]: must include at least one of v1, v1beta1",
                ),
                (
                    "webhooks.0.admissionReviewVersions",
                    json!(["v1", "v1"]),
                    "webhooks[0].admissionReviewVersions[1]: Invalid value: \"v1\": duplicate version",
                ),
            ],
        );
    }
}

#[test]
fn a_call_goes_to_a_service_or_to_a_plain_https_address() {
    let at = "webhooks[0].clientConfig";
    let form = "; desired format: https://host[/path]";
    let url = |url: &str, expected: &str| {
        let expected = format!("{at}.url: Invalid value: {expected}");
        refused(HOOKS[0], [("webhooks.0.clientConfig", json!({"url": url}), &expected)]);
    };
    url("http://a", &format!("\"http\": 'https' is the only allowed URL scheme{form}"));
    url("https:///p", &format!("\"\": host must be specified{form}"));
    url("https://u@a", "\"u\": user information is not permitted in the URL");
    url("https://a/#f", "\"f\": fragments are not permitted in the URL");
    url("https://a/?q", "\"q\": query parameters are not permitted in the URL");
    let found =
        faults(HOOKS[0], changed(HOOKS[0], &[("webhooks.0.clientConfig", json!({"url": "https://a/b"}))]));
    assert_eq!(found, [""; 0]);
    let none = format!("{at}: Required value: exactly one of url or service is required");
    refused(HOOKS[0], [("webhooks.0.clientConfig", json!({}), &none)]);
    let path = |path: &str, expected: &str| {
        let expected = format!("{at}.service.path: Invalid value: {path:?}: {expected}");
        refused(HOOKS[0], [("webhooks.0.clientConfig.service.path", json!(path), &expected)]);
    };
    path("//", "segment[0] may not be empty");
    path("/a//b", "segment[1] may not be empty");
    path("a", "must start with a '/'");
    let unnamed = format!("{at}.service.namespace: Required value");
    refused(HOOKS[0], [("webhooks.0.clientConfig.service.namespace", Value::Null, &unnamed)]);
}

#[test]
fn a_rule_names_no_more_than_it_means() {
    let resources = |resources: Value, expected: &str| {
        let expected = format!("webhooks[0].rules[0].resources{expected}");
        refused(HOOKS[0], [("webhooks.0.rules.0.resources", resources, &expected)]);
    };
    resources(json!([]), ": Required value");
    resources(json!([""]), "[0]: Required value");
    resources(
        json!(["*", "a"]),
        ": Invalid value: [\"*\",\"a\"]: if '*' is present, must not specify other resources without subresources",
    );
    resources(
        json!(["*/*", "a"]),
        ": Invalid value: [\"*/*\",\"a\"]: if '*/*' is present, must not specify other resources",
    );
    resources(
        json!(["a/*", "a/b"]),
        "[1]: Invalid value: \"a/b\": if 'a/*' is present, must not specify a/b",
    );
    resources(
        json!(["*/b", "a/b"]),
        "[1]: Invalid value: \"a/b\": if '*/b' is present, must not specify a/b",
    );
    refused(
        HOOKS[1],
        [
            (
                "webhooks.0.rules.0.operations",
                json!(["*", "CREATE"]),
                "webhooks[0].rules[0].operations: Invalid value: [\"*\",\"CREATE\"]: if '*' is present, must not specify other operations",
            ),
            (
                "webhooks.0.rules.0.operations",
                json!(["x"]),
                "webhooks[0].rules[0].operations[0]: Unsupported value: \"x\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"DELETE\", \"UPDATE\"",
            ),
            (
                "webhooks.0.rules.0.apiVersions",
                json!([""]),
                "webhooks[0].rules[0].apiVersions[0]: Required value",
            ),
            (
                "webhooks.0.rules.0.scope",
                json!("x"),
                "webhooks[0].rules[0].scope: Unsupported value: \"x\": supported values: \"*\", \"Cluster\", \"Namespaced\"",
            ),
        ],
    );
}

#[test]
fn conditions_are_named_once_and_say_something() {
    let one = json!({"name": "a", "expression": "true"});
    refused(
        HOOKS[0],
        [
            (
                "webhooks.0.matchConditions",
                json!([one, one]),
                "webhooks[0].matchConditions[1].name: Duplicate value: \"a\"",
            ),
            (
                "webhooks.0.matchConditions",
                json!([{"name": "a", "expression": " "}]),
                "webhooks[0].matchConditions[0].expression: Required value",
            ),
            (
                "webhooks.0.matchConditions",
                json!(
                    (0..65)
                        .map(|at| json!({"name": format!("a{at}"), "expression": "true"}))
                        .collect::<Vec<_>>()
                ),
                "webhooks[0].matchConditions: Too many: 65: must have at most 64 items",
            ),
        ],
    );
}

#[test]
fn a_policy_matches_something_and_does_something() {
    for kind in POLICIES {
        let made = created(kind, sample(kind));
        assert_eq!(made["spec"]["failurePolicy"], "Fail");
        assert_eq!(made["spec"]["matchConstraints"]["matchPolicy"], "Equivalent");
        assert_eq!(made["spec"]["matchConstraints"]["resourceRules"][0]["scope"], "*");
        assert_eq!(cells(kind, &made), ["sample", "1", "<unset>", "<unknown>"]);
        let object =
            changed(kind, &[("spec.paramKind", json!({"apiVersion": "example.com/v1", "kind": "P"}))]);
        assert_eq!(cells(kind, &created(kind, object))[2], "example.com/v1/P");
        refused(
            kind,
            [
                ("spec.matchConstraints", Value::Null, "spec.matchConstraints: Required value"),
                (
                    "spec.matchConstraints.resourceRules",
                    json!([]),
                    "spec.matchConstraints.resourceRules: Required value",
                ),
                (
                    "spec.matchConstraints.resourceRules.0.resourceNames",
                    json!(["a", "a"]),
                    "spec.matchConstraints.resourceRules[0].resourceNames[1]: Duplicate value: \"a\"",
                ),
                ("spec.paramKind", json!({"apiVersion": "v1"}), "spec.paramKind.kind: Required value"),
                (
                    "spec.paramKind",
                    json!({"apiVersion": "a/b/c", "kind": "P"}),
                    "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
                ),
                (
                    "spec.variables",
                    json!([{"name": "in", "expression": "1"}]),
                    "spec.variables[0].name: Invalid value: \"in\": name is not a valid CEL identifier",
                ),
                (
                    "spec.variables",
                    json!([{"name": "a"}]),
                    "spec.variables[0].expression: Required value: expression is not specified",
                ),
            ],
        );
    }
}

#[test]
fn a_validation_has_an_expression_and_a_message_of_one_line() {
    let detail = "validations or auditAnnotations must contain at least one item";
    refused(
        POLICIES[0],
        [
            ("spec.validations", json!([]), &format!("spec.validations: Required value: {detail}")),
            (
                "spec.validations",
                json!([{"expression": ""}]),
                "spec.validations[0].expression: Required value: expression is not specified",
            ),
            (
                "spec.validations.0.message",
                json!("a\nb"),
                "spec.validations[0].message: Invalid value: \"a\\nb\": message must not contain line breaks",
            ),
            (
                "spec.validations.0.messageExpression",
                json!(" "),
                "spec.validations[0].messageExpression: Invalid value: \" \": must be non-empty if specified",
            ),
            (
                "spec.validations.0.reason",
                json!("x"),
                "spec.validations[0].reason: Unsupported value: \"x\": supported values: \"Forbidden\", \"Invalid\", \"RequestEntityTooLarge\"",
            ),
            (
                "spec.auditAnnotations",
                json!([{"key": "a"}]),
                "spec.auditAnnotations[0].valueExpression: Required value: valueExpression is not specified",
            ),
        ],
    );
}

#[test]
fn a_mutation_is_a_patch_of_its_type() {
    refused(
        POLICIES[1],
        [
            (
                "spec.mutations",
                json!([]),
                "spec.mutations: Required value: mutations must contain at least one item",
            ),
            ("spec.mutations", json!([{}]), "spec.mutations[0].patchType: Required value"),
            (
                "spec.mutations",
                json!([{"patchType": "x"}]),
                "spec.mutations[0].patchType: Unsupported value: \"x\": supported values: \"ApplyConfiguration\", \"JSONPatch\"",
            ),
            (
                "spec.mutations.0.jsonPatch",
                json!({"expression": "[]"}),
                "spec.mutations[0].jsonPatch: Invalid value: \"{jsonPatch}\": must not be specified when patchType is ApplyConfiguration",
            ),
            ("spec.reinvocationPolicy", Value::Null, "spec.reinvocationPolicy: Required value"),
            (
                "spec.matchConstraints.resourceRules.0.operations",
                json!(["DELETE"]),
                "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"CREATE\", \"UPDATE\"",
            ),
        ],
    );
}

#[test]
fn the_status_of_a_policy_is_the_servers() {
    let mut object = sample(POLICIES[0]);
    object["status"] = json!({"observedGeneration": 7});
    let made = created(POLICIES[0], object);
    assert_eq!((&made["status"], &made["metadata"]["generation"]), (&json!({}), &json!(1)));
    let mut new = made.clone();
    new["status"] = json!({"typeChecking": {"expressionWarnings": [{"fieldRef": "spec"}]}});
    assert_eq!(
        update_faults(POLICIES[0], &made, &new),
        ["status.typeChecking.expressionWarnings[0].warning: Required value"]
    );
}

#[test]
fn a_binding_names_its_policy_and_its_parameters() {
    for kind in BINDINGS {
        let named = |reference: Value| created(kind, changed(kind, &[("spec.paramRef", reference)]));
        let shown = |reference: Value| cells(kind, &named(reference))[2].clone();
        assert_eq!(cells(kind, &created(kind, sample(kind))), ["sample", "sample", "<unset>", "<unknown>"]);
        assert_eq!(shown(json!({"name": "p"})), "*/p");
        assert_eq!(shown(json!({"name": "p", "namespace": "n"})), "n/p");
        let selector = json!({"matchLabels": {"b": "c", "a": "b"}, "matchExpressions": [{"key": "k", "operator": "In", "values": ["v", "w"]}]});
        assert_eq!(
            shown(json!({"selector": selector})),
            "&LabelSelector{MatchLabels:map[string]string{a: b,b: c,},MatchExpressions:[]LabelSelectorRequirement{LabelSelectorRequirement{Key:k,Operator:In,Values:[v w],},},}"
        );
        refused(
            kind,
            [
                ("spec.policyName", Value::Null, "spec.policyName: Required value"),
                (
                    "spec.paramRef",
                    json!({"parameterNotFoundAction": "Deny"}),
                    "spec.paramRef: Required value: one of name or selector must be specified",
                ),
                (
                    "spec.paramRef",
                    json!({"name": "a", "selector": {}}),
                    "spec.paramRef.selector: Forbidden: name and selector are mutually exclusive",
                ),
                (
                    "spec.paramRef",
                    json!({"name": "a"}),
                    "spec.paramRef.parameterNotFoundAction: Required value",
                ),
            ],
        );
    }
    refused(
        BINDINGS[0],
        [
            (
                "spec.validationActions",
                json!([]),
                "spec.validationActions: Required value: at least one validation action is required",
            ),
            (
                "spec.validationActions",
                json!(["Deny", "Deny"]),
                "spec.validationActions[1]: Duplicate value: \"Deny\"",
            ),
            (
                "spec.validationActions",
                json!(["Deny", "Warn"]),
                "spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)",
            ),
        ],
    );
}

/// The one fault of an object changed at `at`.
fn fault_of(kind: &str, at: &str, value: Value) -> String {
    let found = faults(kind, changed(kind, &[(at, value.clone())]));
    assert_eq!(found.len(), 1, "{kind} {at} {value}: {found:?}");
    found.into_iter().next().unwrap_or_default()
}

#[test]
fn expressions_are_compiled_with_what_they_may_name() {
    let condition = |expression: &str| json!([{"name": "a", "expression": expression}]);
    for sound in [
        "object.metadata.name != 'x' && has(request.userInfo.groups) && request.operation == 'CREATE'",
        "authorizer.group('').resource('pods').namespace(request.namespace).check('get').allowed()",
        "authorizer.requestResource.check('update').allowed()",
        "namespaceObject == null || namespaceObject.status.conditions.all(it, it.status == 'True')",
    ] {
        assert_eq!(
            faults(HOOKS[0], changed(HOOKS[0], &[("webhooks.0.matchConditions", condition(sound))])),
            [""; 0]
        );
        let policy = changed(POLICIES[0], &[("spec.matchConditions", condition(sound))]);
        assert_eq!(faults(POLICIES[0], policy), [""; 0]);
    }
    for (expression, fault) in [
        ("object.x +", "compilation failed: ERROR: <input>:1:11: Syntax error"),
        ("unknown", "undeclared reference to 'unknown'"),
        ("'a'", "must evaluate to bool"),
        ("request.none == 1", "undefined field 'none'"),
        ("params.x == 1", "undeclared reference to 'params'"),
        ("namespaceObject.none == 1", "undefined field 'none'"),
    ] {
        let found = fault_of(HOOKS[0], "webhooks.0.matchConditions", condition(expression));
        let head = "webhooks[0].matchConditions[0].expression: Invalid value: ";
        assert!(found.starts_with(head) && found.contains(fault), "{expression}: {found}");
    }
}

#[test]
fn expressions_of_policies_know_their_variables_and_parameters() {
    let of = |variable: &str, expression: &str, message: &str, params: Value| {
        faults(
            POLICIES[0],
            changed(
                POLICIES[0],
                &[
                    ("spec.variables", json!([{"name": "x", "expression": variable}])),
                    ("spec.validations", json!([{"expression": expression, "messageExpression": message}])),
                    (
                        "spec.auditAnnotations",
                        json!([{"key": "k", "valueExpression": "variables.x > 1 ? dyn('many') : null"}]),
                    ),
                    ("spec.paramKind", params),
                ],
            ),
        )
    };
    let kind = json!({"apiVersion": "example.com/v1", "kind": "P"});
    let sound = of(
        "size(object.spec.list)",
        "variables.x < params.max",
        "'at most ' + string(params.max)",
        kind.clone(),
    );
    assert_eq!(sound, [""; 0]);
    let namespace = of("1", "namespaceObject.metadata.labels['a'] == 'b'", "'m'", kind.clone());
    assert_eq!(namespace, [""; 0]);
    for (found, fault) in [
        (of("1", "variables.x < params.max", "'m'", Value::Null), "undeclared reference to 'params'"),
        (of("'a'", "variables.x < 2", "'m'", kind.clone()), "found no matching overload for '_<_'"),
        (
            of("1", "variables.x < 2", "1", kind.clone()),
            "messageExpression: Invalid value: \"1\": must evaluate to string",
        ),
        (
            of("1", "true", "authorizer.path('/x').check('get').reason()", kind.clone()),
            "undeclared reference to 'authorizer'",
        ),
    ] {
        assert!(found.iter().any(|line| line.contains(fault)), "{fault}: {found:?}");
    }
}
