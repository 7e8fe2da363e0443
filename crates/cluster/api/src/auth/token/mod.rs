//! Tokens of service accounts: JSON Web Tokens (RFC 7519) signed with the platform's own key (ES256).
//!
//! Owns: what a token says, signing, and the judgement whether one is good: the account it names, and the pod, secret
//! or node it is bound to, have to be there still, and be the same.
//! Does not own: who may ask for one (`authorize`), the file of the key (`pki`).
//!
//! Invariant: a token is never logged, and never stored.

mod claims;
mod issue;
mod legacy;
mod seen;
mod verify;

pub(crate) use claims::Reference;
pub(crate) use issue::{Bound, Wanted, issue};
pub(crate) use seen::Seen;
pub(crate) use verify::{Verified, verify};

/// Who issues tokens, and for whom they are unless their request says otherwise.
pub(crate) const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
