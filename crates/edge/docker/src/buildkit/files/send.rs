//! The sender: a directory to the client.

use super::mode::to_go;
use super::receive::next;
use crate::buildkit::peer::refusal;
use crate::buildkit::wire::{Packet, PacketKind, Stat};
use bytes::Bytes;
use hako_error::{Error, Kind, Result};
use rustix::fs::{FileType, major, minor};
use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;
use tonic::Streaming;

/// Bytes of content in a packet.
const PIECE: usize = 256 << 10;

/// Walks `root` and gives what the client asks for, until it has everything. `out` leads to the client;
/// `incoming` are its packets once it says something.
pub(crate) async fn send(
    root: PathBuf,
    out: mpsc::Sender<Packet>,
    incoming: impl Future<Output = Result<Streaming<Packet>, tonic::Status>>,
) -> Result<()> {
    let doing = "send the result to the client";
    // Bounded by the number of files: each may be asked for once, see `Sender::give`.
    let (asks, asked) = mpsc::unbounded_channel();
    let giving = tokio::task::spawn_blocking(move || Sender::new(root, out).run(asked));
    let mut packets = incoming.await.map_err(|status| refusal(doing, &status))?;
    while let Some(packet) = next(&mut packets, doing).await? {
        // A sender that has ended knows why.
        if asks.send(packet).is_err() {
            break;
        }
    }
    drop(asks);
    giving
        .await
        .unwrap_or_else(|error| Err(Error::new(Kind::Internal, "a task ended early").with_source(error)))
}

struct Sender {
    root: PathBuf,
    out: mpsc::Sender<Packet>,
    next: u32,
    files: HashMap<u32, PathBuf>,
    /// The first name of files with several, by device and inode.
    names: HashMap<(u64, u64), String>,
}

impl Sender {
    fn new(root: PathBuf, out: mpsc::Sender<Packet>) -> Self {
        Self { root, out, next: 0, files: HashMap::new(), names: HashMap::new() }
    }

    fn run(mut self, mut asked: mpsc::UnboundedReceiver<Packet>) -> Result<()> {
        self.walk(&self.root.clone(), "")?;
        self.say(Packet { kind: PacketKind::Stat as i32, ..Packet::default() })?;
        while let Some(packet) = asked.blocking_recv() {
            match packet.kind() {
                PacketKind::Req => self.give(packet.id)?,
                PacketKind::Fin => {
                    return self.say(Packet { kind: PacketKind::Fin as i32, ..Packet::default() });
                }
                PacketKind::Err => {
                    let text = String::from_utf8_lossy(&packet.data).into_owned();
                    return Err(Error::new(Kind::Unavailable, format!("the client cannot take it: {text}")));
                }
                PacketKind::Stat | PacketKind::Data => return Err(gone()),
            }
        }
        Err(gone())
    }

    fn say(&self, packet: Packet) -> Result<()> {
        self.out.blocking_send(packet).map_err(|_| gone())
    }

    /// Tells the entries below `dir`, sorted by name as a walk has to be.
    fn walk(&mut self, dir: &Path, prefix: &str) -> Result<()> {
        let entries = fs::read_dir(dir).map_err(|source| failed(dir, source))?;
        let mut entries = entries.collect::<Result<Vec<_>, _>>().map_err(|source| failed(dir, source))?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let name = entry.file_name();
            // The protocol's strings are UTF-8.
            let name = name.to_str().ok_or_else(|| {
                Error::new(Kind::Invalid, format!("{} has a name that is no UTF-8", path.display()))
            })?;
            let name = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}/{name}") };
            let metadata = entry.metadata().map_err(|source| failed(&path, source))?;
            let stat = self.stat(&path, &name, &metadata)?;
            if metadata.is_file() && stat.link.is_empty() {
                self.files.insert(self.next, path.clone());
            }
            self.next += 1;
            self.say(Packet { kind: PacketKind::Stat as i32, stat: Some(stat), ..Packet::default() })?;
            if metadata.is_dir() {
                self.walk(&path, &name)?;
            }
        }
        Ok(())
    }

    fn stat(&mut self, path: &Path, name: &str, metadata: &Metadata) -> Result<Stat> {
        let kind = FileType::from_raw_mode(metadata.mode());
        let mut stat = Stat {
            path: name.to_owned(),
            mode: to_go(kind, metadata.mode() & 0o7777),
            uid: metadata.uid(),
            gid: metadata.gid(),
            modified_unix_ns: metadata.mtime().saturating_mul(1_000_000_000) + metadata.mtime_nsec(),
            ..Stat::default()
        };
        match kind {
            FileType::RegularFile => {
                stat.size = i64::try_from(metadata.size()).unwrap_or(i64::MAX);
                if metadata.nlink() > 1 {
                    let key = (metadata.dev(), metadata.ino());
                    match self.names.get(&key) {
                        Some(first) => (stat.link, stat.size) = (first.clone(), 0),
                        None => drop(self.names.insert(key, name.to_owned())),
                    }
                }
            }
            FileType::Symlink => {
                let target = fs::read_link(path).map_err(|source| failed(path, source))?;
                stat.link = target.to_string_lossy().into_owned();
            }
            FileType::CharacterDevice | FileType::BlockDevice => {
                (stat.major, stat.minor) =
                    (i64::from(major(metadata.rdev())), i64::from(minor(metadata.rdev())));
            }
            _ => {}
        }
        Ok(stat)
    }

    /// A file's content. What was not told, or was given already, is nobody's to ask for.
    fn give(&mut self, id: u32) -> Result<()> {
        let Some(path) = self.files.remove(&id) else {
            return Err(Error::new(
                Kind::Invalid,
                format!("the client asks for the entry {id} once too often"),
            ));
        };
        let mut file = File::open(&path).map_err(|source| failed(&path, source))?;
        let mut buffer = vec![0; PIECE];
        loop {
            let read = file.read(&mut buffer).map_err(|source| failed(&path, source))?;
            let data = Bytes::copy_from_slice(&buffer[..read]);
            self.say(Packet { kind: PacketKind::Data as i32, id, data, ..Packet::default() })?;
            if read == 0 {
                return Ok(());
            }
        }
    }
}

fn failed(path: &Path, source: std::io::Error) -> Error {
    Error::new(Kind::Internal, format!("read {}", path.display())).with_source(source)
}

fn gone() -> Error {
    Error::new(Kind::Unavailable, "the client left before it had everything")
}
