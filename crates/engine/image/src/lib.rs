//! Images: names, manifests, configurations and layers.
//!
//! Owns: which name points to which manifest, how a layer's tar becomes a directory and a directory a layer's
//! tar, importing, committing, loading and saving images, the client's side of registries ([`remote`]) with pull
//! and push, and what may be collected.
//! Does not own: the bytes (hako-content), the directories (hako-snapshot), the registry's server.
//!
//! Invariant: a name points to a manifest whose configuration and layers are all in the content store. A layer
//! is applied at most once, into the snapshot that carries its chain id, and can never touch a file outside
//! that snapshot.
//!
//! Everything but [`remote`] and what stands on it is synchronous; callers on an async runtime use
//! `spawn_blocking`.

mod archive;
mod busybox;
mod chunked;
mod error;
mod form;
mod image;
pub mod layer;
pub mod remote;
mod store;
pub mod transfer;

pub use archive::{LayoutImage, SaveFormat, SaveOptions};
pub use busybox::busybox_rootfs;
pub use chunked::Listed;
pub use error::ImageError;
pub use form::LayerForm;
pub use image::{Image, Layer, chain_id};
pub use store::{
    Budget, Collected, ImageStore, NewImage, NewLayer, Pin, Relieved, Removed, Roots, Sibling, Spare,
};
