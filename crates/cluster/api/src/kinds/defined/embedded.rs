//! Resources within objects (`x-kubernetes-embedded-resource`): they have a type and metadata like any other.

use crate::kinds::meta;
use crate::schema;
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};
use hako_kube::{GroupVersion, field::Faults, names};
use hako_structural::Schema;
use serde_json::{Value, json};

/// Fits the metadata of all resources within a value to its type; answers the paths of unknown members, which are
/// dropped.
///
/// # Errors
/// What has the wrong type, in words.
pub(super) fn fit(value: &mut Value, schema: &Schema) -> Result<Vec<String>, String> {
    let mut unknown = Told::default();
    fit_below(value, schema, &Path::Root, &mut unknown)?;
    Ok(unknown.into_all())
}

fn fit_below(
    value: &mut Value,
    schema: &Schema,
    path: &Path<'_>,
    unknown: &mut Told<String>,
) -> Result<(), String> {
    match value {
        Value::Object(members) => {
            if let Some(metadata) = members.get_mut("metadata").filter(|_| schema.is_embedded) {
                let path = Path::Member(path, "metadata").to_string();
                let found = schema::fit_metadata(metadata, &path)?;
                found.into_iter().for_each(|path| unknown.push(|| path));
            }
            for (name, member) in members.iter_mut() {
                if let Some(schema) = schema.member(name) {
                    fit_below(member, schema, &Path::Member(path, name), unknown)?;
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return Ok(()) };
            for (at, item) in items.iter_mut().enumerate() {
                fit_below(item, schema, &Path::Item(path, at), unknown)?;
            }
        }
        _ => {}
    }
    Ok(())
}

/// What is wrong with the types and the metadata of all resources within a value.
pub(super) fn faults(value: &Value, schema: &Schema) -> Faults {
    let mut faults = Told::default();
    faults_below(value, schema, &Path::Root, &mut faults);
    faults.into_all().into_iter().collect()
}

fn faults_below(value: &Value, schema: &Schema, path: &Path<'_>, faults: &mut Told<FieldCause>) {
    match value {
        Value::Object(members) => {
            if schema.is_embedded {
                faults.extend(resource(value, &path.to_string()));
            }
            for (name, member) in members {
                if let Some(schema) = schema.member(name) {
                    faults_below(member, schema, &Path::Member(path, name), faults);
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &schema.items else { return };
            for (at, item) in items.iter().enumerate() {
                faults_below(item, schema, &Path::Item(path, at), faults);
            }
        }
        _ => {}
    }
}

fn resource(value: &Value, path: &str) -> Faults {
    let mut faults = Faults::new();
    let is_version = |text: &str| match GroupVersion::parse(text) {
        Some(_) => Vec::new(),
        None => vec![format!("unexpected GroupVersion string: {text}")],
    };
    let is_kind = |text: &str| match names::dns_1035_label(&text.to_lowercase()) {
        found if found.is_empty() => found,
        found => vec![format!("may have mixed case, but should otherwise match: {}", found.join(","))],
    };
    for (name, found) in [
        ("apiVersion", value.get("apiVersion").and_then(Value::as_str).map(is_version)),
        ("kind", value.get("kind").and_then(Value::as_str).map(is_kind)),
    ] {
        let (place, given) = (field::child(path, name), value.get(name));
        match (given, found) {
            (None, _) => faults.push(field::required(place, "must not be empty")),
            (Some(given), None) => faults.push(field::invalid(place, given.clone(), "must be a string")),
            (Some(given), _) if given == "" => faults.push(field::invalid(place, "", "must not be empty")),
            (Some(given), Some(found)) => {
                faults.extend(found.iter().map(|fault| field::invalid(&place, given.clone(), fault)));
            }
        }
    }
    let Some(metadata) = value.get("metadata") else { return faults };
    let mut probe = json!({"metadata": metadata});
    if probe["metadata"]["name"].as_str().unwrap_or("").is_empty() {
        probe["metadata"]["name"] = "fakename".into();
    }
    let is_namespaced = metadata.get("namespace").is_some_and(|namespace| namespace != "");
    let rules = meta::Rules { is_namespaced, name_faults: path_segment, are_finalizers_qualified: false };
    for mut fault in meta::validate(&probe, rules) {
        fault.field = field::child(path, &fault.field);
        faults.push(fault);
    }
    faults
}

/// Whatever can be part of a path is a name here.
fn path_segment(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    let found = ['/', '%'].into_iter().filter(|char| name.contains(*char));
    found.map(|char| format!("may not contain '{char}'")).collect()
}
