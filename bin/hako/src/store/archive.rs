//! The file of a backup.
//!
//! ```text
//! "hako backup 1\n"
//! frame:  kind 1 | length 4 | payload            integers big endian
//!   H     JSON: which hako wrote it, when        first
//!   F     name length 2 | name | content         files of the PKI, the keys of what is sealed among them
//!   S…Z   the snapshot (hako_store::snapshot)
//!   X     SHA-256 of all bytes before this frame, last
//! ```

use anyhow::{Context, bail};
use hako_store::snapshot::{Part, Parts, SnapshotError};
use ring::digest::{Context as Hasher, SHA256};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

const MAGIC: &[u8] = b"hako backup 1\n";
/// No file of the PKI comes near that.
const MAX_FILE: u32 = 16 << 20;

/// A file of the PKI.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kept {
    pub name: String,
    pub content: Vec<u8>,
}

/// Writes a backup.
pub(super) struct Writer {
    file: BufWriter<File>,
    hash: Hasher,
}

impl Writer {
    pub(super) fn begin(file: File, head: &serde_json::Value, files: &[Kept]) -> std::io::Result<Self> {
        let mut writer = Self { file: BufWriter::new(file), hash: Hasher::new(&SHA256) };
        writer.write(MAGIC)?;
        writer.frame(b'H', &[head.to_string().as_bytes()])?;
        for file in files {
            let length = u16::try_from(file.name.len()).unwrap_or(u16::MAX).to_be_bytes();
            writer.frame(b'F', &[&length, file.name.as_bytes(), &file.content])?;
        }
        Ok(writer)
    }

    fn frame(&mut self, kind: u8, payload: &[&[u8]]) -> std::io::Result<()> {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        self.write(&[kind])?;
        self.write(&u32::try_from(length).map_err(std::io::Error::other)?.to_be_bytes())?;
        payload.iter().try_for_each(|part| self.write(part))
    }

    /// A piece of the snapshot.
    pub(super) fn write(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.file.write_all(bytes)
    }

    pub(super) fn finish(mut self) -> std::io::Result<File> {
        let digest = self.hash.clone().finish();
        self.frame(b'X', &[digest.as_ref()])?;
        let file = self.file.into_inner().map_err(std::io::IntoInnerError::into_error)?;
        file.sync_all()?;
        Ok(file)
    }
}

/// What remembers the digest of all that was read through it.
struct Hashed<R> {
    source: R,
    hash: Hasher,
}

impl<R: Read> Read for Hashed<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.source.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}

/// The rest of a file, before which a frame's head was read already.
type Rest = std::io::Chain<std::io::Cursor<Vec<u8>>, Hashed<BufReader<File>>>;

/// Reads a backup up to its snapshot.
pub(super) struct Reader {
    pub files: Vec<Kept>,
    parts: Parts<Rest>,
}

impl Reader {
    pub(super) fn open(path: &Path) -> anyhow::Result<Self> {
        let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
        let mut source =
            Hashed { source: BufReader::with_capacity(1 << 20, file), hash: Hasher::new(&SHA256) };
        let mut magic = [0; MAGIC.len()];
        if source.read_exact(&mut magic).is_err() || magic != MAGIC {
            bail!("{} is no backup of hako, or of a version that this one does not know", path.display());
        }
        let mut files = Vec::new();
        loop {
            let mut head = [0; 5];
            source.read_exact(&mut head).map_err(|error| damaged(path, &error))?;
            let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
            match head[0] {
                b'H' | b'F' if length > MAX_FILE => return Err(damaged(path, &"a frame is too long")),
                kind @ (b'H' | b'F') => {
                    let mut payload = vec![0; length as usize];
                    source.read_exact(&mut payload).map_err(|error| damaged(path, &error))?;
                    if kind == b'F' {
                        files.push(
                            kept(&payload).ok_or_else(|| damaged(path, &"a file without a fitting name"))?,
                        );
                    }
                }
                // The snapshot's own beginning.
                _ => {
                    let parts = Parts::new(std::io::Cursor::new(head.to_vec()).chain(source));
                    return Ok(Self { files, parts });
                }
            }
        }
    }

    /// The snapshot's parts.
    pub(super) fn parts(&mut self) -> impl Iterator<Item = Result<Part, SnapshotError>> {
        self.parts.by_ref()
    }

    /// Whether all that was read is what was written; the parts must have been read to their end.
    fn check(self, path: &Path) -> anyhow::Result<()> {
        let (_, mut source) = self.parts.into_source().into_inner();
        let digest = source.hash.clone().finish();
        let mut end = Vec::new();
        source.source.read_to_end(&mut end).map_err(|error| damaged(path, &error))?;
        match end.split_at_checked(5) {
            Some(([b'X', 0, 0, 0, 32], sum)) if sum == digest.as_ref() => Ok(()),
            Some(([b'X', 0, 0, 0, 32], sum)) if sum.len() == 32 => {
                Err(damaged(path, &"its content does not have the checksum at its end"))
            }
            _ => Err(damaged(path, &"it is cut off, or something follows its end")),
        }
    }
}

fn damaged(path: &Path, problem: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("the backup {} is damaged and was not used: {problem}", path.display())
}

/// Only plain names: they become files of a directory.
fn kept(payload: &[u8]) -> Option<Kept> {
    let (length, rest) = payload.split_first_chunk::<2>()?;
    let (name, content) = rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
    let name = std::str::from_utf8(name).ok()?;
    let is_plain = !name.is_empty()
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_".contains(&byte));
    is_plain.then(|| Kept { name: name.to_owned(), content: content.to_vec() })
}

/// Reads a whole backup and tells what is wrong with it; answers how many objects it has.
pub(super) fn verify(path: &Path) -> anyhow::Result<u64> {
    let mut reader = Reader::open(path)?;
    let mut entries = 0;
    for part in reader.parts() {
        let part = part.map_err(|error| damaged(path, &error))?;
        entries += u64::from(matches!(part, Part::Entry(_)));
    }
    reader.check(path)?;
    Ok(entries)
}
