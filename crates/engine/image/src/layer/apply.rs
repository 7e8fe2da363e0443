//! A layer's tar onto a directory.

use hako_error::{Error, Kind, Result};
use std::fs::File;
use std::io::Read;

/// Bounds against layers that unpack to more than anybody meant.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
}

impl Limits {
    /// What a layer stored in `size` bytes may unpack to: 200 times as much, and 1 GiB in any case.
    #[must_use]
    pub fn for_blob(size: u64) -> Self {
        Self {
            bytes: size.saturating_mul(200).max(1 << 30),
            entries: 5_000_000,
        }
    }
}

/// What applying a layer did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Bytes of all files together.
    pub bytes: u64,
    /// Entries.
    pub entries: u64,
}

/// Applies a plain tar to the directory `root`; `what` names the layer in errors.
pub fn apply(_root: &File, _tar: impl Read, _what: &str, _limits: Limits) -> Result<Applied> {
    Err(Error::new(Kind::Unimplemented, "layers cannot be applied yet"))
}
