//! The receiver: a client's tree into an empty directory.
//!
//! Nothing that a client sends names a place outside: every path is looked up below the directory's descriptor,
//! and no link is followed on the way.

use super::mode::from_go;
use crate::build::CONTEXT_LIMITS;
use crate::buildkit::peer::refusal;
use crate::buildkit::wire::{Packet, PacketKind, Stat};
use bytes::Bytes;
use hako_error::{Error, Kind, Result};
use prost::Message as _;
use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, ResolveFlags, Timespec, Timestamps, UTIME_OMIT, XattrFlags,
};
use rustix::fs::{chmodat, fchmod, fsetxattr, futimens, linkat, makedev, mkdirat, mknodat, openat, openat2};
use rustix::fs::{statat, symlinkat, utimensat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tonic::Streaming;

/// Files that are being written at the same time; Go's sender has four.
const MOST_OPEN: usize = 64;
/// Longer paths no system call takes.
const LONGEST_PATH: usize = 4095;
/// Packets between the network and the disk.
const WAITING: usize = 64;
/// How long a client may say nothing; it may have to walk much that is excluded.
const SILENCE: Duration = Duration::from_secs(300);
/// Attributes that a copy keeps.
const ATTRIBUTES: [&str; 2] = ["user.", "security.capability"];

/// Takes the packets until everything has come; `seen` hears how many bytes of content there were.
pub(crate) async fn receive(
    mut packets: Streaming<Packet>,
    asks: mpsc::UnboundedSender<Packet>,
    dest: PathBuf,
    seen: impl Fn(u64) + Send + 'static,
    doing: &str,
) -> Result<()> {
    let (sender, mut inbox) = mpsc::channel::<Packet>(WAITING);
    let what = doing.to_owned();
    let writing = tokio::task::spawn_blocking(move || {
        let mut tree = Tree::open(&dest, what)?;
        while let Some(packet) = inbox.blocking_recv() {
            let is_data = packet.kind == PacketKind::Data as i32;
            for answer in tree.take(packet)? {
                // A client that is gone is seen at the other end.
                let _ = asks.send(answer);
            }
            if is_data {
                seen(tree.bytes);
            }
        }
        tree.finish()
    });
    let mut reading: Result<()> = Ok(());
    loop {
        match next(&mut packets, doing).await {
            Ok(Some(packet)) => {
                // A writer that has ended knows why.
                if sender.send(packet).await.is_err() {
                    break;
                }
            }
            Ok(None) => break,
            Err(error) => {
                reading = Err(error);
                break;
            }
        }
    }
    drop(sender);
    let written = writing
        .await
        .unwrap_or_else(|error| Err(Error::new(Kind::Internal, "a task ended early").with_source(error)));
    // Without the end of the stream the tree is not whole; what the client said about it tells more.
    reading.and(written)
}

/// Takes packets that are all here, each with its length before it, with nobody to ask.
pub(crate) fn received(mut packets: &[u8], dest: &Path) -> Result<()> {
    let mut tree = Tree::open(dest, "read files".to_owned())?;
    while let Some((length, rest)) = packets.split_first_chunk::<4>() {
        let length = u32::from_be_bytes(*length) as usize;
        let (packet, rest) = rest.split_at_checked(length).ok_or_else(|| tree.broken("half a packet"))?;
        let packet = Packet::decode(packet).map_err(|error| tree.broken("no packet").with_source(error))?;
        tree.take(packet)?;
        packets = rest;
    }
    tree.finish()
}

/// The other side's next packet; `None` at the end of the stream.
pub(super) async fn next(packets: &mut Streaming<Packet>, doing: &str) -> Result<Option<Packet>> {
    match tokio::time::timeout(SILENCE, packets.message()).await {
        Ok(Ok(packet)) => Ok(packet),
        Ok(Err(status)) => Err(refusal(doing, &status)),
        Err(_) => {
            let text = format!("{doing}: the client says nothing for {} s", SILENCE.as_secs());
            Err(Error::new(Kind::DeadlineExceeded, text))
        }
    }
}

/// A file whose content is still to come.
struct Wanted {
    path: PathBuf,
    stat: Stat,
    permissions: u32,
}

/// The tree as far as it has come.
struct Tree {
    root: OwnedFd,
    doing: String,
    /// The number of the next entry.
    next: u32,
    wanted: HashMap<u32, Wanted>,
    open: HashMap<u32, File>,
    /// Directories get their modes and times when nothing is made in them any more.
    directories: Vec<(PathBuf, u32, i64)>,
    bytes: u64,
    has_all_entries: bool,
    is_asked_for: bool,
    is_whole: bool,
}

impl Tree {
    fn open(dest: &Path, doing: String) -> Result<Self> {
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let root = openat(CWD, dest, flags, Mode::empty()).map_err(|source| {
            Error::new(Kind::Internal, format!("open {}", dest.display())).with_source(source)
        })?;
        Ok(Self {
            root,
            doing,
            next: 0,
            wanted: HashMap::new(),
            open: HashMap::new(),
            directories: Vec::new(),
            bytes: 0,
            has_all_entries: false,
            is_asked_for: false,
            is_whole: false,
        })
    }

    /// Takes a packet; returns what the sender has to hear for it.
    fn take(&mut self, packet: Packet) -> Result<Vec<Packet>> {
        let mut answers = Vec::new();
        match packet.kind() {
            PacketKind::Stat => match packet.stat {
                Some(stat) => answers.extend(self.entry(stat)?),
                None => self.has_all_entries = true,
            },
            PacketKind::Data => self.content(packet.id, &packet.data)?,
            PacketKind::Fin if self.is_asked_for => self.is_whole = true,
            PacketKind::Err => {
                let text = String::from_utf8_lossy(&packet.data).into_owned();
                return Err(Error::new(Kind::Unavailable, format!("{}: {text}", self.doing)));
            }
            PacketKind::Req | PacketKind::Fin => return Err(self.broken("a packet out of order")),
        }
        if self.has_all_entries && self.wanted.is_empty() && !self.is_asked_for {
            self.is_asked_for = true;
            answers.push(Packet { kind: PacketKind::Fin as i32, ..Packet::default() });
        }
        Ok(answers)
    }

    /// Makes an entry, or asks for its content.
    fn entry(&mut self, stat: Stat) -> Result<Option<Packet>> {
        let id = self.next;
        self.next = self.next.checked_add(1).ok_or_else(|| self.broken("too many entries"))?;
        if u64::from(self.next) > CONTEXT_LIMITS.entries {
            let text = format!("{}: more than {} entries", self.doing, CONTEXT_LIMITS.entries);
            return Err(Error::new(Kind::Exhausted, text));
        }
        let path = inside(&stat.path).ok_or_else(|| self.broken(&format!("the path {:?}", stat.path)))?;
        let (kind, permissions) =
            from_go(stat.mode).ok_or_else(|| self.broken(&format!("the mode {:#x}", stat.mode)))?;
        let is_link = !stat.link.is_empty();
        match kind {
            FileType::RegularFile if is_link && self.link(&path, &stat.link)? => {}
            FileType::RegularFile if !is_link && stat.size == 0 => {
                let file = self.create(&path)?;
                self.dress(&file, &path, &stat, permissions)?;
            }
            FileType::RegularFile => {
                // Its other names are linked to it before its content has come.
                self.create(&path)?;
                self.wanted.insert(id, Wanted { path, stat, permissions });
                return Ok(Some(Packet { kind: PacketKind::Req as i32, id, ..Packet::default() }));
            }
            FileType::Directory => {
                let (parent, name) = self.parent(&path)?;
                mkdirat(parent, name, Mode::RWXU).map_err(|source| self.failed(&path, source))?;
                self.directories.push((path, permissions, stat.modified_unix_ns));
            }
            FileType::Symlink => {
                let (parent, name) = self.parent(&path)?;
                symlinkat(&stat.link, &parent, name).map_err(|source| self.failed(&path, source))?;
                let times = modified(stat.modified_unix_ns);
                utimensat(&parent, name, &times, AtFlags::SYMLINK_NOFOLLOW)
                    .map_err(|source| self.failed(&path, source))?;
            }
            kind => self.special(&path, kind, permissions, &stat)?,
        }
        Ok(None)
    }

    /// Another name for a file that the sender named before. Whether there is one: what is kept out of the context is
    /// not here, and the content has to come by this name.
    fn link(&self, path: &Path, target: &str) -> Result<bool> {
        let target = inside(target).ok_or_else(|| self.broken(&format!("the link {target:?}")))?;
        let (parent, name) = self.parent(path)?;
        let found = self.look_up(&target).and_then(|(other, other_name)| {
            Ok((statat(&other, other_name, AtFlags::SYMLINK_NOFOLLOW)?, other, other_name))
        });
        let (found, other, other_name) = match found {
            Err(Errno::NOENT) => return Ok(false),
            found => found.map_err(|source| self.failed(&target, source))?,
        };
        if FileType::from_raw_mode(found.st_mode) != FileType::RegularFile {
            return Err(self.broken(&format!("the link {target:?} to what is no file")));
        }
        linkat(other, other_name, parent, name, AtFlags::empty())
            .map_err(|source| self.failed(path, source))?;
        Ok(true)
    }

    fn special(&self, path: &Path, kind: FileType, permissions: u32, stat: &Stat) -> Result<()> {
        let (parent, name) = self.parent(path)?;
        let number = |part: i64| u32::try_from(part).map_err(|_| self.broken("a device number"));
        let device = makedev(number(stat.major)?, number(stat.minor)?);
        mknodat(&parent, name, kind, Mode::from_raw_mode(permissions), device)
            .map_err(|source| self.failed(path, source))?;
        chmodat(&parent, name, Mode::from_raw_mode(permissions), AtFlags::empty())
            .map_err(|source| self.failed(path, source))
    }

    fn content(&mut self, id: u32, data: &Bytes) -> Result<()> {
        if !self.wanted.contains_key(&id) {
            return Err(self.broken(&format!("content of the entry {id}, which was not asked for")));
        }
        if !self.open.contains_key(&id) {
            if self.open.len() == MOST_OPEN {
                return Err(self.broken(&format!("more than {MOST_OPEN} files at the same time")));
            }
            let file = self.reopen(&self.wanted[&id].path)?;
            self.open.insert(id, file);
        }
        if data.is_empty() {
            return self.close(id);
        }
        self.bytes += data.len() as u64;
        if self.bytes > CONTEXT_LIMITS.bytes {
            let text = format!("{}: more than {} bytes", self.doing, CONTEXT_LIMITS.bytes);
            return Err(Error::new(Kind::Exhausted, text));
        }
        match self.open.get_mut(&id).map(|file| file.write_all(data)) {
            Some(Err(source)) => Err(self.failed(&self.wanted[&id].path, source)),
            _ => Ok(()),
        }
    }

    fn close(&mut self, id: u32) -> Result<()> {
        if let (Some(file), Some(wanted)) = (self.open.remove(&id), self.wanted.remove(&id)) {
            self.dress(&file, &wanted.path, &wanted.stat, wanted.permissions)?;
        }
        Ok(())
    }

    fn create(&self, path: &Path) -> Result<File> {
        self.open_file(path, OFlags::CREATE | OFlags::EXCL)
    }

    /// What was created; nothing else can have taken its name.
    fn reopen(&self, path: &Path) -> Result<File> {
        self.open_file(path, OFlags::empty())
    }

    fn open_file(&self, path: &Path, how: OFlags) -> Result<File> {
        let (parent, name) = self.parent(path)?;
        let flags = OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | how;
        let file = openat(parent, name, flags, Mode::RUSR | Mode::WUSR);
        file.map(File::from).map_err(|source| self.failed(path, source))
    }

    fn dress(&self, file: &File, path: &Path, stat: &Stat, permissions: u32) -> Result<()> {
        let failed = |source| self.failed(path, source);
        for (name, value) in &stat.attributes {
            if ATTRIBUTES.iter().any(|known| name.starts_with(known)) {
                fsetxattr(file, name.as_str(), value, XattrFlags::empty()).map_err(failed)?;
            }
        }
        fchmod(file, Mode::from_raw_mode(permissions)).map_err(failed)?;
        futimens(file, &modified(stat.modified_unix_ns)).map_err(failed)
    }

    /// The directory that a path is in, reached without a link, and the last name.
    fn parent<'p>(&self, path: &'p Path) -> Result<(OwnedFd, &'p OsStr)> {
        self.look_up(path).map_err(|source| self.failed(path, source))
    }

    fn look_up<'p>(&self, path: &'p Path) -> rustix::io::Result<(OwnedFd, &'p OsStr)> {
        let name = path.file_name().unwrap_or_default();
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let flags = OFlags::DIRECTORY | OFlags::PATH | OFlags::CLOEXEC;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let parent = parent.unwrap_or(Path::new("."));
        let opened = openat2(self.root.as_fd(), parent, flags, Mode::empty(), resolve);
        opened.map(|parent| (parent, name))
    }

    /// Directories get what they are meant to have, from the inside out.
    fn finish(self) -> Result<()> {
        if !self.is_whole {
            return Err(self.broken("the end of the connection before the end of the files"));
        }
        for (path, permissions, time) in self.directories.iter().rev() {
            let (parent, name) = self.parent(path)?;
            let failed = |source| self.failed(path, source);
            chmodat(&parent, name, Mode::from_raw_mode(*permissions), AtFlags::empty()).map_err(failed)?;
            utimensat(&parent, name, &modified(*time), AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
        }
        Ok(())
    }

    fn broken(&self, what: &str) -> Error {
        Error::new(Kind::Invalid, format!("{}: the client sent {what}", self.doing))
    }

    fn failed(&self, path: &Path, source: impl Into<std::io::Error>) -> Error {
        let source = source.into();
        let text = format!("{}: write {}", self.doing, path.display());
        Error::new(Kind::of_io(&source), text).with_source(source)
    }
}

