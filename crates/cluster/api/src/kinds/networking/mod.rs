//! The kinds of `networking.k8s.io`.

mod ingress;
mod ingress_class;
mod ip_address;
mod network_policy;
mod service_cidr;

pub(super) use ingress::ROW as INGRESS;
pub(super) use ingress_class::ROW as INGRESS_CLASS;
pub(super) use ip_address::ROW as IP_ADDRESS;
pub(super) use network_policy::ROW as NETWORK_POLICY;
pub(super) use service_cidr::ROW as SERVICE_CIDR;

use super::addresses;
use super::columns;
use super::meta;
use super::place::{self, Faults, Place};
use super::row::{KindRow, Scope, Subresource};
use hako_kube::names;

const GROUP: &str = "networking.k8s.io";

/// Faults of what a typed reference names: group, kind and name.
fn reference(reference: &Place<'_>, faults: &mut Faults) {
    let group = reference.at(&["apiGroup"]);
    if group.is_set() {
        group.check(names::dns_subdomain, faults);
    }
    for name in ["kind", "name"] {
        let part = reference.at(&[name]);
        if part.is_empty() {
            faults.push(part.required(&format!("{name} is required")));
        }
        part.check_given(place::path_segment, faults);
    }
}
