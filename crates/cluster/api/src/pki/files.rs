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

/// Writes a file under another name and renames it, so that nobody ever reads half of it. One that is so already stays:
/// that needs no room, and a platform starts also where its disk is full.
pub(super) fn write(path: &Path, text: &str, mode: u32) -> Result<(), PkiError> {
    if is_so(path, text, mode) {
        return Ok(());
    }
    let fault = |source| PkiError::Write { path: path.display().to_string(), source };
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = Path::new(&name);
    let _ = fs::remove_file(new);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(new).map_err(fault)?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    written.and_then(|()| fs::rename(new, path)).map_err(|source| {
        // Half a file is of no use.
        let _ = fs::remove_file(new);
        fault(source)
    })
}

fn is_so(path: &Path, text: &str, mode: u32) -> bool {
    let is_file = |found: fs::Metadata| found.is_file() && found.permissions().mode() & 0o7777 == mode;
    fs::symlink_metadata(path).is_ok_and(is_file)
        && fs::read(path).is_ok_and(|found| found == text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::MetadataExt as _;

    #[test]
    fn a_file_that_is_so_already_is_not_written_again() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("one");
        let inode = || fs::metadata(&path).unwrap().ino();
        write(&path, "text", 0o600).unwrap();
        let first = inode();
        // Its number is not given to another file while this link has it.
        fs::hard_link(&path, directory.path().join("link")).unwrap();
        write(&path, "text", 0o600).unwrap();
        assert_eq!(inode(), first);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        write(&path, "text", 0o600).unwrap();
        assert!(inode() != first && fs::metadata(&path).unwrap().mode() & 0o777 == 0o600);
        write(&path, "other", 0o600).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "other");
        // What cannot be written leaves nothing beside it.
        fs::create_dir_all(directory.path().join("full/x")).unwrap();
        write(&directory.path().join("full"), "text", 0o600).unwrap_err();
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }
}
