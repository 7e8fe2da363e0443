//! Checking a registry that does not run.

use crate::metadata::Metadata;
use hako_content::ContentStore;
use hako_error::Result;
use std::path::Path;

/// What a check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checked {
    /// Blobs that somebody has.
    pub blobs: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes without a record, which the next start removes.
    pub stray: usize,
    /// What is wrong.
    pub faults: Vec<String>,
}

/// Compares the records in `dir` with each other and with the bytes; `is_deep` hashes every blob. Of a registry whose
/// bytes are in a bucket only the records are checked.
pub fn check(dir: &Path, is_deep: bool) -> Result<Checked> {
    let counted = Metadata::open(dir)?.verify()?;
    let mut checked = Checked { faults: counted.faults, ..Checked::default() };
    if !dir.join("content").exists() {
        // The bytes are in a bucket: only the records can be checked.
        return Ok(checked);
    }
    let content = ContentStore::open(dir.join("content"))?;
    for (digest, (size, is_linked)) in &counted.blobs {
        if !is_linked {
            continue;
        }
        checked.blobs += 1;
        checked.bytes += size;
        match content.size(*digest) {
            Ok(actual) if actual == *size => {}
            Ok(actual) => checked.faults.push(format!("{digest} has {actual} bytes, expected {size}")),
            Err(error) => checked.faults.push(format!("{digest}: {}", error.chain())),
        }
        if is_deep && let Err(error) = content.verify(*digest) {
            checked.faults.push(error.chain());
        }
    }
    checked.stray = content.list()?.iter().filter(|blob| !counted.blobs.contains_key(&blob.digest)).count();
    Ok(checked)
}
