//! The versions of what is defined: names, what is stored, schemas, columns, parts.

use super::{Faults, Place, names, selectable};
use std::collections::HashSet;

const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] =
    &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const WARNING_MAX: usize = 256;

/// All faults of the versions of a spec.
pub(super) fn validate(spec: &Place<'_>, faults: &mut Faults) {
    let all = spec.at(&["versions"]);
    let versions = Vec::from_iter(all.items());
    let mut seen: HashSet<&str> = HashSet::new();
    let mut is_unique = true;
    for version in &versions {
        let name = version.at(&["name"]);
        names::label(&name, name.text(), "", faults);
        is_unique &= seen.insert(name.text());
        let schema = version.at(&["schema", "openAPIV3Schema"]);
        if !schema.is_set() {
            faults.push(schema.required("schemas are required"));
        }
        warning(version, faults);
    }
    if !is_unique {
        faults.push(all.invalid("must contain unique version names"));
    }
    if versions.iter().filter(|version| version.at(&["storage"]).is_true()).count() != 1 {
        faults.push(all.invalid("must have exactly one version marked as storage version"));
    }
    contents(spec, faults);
}

fn contents(spec: &Place<'_>, faults: &mut Faults) {
    for part in shared(spec, "subresources", "subresources") {
        scale(&part.at(&["scale"]), faults);
    }
    for part in shared(spec, "additionalPrinterColumns", "additionalPrinterColumns") {
        part.items().for_each(|it| column(&it, faults));
    }
    selectable_fields(spec, faults);
}

/// Faults of the fields that the versions name, which each has to have.
fn selectable_fields(spec: &Place<'_>, faults: &mut Faults) {
    let versions = Vec::from_iter(spec.at(&["versions"]).items());
    let parts = shared(spec, "selectableFields", "selectableFields");
    let is_one = shared(spec, "schema", "validation").len() == 1;
    for (at, version) in versions.iter().enumerate() {
        // What all have alike is said once, if they have the same schema.
        let place = match parts.as_slice() {
            [one] if is_one && at == 0 => one.clone(),
            [_] if is_one => continue,
            _ => version.at(&["selectableFields"]),
        };
        selectable::validate(&place, version.at(&["schema", "openAPIV3Schema"]).value, faults);
    }
}

/// What the versions have under a name. What all have alike upstream keeps, and names, as the spec's own.
pub(super) fn shared<'a>(spec: &Place<'a>, name: &'static str, own: &'static str) -> Vec<Place<'a>> {
    let parts: Vec<Place<'a>> = spec.at(&["versions"]).items().map(|version| version.at(&[name])).collect();
    match parts.first() {
        Some(first) if parts.iter().all(|part| part.value == first.value) => {
            vec![spec.at(&[own]).with(first.value)]
        }
        _ => parts,
    }
}

fn warning(version: &Place<'_>, faults: &mut Faults) {
    let warning = version.at(&["deprecationWarning"]);
    if !warning.is_set() {
        return;
    }
    if !version.at(&["deprecated"]).is_true() {
        faults.push(warning.invalid("can only be set for deprecated versions"));
    }
    if warning.text().len() > WARNING_MAX {
        faults.push(warning.invalid(&format!("must be <= {WARNING_MAX} characters long")));
    }
    if warning.is_empty() {
        faults.push(warning.invalid("must not be an empty string"));
    }
    if let Some(at) = warning.text().find(char::is_control) {
        faults.push(warning.invalid(&format!(
            "must only contain printable UTF-8 characters; non-printable character found at index {at}"
        )));
    }
}

fn column(column: &Place<'_>, faults: &mut Faults) {
    let (name, kind, format) = (column.at(&["name"]), column.at(&["type"]), column.at(&["format"]));
    if name.is_empty() {
        faults.push(name.required(""));
    }
    let types = format!("must be one of {}", COLUMN_TYPES.join(","));
    if kind.is_empty() {
        faults.push(kind.required(&types));
    } else if !COLUMN_TYPES.contains(&kind.text()) {
        faults.push(kind.invalid(&types));
    }
    if !format.is_empty() && !COLUMN_FORMATS.contains(&format.text()) {
        faults.push(format.invalid(&format!("must be one of {}", COLUMN_FORMATS.join(","))));
    }
    // Upstream names the field as its first version had it.
    let path = column.at_shown(&["jsonPath"], &["JSONPath"]);
    if path.is_empty() {
        faults.push(path.required(""));
    } else {
        json_path(&path, faults);
    }
}

/// Whether it is a path; if not, that is a fault.
fn json_path(path: &Place<'_>, faults: &mut Faults) -> bool {
    let is_path = path.text().starts_with('.');
    if !is_path {
        faults.push(path.invalid("must be a simple json path starting with ."));
    }
    is_path
}

/// Where an object keeps how many replicas it wants and has.
fn scale(scale: &Place<'_>, faults: &mut Faults) {
    if !scale.is_set() {
        return;
    }
    for (name, under) in [("specReplicasPath", ".spec"), ("statusReplicasPath", ".status")] {
        let path = scale.at(&[name]);
        if path.is_empty() {
            faults.push(path.required(""));
        } else if json_path(&path, faults) && !path.text().starts_with(&format!("{under}.")) {
            faults.push(path.invalid(&format!("should be a json path under {under}")));
        }
    }
    let selector = scale.at(&["labelSelectorPath"]);
    let is_under = [".spec.", ".status."].iter().any(|part| selector.text().starts_with(part));
    if !selector.is_empty() && json_path(&selector, faults) && !is_under {
        faults.push(selector.invalid("should be a json path under either .spec or .status"));
    }
}
