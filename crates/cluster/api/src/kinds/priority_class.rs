//! `PriorityClass`.

use super::columns::{Column, age, name};
use super::meta;
use super::place::{Faults, Place};
use super::row::{KindRow, Scope};
use super::value::{set_default, text};
use hako_kube::field;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) const ROW: KindRow = KindRow {
    group: "scheduling.k8s.io",
    kind: "PriorityClass",
    plural: "priorityclasses",
    singular: "priorityclass",
    short_names: &["pc"],
    scope: Scope::Cluster,
    type_name: "io.k8s.api.scheduling.v1.PriorityClass",
    columns: &[
        Column::NAME,
        Column::number("Value", "The priority of pods of this class."),
        Column {
            kind: "boolean",
            ..Column::text("Global-Default", "Whether pods that name no class get it.")
        },
        Column::AGE,
        Column::text("PreemptionPolicy", "Whether pods of this class may displace others."),
    ],
    cells,
    default,
    validate,
    validate_update,
    prepare_create: meta::start,
    prepare_update: meta::keep_generation,
    ..KindRow::BASE
};

/// The classes every cluster has: name, value, and what they are for.
pub(crate) const SYSTEM: [(&str, i64, &str); 2] = [
    (
        "system-cluster-critical",
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
    (
        "system-node-critical",
        2_000_001_000,
        "Used for system critical pods that must not be moved from their current node.",
    ),
];
const SYSTEM_PREFIX: &str = "system-";
const USER_MAX: i64 = 1_000_000_000;

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let place = Place::of(object);
    vec![
        name(object),
        place.at(&["value"]).number().into(),
        place.at(&["globalDefault"]).is_true().into(),
        age(object, now),
        place.at(&["preemptionPolicy"]).text().into(),
    ]
}

fn default(object: &mut Value) {
    if let Some(map) = object.as_object_mut() {
        set_default(map, "value", 0);
        set_default(map, "preemptionPolicy", "PreemptLowerPriority");
    }
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let place = Place::of(object);
    let value = place.at(&["value"]);
    let name = text(object, &["metadata", "name"]);
    if name.starts_with(SYSTEM_PREFIX) {
        if let Some(error) = unlike_system(name, &place) {
            faults.push(field::forbidden(
                "metadata.name",
                &format!("priority class names with 'system-' prefix are reserved for system use only. error: {error}"),
            ));
        }
    } else if value.number() > USER_MAX {
        let detail = format!("maximum allowed value of a user defined priority is {USER_MAX}");
        faults.push(value.forbidden(&detail));
    }
    let policy = place.at(&["preemptionPolicy"]);
    policy.one_of_given(&["PreemptLowerPriority", "Never"], &mut faults);
    faults
}

/// How a class differs from that of the system with its name.
fn unlike_system(name: &str, class: &Place<'_>) -> Option<String> {
    let Some((_, value, _)) = SYSTEM.iter().find(|(known, ..)| *known == name) else {
        return Some(format!("{name} is not a known system priority class"));
    };
    if class.at(&["value"]).number() != *value {
        return Some(format!("value of {name} PriorityClass must be {value}"));
    }
    let is_default = class.at(&["globalDefault"]).is_true();
    is_default.then(|| format!("globalDefault of {name} PriorityClass must be false"))
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut faults = Faults::new();
    let of = |object, name| Place::of(object).at(&[name]);
    if new.get("value").unwrap_or(&json!(0)) != old.get("value").unwrap_or(&json!(0)) {
        faults.push(of(new, "value").forbidden("may not be changed in an update."));
    }
    of(new, "preemptionPolicy").immutable(&of(old, "preemptionPolicy"), &mut faults);
    faults
}
