//! The objects of this group that every cluster has, whose specs are fixed: without them some requests would belong
//! nowhere.

use serde_json::{Value, json};

/// The priority levels and then the flow schemas: plural, name and spec.
pub(crate) fn objects() -> [(&'static str, &'static str, Value); 4] {
    [
        ("prioritylevelconfigurations", "exempt", exempt_level()),
        ("prioritylevelconfigurations", "catch-all", catch_all_level()),
        ("flowschemas", "exempt", exempt_schema()),
        ("flowschemas", "catch-all", catch_all_schema()),
    ]
}

/// The fixed spec of that name, if it is one of these.
pub(super) fn spec(plural: &str, name: &str) -> Option<Value> {
    objects().into_iter().find(|(of, known, _)| *of == plural && *known == name).map(|(.., spec)| spec)
}

fn exempt_level() -> Value {
    json!({"type": "Exempt", "exempt": {"nominalConcurrencyShares": 0, "lendablePercent": 0}})
}

fn catch_all_level() -> Value {
    json!({"type": "Limited", "limited": {
        "nominalConcurrencyShares": 5,
        "lendablePercent": 0,
        "limitResponse": {"type": "Reject"},
    }})
}

/// Rules about all that is asked by any of some groups.
fn everything_of(groups: &[&str]) -> Value {
    let subject = |group: &&str| json!({"kind": "Group", "group": {"name": group}});
    json!([{
        "subjects": groups.iter().map(subject).collect::<Vec<Value>>(),
        "resourceRules": [
            {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"], "clusterScope": true, "namespaces": ["*"]},
        ],
        "nonResourceRules": [{"verbs": ["*"], "nonResourceURLs": ["*"]}],
    }])
}

fn exempt_schema() -> Value {
    json!({
        "priorityLevelConfiguration": {"name": "exempt"},
        "matchingPrecedence": 1,
        "rules": everything_of(&["system:masters"]),
    })
}

fn catch_all_schema() -> Value {
    json!({
        "priorityLevelConfiguration": {"name": "catch-all"},
        "matchingPrecedence": 10_000,
        "distinguisherMethod": {"type": "ByUser"},
        "rules": everything_of(&["system:unauthenticated", "system:authenticated"]),
    })
}
