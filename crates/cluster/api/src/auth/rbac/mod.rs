//! Role-based access: what roles grant to whom, as objects of `rbac.authorization.k8s.io` say.
//!
//! Owns: the index of all roles and bindings, kept from the store's events, and the questions asked of it.
//! Does not own: the objects (`kinds::rbac`), the order in which authorizers are asked (`authorize`).
//!
//! Invariant: the index is what the store said at some revision, all of it; it only ever moves forward.

mod cover;
mod defaults;
mod index;
mod keep;
mod rule;

pub(crate) use cover::uncovered;
pub(crate) use defaults::bootstrap;
pub(crate) use index::Index;
pub(crate) use keep::Roles;
pub(crate) use rule::Rule;

use super::{Attributes, Identity};

impl Index {
    /// Whether any role allows it.
    pub(crate) fn allows(&self, identity: &Identity, wanted: Attributes<'_>) -> bool {
        let namespace = match wanted {
            Attributes::Resource { namespace, .. } => namespace,
            Attributes::Path { .. } => "",
        };
        self.rules(identity, namespace).any(|rule| rule.allows(wanted))
    }
}
