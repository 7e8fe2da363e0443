//! The kinds of `flowcontrol.apiserver.k8s.io`.

use super::samples::{changed, refused, sample};
use super::*;

const SCHEMA: &str = "FlowSchema";
const LEVEL: &str = "PriorityLevelConfiguration";

#[test]
fn flow_schemas_and_priority_levels_get_what_upstream_gives_them() {
    let schema = created(SCHEMA, sample(SCHEMA));
    assert_eq!(schema["spec"]["matchingPrecedence"], 1000);
    assert_eq!(cells(SCHEMA, &schema), ["sample", "sample", "1000", "<none>", "<unknown>", "?"]);
    let level = created(LEVEL, sample(LEVEL));
    assert_eq!(
        level["spec"]["limited"],
        json!({"nominalConcurrencyShares": 30, "lendablePercent": 0, "limitResponse": {"type": "Queue",
            "queuing": {"queues": 64, "handSize": 8, "queueLengthLimit": 50}}})
    );
    assert_eq!(cells(LEVEL, &level), ["sample", "Limited", "30", "64", "8", "50", "<unknown>"]);
    let reject = [("spec.limited.limitResponse", json!({"type": "Reject"}))];
    assert_eq!(cells(LEVEL, &created(LEVEL, changed(LEVEL, &reject)))[3], "<none>");
}

#[test]
fn the_objects_every_cluster_has_are_sound_and_fixed() {
    for (plural, name, spec) in mandatory_objects() {
        let row = table().iter().find(|row| row.plural == plural).unwrap();
        let object = json!({"metadata": {"name": name}, "spec": spec});
        assert_eq!(faults(row.kind, object.clone()), [""; 0]);
        assert_eq!(created(row.kind, object)["spec"], spec, "no default is missing");
    }
    let (_, _, mut spec) = mandatory_objects()[3].clone();
    spec["matchingPrecedence"] = 7.into();
    let found = faults(SCHEMA, json!({"metadata": {"name": "catch-all"}, "spec": spec}));
    assert!(found[0].ends_with("spec of 'catch-all' must equal the fixed value"), "{found:?}");
    let (_, _, mut spec) = mandatory_objects()[0].clone();
    spec["exempt"]["lendablePercent"] = 50.into();
    assert_eq!(faults(LEVEL, json!({"metadata": {"name": "exempt"}, "spec": spec})), [""; 0]);
}

#[test]
fn a_flow_schema_has_a_precedence_a_level_and_subjects() {
    let at = "spec.matchingPrecedence: Invalid value: ";
    refused(
        SCHEMA,
        [
            ("spec.matchingPrecedence", json!(-1), &format!("{at}-1: must be a positive value")),
            ("spec.matchingPrecedence", json!(10_001), &format!("{at}10001: must not be greater than 10000")),
            (
                "spec.matchingPrecedence",
                json!(1),
                &format!("{at}1: only the schema named 'exempt' may have matchingPrecedence 1"),
            ),
            (
                "spec.priorityLevelConfiguration",
                json!({}),
                "spec.priorityLevelConfiguration.name: Required value: must reference a priority level",
            ),
            (
                "spec.distinguisherMethod",
                json!({"type": "x"}),
                "spec.distinguisherMethod.type: Unsupported value: \"x\": supported values: \"ByNamespace\", \"ByUser\"",
            ),
            (
                "spec.rules",
                json!([{}]),
                "spec.rules[0]: Required value: at least one of resourceRules and nonResourceRules has to be non-empty",
            ),
            (
                "spec.rules",
                json!([{}]),
                "spec.rules[0].subjects: Required value: subjects must contain at least one value",
            ),
        ],
    );
}

#[test]
fn a_subject_is_of_its_kind_and_named() {
    let subject = |subject: Value, expected: &str| {
        let expected = format!("spec.rules[0].subjects[0].{expected}");
        refused(SCHEMA, [("spec.rules.0.subjects.0", subject, &expected)]);
    };
    subject(
        json!({"kind": "x"}),
        "kind: Unsupported value: \"x\": supported values: \"Group\", \"ServiceAccount\", \"User\"",
    );
    subject(json!({"kind": "User"}), "user: Required value: user is required when subject kind is 'User'");
    subject(json!({"kind": "User", "user": {}}), "user.name: Required value");
    subject(
        json!({"kind": "User", "user": {"name": "u"}, "group": {"name": "g"}}),
        "group: Forbidden: group is forbidden when subject kind is not 'Group'",
    );
    subject(
        json!({"kind": "ServiceAccount", "serviceAccount": {"name": "*"}}),
        "serviceAccount.namespace: Required value: must specify namespace for service account",
    );
}

