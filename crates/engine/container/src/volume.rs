//! Volumes: directories that outlive containers. An anonymous one goes with the container it was made for.

use crate::core::Core;
use crate::error::{EngineError, io};
use crate::record;
use crate::{Engine, MountSource};
use hako_error::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Volume {
    /// Its name, 64 hex digits when it is anonymous.
    pub name: String,
    /// Where its files are.
    pub path: PathBuf,
    /// When it was made.
    pub created_at: Timestamp,
    /// For the caller only.
    pub labels: BTreeMap<String, String>,
}

impl Core {
    pub(crate) fn volume(&self, name: &str) -> Result<Volume, EngineError> {
        check_name(name)?;
        let found = record::read(&self.layout.volumes().join(name).join("volume.json"))?;
        found.ok_or_else(|| EngineError::NoVolume { name: name.to_owned() })
    }

    /// The volume of that name, made when missing.
    pub(crate) fn ensure_volume(&self, name: &str) -> Result<Volume, EngineError> {
        match self.volume(name) {
            Err(EngineError::NoVolume { .. }) => self.make_volume(name, BTreeMap::new()),
            found => found,
        }
    }

    fn make_volume(&self, name: &str, labels: BTreeMap<String, String>) -> Result<Volume, EngineError> {
        let dir = self.layout.volumes().join(name);
        let path = dir.join("_data");
        std::fs::create_dir_all(&path).map_err(io("make directory", &path))?;
        let volume = Volume { name: name.to_owned(), path, created_at: Timestamp::now(), labels };
        record::write(&dir.join("volume.json"), &volume)?;
        Ok(volume)
    }

    /// Removes the files without asking who uses them. One that is not there is a success.
    pub(crate) fn delete_volume(&self, name: &str) -> Result<(), EngineError> {
        check_name(name)?;
        record::remove_tree(&self.layout.volumes().join(name))
    }

    pub(crate) fn volume_user(&self, name: &str) -> Option<String> {
        let uses =
            |source: &MountSource| matches!(source, MountSource::Volume { name: used } if used == name);
        let containers = self.containers.read();
        let user =
            containers.values().find(|one| one.record.spec.mounts.iter().any(|mount| uses(&mount.source)));
        user.map(|container| container.short())
    }
}

impl Engine {
    /// Makes a volume; one that exists already is returned as it is.
    pub fn create_volume(&self, name: &str, labels: BTreeMap<String, String>) -> Result<Volume> {
        let name = match name.is_empty() {
            true => crate::core::random_id()?.to_string(),
            false => name.to_owned(),
        };
        match self.core.volume(&name) {
            Err(EngineError::NoVolume { .. }) => Ok(self.core.make_volume(&name, labels)?),
            found => Ok(found?),
        }
    }

    /// The volume of that name.
    pub fn volume(&self, name: &str) -> Result<Volume> {
        Ok(self.core.volume(name)?)
    }

    /// All volumes by name.
    pub fn volumes(&self) -> Result<Vec<Volume>> {
        let mut names = record::names(&self.core.layout.volumes())?;
        names.sort_unstable();
        Ok(names.iter().filter_map(|name| self.core.volume(name).ok()).collect())
    }

    /// Removes a volume that no container has.
    pub fn remove_volume(&self, name: &str) -> Result<()> {
        self.core.volume(name)?;
        if let Some(id) = self.core.volume_user(name) {
            return Err(EngineError::VolumeInUse { name: name.to_owned(), id }.into());
        }
        Ok(self.core.delete_volume(name)?)
    }
}

/// Docker's grammar, which also keeps a name from being a path.
fn check_name(name: &str) -> Result<(), EngineError> {
    let is_valid = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() <= 255
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    let bad = || EngineError::Value {
        what: "volume name",
        value: name.to_owned(),
        expected: "[a-zA-Z0-9][a-zA-Z0-9_.-]*",
    };
    if is_valid { Ok(()) } else { Err(bad()) }
}
