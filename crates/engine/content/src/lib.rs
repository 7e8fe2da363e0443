//! Blobs by digest.
//!
//! Owns: the directory `blobs/sha256/<hex>` with every manifest, configuration and layer that builder, engine
//! and registry share, the ingests that are under way, and the leases that keep blobs from being collected.
//! Does not own: what the blobs mean, and which of them are still wanted.
//!
//! Invariant: a file under `blobs/` is complete, was synced, and its bytes hash to its name. It appears by one
//! rename and never changes afterwards.

mod error;
mod lease;
mod store;
mod writer;

pub use error::ContentError;
pub use lease::Lease;
pub use store::{Blob, ContentStore};
pub use writer::{Expected, Finished, Writer};
