//! `StorageVersionMigration`.

use super::samples::{changed, sample};
use super::*;
use crate::kinds::PartWrite;

const KIND: &str = "StorageVersionMigration";

fn condition(kind: &str) -> Value {
    json!({
        "type": kind, "status": "True", "reason": "Because", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    })
}

/// A migration that was begun, with these conditions.
fn begun(conditions: &[&str]) -> Value {
    let mut made = created(KIND, sample(KIND));
    let conditions: Vec<Value> = conditions.iter().map(|kind| condition(kind)).collect();
    made["status"] = json!({"resourceVersion": "7", "conditions": conditions});
    made
}

fn part_faults(old: &Value, new: &Value) -> Vec<String> {
    let part = PartWrite { name: "status", now: "2026-01-01T00:00:00Z" };
    row(KIND).check_part(new, old, &part).iter().map(hako_kube::field::line).collect()
}

#[test]
fn a_migration_names_a_resource_for_good() {
    let none = changed(KIND, &[("spec.resource.resource", json!(""))]);
    assert_eq!(faults(KIND, none), ["spec.resource.resource: Required value: resource is required"]);
    let made = created(KIND, sample(KIND));
    refused_change(
        KIND,
        &made,
        [
            (
                "/spec/resource/resource",
                json!("pods"),
                "resource: Invalid value: \"pods\": field is immutable",
            ),
            ("/spec/resource/group", json!("apps"), "group: Invalid value: \"apps\": field is immutable"),
        ],
    );
    assert_eq!(cells(KIND, &made)[..2], ["sample", "configmaps"]);
}

#[test]
fn a_migration_ends_once() {
    let running = begun(&["Running"]);
    for ended in ["Succeeded", "Failed"] {
        let new = begun(&[ended]);
        assert_eq!(part_faults(&running, &new), [""; 0]);
        assert!(part_faults(&new, &running)[0].contains("cannot be set to false once it is true"));
        assert!(
            part_faults(&running, &begun(&[ended, "Running"]))[0]
                .contains("Running condition cannot be true")
        );
    }
    let both = part_faults(&running, &begun(&["Succeeded", "Failed"]));
    assert!(
        both[0].ends_with("Both success and failed conditions cannot be true at the same time"),
        "{both:?}"
    );
    for (version, expected) in
        [("8", "cannot be updated"), ("-7", "must be greater than"), ("x", "invalid digit")]
    {
        let mut new = running.clone();
        new["status"]["resourceVersion"] = version.into();
        let found = part_faults(&running, &new);
        assert!(found.iter().any(|fault| fault.contains(expected)), "{found:?}");
    }
}
