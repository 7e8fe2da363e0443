//! The file that an output is written to.

use crate::error::BuildError;
use hako_error::Result;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

/// Writes a file that appears under its name when it is whole. A pipe or a device in its place is written to.
pub(crate) fn write(dest: &Path, write: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    match fs::metadata(dest).map(|metadata| metadata.file_type()) {
        Ok(kind) if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() => write(&open(dest)?),
        _ => whole(dest, write),
    }
}

/// A pipe that nobody reads is an error, not something to wait for: its reader may have been killed.
fn open(dest: &Path) -> Result<File, BuildError> {
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().write(true).custom_flags(nonblock).open(dest);
    let file = file.map_err(BuildError::io("write to", dest))?;
    fcntl_getfl(&file)
        .and_then(|flags| fcntl_setfl(&file, flags - OFlags::NONBLOCK))
        .map_err(|error| BuildError::io("write to", dest)(error.into()))?;
    Ok(file)
}

fn whole(dest: &Path, write: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    let mut name = dest.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part = dest.with_file_name(name);
    let file = File::create(&part).map_err(BuildError::io("create", &part))?;
    let written = write(&file).and_then(|()| {
        fs::rename(&part, dest).map_err(BuildError::io("write", dest))?;
        Ok(())
    });
    if written.is_err() {
        let _ = fs::remove_file(&part);
    }
    written
}
