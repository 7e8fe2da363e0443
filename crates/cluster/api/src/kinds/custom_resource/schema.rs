//! The schemas of the versions.

use super::versions::shared;
use super::{Faults, Place};
use crate::aside::aside;
use crate::kinds::value::{items, text};
use hako_structural::{Patterns, check_schema};
use serde_json::Value;
use std::collections::HashMap;

/// All faults of the schemas of a new definition.
pub(super) fn validate(object: &Value) -> Faults {
    faults_of(object, |_| true)
}

/// The same of the schemas that a change touches: what of others was let pass is not asked again, least of all the
/// price of hundreds of rules whenever a status is written.
pub(super) fn validate_update(new: &Value, old: &Value) -> Faults {
    // Of a name that is there twice, the first counts.
    let versions = items(old, &["spec", "versions"]).iter().rev();
    let before: HashMap<&str, &Value> = versions.map(|it| (text(it, &["name"]), it)).collect();
    faults_of(new, |version| {
        let schema = |version: &Value| version.pointer("/schema/openAPIV3Schema").cloned();
        before.get(text(version, &["name"])).is_none_or(|before| {
            schema(before) != schema(version) || has_status(before) != has_status(version)
        })
    })
}

fn has_status(version: &Value) -> bool {
    version.pointer("/subresources/status").is_some_and(|status| !status.is_null())
}

fn faults_of(object: &Value, is_asked: impl Fn(&Value) -> bool) -> Faults {
    let spec = Place::of(object).at(&["spec"]);
    let versions = items(object, &["spec", "versions"]);
    let parts = shared(&spec, "schema", "validation");
    let is_one = parts.len() < versions.len();
    let (mut faults, mut patterns) = (Faults::new(), Patterns::default());
    for (at, part) in parts.iter().enumerate() {
        let of_part = if is_one { versions } else { &versions[at..=at] };
        let root = part.at(&["openAPIV3Schema"]);
        if root.is_set() && of_part.iter().any(&is_asked) {
            let has_status = of_part.iter().any(has_status);
            let found = aside(|| check_schema(root.value, &root.path(), has_status, &mut patterns));
            faults.extend(found.err().unwrap_or_default());
        }
    }
    faults
}
