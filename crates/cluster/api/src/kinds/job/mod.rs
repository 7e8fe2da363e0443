//! `Job`.
//!
//! Owns: what a job is made of, how it selects its pods, what may change and when. Does not own: running it.
//! Invariant: unless its writer asked otherwise, a job selects by its own identity, and its template carries it.

mod failure;
mod identity;
mod indexes;
mod spec;
mod status;
mod success;

pub(super) use spec::validate as validate_spec;

use super::columns::{Column, age, containers, name, selector, since};
use super::row::{KindRow, Subresource};
use super::value::{at, each_mut, items, number, object_mut, set_default, text};
use super::workload::{self, CONTAINERS, IMAGES, SELECTOR, default_status, default_template};
use super::{check, meta};
use hako_kube::{
    LabelSelector,
    field::{self, Faults},
    names, time,
};
use jiff::Timestamp;
use serde::Deserialize as _;
use serde_json::{Map, Value, json};

pub(super) const ROW: KindRow = KindRow {
    group: "batch",
    kind: "Job",
    plural: "jobs",
    singular: "job",
    categories: &["all"],
    subresources: &[Subresource::status("batch", "v1", "Job")],
    type_name: "io.k8s.api.batch.v1.Job",
    columns: &[
        Column::NAME,
        Column::text("Status", "Status of the job."),
        Column::text("Completions", "How many of its pods succeeded, of those wanted."),
        Column::text("Duration", "Time required to complete the job."),
        Column::AGE,
        CONTAINERS,
        IMAGES,
        SELECTOR,
    ],
    cells,
    default,
    validate,
    validate_update,
    prepare_create,
    prepare_update: meta::keep_status,
    selectable,
    selectable_fields: &["status.successful"],
    warnings: crate::kinds::warnings::job,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let (names, images) = containers(at(object, &["spec", "template"]));
    vec![
        name(object),
        state(object).into(),
        completions(object).into(),
        duration(object, now).into(),
        age(object, now),
        names,
        images,
        selector(at(object, &["spec", "selector"])),
    ]
}

fn state(object: &Value) -> &'static str {
    let is = |condition| status::is_true(object, condition);
    match () {
        () if is("Complete") => "Complete",
        () if is("Failed") => "Failed",
        () if at(object, &["metadata", "deletionTimestamp"]).is_some() => "Terminating",
        () if is("Suspended") => "Suspended",
        () if is("FailureTarget") => "FailureTarget",
        () => "Running",
    }
}

fn completions(object: &Value) -> String {
    let succeeded = number(object, &["status", "succeeded"]).unwrap_or(0);
    let parallelism = number(object, &["spec", "parallelism"]).unwrap_or(0);
    match number(object, &["spec", "completions"]) {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    }
}

fn duration(object: &Value, now: Timestamp) -> String {
    let ended = time::parse(text(object, &["status", "completionTime"])).unwrap_or(now);
    match at(object, &["status", "startTime"]) {
        None => String::new(),
        began => since(began, ended),
    }
}

fn default(object: &mut Value) {
    default_labels(object);
    if let Some(spec) = object_mut(object, &["spec"]) {
        default_counts(spec);
        set_default(spec, "completionMode", "NonIndexed");
        set_default(spec, "suspend", false);
        set_default(spec, "manualSelector", false);
        let replacement =
            if spec.contains_key("podFailurePolicy") { "Failed" } else { "TerminatingOrFailed" };
        set_default(spec, "podReplacementPolicy", replacement);
        default_template(spec);
        if let Some(policy) = spec.get_mut("podFailurePolicy").and_then(Value::as_object_mut) {
            for rule in each_mut(policy, "rules") {
                each_mut(rule, "onPodConditions").for_each(|pattern| set_default(pattern, "status", "True"));
            }
        }
    }
    default_status(object, &[]);
}

/// A job without labels has those of its pods.
fn default_labels(object: &mut Value) {
    let labels = at(object, &["spec", "template", "metadata", "labels"]).cloned();
    let has_labels = !object["metadata"]["labels"].as_object().is_none_or(Map::is_empty);
    if let (Some(labels), false) = (labels, has_labels)
        && let Some(metadata) = object_mut(object, &["metadata"])
    {
        metadata.insert("labels".to_owned(), labels);
    }
}

fn default_counts(spec: &mut Map<String, Value>) {
    if !spec.contains_key("completions") && !spec.contains_key("parallelism") {
        spec.insert("completions".to_owned(), json!(1));
    }
    set_default(spec, "parallelism", 1);
    let is_per_index = spec.contains_key("backoffLimitPerIndex");
    set_default(spec, "backoffLimit", if is_per_index { i32::MAX } else { 6 });
}

