//! zstd:chunked: layers whose parts can be fetched one by one, and that any zstd reader takes as a whole.
//!
//! Owns: writing such a layer, its table of contents, and telling which bytes of a new layer are in blobs that
//! are here ([`plan`]). Does not own: fetching ([`crate::transfer`]).
//!
//! ```text
//! | frame: headers | frame: chunk | frame: headers | ... | skippable: table | skippable: footer |
//! ```
//! The format is that of containers/storage: the table's place and digest are annotations of the layer's
//! descriptor. A file's content is cut where its bytes say so, so that an insertion moves no later cut.
//!
//! Invariant: nobody trusts a table. Parts are put together to the blob that the manifest names, and its digest
//! decides; a table that lies costs a second download.

mod plan;
mod runs;
mod table;
mod write;

pub(crate) use plan::{Index, Part, plan};
pub(crate) use table::{Position, Table};
pub use write::Listed;
pub(crate) use write::write;
