//! Images as files: the archives of `docker save`, old and new, and OCI image layouts.
//!
//! Owns: reading them in one pass from a stream ([`ImageStore::load`]) or from a directory, and writing them.
//! Does not own: root file systems without an image around them ([`ImageStore::import_rootfs`]).
//!
//! ```text
//! modern docker archive = OCI layout:            legacy docker archive:
//!   oci-layout, index.json                         manifest.json, repositories
//!   blobs/sha256/<hex>                             <id>.json
//!   manifest.json (names, for older readers)       <id>/{VERSION,json,layer.tar}
//! ```
//!
//! Invariant: nothing of an archive decides where a file is written: its names are only looked up.
//!
//! [`ImageStore::load`]: crate::ImageStore::load
//! [`ImageStore::import_rootfs`]: crate::ImageStore::import_rootfs

mod intake;
mod load;
mod resolve;
mod save;

pub use resolve::LayoutImage;
pub use save::{SaveFormat, SaveOptions};
