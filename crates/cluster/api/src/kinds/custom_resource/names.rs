//! The names by which what is defined is known.

use super::{Faults, Place};
use hako_kube::{field, names};

/// Faults of the group and the names of a spec.
pub(super) fn validate(spec: &Place<'_>, faults: &mut Faults) {
    group(&spec.at(&["group"]), faults);
    let all = spec.at(&["names"]);
    for name in ["plural", "singular", "kind", "listKind"] {
        let place = all.at(&[name]);
        if place.is_empty() {
            faults.push(place.required(""));
            continue;
        }
        if matches!(name, "kind" | "listKind") {
            kind(&place, faults);
        } else {
            label(&place, place.text(), "", faults);
        }
    }
    further(&all, faults);
}

/// Faults of the names that may be missing.
fn further(all: &Place<'_>, faults: &mut Faults) {
    for list in ["shortNames", "categories"] {
        all.at(&[list]).items().for_each(|it| label(&it, it.text(), "", faults));
    }
    let (kind, list) = (all.at(&["kind"]), all.at(&["listKind"]));
    if !kind.is_empty() && kind.text() == list.text() {
        faults.push(list.invalid("kind and listKind may not be the same"));
    }
}

fn group(group: &Place<'_>, faults: &mut Faults) {
    let found = names::dns_subdomain(group.text());
    if group.is_empty() {
        faults.push(group.required(""));
    } else if !found.is_empty() {
        faults.push(group.invalid(&found.join(",")));
    } else if !group.text().contains('.') {
        faults.push(group.invalid("should be a domain with at least one dot"));
    }
}

fn kind(kind: &Place<'_>, faults: &mut Faults) {
    let lower = kind.text().to_lowercase();
    label(kind, &lower, "may have mixed case, but should otherwise match: ", faults);
}

/// What a name has to be, all faults in one.
pub(super) fn label(place: &Place<'_>, text: &str, before: &str, faults: &mut Faults) {
    let found = names::dns_1035_label(text);
    if !found.is_empty() {
        let detail = format!("{before}{}", found.join(","));
        faults.push(field::invalid(place.path(), place.text(), &detail));
    }
}
