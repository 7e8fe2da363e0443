//! `StorageVersionMigration`. Upstream serves it in this version where it is switched on; here it always is.

use super::columns::{Column, age, name};
use super::place::{Faults, Place};
use super::row::{KindRow, PartWrite, Scope, Subresource};
use super::value::text;
use super::{conditions, meta};
use jiff::Timestamp;
use serde_json::Value;

const GROUP: &str = "storagemigration.k8s.io";
const VERSION: &str = "v1beta1";

pub(super) const ROW: KindRow = KindRow {
    group: GROUP,
    version: VERSION,
    kind: "StorageVersionMigration",
    plural: "storageversionmigrations",
    singular: "storageversionmigration",
    scope: Scope::Cluster,
    subresources: &[Subresource::status(GROUP, VERSION, "StorageVersionMigration")],
    type_name: "io.k8s.api.storagemigration.v1beta1.StorageVersionMigration",
    columns: &[Column::NAME, Column::text("Resource", "Whose objects are written anew."), Column::AGE],
    cells,
    validate,
    validate_update,
    validate_part,
    prepare_create: meta::start_uncounted,
    prepare_update: meta::keep_status_uncounted,
    ..KindRow::BASE
};

/// What a migration has come to, of which only one is so at a time.
const STATES: [(&str, &str); 3] = [("Succeeded", "success"), ("Failed", "failed"), ("Running", "running")];

fn resource(object: &Value) -> Place<'_> {
    Place::of(object).at(&["spec", "resource"])
}

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let resource = resource(object);
    let (plural, group) = (resource.at(&["resource"]), resource.at(&["group"]));
    let shown = if group.is_empty() {
        plural.text().to_owned()
    } else {
        format!("{}.{}", plural.text(), group.text())
    };
    vec![name(object), shown.into(), age(object, now)]
}

fn validate(object: &Value) -> Faults {
    let plural = resource(object).at(&["resource"]);
    if plural.is_empty() { Faults::from([plural.required("resource is required")]) } else { Faults::new() }
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut faults = Faults::new();
    let (new, old) = (resource(new), resource(old));
    for member in ["group", "resource"] {
        // Upstream names the member alone.
        let place = Place::shown(new.at(&[member]).value, member);
        place.immutable(&old.at(&[member]), &mut faults);
    }
    faults
}

fn validate_part(new: &Value, old: &Value, _: &PartWrite<'_>) -> Faults {
    let mut faults = Faults::new();
    let status = Place::of(new).at(&["status"]);
    let version = status.at(&["resourceVersion"]);
    let was = text(old, &["status", "resourceVersion"]);
    match version.text().parse::<i64>() {
        _ if version.is_empty() => {}
        Ok(number) if number < 0 => faults.push(version.invalid("must be greater than or equal to 0")),
        Ok(_) => {}
        Err(error) => faults.push(version.invalid(&error.to_string())),
    }
    if !was.is_empty() && was != version.text() {
        faults.push(version.invalid("cannot be updated"));
    }
    let all = status.at(&["conditions"]);
    conditions::validate(&all, &mut faults);
    let [is_done, is_failed, is_running] = STATES.map(|(kind, _)| is_true(&all, kind));
    if is_done && is_failed {
        faults.push(all.invalid("Both success and failed conditions cannot be true at the same time"));
    }
    for ((_, word), is_so) in STATES.into_iter().zip([is_done, is_failed]) {
        if is_so && is_running {
            let detail = format!("Running condition cannot be true when {word} condition is true");
            faults.push(all.invalid(&detail));
        }
    }
    let before = Place::of(old).at(&["status", "conditions"]);
    for ((kind, _), word) in STATES.into_iter().zip(["Success", "Failed"]) {
        if is_true(&before, kind) && !is_true(&all, kind) {
            let detail = format!("{word} condition cannot be set to false once it is true");
            faults.push(all.invalid(&detail));
        }
    }
    faults
}

fn is_true(conditions: &Place<'_>, kind: &str) -> bool {
    let mut of_kind = conditions.items();
    of_kind.any(|it| it.at(&["type"]).text() == kind && it.at(&["status"]).text() == "True")
}
