//! Small texts that the builder reads itself: the Dockerfile and .dockerignore.
//!
//! Invariant: what stands under such a name was chosen by who made the context. Only regular files are opened, so
//! that no pipe is waited for and no device touched, and no more is read than [`LONGEST`], whatever a size says.

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

/// Longer texts are refused.
const LONGEST: u64 = 4 << 20;

/// Why a file is no text for a build.
#[derive(Debug, thiserror::Error)]
enum Unfit {
    #[error("it is {0} and no regular file")]
    Kind(&'static str),
    #[error("it is larger than 4 MiB")]
    Length,
}

/// Reads a file of `root`, with symlinks taken as if that were the root of everything, as COPY takes them.
pub(crate) fn inside(root: &Path, name: &Path) -> io::Result<String> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    read(&hako_sys::open_resolved(File::open(root)?, name, OFlags::PATH, resolve)?)
}

/// Reads a file that the one who builds named himself; links are followed wherever they lead.
pub(crate) fn anywhere(path: &Path) -> io::Result<String> {
    read(&openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

/// Bytes that are no text become U+FFFD, so that what they stand in is named with its line.
fn read(place: &OwnedFd) -> io::Result<String> {
    let kind = FileType::from_raw_mode(fstat(place)?.st_mode);
    if kind != FileType::RegularFile {
        return Err(unfit(Unfit::Kind(called(kind))));
    }
    let mut bytes = Vec::new();
    let file = File::open(format!("/proc/self/fd/{}", place.as_raw_fd()))?;
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(unfit(Unfit::Length));
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn unfit(why: Unfit) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, why)
}

fn called(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "something else",
    }
}
