//! Files made from what the cluster knows: of ConfigMaps, secrets and the pod itself.

use super::super::place::{Faults, Place};
use super::env::{OF_FILES, field_ref, resource_ref};
use super::non_reserved_path;
use hako_kube::field;

const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// All faults of a volume made of the object that the member names.
pub(super) fn named(source: &Place<'_>, member: &str, faults: &mut Faults) {
    let name = source.at(&[member]);
    if name.is_empty() {
        faults.push(name.required(""));
    }
    mode(&source.at(&["defaultMode"]), faults);
    for item in source.at(&["items"]).items() {
        for member in ["key", "path"] {
            let place = item.at(&[member]);
            if place.is_empty() {
                faults.push(place.required(""));
            }
        }
        non_reserved_path(&item.at(&["path"]), faults);
        mode(&item.at(&["mode"]), faults);
    }
}

/// All faults of a volume about the pod itself.
pub(super) fn downward(source: &Place<'_>, faults: &mut Faults) {
    mode(&source.at(&["defaultMode"]), faults);
    for item in source.at(&["items"]).items() {
        // The original names the volume and not which of its items.
        self::item(&source.with(item.value), faults);
    }
}

fn item(item: &Place<'_>, faults: &mut Faults) {
    let path = item.at(&["path"]);
    if path.is_empty() {
        faults.push(path.required(""));
    }
    non_reserved_path(&path, faults);
    let (of_pod, of_container) = (item.at(&["fieldRef"]), item.at(&["resourceFieldRef"]));
    match (of_pod.is_set(), of_container.is_set()) {
        (true, both) => {
            field_ref(&of_pod, OF_FILES, faults);
            if both {
                let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
                faults.push(field::invalid(item.path(), "resource", detail));
            }
        }
        (false, true) => resource_ref(&of_container, true, faults),
        (false, false) => faults.push(item.required("one of fieldRef and resourceFieldRef is required")),
    }
    mode(&item.at(&["mode"]), faults);
}

/// The permissions of a file.
pub(super) fn mode(mode: &Place<'_>, faults: &mut Faults) {
    if mode.is_set() && !(0..=0o777).contains(&mode.number()) {
        faults.push(mode.invalid(MODE));
    }
}
