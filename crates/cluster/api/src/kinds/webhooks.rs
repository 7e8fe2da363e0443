//! Where a call goes outside this server: a service.

use super::place::{Faults, Place};
use hako_kube::names;

/// A service has a name and a namespace.
pub(super) fn service_name(service: &Place<'_>, faults: &mut Faults) {
    for part in ["name", "namespace"] {
        let part = service.at(&[part]);
        if part.is_empty() {
            faults.push(part.required(""));
        }
    }
}

/// The port of a service, already defaulted.
pub(super) fn service_port(port: &Place<'_>, faults: &mut Faults) {
    let found = names::port_number(port.number());
    if !found.is_empty() {
        faults.push(port.invalid_number(&format!("port is not valid: {}", found.join(", "))));
    }
}
