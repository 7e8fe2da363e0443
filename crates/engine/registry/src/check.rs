//! Checking a registry that does not run.

use crate::blobs::S3Blobs;
use crate::config::S3Config;
use crate::metadata::Metadata;
use hako_content::ContentStore;
use hako_error::Result;
use hako_names::Digest;
use std::collections::BTreeMap;
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
    /// Whether the bytes are in a bucket that was not named, so that only the records were looked at.
    pub is_blind: bool,
    /// What is wrong.
    pub faults: Vec<String>,
}

/// Compares the records in `dir` with each other and with the bytes in the bucket; `is_deep` reads and hashes every blob.
pub async fn check_bucket(dir: &Path, bucket: &S3Config, is_deep: bool) -> Result<Checked> {
    let counted = Metadata::open(dir)?.verify()?;
    let mut checked = Checked { faults: counted.faults, ..Checked::default() };
    let blobs = S3Blobs::open(bucket, None)?;
    let mut stored: BTreeMap<Digest, u64> = blobs.sizes().await?;
    for (digest, (size, is_linked)) in &counted.blobs {
        let actual = stored.remove(digest);
        if !is_linked {
            continue;
        }
        checked.blobs += 1;
        checked.bytes += size;
        match actual {
            None => checked.faults.push(format!("{digest} is not in the bucket")),
            Some(actual) if actual != *size => {
                checked.faults.push(format!("{digest} has {actual} bytes, expected {size}"));
            }
            Some(_) if is_deep => {
                if let Err(error) = blobs.verify(*digest).await {
                    checked.faults.push(error.chain());
                }
            }
            Some(_) => {}
        }
    }
    checked.stray = stored.len();
    Ok(checked)
}

/// Compares the records in `dir` with each other and with the bytes there; `is_deep` hashes every blob. Of a registry whose
/// bytes are in a bucket only the records are checked.
pub fn check(dir: &Path, is_deep: bool) -> Result<Checked> {
    let counted = Metadata::open(dir)?.verify()?;
    let mut checked = Checked { faults: counted.faults, ..Checked::default() };
    if !dir.join("content").exists() {
        let linked = counted.blobs.values().filter(|(_, is_linked)| *is_linked);
        (checked.blobs, checked.bytes) =
            linked.fold((0, 0), |(blobs, bytes), (size, _)| (blobs + 1, bytes + size));
        checked.is_blind = true;
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