/// A path that stays below where it starts, or none.
fn inside(text: &str) -> Option<PathBuf> {
    let is_short = !text.is_empty() && text.len() <= LONGEST_PATH && !text.contains('\0');
    let path = Path::new(text);
    let is_plain = path.components().all(|part| matches!(part, Component::Normal(_)));
    // `a/./b` and `a//b` have only normal components and are not what a walk sends.
    let is_clean = text.split('/').all(|part| !matches!(part, "" | "." | ".."));
    (is_short && is_plain && is_clean).then(|| path.to_owned())
}

fn modified(unix_ns: i64) -> Timestamps {
    let (seconds, nanoseconds) = (unix_ns.div_euclid(1_000_000_000), unix_ns.rem_euclid(1_000_000_000));
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: nanoseconds },
    }
}

#[cfg(test)]
mod tests {
    use super::super::mode::to_go;
    use super::*;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    fn tree() -> (tempfile::TempDir, Tree) {
        let dir = tempfile::tempdir().unwrap();
        let dest = dir.path().join("dest");
        std::fs::create_dir(&dest).unwrap();
        std::fs::write(dir.path().join("outside"), "safe").unwrap();
        let tree = Tree::open(&dest, "fetch".into()).unwrap();
        (dir, tree)
    }

    fn stat(path: &str, kind: FileType, size: i64, link: &str) -> Packet {
        let mode = to_go(kind, if kind == FileType::Directory { 0o750 } else { 0o640 });
        let stat = Stat { path: path.into(), mode, size, link: link.into(), ..Stat::default() };
        let stat = Stat { modified_unix_ns: 1_500_000_000_500_000_000, ..stat };
        Packet { kind: PacketKind::Stat as i32, stat: Some(stat), ..Packet::default() }
    }

