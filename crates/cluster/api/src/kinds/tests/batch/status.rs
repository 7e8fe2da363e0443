//! What the status of a job may say.

use super::*;

#[test]
fn the_status_of_a_job_is_consistent() {
    let made = created("Job", job(json!({})));
    let began = "2026-01-01T00:00:00Z";
    let done = json!({"conditions": conditions(&["SuccessCriteriaMet", "Complete"]), "succeeded": 1,
        "startTime": began, "completionTime": "2026-01-01T00:01:00Z"});
    accepted_change("Job", &made, [("/status", done.clone())]);
    let with = |change: Value| {
        let mut status = done.clone();
        merge(&mut status, change);
        status
    };
    refused_change(
        "Job",
        &made,
        [
            (
                "/status",
                with(json!({"active": 1})),
                "status.active: Invalid value: 1: active>0 is invalid for finished job",
            ),
            (
                "/status",
                with(json!({"completionTime": "2025-01-01T00:00:00Z"})),
                "status.completionTime: Invalid value: \"2025-01-01T00:00:00Z\": completionTime cannot be set before startTime",
            ),
            (
                "/status",
                with(json!({"conditions": conditions(&["Complete", "Failed", "FailureTarget"])})),
                "status.conditions: Invalid value: cannot set Complete=True and Failed=true conditions",
            ),
            (
                "/status",
                with(json!({"conditions": conditions(&["Complete"])})),
                "status.conditions: Invalid value: cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
            ),
            (
                "/status",
                with(json!({"uncountedTerminatedPods": {"failed": ["a"], "succeeded": ["a"]}})),
                "status.uncountedTerminatedPods.failed[0]: Duplicate value: \"a\"",
            ),
            (
                "/status",
                json!({"conditions": conditions(&["Failed"]), "startTime": began}),
                "status.conditions: Invalid value: cannot set Failed=True condition without the FailureTarget=true condition",
            ),
            (
                "/status",
                json!({"completedIndexes": "0"}),
                "status.completedIndexes: Invalid value: \"0\": cannot set non-empty completedIndexes when non-indexed completion mode",
            ),
            (
                "/status",
                json!({"ready": 1}),
                "status.ready: Invalid value: 1: cannot set more ready pods than active",
            ),
        ],
    );
}

#[test]
fn what_ended_stays_ended() {
    let mut made = created("Job", job(json!({})));
    made["status"] = json!({"conditions": conditions(&["SuccessCriteriaMet", "Complete"]), "succeeded": 1,
        "failed": 2, "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:01:00Z"});
    refused_change(
        "Job",
        &made,
        [
            (
                "/status/conditions",
                json!([]),
                "status.conditions: Invalid value: cannot disable the terminal Complete=True condition",
            ),
            (
                "/status/failed",
                json!(1),
                "status.failed: Invalid value: 1: cannot decrease the failed counter",
            ),
            (
                "/status/succeeded",
                json!(0),
                "status.succeeded: Invalid value: 0: cannot decrease the succeeded counter",
            ),
            (
                "/status/completionTime",
                json!("2026-01-01T00:02:00Z"),
                "status.completionTime: Invalid value: \"2026-01-01T00:02:00Z\": completionTime cannot be mutated",
            ),
            (
                "/status/startTime",
                Value::Null,
                "status.startTime: Required value: startTime cannot be removed for unsuspended job",
            ),
        ],
    );
}
