//! Jobs and cron jobs.

mod cron;
mod policies;
mod status;

use super::*;

const UID: &str = "11111111-2222-3333-4444-555555555555";

fn job_spec(spec: Value) -> Value {
    let mut job = json!({"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}});
    merge(&mut job, spec);
    job
}

fn job(spec: Value) -> Value {
    json!({"metadata": {"name": "j", "namespace": "n", "uid": UID}, "spec": job_spec(spec)})
}

fn indexed(spec: Value) -> Value {
    let mut job = job(json!({"completionMode": "Indexed", "completions": 5, "parallelism": 5}));
    merge(&mut job["spec"], spec);
    job
}

fn failure(rule: Value) -> Value {
    job(json!({"podFailurePolicy": {"rules": [rule]}}))
}

fn success(rule: Value) -> Value {
    indexed(json!({"successPolicy": {"rules": [rule]}}))
}

fn cron_job(spec: Value) -> Value {
    let mut cron = json!({"metadata": {"name": "c", "namespace": "n"},
        "spec": {"schedule": "*/5 * * * *", "jobTemplate": {"spec": job_spec(json!({}))}}});
    merge(&mut cron["spec"], spec);
    cron
}

#[test]
fn a_job_selects_by_its_own_identity() {
    let made = created("Job", job(json!({})));
    let labels = json!({"controller-uid": UID, "job-name": "j", "batch.kubernetes.io/controller-uid": UID,
        "batch.kubernetes.io/job-name": "j"});
    assert_eq!(made["spec"]["template"]["metadata"]["labels"], labels);
    assert_eq!(made["metadata"]["labels"], labels);
    assert_eq!(made["spec"]["selector"], json!({"matchLabels": {"batch.kubernetes.io/controller-uid": UID}}));
    assert_eq!(row("Job").check_create(&made), []);
    let by_hand = created(
        "Job",
        job(json!({"manualSelector": true, "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}}, "spec": job_spec(json!({}))["template"]["spec"]}})),
    );
    assert_eq!(by_hand["spec"]["template"]["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(row("Job").check_create(&by_hand), []);
}

#[test]
fn a_job_with_a_strangers_identity_is_refused() {
    let mut other = job(json!({}));
    other["spec"]["template"]["metadata"] = json!({"labels": {"job-name": "other"}});
    let found = faults("Job", other);
    assert!(
        found
            .iter()
            .any(|fault| fault.starts_with("spec.template.metadata.labels[job-name]: Invalid value: ")
                && fault.ends_with(": must be 'j'")),
        "{found:?}"
    );
    let found = faults("Job", job(json!({"selector": {"matchLabels": {"a": "b"}}})));
    assert!(found.iter().any(|fault| fault.ends_with("`selector` not auto-generated")), "{found:?}");
    let found = faults("Job", job(json!({"manualSelector": true})));
    assert!(found.contains(&"spec.selector: Required value".to_owned()), "{found:?}");
}

#[test]
fn jobs_are_defaulted_as_upstream_defaults_them() {
    let spec = |spec: Value| created("Job", job(spec))["spec"].clone();
    let plain = spec(json!({}));
    for (name, value) in [
        ("completions", json!(1)),
        ("parallelism", json!(1)),
        ("backoffLimit", json!(6)),
        ("completionMode", json!("NonIndexed")),
        ("suspend", json!(false)),
        ("manualSelector", json!(false)),
        ("podReplacementPolicy", json!("TerminatingOrFailed")),
    ] {
        assert_eq!(plain[name], value, "{name}");
    }
    assert_eq!(spec(json!({"parallelism": 3})).get("completions"), None);
    assert_eq!(spec(json!({"completions": 3}))["parallelism"], 1);
    assert_eq!(spec(json!({"backoffLimitPerIndex": 1}))["backoffLimit"], i32::MAX);
    let policed = spec(json!({"podFailurePolicy": {"rules": [{"action": "Ignore",
        "onPodConditions": [{"type": "DisruptionTarget"}]}]}}));
    assert_eq!(policed["podReplacementPolicy"], "Failed");
    assert_eq!(policed["podFailurePolicy"]["rules"][0]["onPodConditions"][0]["status"], "True");
    assert_eq!(created("Job", job(json!({})))["status"], json!({}));
}

#[test]
fn faulty_jobs_are_refused_as_upstream_words_it() {
    let always = json!({"template": {"spec": {"containers": [{"name": "c", "image": "i"}]}}});
    refused(
        "Job",
        [
            (
                job(always),
                "spec.template.spec.restartPolicy: Required value: valid values: \"OnFailure\", \"Never\"",
            ),
            (
                job(json!({"completions": -1})),
                "spec.completions: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                job(json!({"ttlSecondsAfterFinished": -1})),
                "spec.ttlSecondsAfterFinished: Invalid value: -1: must be greater than or equal to 0",
            ),
            (
                job(json!({"completionMode": "x"})),
                "spec.completionMode: Unsupported value: \"x\": supported values: \"NonIndexed\", \"Indexed\"",
            ),
            (
                job(json!({"managedBy": "me"})),
                "spec.managedBy: Invalid value: \"me\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ),
            (
                job(json!({"podReplacementPolicy": "x"})),
                "spec.podReplacementPolicy: Unsupported value: \"x\": supported values: \"Failed\", \"TerminatingOrFailed\"",
            ),
            (
                job(json!({"backoffLimitPerIndex": 1})),
                "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
            ),
        ],
    );
}

#[test]
fn faulty_indexed_jobs_are_refused_as_upstream_words_it() {
    let mut long = indexed(json!({"completions": 100}));
    long["metadata"]["name"] = "x".repeat(61).into();
    assert!(faults("Job", long)[0].contains("will not able to create pod with invalid DNS label: "));
    refused(
        "Job",
        [
            (
                job(json!({"completionMode": "Indexed", "parallelism": 1})),
                "spec.completions: Required value: when completion mode is Indexed",
            ),
            (
                indexed(json!({"parallelism": 100_001})),
                "spec.parallelism: Invalid value: 100001: must be less than or equal to 100000 when completion mode is Indexed",
            ),
            (
                indexed(json!({"backoffLimitPerIndex": 1, "maxFailedIndexes": 6})),
                "spec.maxFailedIndexes: Invalid value: 6: must be less than or equal to completions",
            ),
            (
                indexed(json!({"maxFailedIndexes": 1})),
                "spec.backoffLimitPerIndex: Required value: when maxFailedIndexes is specified",
            ),
            (
                indexed(json!({"completions": 100_001, "backoffLimitPerIndex": 1})),
                "spec.maxFailedIndexes: Required value: must be specified when completions is above 100000",
            ),
            (
                indexed(
                    json!({"completions": 100_001, "backoffLimitPerIndex": 1, "maxFailedIndexes": 20_000}),
                ),
                "spec.maxFailedIndexes: Invalid value: 20000: must be less than or equal to 10000 when completions are above 100000 and used with backoff limit per index",
            ),
        ],
    );
}

#[test]
fn a_jobs_template_is_fixed_once_it_ran() {
    let made = created("Job", job(json!({"suspend": true})));
    let directives = [
        ("/spec/template/spec/nodeSelector", json!({"a": "b"})),
        ("/spec/template/spec/tolerations", json!([{"operator": "Exists"}])),
        ("/spec/template/metadata/annotations", json!({"a": "b"})),
        ("/spec/template/spec/affinity", json!({"nodeAffinity": {}})),
    ];
    accepted_change("Job", &made, directives.clone());
    accepted_change("Job", &made, [("/spec/suspend", json!(false)), ("/spec/parallelism", json!(2))]);
    let is_fixed = |old: &Value, pointer: &str, value: Value| {
        let mut new = old.clone();
        set(&mut new, pointer, value);
        let found = update_faults("Job", old, &new);
        found
            .iter()
            .any(|fault| fault.starts_with("spec.template: ") && fault.ends_with(": field is immutable"))
    };
    assert!(is_fixed(&made, "/spec/template/spec/containers/0/image", json!("other")));
    assert!(is_fixed(&made, "/spec/template/spec/affinity", json!({"podAffinity": {}})));
    let mut ran = made.clone();
    ran["status"] = json!({"startTime": "2026-01-01T00:00:00Z"});
    let running = created("Job", job(json!({})));
    for (pointer, value) in directives {
        assert!(is_fixed(&ran, pointer, value.clone()) && is_fixed(&running, pointer, value), "{pointer}");
    }
}

#[test]
fn what_a_job_is_never_changes() {
    let made = created("Job", indexed(json!({})));
    refused_change(
        "Job",
        &made,
        [
            (
                "/spec/completions",
                json!(9),
                "spec.completions: Invalid value: 9: can only be modified in tandem with spec.parallelism",
            ),
            (
                "/spec/completionMode",
                json!("NonIndexed"),
                "spec.completionMode: Invalid value: \"NonIndexed\": field is immutable",
            ),
            (
                "/spec/managedBy",
                json!("a.b/c"),
                "spec.managedBy: Invalid value: \"a.b/c\": field is immutable",
            ),
            (
                "/spec/backoffLimitPerIndex",
                json!(1),
                "spec.backoffLimitPerIndex: Invalid value: 1: field is immutable",
            ),
        ],
    );
    let mut grown = made.clone();
    grown["spec"]["completions"] = 9.into();
    grown["spec"]["parallelism"] = 9.into();
    assert_eq!(update_faults("Job", &made, &grown), Vec::<String>::new());
    let plain = created("Job", job(json!({})));
    refused_change(
        "Job",
        &plain,
        [("/spec/completions", json!(9), "spec.completions: Invalid value: 9: field is immutable")],
    );
}

fn conditions(kinds: &[&str]) -> Value {
    kinds.iter().map(|kind| json!({"type": kind, "status": "True"})).collect()
}

#[test]
fn jobs_and_cron_jobs_print_as_kubectl_shows_them() {
    let mut made = created("Job", job(json!({"parallelism": 3})));
    made["status"] = json!({"startTime": "2026-01-01T00:00:00Z", "succeeded": 1});
    let selector = format!("batch.kubernetes.io/controller-uid={UID}");
    assert_eq!(
        cells("Job", &made),
        ["j", "Running", "1/1 of 3", "10m", "<unknown>", "c", "i", selector.as_str()]
    );
    made["spec"]["completions"] = 4.into();
    made["status"] = json!({"startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:00:05Z",
        "succeeded": 4, "conditions": conditions(&["Complete"])});
    assert_eq!(cells("Job", &made)[1..4], ["Complete", "4/4", "5s"]);
    for (condition, shown) in
        [("Failed", "Failed"), ("Suspended", "Suspended"), ("FailureTarget", "FailureTarget")]
    {
        made["status"] = json!({"conditions": conditions(&[condition])});
        assert_eq!(cells("Job", &made)[1..4], [shown, "0/4", ""]);
    }
    let mut cron = created("CronJob", cron_job(json!({})));
    assert_eq!(
        cells("CronJob", &cron),
        ["c", "*/5 * * * *", "<none>", "False", "0", "<none>", "<unknown>", "c", "i", "<none>"]
    );
    cron["status"] = json!({"active": [{}], "lastScheduleTime": "2026-01-01T00:09:00Z"});
    cron["spec"]["timeZone"] = "Asia/Tokyo".into();
    assert_eq!(cells("CronJob", &cron)[2..6], ["Asia/Tokyo", "False", "1", "60s"]);
}

#[test]
fn a_suspended_job_that_is_at_rest_may_be_given_other_resources() {
    let with = |requests: &str, suspend: bool| {
        let container = json!({"name": "c", "image": "i", "resources": {"requests": {"cpu": requests}}});
        let mut job = job(json!({"suspend": suspend, "template": {"spec": {
            "restartPolicy": "Never", "containers": [container]}}}));
        job["status"] = json!({});
        created("Job", job)
    };
    let resized = |status: Value, suspend: bool| {
        let (mut old, mut new) = (with("1", suspend), with("2", suspend));
        old["status"] = status.clone();
        new["status"] = status;
        update_faults("Job", &old, &new)
    };
    let suspended = json!([{"type": "Suspended", "status": "True"}]);
    let began = "2026-01-01T00:00:00Z";
    assert_eq!(resized(json!({}), true), [""; 0], "it never ran");
    assert_eq!(
        resized(json!({"startTime": began, "conditions": suspended}), true),
        [""; 0],
        "nothing runs any more"
    );
    for (status, suspend) in [
        (json!({"startTime": began, "conditions": suspended, "active": 1}), true),
        (json!({"startTime": began}), true),
        (json!({}), false),
    ] {
        let found = resized(status, suspend);
        assert!(found.iter().any(|fault| fault.starts_with("spec.template: Invalid value: ")), "{found:?}");
    }
}