    fn data(id: u32, text: &'static str) -> Packet {
        Packet { kind: PacketKind::Data as i32, id, data: text.into(), ..Packet::default() }
    }

    fn fin() -> Packet {
        Packet { kind: PacketKind::Fin as i32, ..Packet::default() }
    }

    #[test]
    fn a_tree_comes_with_contents_that_interleave() {
        let (dir, mut tree) = tree();
        let file = FileType::RegularFile;
        assert!(tree.take(stat("a", FileType::Directory, 0, "")).unwrap().is_empty());
        assert_eq!(tree.take(stat("a/one", file, 3, "")).unwrap()[0].id, 1);
        assert_eq!(tree.take(stat("a/two", file, 6, "")).unwrap()[0].id, 2);
        tree.take(data(2, "two")).unwrap();
        tree.take(data(1, "one")).unwrap();
        assert!(tree.take(stat("empty", file, 0, "")).unwrap().is_empty());
        tree.take(stat("link", FileType::Symlink, 0, "/etc/passwd")).unwrap();
        assert!(tree.take(Packet { kind: PacketKind::Stat as i32, ..Packet::default() }).unwrap().is_empty());
        tree.take(data(1, "")).unwrap();
        tree.take(stat("twice", file, 0, "a/one")).unwrap();
        tree.take(data(2, "two")).unwrap();
        let last = tree.take(data(2, "")).unwrap();
        assert_eq!(last, [fin()]);
        tree.take(fin()).unwrap();
        tree.finish().unwrap();
        let dest = dir.path().join("dest");
        assert_eq!(std::fs::read_to_string(dest.join("a/two")).unwrap(), "twotwo");
        assert_eq!(std::fs::read_to_string(dest.join("twice")).unwrap(), "one");
        assert_eq!(std::fs::read_link(dest.join("link")).unwrap(), Path::new("/etc/passwd"));
        let directory = std::fs::metadata(dest.join("a")).unwrap();
        assert_eq!((directory.permissions().mode() & 0o7777, directory.mtime()), (0o750, 1_500_000_000));
    }

