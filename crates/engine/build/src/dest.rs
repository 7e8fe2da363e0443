//! The file that a result is written to: one rule for all results, of builds and of other commands.

use crate::error::BuildError;
use hako_error::Result;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::Errno;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// The mode of files that are for everybody, before the umask.
pub const FOR_ALL: u32 = 0o666;
/// As many symlinks as the kernel follows.
const MAX_LINKS: usize = 40;

/// A file that appears under its name when it is whole, and of which nothing is left if it never is. A pipe or a
/// device in its place is written to. What a symlink leads to is replaced, and not the link.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    place: PathBuf,
    /// What it is called until it is whole; `None` for pipes and devices.
    part: Option<PathBuf>,
}

impl NewFile {
    /// Opens the file that `dest` names, with that mode if it is a new one.
    ///
    /// # Errors
    /// A place that is a directory or a socket, a pipe that nobody reads, and what the system says.
    pub fn create(dest: &Path, mode: u32) -> io::Result<Self> {
        match fs::metadata(dest).map(|metadata| metadata.file_type()) {
            Ok(kind) if kind.is_fifo() || kind.is_char_device() || kind.is_block_device() => {
                Ok(Self { file: open(dest)?, place: dest.to_owned(), part: None })
            }
            Ok(kind) if kind.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
            Ok(kind) if kind.is_socket() => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "it is a socket"))
            }
            _ => Self::beside(behind_links(dest)?, mode),
        }
    }

    fn beside(place: PathBuf, mode: u32) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let mut name = place.file_name().ok_or(io::ErrorKind::IsADirectory)?.to_owned();
        name.push(format!(".{}-{}.part", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let part = place.with_file_name(name);
        let file = File::options().create_new(true).read(true).write(true).mode(mode).open(&part)?;
        Ok(Self { file, place, part: Some(part) })
    }

    /// Where to write.
    #[must_use]
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether what is written goes out at once, to a pipe or a device.
    #[must_use]
    pub fn is_stream(&self) -> bool {
        self.part.is_none()
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// What the system says; then nothing of it is left.
    pub fn finish(mut self) -> io::Result<()> {
        let Some(part) = self.part.take() else { return Ok(()) };
        fs::rename(&part, &self.place).inspect_err(|_| {
            let _ = fs::remove_file(&part);
        })
    }

    /// The same, for what a power cut must not take back.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish_durably(self) -> io::Result<()> {
        if self.is_stream() {
            return Ok(());
        }
        self.file.sync_all()?;
        let parent = self.place.parent().filter(|parent| !parent.as_os_str().is_empty());
        let parent = File::open(parent.unwrap_or(Path::new(".")))?;
        self.finish()?;
        parent.sync_all()
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if let Some(part) = &self.part {
            let _ = fs::remove_file(part);
        }
    }
}

/// Writes a result of a build.
pub(crate) fn write(dest: &Path, write: impl FnOnce(&File) -> Result<()>) -> Result<()> {
    let new = NewFile::create(dest, FOR_ALL).map_err(BuildError::io("write to", dest))?;
    write(new.file())?;
    new.finish().map_err(BuildError::io("write", dest))?;
    Ok(())
}

/// A pipe that nobody reads is an error, not something to wait for: its reader may have been killed.
fn open(dest: &Path) -> io::Result<File> {
    let nonblock = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or(0);
    let file = OpenOptions::new().write(true).custom_flags(nonblock).open(dest);
    let file = file.map_err(|error| match Errno::from_io_error(&error) {
        Some(Errno::NXIO) => {
            io::Error::new(io::ErrorKind::NotConnected, "nobody reads it: start its reader first")
        }
        _ => error,
    })?;
    fcntl_getfl(&file).and_then(|flags| fcntl_setfl(&file, flags - OFlags::NONBLOCK))?;
    Ok(file)
}

/// The name that symlinks lead to, also where nothing has it yet.
fn behind_links(dest: &Path) -> io::Result<PathBuf> {
    let mut place = dest.to_owned();
    for _ in 0..MAX_LINKS {
        let Ok(link) = fs::read_link(&place) else { return Ok(place) };
        place = place.parent().unwrap_or(Path::new("")).join(link);
    }
    Err(Errno::LOOP.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
    use std::io::{Read, Write};
    use std::os::unix::fs::{PermissionsExt, symlink};

    fn put(dest: &Path, text: &str) -> io::Result<()> {
        let new = NewFile::create(dest, 0o600)?;
        new.file().write_all(text.as_bytes())?;
        new.finish_durably()
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn a_file_appears_when_it_is_whole_and_leaves_nothing_if_it_never_is() {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("f");
        fs::write(&dest, "old").unwrap();
        let new = NewFile::create(&dest, 0o600).unwrap();
        new.file().write_all(b"half").unwrap();
        assert_eq!(fs::read_to_string(&dest).unwrap(), "old");
        drop(new);
        assert_eq!(names(dir.path()), ["f"]);
        put(&dest, "new").unwrap();
        assert_eq!(fs::read_to_string(&dest).unwrap(), "new");
        assert_eq!(fs::metadata(&dest).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(put(dir.path(), "x").is_err());
        assert_eq!(names(dir.path()), ["f"]);
    }

    #[test]
    fn pipes_and_devices_are_written_to_and_stay() {
        let dir = tempfile::tempdir().unwrap();
        let (pipe, null) = (dir.path().join("pipe"), dir.path().join("null"));
        mknodat(CWD, &pipe, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        mknodat(CWD, &null, FileType::CharacterDevice, Mode::RUSR | Mode::WUSR, makedev(1, 3)).unwrap();
        symlink("null", dir.path().join("link")).unwrap();
        assert!(put(&pipe, "x").unwrap_err().to_string().contains("nobody reads it"));
        let reader = std::thread::spawn({
            let pipe = pipe.clone();
            move || {
                let mut text = String::new();
                File::open(pipe).unwrap().read_to_string(&mut text).unwrap();
                text
            }
        });
        // The reader is there when it says so by its open.
        while let Err(error) = put(&pipe, "through") {
            assert_eq!(error.kind(), io::ErrorKind::NotConnected, "{error}");
            std::thread::yield_now();
        }
        assert_eq!(reader.join().unwrap(), "through");
        put(&null, "away").unwrap();
        put(&dir.path().join("link"), "away").unwrap();
        assert!(fs::symlink_metadata(&pipe).unwrap().file_type().is_fifo());
        assert!(fs::symlink_metadata(&null).unwrap().file_type().is_char_device());
        assert_eq!(names(dir.path()), ["link", "null", "pipe"]);
    }

    #[test]
    fn a_symlink_stays_and_what_it_leads_to_is_written() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::create_dir(at("sub")).unwrap();
        fs::write(at("sub/real"), "old").unwrap();
        symlink("sub/step", at("one")).unwrap();
        symlink("real", at("sub/step")).unwrap();
        symlink(at("sub/fresh"), at("dangling")).unwrap();
        symlink("loop", at("loop")).unwrap();
        put(&at("one"), "new").unwrap();
        put(&at("dangling"), "made").unwrap();
        assert_eq!(put(&at("loop"), "x").unwrap_err().raw_os_error(), Some(Errno::LOOP.raw_os_error()));
        assert_eq!(fs::read_to_string(at("sub/real")).unwrap(), "new");
        assert_eq!(fs::read_to_string(at("sub/fresh")).unwrap(), "made");
        assert_eq!(fs::read_link(at("one")).unwrap(), Path::new("sub/step"));
        assert_eq!(names(&at("sub")), ["fresh", "real", "step"]);
    }
}
