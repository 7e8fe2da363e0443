//! What failure and success of pods mean for their job.

use super::*;

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn faulty_failure_policies_are_refused_as_upstream_words_it() {
    const RULE: &str = "spec.podFailurePolicy.rules[0]";
    let of = |rest: &str| -> &'static str { Box::leak(format!("{RULE}{rest}").into_boxed_str()) };
    let codes = |codes: Value| failure(json!({"action": "FailJob", "onExitCodes": codes}));
    let mut on_failure = codes(json!({"operator": "In", "values": [1]}));
    on_failure["spec"]["template"]["spec"]["restartPolicy"] = "OnFailure".into();
    refused(
        "Job",
        [
            (
                on_failure,
                "spec.template.spec.restartPolicy: Invalid value: \"OnFailure\": only \"Never\" is supported when podFailurePolicy is specified",
            ),
            (
                failure(json!({"action": "x", "onExitCodes": {"operator": "In", "values": [1]}})),
                of(
                    ".action: Unsupported value: \"x\": supported values: \"Count\", \"FailIndex\", \"FailJob\", \"Ignore\"",
                ),
            ),
            (
                failure(json!({"onExitCodes": {"operator": "In", "values": [1]}})),
                of(".action: Required value: valid values: [\"Count\" \"FailIndex\" \"FailJob\" \"Ignore\"]"),
            ),
            (
                failure(json!({"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [1]}})),
                of(".action: Invalid value: \"FailIndex\": requires the backoffLimitPerIndex to be set"),
            ),
            (
                failure(json!({"action": "Ignore"})),
                of(": Invalid value: specifying one of OnExitCodes and OnPodConditions is required"),
            ),
            (
                failure(json!({"action": "Ignore", "onExitCodes": {"operator": "In", "values": [1]},
                    "onPodConditions": [{"type": "a"}]})),
                of(": Invalid value: specifying both OnExitCodes and OnPodConditions is not supported"),
            ),
            (
                codes(json!({"operator": "In", "values": [0]})),
                of(".onExitCodes.values[0]: Invalid value: 0: must not be 0 for the In operator"),
            ),
            (
                codes(json!({"operator": "In", "values": [1, 1]})),
                of(".onExitCodes.values[1]: Duplicate value: 1"),
            ),
            (
                codes(json!({"operator": "In", "values": [2, 1]})),
                of(".onExitCodes.values: Invalid value: [2,1]: must be ordered"),
            ),
            (
                codes(json!({"operator": "In"})),
                of(".onExitCodes.values: Invalid value: []: at least one value is required"),
            ),
            (
                codes(json!({"operator": "x", "values": [1]})),
                of(".onExitCodes.operator: Unsupported value: \"x\": supported values: \"In\", \"NotIn\""),
            ),
            (
                codes(json!({"operator": "In", "values": [1], "containerName": "x"})),
                of(
                    ".onExitCodes.containerName: Invalid value: \"x\": must be one of the container or initContainer names in the pod template",
                ),
            ),
            (
                failure(json!({"action": "Ignore", "onPodConditions": [{"type": "a", "status": "x"}]})),
                of(
                    ".onPodConditions[0].status: Unsupported value: \"x\": supported values: \"False\", \"True\", \"Unknown\"",
                ),
            ),
        ],
    );
    let many: Vec<Value> = vec![json!({"action": "Ignore", "onPodConditions": [{"type": "a"}]}); 21];
    refused(
        "Job",
        [(
            job(json!({"podFailurePolicy": {"rules": many}})),
            "spec.podFailurePolicy.rules: Too many: 21: must have at most 20 items",
        )],
    );
}

#[test]
fn faulty_success_policies_are_refused_as_upstream_words_it() {
    refused(
        "Job",
        [
            (
                indexed(json!({"successPolicy": {"rules": []}})),
                "spec.successPolicy.rules: Required value: at least one rules must be specified when the successPolicy is specified",
            ),
            (
                success(json!({})),
                "spec.successPolicy.rules[0]: Required value: at least one of succeededCount or succeededIndexes must be specified",
            ),
            (
                success(json!({"succeededCount": 6})),
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 6: must be less than or equal to 5 (the number of specified completions)",
            ),
            (
                success(json!({"succeededCount": 4, "succeededIndexes": "0-2"})),
                "spec.successPolicy.rules[0].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of indexes in the specified succeededIndexes field)",
            ),
            (
                success(json!({"succeededIndexes": "1,1"})),
                "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"1,1\": error parsing succeededIndexes: non-increasing order, previous: 1, current: 1",
            ),
            (
                success(json!({"succeededIndexes": "7"})),
                "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"7\": error parsing succeededIndexes: too large index: \"7\"",
            ),
            (
                success(json!({"succeededIndexes": "1-2-3"})),
                "spec.successPolicy.rules[0].succeededIndexes: Invalid value: \"1-2-3\": error parsing succeededIndexes: the fragment \"1-2-3\" violates the requirement that an index interval can have at most two parts separated by '-'",
            ),
        ],
    );
    assert_eq!(
        faults("Job", success(json!({"succeededCount": 2, "succeededIndexes": "0,2-4"}))),
        Vec::<String>::new()
    );
}