    #[test]
    fn names_of_one_file_are_linked_before_its_content_comes_and_need_no_name_that_is_kept_out() {
        let (dir, mut tree) = tree();
        let file = FileType::RegularFile;
        assert_eq!(tree.take(stat("x", file, 2, "")).unwrap()[0].id, 0);
        assert!(tree.take(stat("y", file, 0, "x")).unwrap().is_empty());
        let asks = [("z", "kept-out", 2), ("zz", "nowhere/kept-out", 3)];
        for (name, target, id) in asks {
            assert_eq!(tree.take(stat(name, file, 0, target)).unwrap()[0].id, id);
        }
        tree.take(Packet { kind: PacketKind::Stat as i32, ..Packet::default() }).unwrap();
        for id in [0, 2, 3] {
            tree.take(data(id, "a\n")).unwrap();
            tree.take(data(id, "")).unwrap();
        }
        tree.take(fin()).unwrap();
        tree.finish().unwrap();
        let of = |name: &str| {
            let path = dir.path().join("dest").join(name);
            let found = std::fs::metadata(&path).unwrap();
            (std::fs::read_to_string(path).unwrap(), found.nlink(), found.mtime(), found.mode() & 0o777)
        };
        for (name, links) in [("x", 2), ("y", 2), ("z", 1), ("zz", 1)] {
            assert_eq!(of(name), ("a\n".to_owned(), links, 1_500_000_000, 0o640), "{name}");
        }
    }

