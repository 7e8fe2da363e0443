//! `ResourceSlice`: devices that a driver offers.

use super::super::check;
use super::super::columns::{Column, age, name};
use super::super::pod_spec;
use super::super::row::{KindRow, Scope};
use super::super::value::{at, items, members, number, object_mut, text};
use super::{GROUP, at_most, each, label, pool, unique};
use hako_error::FieldCause;
use hako_kube::{field, names};
use jiff::Timestamp;
use serde_json::Value;

pub(in super::super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "ResourceSlice",
    plural: "resourceslices",
    singular: "resourceslice",
    scope: Scope::Cluster,
    type_name: "io.k8s.api.resource.v1.ResourceSlice",
    columns: &[
        Column::NAME,
        Column::text("Node", "The node that the devices are on."),
        Column::text("Driver", "The driver that offers them."),
        Column::text("Pool", "The pool that they belong to."),
        Column::AGE,
    ],
    cells,
    validate,
    validate_update,
    prepare_create: super::super::meta::start,
    prepare_update,
    selectable,
    selectable_fields: &["spec.nodeName", "spec.driver"],
    ..KindRow::BASE
};

const DEVICES_MAX: usize = 128;
/// Of devices with taints or shared counters, which are more work for the scheduler.
const COSTLY_DEVICES_MAX: usize = 64;
const FACTS_MAX: usize = 32;
const TEXT_MAX: usize = 64;
const COUNTER_SETS_MAX: usize = 8;

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let node = at(object, &["spec", "nodeName"]).and_then(Value::as_str).unwrap_or("<unset>");
    let get = |path: &[&str]| text(object, path).into();
    let (driver, pool) = (get(&["spec", "driver"]), get(&["spec", "pool", "name"]));
    vec![name(object), node.into(), driver, pool, age(object, now)]
}

fn validate(object: &Value) -> Vec<FieldCause> {
    let (mut causes, spec) = (Vec::new(), &object["spec"]);
    check::driver(text(spec, &["driver"]), "spec.driver", &mut causes);
    of_pool(&spec["pool"], &mut causes);
    place(spec, &mut causes);
    let (devices, sets) = (items(spec, &["devices"]), items(spec, &["sharedCounters"]));
    if spec.get("sharedCounters").is_some() && spec.get("devices").is_some() {
        causes.push(field::invalid("spec", "", "only one of `sharedCounters` or `devices` is allowed"));
    }
    let is_costly =
        |device: &Value| ["taints", "consumesCounters"].iter().any(|name| !items(device, &[name]).is_empty());
    let max = if devices.iter().any(is_costly) { COSTLY_DEVICES_MAX } else { DEVICES_MAX };
    at_most(devices, max, "spec.devices", &mut causes);
    unique(devices, Some("name"), "spec.devices", &mut causes);
    for (device, path) in each(spec, "devices", "spec") {
        self::device(device, &path, &mut causes);
    }
    at_most(sets, COUNTER_SETS_MAX, "spec.sharedCounters", &mut causes);
    unique(sets, Some("name"), "spec.sharedCounters", &mut causes);
    for (set, path) in each(spec, "sharedCounters", "spec") {
        label(set, "name", &path, &mut causes);
        if members(set, &["counters"]).next().is_none() {
            causes.push(field::required(field::child(&path, "counters"), ""));
        }
    }
    causes
}

fn of_pool(pool: &Value, causes: &mut Vec<FieldCause>) {
    self::pool(text(pool, &["name"]), "spec.pool.name", causes);
    let count = number(pool, &["resourceSliceCount"]).unwrap_or(0);
    if count <= 0 {
        causes.push(field::invalid("spec.pool.resourceSliceCount", count, "must be greater than zero"));
    }
    if let Some(generation) = number(pool, &["generation"]).filter(|generation| *generation < 0) {
        let detail = "must be greater than or equal to zero";
        causes.push(field::invalid("spec.pool.generation", generation, detail));
    }
}

