//! Names and quantities that many crates exchange, each parsed once and valid ever after.
//!
//! Owns: [`Digest`], [`ImageRef`], [`ContainerId`], [`Quantity`], and how names stand in URLs ([`percent`]). Does not own: what the names point to.
//! Invariant: a value of these types is well-formed; there is no way to make one that is not.

mod container_id;
mod digest;
mod image_ref;
pub mod percent;
mod quantity;

pub use container_id::{ContainerId, ParseContainerIdError};
pub use digest::{Digest, Hasher, ParseDigestError};
pub use image_ref::{ImageRef, ParseImageRefError};
pub use quantity::{ParseQuantityError, Quantity};
