//! The mark at the end of stored objects: by it is told without decoding whether an object is as the definition wants
//! it now. What a definition that has changed since, or another server, has left is not, and is put right when it is
//! read.
//!
//! The mark is white space, which no reader of JSON minds.

use std::hash::{DefaultHasher, Hash, Hasher as _};

/// A bit a byte.
pub(crate) const MARK_BYTES: usize = 32;

/// What stands for some content.
pub(super) fn mark(content: impl Hash) -> [u8; MARK_BYTES] {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let hash = hasher.finish();
    let mut mark = [b' '; MARK_BYTES];
    for (bit, byte) in mark.iter_mut().enumerate() {
        if hash >> bit & 1 == 1 {
            *byte = b'\t';
        }
    }
    mark
}
