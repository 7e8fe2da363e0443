//! An overlay's upper directory as a layer.

use hako_error::{Error, Kind, Result};
use std::io::Write;
use std::path::Path;

/// How a layer is made.
#[derive(Clone, Copy, Debug, Default)]
pub struct DiffOptions {
    /// Times after this one are set to it, in seconds since 1970: reproducible builds.
    pub newest_unix_s: Option<i64>,
}

/// Writes what the overlay directory `upper` changes as a deterministic tar.
pub fn diff(_upper: &Path, _options: &DiffOptions, _tar: impl Write) -> Result<()> {
    Err(Error::new(Kind::Unimplemented, "layers cannot be made yet"))
}
