//! Layers as tar streams.
//!
//! Owns: applying a layer to a directory ([`apply`]) and making one from an overlay's upper directory
//! ([`diff`]), compressed or not. Does not own: where the bytes and directories are.
//!
//! Invariant: applying resolves every path inside the given root; no name, link or `..` in a tar reaches
//! outside of it.

mod apply;
mod compress;
mod diff;
mod error;
mod extract;
mod gzip;
mod inside;
mod permits;
mod quiet;
mod reader;
mod writer;

pub(crate) use apply::apply_merged;
pub use apply::{Alone, Applied, Limits, Placing, add_archive, apply, apply_alone, copy_into};
pub use compress::{Decoder, Encoder, Sniffed, sniff};
pub(crate) use compress::{HashingReader, Tee, compression_of};
pub use diff::{DiffOptions, diff};
pub use error::{ApplyError, DiffError};
pub use extract::{ExtractOptions, Owners, extract};
pub(crate) use inside::clean;
pub use inside::make_directories;
pub use permits::Permits;
pub use quiet::{open_file, xattrs};
pub(crate) use reader::TarReader;
pub use reader::{Entry, EntryKind, Sparse, Xattrs};
pub use writer::TarWriter;

#[cfg(test)]
mod tests;
