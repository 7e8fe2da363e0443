//! Cron jobs.

use super::*;

#[test]
fn faulty_cron_jobs_are_refused_as_upstream_words_it() {
    let mut long = cron_job(json!({}));
    long["metadata"]["name"] = "x".repeat(53).into();
    assert!(faults("CronJob", long)[0].ends_with("must be no more than 52 characters"));
    refused(
        "CronJob",
        [
            (cron_job(json!({"schedule": ""})), "spec.schedule: Required value"),
            (
                cron_job(json!({"schedule": "* * * *"})),
                "spec.schedule: Invalid value: \"* * * *\": expected exactly 5 fields, found 4: [* * * *]",
            ),
            (
                cron_job(json!({"schedule": "TZ=UTC 0 * * * *"})),
                "spec.schedule: Invalid value: \"TZ=UTC 0 * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
            ),
            (
                cron_job(json!({"timeZone": "Mars/Base"})),
                "spec.timeZone: Invalid value: \"Mars/Base\": unknown time zone Mars/Base",
            ),
            (
                cron_job(json!({"timeZone": ""})),
                "spec.timeZone: Invalid value: \"\": timeZone must be nil or non-empty string",
            ),
            (
                cron_job(json!({"timeZone": "Local"})),
                "spec.timeZone: Invalid value: \"Local\": timeZone must be an explicit time zone as defined in https://www.iana.org/time-zones",
            ),
            (
                cron_job(json!({"concurrencyPolicy": "x"})),
                "spec.concurrencyPolicy: Unsupported value: \"x\": supported values: \"Allow\", \"Forbid\", \"Replace\"",
            ),
            (
                cron_job(json!({"startingDeadlineSeconds": -1})),
                "spec.startingDeadlineSeconds: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                cron_job(json!({"jobTemplate": {"spec": job_spec(json!({"selector": {}}))}})),
                "spec.jobTemplate.spec.selector: Invalid value: {}: `selector` will be auto-generated",
            ),
            (
                cron_job(json!({"jobTemplate": {"spec": job_spec(json!({"manualSelector": true}))}})),
                "spec.jobTemplate.spec.manualSelector: Unsupported value: true: supported values: \"nil\", \"false\"",
            ),
            (
                cron_job(json!({"jobTemplate": {"spec": job_spec(json!({"backoffLimit": -1}))}})),
                "spec.jobTemplate.spec.backoffLimit: Invalid value: -1: must be greater than or equal to 0",
            ),
        ],
    );
}

#[test]
fn cron_jobs_are_defaulted_without_touching_what_their_jobs_default() {
    let made = created("CronJob", cron_job(json!({"timeZone": "Europe/Berlin"})));
    let spec = &made["spec"];
    for (name, value) in [
        ("concurrencyPolicy", json!("Allow")),
        ("suspend", json!(false)),
        ("successfulJobsHistoryLimit", json!(3)),
        ("failedJobsHistoryLimit", json!(1)),
    ] {
        assert_eq!(spec[name], value, "{name}");
    }
    let job = &spec["jobTemplate"]["spec"];
    assert_eq!(job.get("backoffLimit"), None);
    assert_eq!(job["template"]["spec"]["dnsPolicy"], "ClusterFirst");
    assert_eq!(row("CronJob").check_create(&made), []);
}