#[test]
fn rules_name_verbs_resources_namespaces_and_paths() {
    let rule = |name: &str, value: Value, expected: &str| {
        let expected = format!("spec.rules[0].resourceRules[0].{name}: {expected}");
        refused(SCHEMA, [(&format!("spec.rules.0.resourceRules.0.{name}"), value, &expected)]);
    };
    rule("verbs", json!([]), "Required value: verbs must contain at least one value");
    rule(
        "verbs",
        json!(["*", "get"]),
        "Invalid value: [\"*\",\"get\"]: if '*' is present, must not specify other verbs",
    );
    rule("apiGroups", json!([]), "Required value: resource rules must supply at least one api group");
    rule(
        "namespaces",
        json!([]),
        "Required value: resource rules that are not cluster scoped must supply at least one namespace",
    );
    let path = |path: &str, expected: &str| {
        let rules = json!([{"verbs": ["get"], "nonResourceURLs": [path]}]);
        let expected = format!(
            "spec.rules[0].nonResourceRules[0].nonResourceURLs[0]: Invalid value: {path:?}: {expected}"
        );
        refused(SCHEMA, [("spec.rules.0.nonResourceRules", rules, &expected)]);
    };
    path("", "must not be empty");
    path("a", "must start with slash");
    path("/a b", "must not contain white-space");
    path("/a//b", "must not contain double slash");
    path("/a*", "wildcard can only do suffix matching");
}

#[test]
fn a_priority_level_is_limited_unless_it_is_exempt() {
    let limited = "spec.limited";
    refused(
        LEVEL,
        [
            (
                "spec.type",
                json!("Exempt"),
                "spec.type: Invalid value: \"Exempt\": type must be 'Exempt' if and only if name is 'exempt'",
            ),
            (
                "spec.type",
                json!("x"),
                "spec.type: Unsupported value: \"x\": supported values: \"Exempt\", \"Limited\"",
            ),
            (limited, Value::Null, "spec.limited: Required value: must not be empty when type is Limited"),
            ("spec.exempt", json!({}), "spec.exempt: Forbidden: must be nil if the type is Limited"),
            (
                "spec.limited.nominalConcurrencyShares",
                json!(-1),
                "spec.limited.nominalConcurrencyShares: Invalid value: -1: must be a non-negative integer",
            ),
            (
                "spec.limited.lendablePercent",
                json!(101),
                "spec.limited.lendablePercent: Invalid value: 101: must be between 0 and 100, inclusive",
            ),
            (
                "spec.limited.borrowingLimitPercent",
                json!(-1),
                "spec.limited.borrowingLimitPercent: Invalid value: -1: if specified, must be a non-negative integer",
            ),
            (
                "spec.limited.limitResponse.type",
                json!("Reject"),
                "spec.limited.limitResponse.queuing: Forbidden: must be nil if limited.limitResponse.type is not Limited",
            ),
        ],
    );
}

#[test]
fn a_flow_draws_its_queues_from_a_deck_that_a_hash_can_tell() {
    let queuing = |queuing: Value, expected: &str| {
        let expected = format!("spec.limited.limitResponse.queuing.{expected}");
        refused(LEVEL, [("spec.limited.limitResponse.queuing", queuing, &expected)]);
    };
    queuing(json!({"queues": -1}), "queues: Invalid value: -1: must be positive");
    queuing(
        json!({"queues": 10_000_001}),
        "queues: Invalid value: 10000001: must not be greater than 10000000",
    );
    queuing(json!({"queues": 4}), "handSize: Invalid value: 8: should not be greater than queues (4)");
    queuing(
        json!({"queues": 512}),
        "handSize: Invalid value: 8: required entropy bits of deckSize 512 and handSize 8 should not be greater than 60",
    );
}

#[test]
fn conditions_of_both_have_types_each_another_one() {
    for kind in [SCHEMA, LEVEL] {
        let mut object = created(kind, sample(kind));
        object["status"] = json!({"conditions": [{"type": "A"}, {"type": "A"}, {}]});
        assert_eq!(
            update_faults(kind, &object, &object),
            [
                "status.conditions[1].type: Duplicate value: \"A\"",
                "status.conditions[2].type: Required value: must not be empty",
            ]
        );
    }
}
