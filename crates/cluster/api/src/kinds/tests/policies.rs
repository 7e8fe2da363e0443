//! Budgets of disruptions, priorities, classes of runtimes, other API servers.

use super::samples::{change, changed, refused, sample};
use super::*;

#[test]
fn a_budget_says_one_of_how_many_there_must_be_and_how_many_may_be_missing() {
    refused(
        "PodDisruptionBudget",
        [
            (
                "spec.maxUnavailable",
                json!(1),
                "spec: Invalid value: {\"minAvailable\":1,\"selector\":{\"matchLabels\":{\"app\":\"web\"}},\"maxUnavailable\":1}: minAvailable and maxUnavailable cannot be both set",
            ),
            (
                "spec.minAvailable",
                json!(-1),
                "spec.minAvailable: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                "spec.minAvailable",
                json!("101%"),
                "spec.minAvailable: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                "spec.minAvailable",
                json!("few"),
                "spec.minAvailable: Invalid value: \"few\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            ),
            (
                "spec.unhealthyPodEvictionPolicy",
                json!("x"),
                "spec.unhealthyPodEvictionPolicy: Unsupported value: \"x\": supported values: \"AlwaysAllow\", \"IfHealthyBudget\"",
            ),
        ],
    );
}

#[test]
fn a_budget_prints_what_it_allows() {
    let mut object = created("PodDisruptionBudget", sample("PodDisruptionBudget"));
    assert_eq!(cells("PodDisruptionBudget", &object), ["sample", "1", "N/A", "0", "<unknown>"]);
    object["spec"] = json!({"maxUnavailable": "20%"});
    object["status"]["disruptionsAllowed"] = 3.into();
    assert_eq!(cells("PodDisruptionBudget", &object)[1..4], ["N/A", "20%", "3"]);
}

#[test]
fn a_status_counts_from_zero_and_has_sound_conditions() {
    let mut object = created("PodDisruptionBudget", sample("PodDisruptionBudget"));
    assert_eq!(
        object["status"],
        json!({"disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0})
    );
    object["status"]["expectedPods"] = (-1).into();
    object["status"]["conditions"] = json!([
        {"type": "A", "status": "True", "reason": "Ok", "lastTransitionTime": "2026-01-01T00:00:00Z"},
        {"type": "A", "status": "x", "reason": "-", "observedGeneration": -1},
        {"type": "B", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"},
    ]);
    let found = update_faults("PodDisruptionBudget", &object, &object);
    let at = "status.conditions";
    for expected in [
        "status.expectedPods: Invalid value: -1: must be greater than or equal to 0".to_owned(),
        format!("{at}[1].type: Duplicate value: \"A\""),
        format!(
            "{at}[1].status: Unsupported value: \"x\": supported values: \"False\", \"True\", \"Unknown\""
        ),
        format!("{at}[1].observedGeneration: Invalid value: -1: must be greater than or equal to zero"),
        format!("{at}[1].lastTransitionTime: Required value: must be set"),
        format!("{at}[2].reason: Required value: must be set"),
    ] {
        assert!(found.contains(&expected), "{expected}\nnot in {found:#?}");
    }
    assert!(
        found.iter().any(|fault| {
            fault.starts_with(&format!("{at}[1].reason: Invalid value: \"-\": a condition reason must start"))
        }),
        "{found:?}"
    );
}

#[test]
fn high_priorities_and_their_names_are_the_systems() {
    let reserved = "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only. error: ";
    refused(
        "PriorityClass",
        [
            (
                "value",
                json!(1_000_000_001),
                "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
            ),
            (
                "metadata.name",
                json!("system-mine"),
                &format!("{reserved}system-mine is not a known system priority class"),
            ),
            (
                "metadata.name",
                json!("system-node-critical"),
                &format!("{reserved}value of system-node-critical PriorityClass must be 2000001000"),
            ),
            (
                "preemptionPolicy",
                json!("x"),
                "preemptionPolicy: Unsupported value: \"x\": supported values: \"PreemptLowerPriority\", \"Never\"",
            ),
        ],
    );
    for (name, value, description) in SYSTEM_PRIORITIES {
        let class = json!({"metadata": {"name": name}, "value": value, "description": description});
        assert_eq!(faults("PriorityClass", class), [""; 0]);
    }
}

#[test]
fn a_priority_stays_what_it_is() {
    let made = created("PriorityClass", sample("PriorityClass"));
    assert_eq!(
        cells("PriorityClass", &made),
        ["sample", "1000", "false", "<unknown>", "PreemptLowerPriority"]
    );
    let mut new = made.clone();
    new["value"] = 7.into();
    new["preemptionPolicy"] = "Never".into();
    new["globalDefault"] = true.into();
    assert_eq!(
        update_faults("PriorityClass", &made, &new),
        [
            "value: Forbidden: may not be changed in an update.",
            "preemptionPolicy: Invalid value: \"Never\": field is immutable",
        ]
    );
    (row("PriorityClass").prepare_update)(&mut new, &made);
    assert_eq!(new["metadata"]["generation"], 1);
}

#[test]
fn a_class_of_runtimes_has_a_handler_for_good_and_says_what_it_costs() {
    let made = created("RuntimeClass", sample("RuntimeClass"));
    assert_eq!(cells("RuntimeClass", &made), ["sample", "sample", "<unknown>"]);
    let mut new = made.clone();
    new["handler"] = "other".into();
    assert_eq!(
        update_faults("RuntimeClass", &made, &new),
        ["handler: Invalid value: \"other\": field is immutable"]
    );
    refused(
        "RuntimeClass",
        [
            (
                "overhead",
                json!({"podFixed": {"cpu": "-1"}}),
                "overhead.limits[cpu]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                "scheduling",
                json!({"tolerations": [{"key": "k", "operator": "x"}]}),
                "scheduling.tolerations[0].operator: Unsupported value: \"x\": supported values: \"Equal\", \"Exists\"",
            ),
        ],
    );
    let found = faults("RuntimeClass", changed("RuntimeClass", &[("handler", json!("A.b"))]));
    assert!(found[0].starts_with("handler: Invalid value: \"A.b\": a lowercase RFC 1123 label"), "{found:?}");
}

#[test]
fn an_api_service_is_named_for_its_group_and_version() {
    refused(
        "APIService",
        [
            (
                "metadata.name",
                json!("v1.other"),
                "metadata.name: Invalid value: \"v1.other\": must be `spec.version+\".\"+spec.group`: \"v1.sample.example.com\"",
            ),
            (
                "spec.groupPriorityMinimum",
                json!(0),
                "spec.groupPriorityMinimum: Invalid value: 0: must be positive and less than 20000",
            ),
            (
                "spec.versionPriority",
                json!(1001),
                "spec.versionPriority: Invalid value: 1001: must be positive and less than 1000",
            ),
            ("spec.service.name", json!(""), "spec.service.name: Required value"),
            (
                "spec.service.port",
                json!(70_000),
                "spec.service.port: Invalid value: 70000: port is not valid: must be between 1 and 65535, inclusive",
            ),
            (
                "spec.caBundle",
                json!("AAAA"),
                "spec.insecureSkipTLSVerify: Invalid value: true: may not be true if caBundle is present",
            ),
            (
                "spec.service",
                Value::Null,
                "spec.insecureSkipTLSVerify: Invalid value: true: local APIServices may not have insecureSkipTLSVerify",
            ),
        ],
    );
}

#[test]
fn what_this_server_serves_itself_is_available() {
    let mut made = created("APIService", sample("APIService"));
    assert_eq!(made["spec"]["service"]["port"], 443);
    assert_eq!(cells("APIService", &made)[1..3], ["default/sample", "Unknown"]);
    made["status"] =
        json!({"conditions": [{"type": "Available", "status": "False", "reason": "MissingEndpoints"}]});
    assert_eq!(cells("APIService", &made)[2], "False (MissingEndpoints)");
    let local = [("spec.service", Value::Null), ("spec.insecureSkipTLSVerify", Value::Null)];
    let local = created("APIService", changed("APIService", &local));
    assert_eq!(cells("APIService", &local)[1..3], ["Local", "True"]);
    assert_eq!(row("APIService").check_create(&local), []);
    let mut new = local.clone();
    change(&mut new, "status", json!({}));
    (row("APIService").prepare_update)(&mut new, &local);
    assert_eq!(new["status"], local["status"]);
}
