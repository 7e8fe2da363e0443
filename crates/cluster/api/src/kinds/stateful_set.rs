//! `StatefulSet`.

use super::columns::{Column, age, containers, name};
use super::row::{KindRow, Subresource};
use super::value::{at, each_mut, items, number, object_mut, set_default, text};
use super::workload::{
    self, CONTAINERS, IMAGES, Owner, at_most_all, default_status, default_template, int_or_percent,
};
use super::{check, meta};
use hako_kube::{
    field::{self, Faults},
    names,
};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

pub(super) const ROW: KindRow = KindRow {
    group: "apps",
    kind: "StatefulSet",
    plural: "statefulsets",
    singular: "statefulset",
    short_names: &["sts"],
    categories: &["all"],
    subresources: &[Subresource::SCALE, Subresource::status("apps", "v1", "StatefulSet")],
    type_name: "io.k8s.api.apps.v1.StatefulSet",
    columns: &[
        Column::NAME,
        Column::text("Ready", "Number of the pod with ready state"),
        Column::AGE,
        CONTAINERS,
        IMAGES,
    ],
    cells,
    // Its pods are named after it, and a pod's name is its hostname.
    name_faults: names::dns_label,
    default,
    validate,
    validate_update,
    prepare_create: meta::start,
    prepare_update: meta::keep_status,
    warnings: super::warnings::stateful_set,
    ..KindRow::BASE
};

const OWNER: Owner = Owner { selecting: "statefulset", running: "StatefulSet" };

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let count = |path: &[&str]| number(object, path).unwrap_or(0);
    let (names, images) = containers(at(object, &["spec", "template"]));
    let ready = format!("{}/{}", count(&["status", "readyReplicas"]), count(&["spec", "replicas"]));
    vec![name(object), ready.into(), age(object, now), names, images]
}

fn default(object: &mut Value) {
    if let Some(spec) = object_mut(object, &["spec"]) {
        set_default(spec, "podManagementPolicy", "OrderedReady");
        set_default(spec, "replicas", 1);
        set_default(spec, "revisionHistoryLimit", 10);
        set_default(spec, "updateStrategy", json!({}));
        set_default(spec, "persistentVolumeClaimRetentionPolicy", json!({}));
        default_template(spec);
        default_strategy(spec);
        if let Some(policy) =
            spec.get_mut("persistentVolumeClaimRetentionPolicy").and_then(Value::as_object_mut)
        {
            set_default(policy, "whenDeleted", "Retain");
            set_default(policy, "whenScaled", "Retain");
        }
        each_mut(spec, "volumeClaimTemplates").for_each(default_claim);
    }
    default_status(object, &["availableReplicas", "replicas"]);
}

fn default_strategy(spec: &mut Map<String, Value>) {
    let Some(strategy) = spec.get_mut("updateStrategy").and_then(Value::as_object_mut) else { return };
    set_default(strategy, "type", "RollingUpdate");
    if strategy.get("type") != Some(&json!("RollingUpdate")) {
        return;
    }
    set_default(strategy, "rollingUpdate", json!({}));
    if let Some(rolling) = strategy.get_mut("rollingUpdate").and_then(Value::as_object_mut) {
        set_default(rolling, "partition", 0);
        set_default(rolling, "maxUnavailable", 1);
    }
}

/// A claim in the set looks like one on its own.
fn default_claim(claim: &mut Map<String, Value>) {
    set_default(claim, "apiVersion", "v1");
    set_default(claim, "kind", "PersistentVolumeClaim");
    let mut whole = Value::Object(std::mem::take(claim));
    super::volume::claim::default(&mut whole);
    if let Value::Object(whole) = whole {
        *claim = whole;
    }
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    let spec = &object["spec"];
    match text(spec, &["podManagementPolicy"]) {
        "OrderedReady" | "Parallel" => {}
        "" => causes.push(field::required("spec.podManagementPolicy", "")),
        other => {
            let detail = "must be 'OrderedReady' or 'Parallel'";
            causes.push(field::invalid("spec.podManagementPolicy", other, detail));
        }
    }
    strategy(&spec["updateStrategy"], &mut causes);
    const KEEP: &[&str] = &["Retain", "Delete"];
    for name in ["whenDeleted", "whenScaled"] {
        let path = "spec.persistentVolumeClaimRetentionPolicy";
        check::one_of(&spec["persistentVolumeClaimRetentionPolicy"], name, KEEP, path, &mut causes);
    }
    let numbers = ["replicas", "minReadySeconds", "revisionHistoryLimit"];
    check::not_negative(spec, &numbers, "spec", &mut causes);
    check::not_negative(&spec["ordinals"], &["start"], "spec.ordinals", &mut causes);
    let service = text(spec, &["serviceName"]);
    if !service.is_empty() {
        check::syntax(names::dns_label(service), service, "spec.serviceName", &mut causes);
    }
    let template = at(spec, &["template"]).map(|template| with_claims(template, spec));
    causes.extend(workload::selector_and_template(object, template.as_ref(), OWNER));
    status(&object["status"], &mut causes);
    causes
}

