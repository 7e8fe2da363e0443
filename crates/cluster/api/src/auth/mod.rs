//! Who a caller is and what that allows.
//!
//! Owns: identities from client certificates and of components in this process, and the rules of access.
//! Does not own: certificates themselves (`pki`).
//!
//! Invariant: every request, from wherever, passes [`authorize`] before anything is read or written.

mod authorize;
mod identity;

pub(crate) use authorize::{Attributes, authorize};
pub use identity::Identity;
