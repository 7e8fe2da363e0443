//! The versions of what is defined: names, what is stored, schemas, columns, parts.

use super::{Faults, Place, names, schema};
use hako_kube::field;

const COLUMN_TYPES: &[&str] = &["boolean", "date", "integer", "number", "string"];
const COLUMN_FORMATS: &[&str] =
    &["byte", "date", "date-time", "double", "float", "int32", "int64", "password"];
const WARNING_MAX: usize = 256;

/// All faults of the versions.
pub(super) fn validate(all: &Place<'_>, faults: &mut Faults) {
    let versions = all.items();
    let mut seen: Vec<&str> = Vec::new();
    let mut is_unique = true;
    for version in &versions {
        let name = version.at(&["name"]);
        names::label(&name, name.text(), "", faults);
        is_unique &= !seen.contains(&name.text());
        seen.push(name.text());
        one(version, faults);
    }
    if !is_unique {
        faults.push(all.invalid("must contain unique version names"));
    }
    if versions.iter().filter(|version| version.at(&["storage"]).is_true()).count() != 1 {
        faults.push(all.invalid("must have exactly one version marked as storage version"));
    }
}

fn one(version: &Place<'_>, faults: &mut Faults) {
    let root = version.at(&["schema", "openAPIV3Schema"]);
    if root.is_set() {
        schema::validate(&root, faults);
    } else {
        faults.push(root.required("schemas are required"));
    }
    let (warning, is_deprecated) =
        (version.at(&["deprecationWarning"]), version.at(&["deprecated"]).is_true());
    if warning.is_set() && !is_deprecated {
        faults.push(warning.invalid("can only be set for deprecated versions"));
    }
    if warning.text().len() > WARNING_MAX {
        let detail = format!("must be less than or equal to {WARNING_MAX} bytes");
        faults.push(warning.invalid(&detail));
    }
    version.at(&["additionalPrinterColumns"]).items().iter().for_each(|it| column(it, faults));
    scale(&version.at(&["subresources", "scale"]), faults);
}

fn column(column: &Place<'_>, faults: &mut Faults) {
    let (name, kind, path) = (column.at(&["name"]), column.at(&["type"]), column.at(&["jsonPath"]));
    if name.is_empty() {
        faults.push(name.required(""));
    }
    if kind.is_empty() {
        faults.push(kind.required(&format!("must be one of {}", COLUMN_TYPES.join(","))));
    } else {
        kind.one_of(COLUMN_TYPES, faults);
    }
    if !column.at(&["format"]).is_empty() {
        column.at(&["format"]).one_of(COLUMN_FORMATS, faults);
    }
    if path.is_empty() {
        // Upstream names the field as its first version had it.
        faults.push(field::required(field::child(&column.path, "JSONPath"), ""));
    }
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
        } else if !path.text().starts_with(&format!("{under}.")) {
            faults.push(path.invalid(&format!("should be a json path under {under}")));
        }
    }
    let selector = scale.at(&["labelSelectorPath"]);
    let is_under = [".spec.", ".status."].iter().any(|part| selector.text().starts_with(part));
    if !selector.is_empty() && !is_under {
        faults.push(selector.invalid("should be a json path under either .spec or .status"));
    }
}
