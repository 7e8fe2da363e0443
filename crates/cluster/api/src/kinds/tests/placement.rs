//! Where pods may go: affinity, spread, gates.

use super::*;

const WHEN: &str = "DuringSchedulingIgnoredDuringExecution";

fn affinity(kind: &str, when: &str, terms: Value) -> Value {
    pod(json!({"affinity": {kind: {format!("{when}{WHEN}"): terms}}}))
}

fn nodes(demand: Value) -> Value {
    affinity("nodeAffinity", "required", json!({"nodeSelectorTerms": [demand]}))
}

fn spread(change: Value) -> Value {
    let mut one = json!({"maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule"});
    merge(&mut one, change);
    pod(json!({"topologySpreadConstraints": [one]}))
}

fn refused<const N: usize>(cases: [(Value, &str); N]) {
    for (object, expected) in cases {
        let expected = expected.replace("DURING", WHEN);
        let found = faults("Pod", object);
        assert!(found.contains(&expected), "{expected}\nnot in {found:#?}");
    }
}

#[test]
fn faulty_wishes_about_nodes_are_refused_as_upstream_words_them() {
    refused([
        (
            affinity("nodeAffinity", "required", json!({})),
            "spec.affinity.nodeAffinity.requiredDURING.nodeSelectorTerms: Required value: must have at least one node selector term",
        ),
        (
            nodes(json!({"matchExpressions": [{"key": "a", "operator": "in"}]})),
            "spec.affinity.nodeAffinity.requiredDURING.nodeSelectorTerms[0].matchExpressions[0].operator: Invalid value: \"in\": not a valid selector operator",
        ),
        (
            nodes(json!({"matchExpressions": [{"key": "a", "operator": "Gt", "values": ["1", "2"]}]})),
            "spec.affinity.nodeAffinity.requiredDURING.nodeSelectorTerms[0].matchExpressions[0].values: Required value: must be specified single value when `operator` is 'Lt' or 'Gt'",
        ),
        (
            nodes(json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["1"]}]})),
            "spec.affinity.nodeAffinity.requiredDURING.nodeSelectorTerms[0].matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
        ),
        (
            nodes(json!({"matchFields": [{"key": "spec.x", "operator": "In", "values": ["1"]}]})),
            "spec.affinity.nodeAffinity.requiredDURING.nodeSelectorTerms[0].matchFields[0].key: Invalid value: \"spec.x\": not a valid field selector key",
        ),
        (
            affinity("nodeAffinity", "preferred", json!([{"weight": 0, "preference": {}}])),
            "spec.affinity.nodeAffinity.preferredDURING[0].weight: Invalid value: 0: must be in the range 1-100",
        ),
    ]);
}

#[test]
fn faulty_wishes_about_other_pods_are_refused_as_upstream_words_them() {
    refused([
        (
            affinity("podAffinity", "required", json!([{"labelSelector": {}}])),
            "spec.affinity.podAffinity.requiredDURING[0].topologyKey: Required value: can not be empty",
        ),
        (
            affinity(
                "podAntiAffinity",
                "preferred",
                json!([{"weight": 101, "podAffinityTerm": {"topologyKey": "z"}}]),
            ),
            "spec.affinity.podAntiAffinity.preferredDURING[0].weight: Invalid value: 101: must be in the range 1-100",
        ),
        (
            affinity(
                "podAntiAffinity",
                "required",
                json!([{"topologyKey": "z", "labelSelector": {"matchExpressions": [{"key": "a", "operator": "Like"}]}}]),
            ),
            "spec.affinity.podAntiAffinity.requiredDURING[0].labelSelector.matchExpressions[0].operator: Invalid value: \"Like\": not a valid selector operator",
        ),
        (
            affinity("podAffinity", "required", json!([{"topologyKey": "z", "matchLabelKeys": ["a"]}])),
            "spec.affinity.podAffinity.requiredDURING[0].matchLabelKeys: Forbidden: must not be specified when labelSelector is not set",
        ),
    ]);
}

