//! Who a caller is and what that allows.
//!
//! Owns: identities from client certificates, tokens and of components in this process, whom else to ask
//! ([`external`]), and the rules of access: those of components and nodes, which are fixed, and those that roles and
//! bindings say ([`rbac`]).
//! Does not own: certificates themselves (`pki`).
//!
//! Invariant: every request, from wherever, passes [`decide`] before anything is read or written.

mod authenticate;
mod authorize;
mod bootstrap_token;
mod decide;
pub(crate) mod external;
mod identity;
mod impersonate;
mod node;
pub(crate) mod rbac;
pub(crate) mod token;

pub(crate) use authenticate::{authenticate, verify_token};
pub(crate) use authorize::{Attributes, authorize, is_allowed};
pub(crate) use decide::{decide, decide_selected};
pub use external::{External, ExternalError, ExternalOptions};
pub use identity::Identity;
pub(crate) use impersonate::impersonated;