fn prepare_create(object: &mut Value) {
    meta::start(object);
    if object["spec"]["manualSelector"] != Value::Bool(true) {
        identity::generate(object);
    }
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    let job = &object["spec"];
    identity::validate(object, &mut causes);
    spec::validate(job, "spec", &mut causes);
    match job.get("selector").and_then(|selector| LabelSelector::deserialize(selector).ok()) {
        None => causes.push(field::required("spec.selector", "")),
        Some(selector) => {
            causes.extend(selector.validate("spec.selector"));
            if let Ok(selector) = selector.selector() {
                workload::selects(&selector, &job["template"], "spec.template", &mut causes);
            }
        }
    }
    hostnames(object, &mut causes);
    causes
}

/// The pods of an indexed job are named after the job and their index.
fn hostnames(object: &Value, causes: &mut Faults) {
    let completions = number(object, &["spec", "completions"]).unwrap_or(0);
    if text(object, &["spec", "completionMode"]) != "Indexed" || completions <= 0 {
        return;
    }
    let name = text(object, &["metadata", "name"]);
    let longest = format!("{name}-{}", completions - 1);
    if !names::dns_label(&longest).is_empty() {
        let detail = format!("will not able to create pod with invalid DNS label: {longest}");
        causes.push(field::invalid("metadata.name", name, &detail));
    }
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    let (is, was) = (&new["spec"], &old["spec"]);
    completions_update(is, was, &mut causes);
    check::immutable(is, was, &["selector"], "spec", &mut causes);
    template_update(is, old, &mut causes);
    let fixed = ["completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy"];
    check::immutable(is, was, &fixed, "spec", &mut causes);
    if new.get("status") != old.get("status") {
        status::validate(new, &mut causes);
        status::validate_update(new, old, &mut causes);
    }
    causes
}

/// An indexed job may grow and shrink, together with how many of its pods run at once.
fn completions_update(is: &Value, was: &Value, causes: &mut Faults) {
    if text(is, &["completionMode"]) != "Indexed" {
        check::immutable(is, was, &["completions"], "spec", causes);
        return;
    }
    let completions = is.get("completions");
    if completions != was.get("completions")
        && let Some(completions) = completions
        && Some(completions) != is.get("parallelism")
    {
        let detail = "can only be modified in tandem with spec.parallelism";
        causes.push(field::invalid("spec.completions", completions.clone(), detail));
    }
}

/// Where pods may go and what they get changes only while the job is suspended and none of its pods is left (KEP-2926,
/// KEP-5440).
fn template_update(is: &Value, old: &Value, causes: &mut Faults) {
    let was = &old["spec"];
    let is_suspended = was["suspend"] == Value::Bool(true);
    let never_ran = at(old, &["status", "startTime"]).is_none();
    let has_active = number(old, &["status", "active"]).unwrap_or(0) > 0;
    let is_at_rest = never_ran || (status::is_true(old, "Suspended") && !has_active);
    let (mut new, mut before) = (is["template"].clone(), was["template"].clone());
    if is_suspended && is_at_rest {
        strip_directives(&mut new);
        strip_directives(&mut before);
    }
    if new != before {
        causes.push(field::invalid("spec.template", is["template"].clone(), check::IMMUTABLE));
    }
}

fn strip_directives(template: &mut Value) {
    if let Some(metadata) = object_mut(template, &["metadata"]) {
        metadata.remove("annotations");
        metadata.remove("labels");
    }
    let Some(pod) = object_mut(template, &["spec"]) else { return };
    for name in ["nodeSelector", "tolerations", "schedulingGates"] {
        pod.remove(name);
    }
    for containers in ["containers", "initContainers"] {
        for container in each_mut(pod, containers) {
            let resources = container.get_mut("resources").and_then(Value::as_object_mut);
            let is_empty = resources.is_some_and(|resources| {
                resources.remove("requests");
                resources.remove("limits");
                resources.is_empty()
            });
            if is_empty {
                container.remove("resources");
            }
        }
    }
    let affinity = pod.get_mut("affinity").and_then(Value::as_object_mut);
    let is_empty = affinity.is_some_and(|affinity| {
        affinity.remove("nodeAffinity");
        affinity.is_empty()
    });
    if is_empty {
        pod.remove("affinity");
    }
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    let succeeded = number(object, &["status", "succeeded"]).unwrap_or(0);
    vec![("status.successful", succeeded.to_string())]
}

/// The names of all containers that a job's pods begin with.
fn container_names(spec: &Value) -> Vec<&str> {
    let parts = ["containers", "initContainers"];
    let of = |part| items(spec, &["template", "spec", part]);
    parts.into_iter().flat_map(of).map(|container| text(container, &["name"])).collect()
}
