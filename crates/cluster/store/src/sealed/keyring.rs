//! The keys, and the file that keeps them.
//!
//! ```text
//! # a comment
//! ID HEX      the key that seals
//! ID HEX      keys that only open, until nothing needs them
//! unsealed    there may be records from before there were keys, or what is left of them in freed space
//! ```
//! INVARIANT: the file is whole at every moment, and no key in it is used for sealing before it is on the disk.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::envelope::{self, KeyBytes, KeyId, Refused};
use crate::error::{Result, StoreError};

const HEADING: &str = "# Keys of what hako keeps sealed. The first seals, all open. Without this file nothing sealed can be read again.\n";

const UNSEALED: &str = "unsealed";

/// The keys of a file, or why there are none.
pub struct Keyring {
    path: PathBuf,
    keys: Result<Vec<Key>, Arc<str>>,
    /// Whether there may be records that were never sealed.
    has_unsealed: bool,
}

#[derive(Clone)]
struct Key {
    id: KeyId,
    bytes: KeyBytes,
}

impl Key {
    fn draw() -> Result<Self, Refused> {
        Ok(Self { id: envelope::draw()?, bytes: envelope::draw()? })
    }

    fn parse(line: &str) -> Option<Self> {
        let (id, bytes) = line.split_once(' ')?;
        let mut key = Self { id: [0; 8], bytes: [0; 32] };
        hex::decode_to_slice(id, &mut key.id).ok()?;
        hex::decode_to_slice(bytes.trim(), &mut key.bytes).ok()?;
        Some(key)
    }
}

impl Keyring {
    /// The keys of a file; `None` if there is no file.
    pub fn read(path: &Path) -> Option<Self> {
        let mut has_unsealed = false;
        let keys = match std::fs::read_to_string(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => Err(error.to_string().into()),
            Ok(text) => {
                has_unsealed = text.lines().any(|line| line.trim() == UNSEALED);
                parse(&text)
            }
        };
        Some(Self { path: path.to_owned(), keys, has_unsealed })
    }

    /// A file that should be there.
    pub fn lost(path: &Path) -> Self {
        let keys = Err("it is gone, and there are records sealed with its keys".into());
        Self { path: path.to_owned(), keys, has_unsealed: false }
    }

    /// A new file with one key.
    pub fn make(path: &Path, has_unsealed: bool) -> Result<Self> {
        let mut keys = Self { path: path.to_owned(), keys: Ok(Vec::new()), has_unsealed };
        keys.add()?;
        Ok(keys)
    }

    fn unavailable(&self, reason: impl Into<Arc<str>>) -> StoreError {
        StoreError::KeysUnavailable { path: self.path.clone(), reason: reason.into() }
    }

    fn keys(&self) -> Result<&[Key]> {
        self.keys.as_deref().map_err(|reason| self.unavailable(Arc::clone(reason)))
    }

    fn first(&self) -> Result<&Key> {
        self.keys()?.first().ok_or_else(|| self.unavailable("it has no key"))
    }

    /// Whether there are keys.
    pub fn check(&self) -> Result<()> {
        self.first().map(drop)
    }

    pub fn ids(&self) -> Result<Vec<String>> {
        Ok(self.keys()?.iter().map(|key| hex::encode(key.id)).collect())
    }

    /// Whether there may be records that were never sealed.
    pub fn has_unsealed(&self) -> bool {
        self.has_unsealed
    }

    /// Whether the first key sealed a value.
    pub fn is_current(&self, value: &[u8]) -> Result<bool> {
        Ok(envelope::key_id(value) == Some(self.first()?.id))
    }

    pub fn seal(&self, name: &[u8], value: &[u8]) -> Result<Bytes> {
        let key = self.first()?;
        envelope::seal(key.id, &key.bytes, name, value)
            .map_err(|Refused| self.unavailable("the system has no random numbers"))
    }

    pub fn open(&self, name: &[u8], sealed: &[u8]) -> Result<Bytes> {
        let keys = self.keys()?;
        let unreadable = |reason: String| StoreError::Unreadable {
            key: Bytes::copy_from_slice(name),
            path: self.path.clone(),
            reason: reason.into(),
        };
        let id = envelope::key_id(sealed).unwrap_or_default();
        let key = keys.iter().find(|key| key.id == id);
        let key = key.ok_or_else(|| {
            unreadable(format!("it was sealed with key {}, which is not in", hex::encode(id)))
        })?;
        envelope::open(&key.bytes, name, sealed)
            .map_err(|Refused| unreadable("it is damaged, or its key is not the one in".to_owned()))
    }

    /// Puts a new key before the others.
    pub fn add(&mut self) -> Result<()> {
        let new = Key::draw().map_err(|Refused| self.unavailable("the system has no random numbers"))?;
        let mut keys = vec![new];
        keys.extend_from_slice(self.keys()?);
        self.replace(keys)
    }

    /// Forgets all keys but the first, which has sealed everything.
    pub fn forget_old(&mut self) -> Result<()> {
        let first = self.first()?.clone();
        self.has_unsealed = false;
        self.replace(vec![first])
    }

    fn replace(&mut self, keys: Vec<Key>) -> Result<()> {
        let mut text = HEADING.to_owned();
        for key in &keys {
            text.push_str(&format!("{} {}\n", hex::encode(key.id), hex::encode(key.bytes)));
        }
        if self.has_unsealed {
            text.push_str(UNSEALED);
            text.push('\n');
        }
        write(&self.path, &text).map_err(|error| self.unavailable(error.to_string()))?;
        self.keys = Ok(keys);
        Ok(())
    }
}

fn parse(text: &str) -> Result<Vec<Key>, Arc<str>> {
    let lines = text.lines().map(str::trim);
    let mut keys = Vec::new();
    for line in lines.filter(|line| !line.is_empty() && *line != UNSEALED && !line.starts_with('#')) {
        keys.push(Key::parse(line).ok_or("a line of it is no key")?);
    }
    if keys.is_empty() { Err("it has no key".into()) } else { Ok(keys) }
}

/// Replaces a file by one that is on the disk; when this returns, the name is too.
fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(directory)?;
    std::fs::set_permissions(directory, Permissions::from_mode(0o700))?;
    let new = path.with_extension("new");
    let _ = std::fs::remove_file(&new);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    File::open(directory)?.sync_all()
}
