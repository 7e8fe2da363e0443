//! Files of the PKI: whole or not at all, secrets for the owner alone.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use super::PkiError;

pub(super) fn make_dir(dir: &Path) -> Result<(), PkiError> {
    let fault = |source| PkiError::Write { path: dir.display().to_string(), source };
    fs::create_dir_all(dir).map_err(fault)?;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700)).map_err(fault)
}

pub(super) fn read(path: &Path) -> Result<Option<String>, PkiError> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(PkiError::Read { path: path.display().to_string(), source }),
    }
}

/// Writes a file under another name and renames it, so that nobody ever reads half of it.
pub(super) fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    let fault = |source| PkiError::Write { path: path.display().to_string(), source };
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = Path::new(&name);
    let _ = fs::remove_file(new);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(new).map_err(fault)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fault)?;
    fs::rename(new, path).map_err(fault)
}
