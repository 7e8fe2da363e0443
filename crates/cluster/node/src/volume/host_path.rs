//! Directories, files, sockets and devices of the node itself.

use super::VolumeError;
use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::Path;

/// Checks that `path` is what `kind` (the volume's `type`) says, making it where the type says so.
pub(crate) fn prepare(volume: &str, path: &Path, kind: &str) -> Result<(), VolumeError> {
    let failed =
        |source: io::Error| VolumeError::Io { volume: volume.to_owned(), path: path.to_owned(), source };
    match kind {
        "" => return Ok(()),
        "DirectoryOrCreate" if !path.exists() => return create_directory(path).map_err(failed),
        "FileOrCreate" if !path.exists() => return create_file(path).map_err(failed),
        _ => {}
    }
    let found = fs::metadata(path).map(|meta| meta.file_type());
    let is_right = match (&found, kind) {
        (Ok(found), "Directory" | "DirectoryOrCreate") => found.is_dir(),
        (Ok(found), "File" | "FileOrCreate") => found.is_file(),
        (Ok(found), "Socket") => found.is_socket(),
        (Ok(found), "CharDevice") => found.is_char_device(),
        (Ok(found), "BlockDevice") => found.is_block_device(),
        _ => false,
    };
    if is_right {
        return Ok(());
    }
    Err(VolumeError::HostPathType { path: path.to_owned(), expected: kind.to_owned() })
}

fn create_directory(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// The parent is not made: only the file itself, as the type promises.
fn create_file(path: &Path) -> io::Result<()> {
    fs::OpenOptions::new().write(true).create(true).truncate(false).open(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_accepts_its_own_and_makes_only_what_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        prepare("v", &path("made/deep"), "DirectoryOrCreate").unwrap();
        prepare("v", &path("made/deep"), "Directory").unwrap();
        prepare("v", &path("file"), "FileOrCreate").unwrap();
        prepare("v", &path("file"), "File").unwrap();
        prepare("v", &path("nothing"), "").unwrap();
        assert!(!path("nothing").exists());
        prepare("v", Path::new("/dev/null"), "CharDevice").unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        prepare("v", &path("socket"), "Socket").unwrap();
        for (name, kind) in [
            ("file", "Directory"),
            ("made", "File"),
            ("nothing", "Directory"),
            ("nothing", "File"),
            ("file", "Socket"),
            ("file", "BlockDevice"),
            ("made", "FileOrCreate"),
            ("file", "Nonsense"),
        ] {
            let error = prepare("v", &path(name), kind).unwrap_err();
            assert!(matches!(error, VolumeError::HostPathType { .. }), "{name} as {kind}");
        }
        assert!(prepare("v", &path("no/parent"), "FileOrCreate").is_err());
    }
}
