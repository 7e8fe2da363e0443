//! Images to and from registries.
//!
//! Owns: which manifest of an index is meant, what has to be moved and what is here already, and the path of a
//! layer's bytes from the network into the content store and its snapshot at the same time.
//! Does not own: the calls ([`crate::remote`]), applying a tar ([`crate::layer`]).
//!
//! ```text
//!               +-> hash, write ---------------> blob          (one pass, nothing is read back)
//! network ------+
//!               +-> decompress --+-> hash diff id
//!                                +-> apply ----> directory of its own, stacked when all below are there
//! ```
//!
//! Invariant: a name points to an image only after every blob of it was verified and stored. A transfer that
//! fails leaves no snapshot, and of the bytes only what a later attempt can continue.

mod artifact;
mod chunks;
pub(crate) mod document;
mod fetch;
mod made;
pub(crate) mod pipe;
mod places;
mod platform;
mod progress;
mod pull;
mod push;

pub use artifact::{Parcel, Repository, push_documents};
pub use document::{Descriptor, Document, Manifest, parse as parse_document};
pub use platform::Platform;
pub use progress::{Event, LayerState, Progress, Stop, StopOnDrop, Stoppable};
pub(crate) use pull::layers_of;
pub use pull::{PullOptions, Pulled, pull};
pub use push::{PushOptions, Pushed, push};
