//! The sample manifests, which the suite sends with kubectl: each is sound, and stays so.

use super::*;
use crate::schema::{FieldValidation, admit, decode};
use std::path::{Path, PathBuf};

pub(super) fn samples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/suite/samples")
}

/// The sample of a kind, as it is sent.
pub(super) fn sample(kind: &str) -> Value {
    let row = row(kind);
    let group = if row.group.is_empty() { "core" } else { row.group };
    let file = format!("{}.{group}.yaml", row.plural);
    let text = std::fs::read(samples().join(file)).unwrap();
    let mut object = decode::yaml(&text).unwrap().value;
    if row.is_namespaced() {
        object["metadata"]["namespace"] = "n".into();
    }
    object
}

/// The sample of a kind with changes: a path of names and indices, and what is there then; null removes it.
pub(super) fn changed(kind: &str, changes: &[(&str, Value)]) -> Value {
    let mut object = sample(kind);
    for (path, value) in changes {
        change(&mut object, path, value.clone());
    }
    object
}

/// Sets what is at a path such as `spec.rules.0.host`; null removes it.
pub(super) fn change(object: &mut Value, path: &str, value: Value) {
    let names: Vec<&str> = path.split('.').collect();
    let (last, inner) = names.split_last().unwrap();
    let mut place = object;
    for name in inner {
        place = match name.parse::<usize>() {
            Ok(at) => &mut place[at],
            Err(_) => &mut place[*name],
        };
    }
    match (last.parse::<usize>(), value) {
        (Ok(at), value) => place[at] = value,
        (Err(_), Value::Null) => drop(place.as_object_mut().unwrap().remove(*last)),
        (Err(_), value) => place[*last] = value,
    }
}

/// Each change of the sample of a kind is refused with the line named.
pub(super) fn refused<const N: usize>(kind: &str, cases: [(&str, Value, &str); N]) {
    for (path, value, expected) in cases {
        let found = faults(kind, changed(kind, &[(path, value)]));
        assert!(found.iter().any(|fault| fault == expected), "{expected}\nnot in {found:#?}");
    }
}

#[test]
fn every_sample_is_sound_and_stays_what_it_is() {
    for entry in std::fs::read_dir(samples()).unwrap() {
        let path = entry.unwrap().path();
        let mut decoded = decode::yaml(&std::fs::read(&path).unwrap()).unwrap();
        let api = decoded.value["apiVersion"].as_str().unwrap().to_owned();
        let (group, version) = api.split_once('/').unwrap_or(("", &api));
        let kind = decoded.value["kind"].as_str().unwrap().to_owned();
        let row = by_kind(group, version, &kind).unwrap_or_else(|| panic!("{}", path.display()));
        if row.is_namespaced() {
            decoded.value["metadata"]["namespace"] = "n".into();
        }
        decoded.value["metadata"]["uid"] = "11111111-2222-3333-4444-555555555555".into();
        let mut once = admit(row, decoded, FieldValidation::Strict).unwrap().object;
        row.default(&mut once);
        row.strategy().prepare_create(&mut once);
        row.default(&mut once);
        let mut twice = once.clone();
        row.default(&mut twice);
        assert_eq!(once, twice, "{kind}");
        row.strategy().prepare_update(&mut twice, &once);
        assert_eq!(once, twice, "{kind}");
        assert_eq!(row.check_create(&once), [], "{kind}");
        assert_eq!(row.check_update(&once, &once), [], "{kind}");
        assert_eq!(row.cells(&once, jiff::Timestamp::UNIX_EPOCH).len(), row.columns.len(), "{kind}");
        let selectable = row.strategy().selectable(&once);
        let fields: Vec<&str> = selectable.iter().map(|(name, _)| *name).collect();
        assert_eq!(fields, row.selectable_fields, "{kind}");
    }
}
