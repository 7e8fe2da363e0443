//! The names of resources: what can be requested, limited and counted.

use super::check;
use hako_kube::{
    field::{self, Faults},
    names,
};
use hako_names::Quantity;
use std::fmt::Display;

const COUNTED: &[&str] = &[
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
    "services.nodeports",
    "services.loadbalancers",
];
const COMPUTED: &[&str] = &["cpu", "memory", "ephemeral-storage"];
const BOUNDED: &[&str] = &[
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
];

/// Whether it is memory in pages of a size.
pub(super) fn is_huge_pages(name: &str) -> bool {
    name.starts_with("hugepages-")
}

/// Whether the name is the platform's own.
pub(super) fn is_native(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether the name is somebody else's, and may be requested.
pub(super) fn is_extended(name: &str) -> bool {
    !is_native(name)
        && !name.starts_with("requests.")
        && names::qualified_name(&format!("requests.{name}")).is_empty()
}

/// Whether more of it may be promised than there is.
pub(super) fn may_overcommit(name: &str) -> bool {
    is_native(name) && !is_huge_pages(name)
}

/// Whether a quota knows the name without a domain before it.
pub(super) fn is_quota(name: &str) -> bool {
    let is_listed = [COUNTED, COMPUTED, BOUNDED].iter().any(|names| names.contains(&name));
    is_listed || is_huge_pages(name) || name.starts_with("requests.hugepages-")
}

fn is_standard(name: &str) -> bool {
    is_quota(name) || name == "storage"
}

/// Faults of any resource's name; whether there are none.
fn any(name: &str, path: impl Display + Copy, causes: &mut Faults) -> bool {
    let complaints = names::qualified_name(name);
    let is_sound = complaints.is_empty();
    check::syntax(complaints, name, path, causes);
    if is_sound && !name.contains('/') && !is_standard(name) {
        causes.push(field::invalid(
            path.to_string(),
            name,
            "must be a standard resource type or fully qualified",
        ));
    }
    is_sound
}

/// Faults of what anything may request.
pub(super) fn resource(name: &str, path: impl Display + Copy, causes: &mut Faults) {
    any(name, path, causes);
}

/// Faults of what a container may request.
pub(super) fn of_container(name: &str, path: impl Display + Copy, causes: &mut Faults) {
    any(name, path, causes);
    if !name.contains('/') {
        if !COMPUTED.contains(&name) && !is_huge_pages(name) {
            causes.push(field::invalid(path.to_string(), name, "must be a standard resource for containers"));
        }
    } else if !is_native(name) && !is_extended(name) {
        causes.push(field::invalid(path.to_string(), name, "doesn't follow extended resource name standard"));
    }
}

/// Faults of what a pod may request as a whole.
pub(super) fn of_pod(name: &str, path: impl Display + Copy, causes: &mut Faults) {
    let is_sound = any(name, path, causes);
    let is_known = name.contains('/') || is_standard(name);
    if is_sound && is_known && !matches!(name, "cpu" | "memory") && !is_huge_pages(name) {
        causes.push(field::not_supported(path.to_string(), name, &["cpu", "hugepages-", "memory"]));
    }
}

/// Faults of what a quota may count.
pub(super) fn of_quota(name: &str, path: impl Display + Copy, causes: &mut Faults) {
    any(name, path, causes);
    if !name.contains('/') && !is_quota(name) {
        causes.push(field::invalid(path.to_string(), name, "must be a standard resource for quota"));
    }
}

/// Faults of an amount of a resource.
pub(super) fn amount(name: &str, amount: Quantity, path: impl Display + Copy, causes: &mut Faults) {
    if amount.is_negative() {
        causes.push(field::invalid(path.to_string(), amount.to_string(), check::NOT_NEGATIVE));
    }
    let is_whole = COUNTED.contains(&name) || is_extended(name);
    if is_whole && amount.millis() % 1000 != 0 {
        causes.push(field::invalid(path.to_string(), amount.to_string(), "must be an integer"));
    }
}