#[test]
fn faulty_spreads_and_gates_are_refused_as_upstream_words_them() {
    refused([
        (
            spread(json!({"maxSkew": 0})),
            "spec.topologySpreadConstraints[0].maxSkew: Invalid value: 0: must be greater than zero",
        ),
        (
            spread(json!({"topologyKey": ""})),
            "spec.topologySpreadConstraints[0].topologyKey: Required value: can not be empty",
        ),
        (
            spread(json!({"whenUnsatisfiable": "x"})),
            "spec.topologySpreadConstraints[0].whenUnsatisfiable: Unsupported value: \"x\": supported values: \"DoNotSchedule\", \"ScheduleAnyway\"",
        ),
        (
            spread(json!({"whenUnsatisfiable": "ScheduleAnyway", "minDomains": 2})),
            "spec.topologySpreadConstraints[0].minDomains: Invalid value: 2: can only use minDomains if whenUnsatisfiable=DoNotSchedule, not ScheduleAnyway",
        ),
        (
            spread(json!({"nodeTaintsPolicy": "x"})),
            "spec.topologySpreadConstraints[0].nodeTaintsPolicy: Unsupported value: \"x\": supported values: \"Honor\", \"Ignore\"",
        ),
        (
            pod(json!({"topologySpreadConstraints": [
                {"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"},
                {"maxSkew": 2, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule"}]})),
            "spec.topologySpreadConstraints[0].{topologyKey, whenUnsatisfiable}: Duplicate value: \"{z, DoNotSchedule}\"",
        ),
        (
            pod(json!({"schedulingGates": [{"name": "a"}, {"name": "a"}]})),
            "spec.schedulingGates[1]: Duplicate value: \"a\"",
        ),
        (
            pod(json!({"schedulingGates": [{"name": "a"}], "nodeName": "n"})),
            "spec.nodeName: Forbidden: cannot be set until all schedulingGates have been cleared",
        ),
    ]);
    let sound =
        json!({"minDomains": 2, "labelSelector": {"matchLabels": {"a": "b"}}, "nodeTaintsPolicy": "Honor"});
    assert_eq!(faults("Pod", spread(sound)), Vec::<String>::new());
}

#[test]
fn match_label_keys_become_part_of_the_selector_when_a_pod_is_made() {
    let term = json!({"topologyKey": "z", "labelSelector": {"matchLabels": {"app": "a"}},
        "matchLabelKeys": ["hash", "absent"], "mismatchLabelKeys": ["tenant"]});
    let mut wanted = pod(json!({
        "affinity": {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [term]},
            "podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [{"weight": 1, "podAffinityTerm": term}]}},
        "topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "z", "whenUnsatisfiable": "DoNotSchedule",
            "labelSelector": {"matchExpressions": null}, "matchLabelKeys": ["hash"]}]}));
    wanted["metadata"]["labels"] = json!({"hash": "1", "tenant": "t"});
    let made = created("Pod", wanted.clone());
    assert_eq!(row("Pod").check_create(&made), []);
    let (hash, tenant) = (
        json!({"key": "hash", "operator": "In", "values": ["1"]}),
        json!({"key": "tenant", "operator": "NotIn", "values": ["t"]}),
    );
    let affinity = &made["spec"]["affinity"];
    let when = "DuringSchedulingIgnoredDuringExecution";
    for term in [
        &affinity["podAffinity"][format!("required{when}")][0],
        &affinity["podAntiAffinity"][format!("preferred{when}")][0]["podAffinityTerm"],
    ] {
        assert_eq!(term["labelSelector"]["matchExpressions"], json!([hash, tenant]));
    }
    let spread = &made["spec"]["topologySpreadConstraints"][0];
    assert_eq!(spread["labelSelector"]["matchExpressions"], json!([hash]));
    wanted["spec"]["topologySpreadConstraints"][0]["labelSelector"] = json!({"matchLabels": {"hash": "1"}});
    assert_eq!(
        faults("Pod", wanted),
        [
            "spec.topologySpreadConstraints[0].matchLabelKeys[0]: Invalid value: \"hash\": exists in both matchLabelKeys and labelSelector"
        ]
    );
}

#[test]
fn scheduling_gates_are_shown_and_only_ever_taken_away() {
    let old = created("Pod", pod(json!({"schedulingGates": [{"name": "a"}, {"name": "b"}]})));
    let condition = &old["status"]["conditions"][0];
    assert_eq!(
        (&condition["type"], &condition["status"], &condition["reason"]),
        (&json!("PodScheduled"), &json!("False"), &json!("SchedulingGated"))
    );
    let mut new = old.clone();
    new["spec"]["schedulingGates"] = json!([{"name": "b"}]);
    assert_eq!(update_faults("Pod", &old, &new), Vec::<String>::new());
    new["spec"]["schedulingGates"] = json!([{"name": "b"}, {"name": "x"}]);
    assert_eq!(
        update_faults("Pod", &old, &new),
        [
            "spec.schedulingGates[1].name: Forbidden: only deletion is allowed, but found new scheduling gate 'x'"
        ]
    );
}
