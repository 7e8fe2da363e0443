//! `rbac.authorization.k8s.io`: roles and bindings.

mod binding;
mod role;

pub(super) use binding::{CLUSTER_ROLE_BINDING, ROLE_BINDING};
pub(super) use role::{CLUSTER_ROLE, ROLE};

/// The group of these kinds.
pub(super) const GROUP: &str = "rbac.authorization.k8s.io";

/// What is wrong with a name: it only has to be one segment of a path.
fn name_faults(name: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if name == "." || name == ".." {
        faults.push(format!("may not be '{name}'"));
    }
    for letter in ['/', '%'] {
        if name.contains(letter) {
            faults.push(format!("may not contain '{letter}'"));
        }
    }
    faults
}