/// The template with a volume for each claim of the set, as its pods will have it.
fn with_claims(template: &Value, spec: &Value) -> Value {
    let claims = items(spec, &["volumeClaimTemplates"]);
    let mut template = template.clone();
    let Some(pod) = object_mut(&mut template, &["spec"]).filter(|_| !claims.is_empty()) else {
        return template;
    };
    let names: Vec<&str> = claims.iter().map(|claim| text(claim, &["metadata", "name"])).collect();
    if let Some(volumes) = pod.entry("volumes").or_insert_with(|| json!([])).as_array_mut() {
        let theirs: HashSet<&str> = names.iter().copied().collect();
        volumes.retain(|volume| !theirs.contains(text(volume, &["name"])));
        let volume = |name: &&str| json!({ "name": name, "persistentVolumeClaim": { "claimName": name } });
        volumes.extend(names.iter().map(volume));
    }
    template
}

fn strategy(strategy: &Value, causes: &mut Faults) {
    const PATH: &str = "spec.updateStrategy.rollingUpdate";
    let rolling = strategy.get("rollingUpdate");
    match (text(strategy, &["type"]), rolling) {
        ("", _) => causes.push(field::required("spec.updateStrategy", "")),
        ("OnDelete", Some(rolling)) => causes.push(field::invalid(
            PATH,
            rolling.clone(),
            "only allowed for updateStrategy 'RollingUpdate'",
        )),
        ("RollingUpdate", Some(rolling)) => {
            check::not_negative(rolling, &["partition"], PATH, causes);
            if int_or_percent(rolling, "maxUnavailable", PATH, causes) == Some(0) {
                let path = field::child(PATH, "maxUnavailable");
                causes.push(field::invalid(path, rolling["maxUnavailable"].clone(), "cannot be 0"));
            }
            at_most_all(rolling, "maxUnavailable", PATH, causes);
        }
        ("OnDelete" | "RollingUpdate", None) => {}
        _ => causes.push(field::invalid(
            "spec.updateStrategy",
            strategy.clone(),
            "must be 'RollingUpdate' or 'OnDelete'",
        )),
    }
}

fn status(status: &Value, causes: &mut Faults) {
    const PARTS: [&str; 4] = ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"];
    check::not_negative(status, &["replicas", "observedGeneration", "collisionCount"], "status", causes);
    check::not_negative(status, &PARTS, "status", causes);
    let count = |name: &str| number(status, &[name]).unwrap_or(0);
    for part in PARTS {
        if count(part) > count("replicas") {
            let path = field::child("status", part);
            causes.push(field::invalid(path, count(part), "cannot be greater than status.replicas"));
        }
    }
    let (available, ready) = (count("availableReplicas"), count("readyReplicas"));
    if available > ready {
        let detail = "cannot be greater than status.readyReplicas";
        causes.push(field::invalid("status.availableReplicas", available, detail));
    }
}

const MUTABLE: &[&str] = &[
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];
const FIXED: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', \
     'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are \
     forbidden";

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    workload::not_decremented(new, old, "collisionCount", &mut causes);
    let fixed = |object: &Value| {
        let mut spec = object["spec"].clone();
        if let Some(spec) = spec.as_object_mut() {
            spec.retain(|name, _| !MUTABLE.contains(&name.as_str()));
        }
        spec
    };
    if fixed(new) != fixed(old) {
        causes.push(field::forbidden("spec", FIXED));
    }
    causes
}
