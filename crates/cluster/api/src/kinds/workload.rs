//! What the kinds share that make pods from a template.

use super::check::NOT_NEGATIVE;
use super::columns::Column;
use super::pod_spec;
use super::value::{at, object_mut};
use hako_kube::{
    LabelSelector, Selector,
    field::{self, Faults},
};
use serde::Deserialize as _;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

pub(super) const CONTAINERS: Column =
    Column::text("Containers", "Names of each container in the template.").wide();
pub(super) const IMAGES: Column =
    Column::text("Images", "Images referenced by each container in the template.").wide();
pub(super) const SELECTOR: Column = Column::text("Selector", "The label selector.").wide();

/// A kind that keeps pods running, as its messages name it.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    /// In the message about an empty selector.
    pub(super) selecting: &'static str,
    /// In the message about a deadline.
    pub(super) running: &'static str,
}

/// Defaults of `template` in a workload's spec.
pub(super) fn default_template(spec: &mut Map<String, Value>) {
    if let Some(template) = spec.get_mut("template")
        && let Some(pod) = object_mut(template, &["spec"])
    {
        pod_spec::default(pod);
    }
}

/// Gives an object without a status an empty one, as the original shows it.
pub(super) fn default_status(object: &mut Value, numbers: &[&str]) {
    if let Some(status) = object_mut(object, &["status"]) {
        for name in numbers {
            super::value::set_default(status, name, 0);
        }
    }
}

/// Faults of the selector and of a template that belongs to it.
pub(super) fn selector_and_template(object: &Value, template: Option<&Value>, owner: Owner) -> Faults {
    let mut causes = Faults::new();
    let selector = at(object, &["spec", "selector"]);
    let structured = selector.and_then(|selector| LabelSelector::deserialize(selector).ok());
    match &structured {
        None => causes.push(field::required("spec.selector", "")),
        Some(empty) if empty.is_empty() => {
            let value = selector.cloned().unwrap_or_else(|| json!({}));
            let detail = format!("empty selector is invalid for {}", owner.selecting);
            causes.push(field::invalid("spec.selector", value, &detail));
        }
        Some(selector) => causes.extend(selector.validate("spec.selector")),
    }
    let Some(template) = template else {
        causes.push(field::required("spec.template", ""));
        return causes;
    };
    if let Some(selector) = structured.and_then(|structured| structured.selector().ok()) {
        selects(&selector, template, "spec.template", &mut causes);
    }
    causes.extend(pod_spec::validate_template(template, "spec.template"));
    causes.extend(pod_spec::keeps_running(template, "spec.template", owner.running));
    causes
}

/// A selector that says something has to choose the pods that the template makes.
pub(super) fn selects(selector: &Selector, template: &Value, path: &str, causes: &mut Faults) {
    let labels = labels(template);
    if !selector.requirements().is_empty() && !selector.matches(&labels) {
        let path = field::child(path, "metadata.labels");
        causes.push(field::invalid(path, json!(labels), "`selector` does not match template `labels`"));
    }
}

/// The labels of a template's pods.
pub(super) fn labels(template: &Value) -> BTreeMap<String, String> {
    let labels = at(template, &["metadata", "labels"]);
    labels.and_then(|labels| BTreeMap::deserialize(labels).ok()).unwrap_or_default()
}

/// The selector of a workload never changes.
pub(super) fn immutable_selector(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    super::check::immutable(&new["spec"], &old["spec"], &["selector"], "spec", &mut causes);
    causes
}

const PERCENT: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or \
     '93%', regex used for validation is '[0-9]+%')";

/// The number, or the number of percent, under `name`; faults where it is neither or below zero.
pub(super) fn int_or_percent(object: &Value, name: &str, path: &str, causes: &mut Faults) -> Option<i64> {
    let value = object.get(name)?;
    let path = field::child(path, name);
    if let Value::String(text) = value {
        let percent = percent(text);
        if percent.is_none() {
            causes.push(field::invalid(path, text.as_str(), PERCENT));
        }
        return percent;
    }
    let number = value.as_i64().unwrap_or(0);
    if number < 0 {
        causes.push(field::invalid(path, number, NOT_NEGATIVE));
    }
    Some(number)
}

/// A fault where more than all of something is meant.
pub(super) fn at_most_all(object: &Value, name: &str, path: &str, causes: &mut Faults) {
    if let Some(text) = object.get(name).and_then(Value::as_str)
        && percent(text).is_some_and(|percent| percent > 100)
    {
        causes.push(field::invalid(field::child(path, name), text, "must not be greater than 100%"));
    }
}

fn percent(text: &str) -> Option<i64> {
    let digits = text.strip_suffix('%')?;
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())?
}

/// Faults of counts of pods: none below zero, none of a part above that of the whole.
pub(super) fn counts(status: &Value, parts: &[&str], causes: &mut Faults) {
    super::check::not_negative(
        status,
        &["replicas", "observedGeneration", "collisionCount"],
        "status",
        causes,
    );
    super::check::not_negative(status, parts, "status", causes);
    let count = |name: &str| super::value::number(status, &[name]).unwrap_or(0);
    for part in parts.iter().filter(|part| count(part) > count("replicas")) {
        let detail = "cannot be greater than status.replicas";
        causes.push(field::invalid(field::child("status", part), count(part), detail));
    }
    if count("availableReplicas") > count("readyReplicas") {
        let detail = "cannot be greater than readyReplicas";
        causes.push(field::invalid("status.availableReplicas", count("availableReplicas"), detail));
    }
}

/// A fault where a counter went back.
pub(super) fn not_decremented(new: &Value, old: &Value, name: &str, causes: &mut Faults) {
    let count = |object: &Value| super::value::number(object, &["status", name]).unwrap_or(0);
    if count(new) < count(old) {
        let path = field::child("status", name);
        causes.push(field::invalid(path, count(new), "cannot be decremented"));
    }
}
