//! `ResourceSlice`: devices that a driver offers.

use super::super::columns::{Column, age, name};
use super::super::place::{Faults, Place};
use super::super::row::{KindRow, Scope};
use super::super::value::{at, number, object_mut, text};
use super::super::{check, pod_spec};
use super::{GROUP, device, driver, pool, set};
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
const COUNTER_SETS_MAX: usize = 8;

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let node = at(object, &["spec", "nodeName"]).and_then(Value::as_str).unwrap_or("<unset>");
    let get = |path: &[&str]| text(object, path).into();
    let (driver, pool) = (get(&["spec", "driver"]), get(&["spec", "pool", "name"]));
    vec![name(object), node.into(), driver, pool, age(object, now)]
}

fn validate(object: &Value) -> Faults {
    let (mut faults, spec) = (Faults::new(), Place::of(object).at(&["spec"]));
    driver(&spec.at(&["driver"]), &mut faults);
    of_pool(&spec.at(&["pool"]), &mut faults);
    place(&spec, &mut faults);
    let (devices, sets) = (spec.at(&["devices"]), spec.at(&["sharedCounters"]));
    if sets.is_set() && devices.is_set() {
        let detail = "only one of `sharedCounters` or `devices` is allowed";
        faults.push(field::invalid(spec.path(), "", detail));
    }
    let is_costly = |device: &Place<'_>| {
        ["taints", "consumesCounters"].iter().any(|name| !device.at(&[*name]).is_empty())
    };
    let max = if devices.items().any(|device| is_costly(&device)) { COSTLY_DEVICES_MAX } else { DEVICES_MAX };
    set(&devices, max, Some("name"), &mut faults, |device, faults| device::validate(device, &spec, faults));
    set(&sets, COUNTER_SETS_MAX, Some("name"), &mut faults, |set, faults| {
        device::counters(set, "name", faults)
    });
    faults
}

fn of_pool(pool: &Place<'_>, faults: &mut Faults) {
    self::pool(&pool.at(&["name"]), faults);
    let (count, generation) = (pool.at(&["resourceSliceCount"]), pool.at(&["generation"]));
    if count.number() <= 0 {
        faults.push(count.invalid_number("must be greater than zero"));
    }
    if generation.number() < 0 {
        faults.push(generation.invalid("must be greater than or equal to zero"));
    }
}

/// Exactly one member says which nodes the devices are for.
fn place(spec: &Place<'_>, faults: &mut Faults) {
    const ONE: &str =
        "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
    let mut given = Vec::new();
    let (node, selector) = (spec.at(&["nodeName"]), spec.at(&["nodeSelector"]));
    if !node.text().is_empty() {
        given.push("`nodeName`");
        node.check(names::dns_subdomain, faults);
    } else if node.is_set() {
        faults.push(node.invalid("must be either unset or set to a non-empty string"));
    }
    if selector.is_set() {
        given.push("`nodeSelector`");
        faults.extend(pod_spec::node_selector(selector.value, &selector.path()));
        let terms = selector.at(&["nodeSelectorTerms"]);
        if terms.items().len() != 1 {
            faults.push(terms.invalid("must have exactly one node selector term"));
        }
    }
    for (name, quoted) in [("allNodes", "`allNodes`"), ("perDeviceNodeSelection", "`perDeviceNodeSelection`")]
    {
        let flag = spec.at(&[name]);
        if flag.is_true() {
            given.push(quoted);
        } else if flag.is_set() {
            faults.push(flag.invalid("must be either unset or set to true"));
        }
    }
    match given.len() {
        0 => faults.push(spec.required(ONE)),
        1 => {}
        _ => {
            let detail = format!("{ONE}, but multiple fields are set");
            faults.push(field::invalid(spec.path(), format!("{{{}}}", given.join(", ")), &detail));
        }
    }
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let (mut causes, is, was) = (Faults::new(), &new["spec"], &old["spec"]);
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
