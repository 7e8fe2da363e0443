//! What conditions on the whole resource speak of is described outside of them.

use super::{given, list, named};
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};
use serde_json::Value;

/// A schema outside of conditions, and its path.
#[derive(Clone, Copy)]
struct Outside<'a> {
    schema: &'a Value,
    path: &'a Path<'a>,
}

pub(super) fn check(schema: &Value, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    of_value(schema, path, Outside { schema, path }, faults);
}

fn of_value(schema: &Value, path: &Path<'_>, outside: Outside<'_>, faults: &mut Told<FieldCause>) {
    if let Some(not) = given(schema, "not") {
        of_condition(not, &Path::Member(path, "not"), outside, faults);
    }
    for keyword in ["allOf", "anyOf", "oneOf"] {
        let below = Path::Member(path, keyword);
        for (at, condition) in list(schema, keyword).iter().enumerate() {
            of_condition(condition, &Path::Item(&below, at), outside, faults);
        }
    }
}

fn of_condition(condition: &Value, path: &Path<'_>, outside: Outside<'_>, faults: &mut Told<FieldCause>) {
    if faults.is_full() {
        return;
    }
    of_value(condition, path, outside, faults);
    let mut below =
        |condition: &Value, path: &Path<'_>, schema: Option<&Value>, outside: &Path<'_>| match schema
            .filter(|schema| schema.is_object())
        {
            Some(schema) => of_condition(condition, path, Outside { schema, path: outside }, faults),
            None => faults
                .push(|| field::required(outside.to_string(), &format!("because it is defined in {path}"))),
        };
    if let Some(items) = given(condition, "items") {
        let (there, here) = (Path::Member(outside.path, "items"), Path::Member(path, "items"));
        below(items, &here, outside.schema.get("items"), &there);
    }
    let (there, here) = (Path::Member(outside.path, "properties"), Path::Member(path, "properties"));
    for (name, property) in named(condition, "properties") {
        let known = outside.schema.get("properties").and_then(|all| all.get(name));
        below(property, &Path::Key(&here, name), known, &Path::Key(&there, name));
    }
}
