//! Block devices by their nodes, for limits of block I/O.

use crate::DeviceRate;
use crate::error::EngineError;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Major and minor number of a device's node.
fn numbers(path: &Path) -> Result<(u32, u32), EngineError> {
    let found = std::fs::metadata(path).ok().filter(|found| found.file_type().is_block_device());
    let found = found.ok_or_else(|| EngineError::NoBlockDevice { path: path.to_owned() })?;
    Ok((rustix::fs::major(found.rdev()), rustix::fs::minor(found.rdev())))
}

/// A device's numbers and its rate.
type Resolved = ((u32, u32), u64);

/// The devices as they are now, with their rates.
pub(crate) fn resolved(rates: &[DeviceRate]) -> Result<Vec<Resolved>, EngineError> {
    rates.iter().map(|one| Ok((numbers(&one.path)?, one.rate))).collect()
}
