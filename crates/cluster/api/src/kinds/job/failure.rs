//! `podFailurePolicy`: what a failed pod means for its job.

use super::super::check;
use super::super::value::{items, text};
use super::container_names;
use hako_kube::{
    field::{self, Faults},
    names,
};
use serde_json::Value;
use std::collections::HashSet;

const RULES_MAX: usize = 20;
const CODES_MAX: usize = 255;
const PATTERNS_MAX: usize = 20;
const ACTIONS: &[&str] = &["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: &[&str] = &["In", "NotIn"];
const STATUSES: &[&str] = &["False", "True", "Unknown"];

/// All faults of the policy of a job's spec.
pub(super) fn validate(spec: &Value, policy: &Value, path: &str, causes: &mut Faults) {
    let (rules, path) = (items(policy, &["rules"]), field::child(path, "rules"));
    if rules.len() > RULES_MAX {
        causes.push(field::too_many(&path, rules.len(), RULES_MAX));
    }
    for (index, rule) in rules.iter().enumerate() {
        self::rule(spec, rule, &field::index(&path, index), causes);
    }
}

fn rule(spec: &Value, rule: &Value, path: &str, causes: &mut Faults) {
    let action = text(rule, &["action"]);
    choice(rule, "action", ACTIONS, path, causes);
    if action == "FailIndex" && spec.get("backoffLimitPerIndex").is_none() {
        let path = field::child(path, "action");
        causes.push(field::invalid(path, action, "requires the backoffLimitPerIndex to be set"));
    }
    let codes = rule.get("onExitCodes");
    if let Some(codes) = codes {
        exit_codes(spec, codes, &field::child(path, "onExitCodes"), causes);
    }
    let patterns = items(rule, &["onPodConditions"]);
    conditions(patterns, &field::child(path, "onPodConditions"), causes);
    match (codes.is_some(), patterns.is_empty()) {
        (true, false) => causes
            .push(check::unfit(path, "specifying both OnExitCodes and OnPodConditions is not supported")),
        (false, true) => {
            causes.push(check::unfit(path, "specifying one of OnExitCodes and OnPodConditions is required"))
        }
        _ => {}
    }
}

/// One of a few words, which the message about a missing one lists too.
fn choice(object: &Value, name: &str, allowed: &[&str], path: &str, causes: &mut Faults) {
    if text(object, &[name]).is_empty() {
        let quoted: Vec<String> = allowed.iter().map(|word| format!("{word:?}")).collect();
        let detail = format!("valid values: [{}]", quoted.join(" "));
        causes.push(field::required(field::child(path, name), &detail));
    } else {
        check::one_of(object, name, allowed, path, causes);
    }
}

fn conditions(patterns: &[Value], path: &str, causes: &mut Faults) {
    if patterns.len() > PATTERNS_MAX {
        causes.push(field::too_many(path, patterns.len(), PATTERNS_MAX));
    }
    for (index, pattern) in patterns.iter().enumerate() {
        let path = field::index(path, index);
        let kind = text(pattern, &["type"]);
        check::syntax(names::qualified_name(kind), kind, field::child(&path, "type"), causes);
        choice(pattern, "status", STATUSES, &path, causes);
    }
}

fn exit_codes(spec: &Value, codes: &Value, path: &str, causes: &mut Faults) {
    choice(codes, "operator", OPERATORS, path, causes);
    if let Some(container) = codes.get("containerName").and_then(Value::as_str)
        && !container_names(spec).contains(&container)
    {
        let detail = "must be one of the container or initContainer names in the pod template";
        causes.push(field::invalid(field::child(path, "containerName"), container, detail));
    }
    let (values, path) = (items(codes, &["values"]), field::child(path, "values"));
    match values.len() {
        0 => causes.push(field::invalid(&path, values, "at least one value is required")),
        1..=CODES_MAX => {}
        more => causes.push(field::too_many(&path, more, CODES_MAX)),
    }
    let mut seen = HashSet::new();
    for (index, value) in values.iter().enumerate() {
        let path = field::index(&path, index);
        if text(codes, &["operator"]) == "In" && value.as_i64() == Some(0) {
            causes.push(field::invalid(&path, 0, "must not be 0 for the In operator"));
        }
        if !seen.insert(value) {
            causes.push(field::duplicate(&path, value.clone()));
        }
    }
    if !values.iter().map(Value::as_i64).is_sorted() {
        causes.push(field::invalid(&path, values, "must be ordered"));
    }
}
