//! `autoscaling`: `HorizontalPodAutoscaler`, kept as v2 and served as v1 too.

mod metrics;
mod v1;

use super::columns::{Column, age, name};
use super::meta;
use super::place::{Faults, Place, path_segment};
use super::row::{KindRow, Subresource};
use super::value::{number, object_mut, set_default, text};
use hako_kube::names;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) use v1::ROW as V1;

const GROUP: &str = "autoscaling";
const KIND: &str = "HorizontalPodAutoscaler";

pub(super) const V2: KindRow = KindRow {
    group: GROUP,
    version: "v2",
    kind: KIND,
    plural: "horizontalpodautoscalers",
    singular: "horizontalpodautoscaler",
    short_names: &["hpa"],
    categories: &["all"],
    subresources: &[Subresource::status(GROUP, "v2", KIND)],
    type_name: "io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler",
    columns: &[
        Column::NAME,
        Column::text("Reference", "What is scaled."),
        Column::text("Targets", "What is measured, and what it should be."),
        Column::text("MinPods", "The least number of pods."),
        Column::text("MaxPods", "The greatest number of pods."),
        Column::text("Replicas", "How many pods there are."),
        Column::AGE,
    ],
    cells,
    default,
    validate,
    prepare_create: without_status,
    prepare_update: keep_status,
    ..KindRow::BASE
};

/// How many metrics a table shows.
const SHOWN: usize = 2;

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let target = ["spec", "scaleTargetRef"];
    let of = |part: &'static str| text(object, &[target[0], target[1], part]);
    let least = number(object, &["spec", "minReplicas"]);
    vec![
        name(object),
        format!("{}/{}", of("kind"), of("name")).into(),
        metrics::cell(object, SHOWN).into(),
        least.map_or_else(|| "<unset>".to_owned(), |least| least.to_string()).into(),
        number(object, &["spec", "maxReplicas"]).unwrap_or(0).to_string().into(),
        number(object, &["status", "currentReplicas"]).unwrap_or(0).to_string().into(),
        age(object, now),
    ]
}

fn default(object: &mut Value) {
    let Some(spec) = object_mut(object, &["spec"]) else { return };
    set_default(spec, "minReplicas", 1);
    let has_metrics = spec.get("metrics").and_then(Value::as_array).is_some_and(|list| !list.is_empty());
    if !has_metrics {
        let target = json!({"type": "Utilization", "averageUtilization": 80});
        let cpu = json!([{"type": "Resource", "resource": {"name": "cpu", "target": target}}]);
        spec.insert("metrics".to_owned(), cpu);
    }
    let Some(behavior) = spec.get_mut("behavior").and_then(Value::as_object_mut) else { return };
    let percent =
        |value: i64, seconds: i64| json!({"type": "Percent", "value": value, "periodSeconds": seconds});
    let pods = json!({"type": "Pods", "value": 4, "periodSeconds": 15});
    let defaults = [
        ("scaleUp", Some(0), json!([pods, percent(100, 15)])),
        ("scaleDown", None, json!([percent(100, 15)])),
    ];
    for (direction, window, policies) in defaults {
        let rules = behavior.entry(direction).or_insert_with(|| json!({}));
        let Some(rules) = rules.as_object_mut() else { continue };
        set_default(rules, "selectPolicy", "Max");
        if let Some(window) = window {
            set_default(rules, "stabilizationWindowSeconds", window);
        }
        set_default(rules, "policies", policies);
    }
}

/// This kind counts no generations.
fn without_status(object: &mut Value) {
    meta::start(object);
    meta::no_generation(object);
}

fn keep_status(new: &mut Value, old: &Value) {
    meta::keep_status(new, old);
    meta::no_generation(new);
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let spec = Place::of(object).at(&["spec"]);
    let least = spec.at(&["minReplicas"]);
    if least.is_set() && least.number() < 1 {
        faults.push(least.invalid("must be greater than or equal to 1"));
    }
    let most = spec.at(&["maxReplicas"]);
    if most.number() < 1 {
        faults.push(most.invalid_number("must be greater than 0"));
    }
    if least.is_set() && most.number() < least.number() {
        faults.push(most.invalid_number("must be greater than or equal to `minReplicas`"));
    }
    reference(&spec.at(&["scaleTargetRef"]), &mut faults);
    for metric in spec.at(&["metrics"]).items() {
        metrics::validate(&metric, &mut faults);
    }
    for direction in ["scaleUp", "scaleDown"] {
        rules(&spec.at(&["behavior", direction]), &mut faults);
    }
    for count in ["currentReplicas", "desiredReplicas"] {
        Place::of(object).at(&["status", count]).not_negative(&mut faults);
    }
    faults
}

/// What is scaled or described.
fn reference(place: &Place<'_>, faults: &mut Faults) {
    for part in ["kind", "name"] {
        let place = place.at(&[part]);
        place.check_required(path_segment, faults);
    }
    let version = place.at(&["apiVersion"]);
    if let Some((group, _)) = version.text().split_once('/') {
        let of = |fault: String| version.invalid(&fault);
        faults.extend(names::dns_subdomain(group).into_iter().map(of));
    }
}

const WINDOW_MAX: i64 = 3600;
const PERIOD_MAX: i64 = 1800;

fn rules(rules: &Place<'_>, faults: &mut Faults) {
    if !rules.is_set() {
        return;
    }
    let window = rules.at(&["stabilizationWindowSeconds"]);
    if window.number() < 0 {
        faults.push(window.invalid("must be greater than or equal to zero"));
    }
    if window.number() > WINDOW_MAX {
        faults.push(window.invalid("must be less than or equal to 3600"));
    }
    let tolerance = rules.at(&["tolerance"]);
    if tolerance.text().starts_with('-') {
        faults.push(tolerance.invalid("must be greater than or equal to 0"));
    }
    let select = rules.at(&["selectPolicy"]);
    if select.is_set() && !matches!(select.text(), "Max" | "Min" | "Disabled") {
        faults.push(select.not_supported(&["Disabled", "Max", "Min"]));
    }
    let policies = rules.at(&["policies"]);
    if policies.is_empty() {
        faults.push(policies.required("must specify at least one Policy"));
    }
    for policy in policies.items() {
        let kind = policy.at(&["type"]);
        if !matches!(kind.text(), "Pods" | "Percent") {
            faults.push(kind.not_supported(&["Percent", "Pods"]));
        }
        let value = policy.at(&["value"]);
        if value.number() <= 0 {
            faults.push(value.invalid_number("must be greater than zero"));
        }
        let period = policy.at(&["periodSeconds"]);
        if period.number() <= 0 {
            faults.push(period.invalid_number("must be greater than zero"));
        }
        if period.number() > PERIOD_MAX {
            faults.push(period.invalid_number("must be less than or equal to 1800"));
        }
    }
}