    #[test]
    fn no_path_of_a_client_leaves_the_directory() {
        let file = FileType::RegularFile;
        for path in ["../outside", "/outside", "a/../../outside", "", ".", "..", "a//b", "a/./b", "a\0b"] {
            let (_dir, mut tree) = tree();
            assert!(tree.take(stat(path, file, 0, "")).is_err(), "{path:?}");
        }
        let (dir, mut tree) = tree();
        let up = dir.path().to_str().unwrap().to_owned();
        tree.take(stat("up", FileType::Symlink, 0, &up)).unwrap();
        tree.take(stat("out", FileType::Symlink, 0, "../outside")).unwrap();
        assert!(tree.take(stat("up/new", file, 0, "")).is_err());
        assert!(tree.take(stat("out", file, 0, "")).is_err());
        assert!(tree.take(stat("hard", file, 0, "up/outside")).is_err());
        assert!(tree.take(stat("hard", file, 0, "../outside")).is_err());
        assert!(tree.take(stat("hard", file, 0, "out")).is_err());
        assert_eq!(std::fs::read_to_string(dir.path().join("outside")).unwrap(), "safe");
        assert!(!dir.path().join("new").exists());
    }

    #[test]
    fn what_was_not_asked_for_and_what_ends_early_is_refused() {
        let (_dir, mut tree) = tree();
        assert!(tree.take(data(7, "x")).is_err());
        assert!(tree.take(fin()).is_err());
        tree.take(stat("a", FileType::RegularFile, 5, "")).unwrap();
        tree.take(data(0, "ha")).unwrap();
        assert!(tree.take(stat("odd", FileType::RegularFile, 0, "a/b")).is_err());
        let error = tree.finish().unwrap_err();
        assert!(error.chain().contains("before the end of the files"), "{error}");
    }
}
