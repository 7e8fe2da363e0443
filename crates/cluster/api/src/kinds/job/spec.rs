//! What is wrong with a job's spec, of a job or of a template of one.

use super::super::value::{number, text};
use super::super::{check, pod_spec};
use super::{failure, success};
use hako_kube::{
    field::{self, Faults},
    names,
};
use serde_json::Value;

/// Above so many completions, failures per index are limited further.
const MANY_COMPLETIONS: i64 = 100_000;
/// The status lists indexes: this bounds its size.
const INDEXED_MAX: i64 = 100_000;
const INDEXED_MAX_OF_MANY: i64 = 10_000;
const MANAGED_BY_MAX: usize = 63;

/// All faults of the spec at `path`, but for its selector.
pub(in super::super) fn validate(spec: &Value, path: &str, causes: &mut Faults) {
    let numbers = [
        "parallelism",
        "completions",
        "activeDeadlineSeconds",
        "backoffLimit",
        "ttlSecondsAfterFinished",
        "backoffLimitPerIndex",
        "maxFailedIndexes",
    ];
    check::not_negative(spec, &numbers, path, causes);
    if spec.get("maxFailedIndexes").is_some() && spec.get("backoffLimitPerIndex").is_none() {
        let path = field::child(path, "backoffLimitPerIndex");
        causes.push(field::required(path, "when maxFailedIndexes is specified"));
    }
    managed_by(spec, &field::child(path, "managedBy"), causes);
    check::one_of(spec, "completionMode", &["NonIndexed", "Indexed"], path, causes);
    if text(spec, &["completionMode"]) == "Indexed" {
        indexed(spec, path, causes);
    } else {
        not_indexed(spec, path, causes);
    }
    if let Some(policy) = spec.get("podFailurePolicy") {
        failure::validate(spec, policy, &field::child(path, "podFailurePolicy"), causes);
    }
    replacement(spec, path, causes);
    template(spec, path, causes);
}

fn managed_by(spec: &Value, path: &str, causes: &mut Faults) {
    let Some(manager) = spec.get("managedBy").and_then(Value::as_str) else { return };
    causes.extend(names::domain_prefixed_path(path, manager));
    if manager.len() > MANAGED_BY_MAX {
        causes.push(field::too_long(path, MANAGED_BY_MAX));
    }
}

fn indexed(spec: &Value, path: &str, causes: &mut Faults) {
    let get = |name: &str| number(spec, &[name]);
    let completions = get("completions");
    let mut at_most = |name: &str, max: i64, detail: &str| {
        if let Some(number) = get(name)
            && number > max
        {
            causes.push(field::invalid(field::child(path, name), number, detail));
        }
    };
    let detail = format!("must be less than or equal to {INDEXED_MAX} when completion mode is Indexed");
    at_most("parallelism", INDEXED_MAX, &detail);
    if let Some(completions) = completions {
        at_most("maxFailedIndexes", completions, "must be less than or equal to completions");
    }
    at_most("maxFailedIndexes", INDEXED_MAX, &format!("must be less than or equal to {INDEXED_MAX}"));
    let has_many = completions.is_some_and(|completions| completions > MANY_COMPLETIONS);
    if has_many && spec.get("backoffLimitPerIndex").is_some() {
        let detail = format!(
            "must be less than or equal to {INDEXED_MAX_OF_MANY} when completions are above {MANY_COMPLETIONS} and \
             used with backoff limit per index"
        );
        at_most("parallelism", INDEXED_MAX_OF_MANY, &detail);
        at_most("maxFailedIndexes", INDEXED_MAX_OF_MANY, &detail);
        if spec.get("maxFailedIndexes").is_none() {
            let detail = format!("must be specified when completions is above {MANY_COMPLETIONS}");
            causes.push(field::required(field::child(path, "maxFailedIndexes"), &detail));
        }
    }
    if completions.is_none() {
        causes.push(field::required(field::child(path, "completions"), "when completion mode is Indexed"));
    }
    if let Some(policy) = spec.get("successPolicy") {
        let completions = completions.unwrap_or(0);
        success::validate(policy, completions, &field::child(path, "successPolicy"), causes);
    }
}

fn not_indexed(spec: &Value, path: &str, causes: &mut Faults) {
    for name in ["backoffLimitPerIndex", "maxFailedIndexes", "successPolicy"] {
        if let Some(value) = spec.get(name) {
            let path = field::child(path, name);
            causes.push(field::invalid(path, value.clone(), "requires indexed completion mode"));
        }
    }
}

/// With a failure policy, only pods that have failed for good are replaced.
fn replacement(spec: &Value, path: &str, causes: &mut Faults) {
    let has_policy = spec.get("podFailurePolicy").is_some();
    let allowed: &[&str] = if has_policy { &["Failed"] } else { &["Failed", "TerminatingOrFailed"] };
    check::one_of(spec, "podReplacementPolicy", allowed, path, causes);
}

fn template(spec: &Value, path: &str, causes: &mut Faults) {
    let path = field::child(path, "template");
    causes.extend(pod_spec::validate_template(&spec["template"], &path));
    let policy = text(spec, &["template", "spec", "restartPolicy"]);
    let path = field::child(&path, "spec.restartPolicy");
    match policy {
        "" | "Always" => {
            causes.push(field::required(path, "valid values: \"OnFailure\", \"Never\""));
        }
        "OnFailure" if spec.get("podFailurePolicy").is_some() => {
            let detail = "only \"Never\" is supported when podFailurePolicy is specified";
            causes.push(field::invalid(path, policy, detail));
        }
        "OnFailure" | "Never" => {}
        other => causes.push(field::not_supported(path, other, &["OnFailure", "Never"])),
    }
}