/// Exactly one member says which nodes the devices are for.
fn place(spec: &Value, causes: &mut Vec<FieldCause>) {
    const ONE: &str =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut given = Vec::new();
    match spec.get("nodeName").and_then(Value::as_str) {
        None => {}
        Some("") => {
            let detail = "must be either unset or set to a non-empty string";
            causes.push(field::invalid("spec.nodeName", "", detail));
        }
        Some(node) => {
            given.push("`nodeName`");
            check::syntax(names::dns_subdomain(node), node, "spec.nodeName", causes);
        }
    }
    if let Some(selector) = spec.get("nodeSelector") {
        given.push("`nodeSelector`");
        causes.extend(pod_spec::node_selector(selector, "spec.nodeSelector"));
        let terms = items(selector, &["nodeSelectorTerms"]);
        if terms.len() != 1 {
            let path = "spec.nodeSelector.nodeSelectorTerms";
            causes.push(field::invalid(path, terms, "must have exactly one node selector term"));
        }
    }
    for (name, quoted) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")]
    {
        match spec.get(name) {
            None => {}
            Some(Value::Bool(true)) => given.push(quoted),
            Some(other) => {
                let path = field::child("spec", name);
                causes.push(field::invalid(path, other.clone(), "must be either unset or set to true"));
            }
        }
    }
    match given.len() {
        0 => causes.push(field::required("spec", ONE)),
        1 => {}
        _ => {
            let detail = format!("{ONE}, but multiple fields are set");
            causes.push(field::invalid("spec", format!("{{{}}}", given.join(", ")), &detail));
        }
    }
}

fn device(device: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    label(device, "name", path, causes);
    let facts = members(device, &["attributes"]).count() + members(device, &["capacity"]).count();
    if facts > FACTS_MAX {
        let detail = format!("the total number of attributes and capacities must not exceed {FACTS_MAX}");
        causes.push(field::invalid(path, facts, &detail));
    }
    for (name, value) in members(device, &["attributes"]) {
        attribute(value, &field::key(&field::child(path, "attributes"), name), causes);
    }
}

fn attribute(attribute: &Value, path: &str, causes: &mut Vec<FieldCause>) {
    const KINDS: [&str; 4] = ["bool", "int", "string", "version"];
    let given = KINDS.iter().filter(|kind| attribute.get(kind).is_some()).count();
    if given != 1 {
        let shown = if given == 0 { Value::from("") } else { attribute.clone() };
        causes.push(field::invalid(path, shown, "exactly one value must be specified"));
    }
    for kind in ["string", "version"] {
        let value = text(attribute, &[kind]);
        if value.len() > TEXT_MAX {
            causes.push(field::too_long(field::child(path, kind), TEXT_MAX));
        }
    }
    if let Some(version) = attribute.get("version").and_then(Value::as_str)
        && !is_version(version)
    {
        let detail = "must be a string compatible with semver.org spec 2.0.0";
        causes.push(field::invalid(field::child(path, "version"), version, detail));
    }
}

/// `1.2.3`, perhaps `-pre.release`, perhaps `+build`.
fn is_version(version: &str) -> bool {
    let (rest, build) = version.split_once('+').map_or((version, None), |(rest, build)| (rest, Some(build)));
    let (core, release) = rest.split_once('-').map_or((rest, None), |(core, it)| (core, Some(it)));
    let is_number = |part: &str| {
        !part.is_empty()
            && part.bytes().all(|byte| byte.is_ascii_digit())
            && (part == "0" || !part.starts_with('0'))
    };
    let is_word = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let is_release =
        |part: &str| is_word(part) && (is_number(part) || !part.bytes().all(|byte| byte.is_ascii_digit()));
    core.split('.').count() == 3
        && core.split('.').all(is_number)
        && release.is_none_or(|release| release.split('.').all(is_release))
        && build.is_none_or(|build| build.split('.').all(is_word))
}

fn validate_update(new: &Value, old: &Value) -> Vec<FieldCause> {
    let (mut causes, is, was) = (Vec::new(), &new["spec"], &old["spec"]);
    check::immutable(&is["pool"], &was["pool"], &["name"], "spec.pool", &mut causes);
    check::immutable(is, was, &["driver", "nodeName"], "spec", &mut causes);
    causes
}

fn prepare_update(new: &mut Value, old: &Value) {
    let generation = number(old, &["metadata", "generation"]).unwrap_or(0);
    let changed = generation + i64::from(new.get("spec") != old.get("spec"));
    if let Some(metadata) = object_mut(new, &["metadata"]) {
        metadata.insert("generation".to_owned(), changed.into());
    }
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    let get = |name: &str| text(object, &["spec", name]).to_owned();
    vec![("spec.nodeName", get("nodeName")), ("spec.driver", get("driver"))]
}
