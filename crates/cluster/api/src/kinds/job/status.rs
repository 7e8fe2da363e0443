//! What a job's status may say, and what it may no longer say once it said otherwise.

use super::super::check;
use super::super::value::{at, items, number, text};
use super::indexes;
use hako_kube::{
    field::{self, Faults},
    time,
};
use serde_json::Value;
use std::collections::HashSet;

const CONDITIONS: &str = "status.conditions";
const COMPLETED_AT: &str = "status.completionTime";

/// Whether a condition holds.
pub(super) fn is_true(job: &Value, kind: &str) -> bool {
    let conditions = items(job, &["status", "conditions"]);
    let found = conditions.iter().find(|condition| text(condition, &["type"]) == kind);
    found.is_some_and(|condition| text(condition, &["status"]) == "True")
}

fn is_finished(job: &Value) -> bool {
    is_true(job, "Complete") || is_true(job, "Failed")
}

/// All faults of a status that was written.
pub(super) fn validate(job: &Value, causes: &mut Faults) {
    let status = &job["status"];
    let counts = ["active", "succeeded", "failed", "ready", "terminating"];
    check::not_negative(status, &counts, "status", causes);
    uncounted(status, causes);
    conditions(job, causes);
    times(job, causes);
    if is_finished(job) {
        finished(status, causes);
    }
    indexes(job, causes);
    let count = |name: &str| number(status, &[name]).unwrap_or(0);
    if count("ready") > count("active") {
        let detail = "cannot set more ready pods than active";
        causes.push(field::invalid("status.ready", count("ready"), detail));
    }
}

fn uncounted(status: &Value, causes: &mut Faults) {
    let mut seen: HashSet<&Value> = HashSet::new();
    for part in ["succeeded", "failed"] {
        for (index, uid) in items(status, &["uncountedTerminatedPods", part]).iter().enumerate() {
            let path = field::index(&field::child("status.uncountedTerminatedPods", part), index);
            let is_first = seen.insert(uid);
            if uid == "" {
                causes.push(field::invalid(path, "", "must not be empty"));
            } else if !is_first {
                causes.push(field::duplicate(path, uid.clone()));
            }
        }
    }
}

/// Pairs of conditions that exclude each other, and conditions that need another.
fn conditions(job: &Value, causes: &mut Faults) {
    let is = |kind| is_true(job, kind);
    for (one, other, detail) in [
        ("Complete", "Failed", "cannot set Complete=True and Failed=true conditions"),
        ("Complete", "FailureTarget", "cannot set Complete=True and FailureTarget=true conditions"),
        ("SuccessCriteriaMet", "Failed", "cannot set SuccessCriteriaMet=True and Failed=true conditions"),
        (
            "SuccessCriteriaMet",
            "FailureTarget",
            "cannot set SuccessCriteriaMet=True and FailureTarget=true conditions",
        ),
    ] {
        if is(one) && is(other) {
            causes.push(check::unfit(CONDITIONS, detail));
        }
    }
    for (one, needed, detail) in [
        (
            "Failed",
            "FailureTarget",
            "cannot set Failed=True condition without the FailureTarget=true condition",
        ),
        (
            "Complete",
            "SuccessCriteriaMet",
            "cannot set Complete=True condition without the SuccessCriteriaMet=true condition",
        ),
    ] {
        if is(one) && !is(needed) {
            causes.push(check::unfit(CONDITIONS, detail));
        }
    }
    let has_policy = at(job, &["spec", "successPolicy"]).is_some();
    if has_policy && is("Complete") && !is("SuccessCriteriaMet") {
        let detail = "cannot set Complete=True for Job with SuccessPolicy unless SuccessCriteriaMet=True";
        causes.push(check::unfit(CONDITIONS, detail));
    }
}

fn times(job: &Value, causes: &mut Faults) {
    let (began, ended) = (text(job, &["status", "startTime"]), text(job, &["status", "completionTime"]));
    match (is_true(job, "Complete"), ended.is_empty()) {
        (false, false) => causes.push(field::invalid(
            COMPLETED_AT,
            ended,
            "cannot set completionTime when there is no Complete=True condition",
        )),
        (true, true) => {
            causes.push(field::required(COMPLETED_AT, "completionTime is required for Complete jobs"));
        }
        _ => {}
    }
    if let (Some(began), Some(before)) = (time::parse(began), time::parse(ended))
        && before < began
    {
        causes.push(field::invalid(COMPLETED_AT, ended, "completionTime cannot be set before startTime"));
    }
    let is_trivial = job["spec"]["suspend"] == Value::Bool(true) && job["spec"]["completions"] == 0;
    if began.is_empty() && is_finished(job) && !is_trivial {
        causes.push(field::required("status.startTime", "startTime is required for finished job"));
    }
}

