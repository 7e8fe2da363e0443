//! Reading and writing the small files of a hierarchy.

use std::fs;
use std::io;
use std::path::Path;

use crate::error::CgroupError;

/// The error of one file operation.
pub(crate) fn failed(action: impl Into<String>, path: &Path, source: io::Error) -> CgroupError {
    CgroupError::Io { action: action.into(), path: path.to_owned(), source }
}

/// Writes `value` in one write call: the kernel takes a file's value as one unit.
pub(crate) fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    let write =
        || io::Write::write_all(&mut fs::OpenOptions::new().write(true).open(path)?, value.as_bytes());
    write().map_err(|source| failed(format!("write {value:?} to"), path, source))
}

/// The file's text without the end of line; `None` when it does not exist.
pub(crate) fn read(path: &Path) -> Result<Option<String>, CgroupError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(error) if is_gone(&error) => Ok(None),
        Err(source) => Err(failed("read", path, source)),
    }
}

/// Whether the file, or the group it belongs to, is not there any more.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound
        || error.raw_os_error() == Some(rustix::io::Errno::NODEV.raw_os_error())
}

/// A single number; `max` and what is no number are `None`.
pub(crate) fn read_number(path: &Path) -> Result<Option<u64>, CgroupError> {
    Ok(read(path)?.and_then(|text| text.trim().parse().ok()))
}

/// The number behind `key` in a file of `key number` lines.
pub(crate) fn read_keyed(path: &Path, key: &str) -> Result<Option<u64>, CgroupError> {
    let text = read(path)?.unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' '));
    Ok(line.and_then(|number| number.trim().parse().ok()))
}