fn finished(status: &Value, causes: &mut Faults) {
    for name in ["active", "terminating"] {
        let count = number(status, &[name]).unwrap_or(0);
        if count > 0 {
            let detail = format!("{name}>0 is invalid for finished job");
            causes.push(field::invalid(field::child("status", name), count, &detail));
        }
    }
    let uncounted = &status["uncountedTerminatedPods"];
    if ["succeeded", "failed"].iter().any(|part| !items(uncounted, &[part]).is_empty()) {
        let detail = "uncountedTerminatedPods needs to be empty for finished job";
        causes.push(field::invalid("status.uncountedTerminatedPods", uncounted.clone(), detail));
    }
}

fn indexes(job: &Value, causes: &mut Faults) {
    let completed = text(job, &["status", "completedIndexes"]);
    let failed = at(job, &["status", "failedIndexes"]).and_then(Value::as_str);
    let completions = number(job, &["spec", "completions"]);
    if !completed.is_empty() && text(job, &["spec", "completionMode"]) != "Indexed" {
        let detail = "cannot set non-empty completedIndexes when non-indexed completion mode";
        causes.push(field::invalid("status.completedIndexes", completed, detail));
    }
    if let Some(failed) = failed
        && at(job, &["spec", "backoffLimitPerIndex"]).is_none()
    {
        let detail = "cannot set non-null failedIndexes when backoffLimitPerIndex is null";
        causes.push(field::invalid("status.failedIndexes", failed, detail));
    }
    let Some(completions) = completions else { return };
    let mut lists = Vec::new();
    for (name, text) in [("completedIndexes", completed), ("failedIndexes", failed.unwrap_or(""))] {
        match indexes::parse(text, completions) {
            Ok(list) => lists.push(list),
            Err(error) => {
                let detail = format!("error parsing {name}: {error}");
                causes.push(field::invalid(field::child("status", name), text, &detail));
            }
        }
    }
    if let [completed, both] = lists.as_slice()
        && let Some(index) = indexes::overlap(completed, both)
    {
        let detail = format!("failedIndexes and completedIndexes overlap at index: {index}");
        causes.push(field::invalid("status.failedIndexes", failed.unwrap_or(""), &detail));
    }
}

/// Faults of a change: what ended stays ended, and what was counted stays counted.
pub(super) fn validate_update(new: &Value, old: &Value, causes: &mut Faults) {
    for kind in ["Failed", "Complete", "FailureTarget"] {
        if is_true(old, kind) && !is_true(new, kind) {
            let detail = format!("cannot disable the terminal {kind}=True condition");
            causes.push(check::unfit(CONDITIONS, &detail));
        }
    }
    if is_true(old, "SuccessCriteriaMet") && !is_true(new, "SuccessCriteriaMet") {
        causes.push(check::unfit(CONDITIONS, "cannot disable the SuccessCriteriaMet=True condition"));
    }
    let met = "SuccessCriteriaMet";
    if is_true(old, "Complete") && !is_true(old, met) && is_true(new, met) {
        let detail = "cannot set SuccessCriteriaMet=True for Job already has Complete=true conditions";
        causes.push(check::unfit(CONDITIONS, detail));
    }
    counters(new, old, causes);
    let of = |job: &'_ Value, name: &str| text(job, &["status", name]).to_owned();
    let (ended, before) = (of(new, "completionTime"), of(old, "completionTime"));
    if !ended.is_empty() && !before.is_empty() && ended != before {
        causes.push(field::invalid(COMPLETED_AT, ended, "completionTime cannot be mutated"));
    }
    let (began, before) = (of(new, "startTime"), of(old, "startTime"));
    if !before.is_empty() && began != before && new["spec"]["suspend"] != Value::Bool(true) {
        let detail = "startTime cannot be removed for unsuspended job";
        causes.push(field::required("status.startTime", detail));
    }
}

fn counters(new: &Value, old: &Value, causes: &mut Faults) {
    let is_steady = text(new, &["spec", "completionMode"]) == "Indexed"
        && new["spec"]["completions"] == old["spec"]["completions"];
    for name in ["failed", "succeeded"] {
        let count = |job: &Value| number(job, &["status", name]).unwrap_or(0);
        let may_fall = name == "succeeded" && is_steady;
        if count(new) < count(old) && !may_fall {
            let detail = format!("cannot decrease the {name} counter");
            causes.push(field::invalid(field::child("status", name), count(new), &detail));
        }
    }
}
