//! Volumes: directories that outlive containers. An anonymous one goes with the container it was made for.

use crate::container::ContainerObject;
use crate::core::{Core, random_id};
use crate::error::{EngineError, NAME_BYTES, io};
use crate::record;
use crate::{Engine, MountSource, NewVolume};
use hako_error::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
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
    /// What is mounted where the volume is used, in the words of mount(8): `type`, `device` and `o`. Empty for a
    /// directory of the engine's.
    #[serde(default)]
    pub options: BTreeMap<String, String>,
}

/// What a volume looks like to a container.
#[derive(Clone, Debug)]
pub(crate) enum VolumeSource {
    /// A directory of the host, bound.
    Directory(PathBuf),
    /// A file system that each container mounts for itself, so that none is left on the host.
    Mounted {
        /// Its kind, such as `tmpfs`.
        kind: String,
        /// What it is made of.
        device: PathBuf,
        /// Its options.
        options: Vec<String>,
    },
}

impl Volume {
    pub(crate) fn source(&self) -> VolumeSource {
        let option = |name: &str| self.options.get(name).map_or("", String::as_str);
        let mut options: Vec<String> =
            option("o").split(',').filter(|option| !option.is_empty()).map(str::to_owned).collect();
        let is_bind = matches!(option("type"), "" | "none" | "bind");
        options.retain(|option| !(is_bind && matches!(option.as_str(), "bind" | "rbind")));
        let device = PathBuf::from(option("device"));
        match is_bind {
            true if device.as_os_str().is_empty() => VolumeSource::Directory(self.path.clone()),
            true => VolumeSource::Directory(device),
            false => VolumeSource::Mounted { kind: option("type").to_owned(), device, options },
        }
    }

    /// Whether its files are in the engine's own directory.
    pub(crate) fn is_own(&self) -> bool {
        self.options.is_empty()
    }
}

impl Core {
    pub(crate) fn volume(&self, name: &str) -> Result<Volume, EngineError> {
        check_name(name)?;
        let found = record::read(&self.layout.volumes().join(name).join("volume.json"))?;
        found.ok_or_else(|| EngineError::NoVolume { name: name.to_owned() })
    }

    /// The volume of that name, made when missing.
    pub(crate) fn ensure_volume(&self, name: &str, new: &NewVolume) -> Result<Volume, EngineError> {
        match self.volume(name) {
            Err(EngineError::NoVolume { .. }) => self.make_volume(name, new.clone()),
            found => found,
        }
    }

    fn make_volume(&self, name: &str, new: NewVolume) -> Result<Volume, EngineError> {
        if name.len() == 1 {
            // Older versions made such volumes, which are still used and removed.
            return Err(EngineError::VolumeName { name: name.to_owned() });
        }
        let NewVolume { labels, options } = new;
        let dir = self.layout.volumes().join(name);
        let path = dir.join("_data");
        std::fs::create_dir_all(&path).map_err(io("make directory", &path))?;
        hako_sys::failpoint!("volume.create.directory");
        if let Some(users) = &self.config.users {
            let (uid, gid) = users.root();
            std::os::unix::fs::chown(&path, Some(uid), Some(gid))
                .map_err(io("change the owner of", &path))?;
        }
        let volume = Volume { name: name.to_owned(), path, created_at: Timestamp::now(), labels, options };
        record::write(&dir.join("volume.json"), &volume)?;
        hako_sys::failpoint!("volume.create.record");
        self.volume_event(name, crate::Action::Create);
        Ok(volume)
    }

    fn volume_event(&self, name: &str, action: crate::Action) {
        self.events.emit(crate::Subject::Volume(name.to_owned()), action, "", "", &driver());
    }

    /// Tells of each volume of a container that it is in use, or not any more.
    pub(crate) fn volume_events(&self, container: &ContainerObject, is_mounted: bool) {
        for mount in &container.record.spec.mounts {
            let MountSource::Volume { name, .. } = &mount.source else { continue };
            let id = container.id.clone();
            let action = match is_mounted {
                true => crate::Action::Mount {
                    container: id,
                    target: mount.target.clone(),
                    writable: !mount.read_only,
                },
                false => crate::Action::Unmount { container: id },
            };
            self.volume_event(name, action);
        }
    }

    /// Removes the files without asking who uses them. One that is not there is a success.
    pub(crate) fn delete_volume(&self, name: &str) -> Result<(), EngineError> {
        check_name(name)?;
        let dir = self.layout.volumes().join(name);
        let trash = self.layout.trash().join(format!("volume-{}", random_id()?));
        match std::fs::rename(&dir, &trash) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            renamed => renamed.map_err(io("remove", &dir))?,
        }
        hako_sys::failpoint!("volume.remove.renamed");
        record::remove_tree(&trash)?;
        self.volume_event(name, crate::Action::Destroy);
        Ok(())
    }

    /// Removes what a crash left of volumes that were being made or filled. Files without a record are kept: they get
    /// one.
    pub(crate) fn finish_volumes(&self) -> Result<(), EngineError> {
        for name in record::names(&self.layout.volumes())? {
            let dir = self.layout.volumes().join(&name);
            record::remove_tree(&dir.join(crate::populate::FILLING))?;
            if dir.join("volume.json").exists() {
                continue;
            }
            let files = record::names(&dir.join("_data")).unwrap_or_default();
            if files.is_empty() {
                record::remove_tree(&dir)?;
            } else if check_name(&name).is_ok() {
                self.make_volume(&name, NewVolume::default())?;
            }
        }
        Ok(())
    }

    pub(crate) fn volume_user(&self, name: &str) -> Option<String> {
        let uses =
            |source: &MountSource| matches!(source, MountSource::Volume { name: used, .. } if used == name);
        let containers = self.containers.read();
        let user =
            containers.values().find(|one| one.record.spec.mounts.iter().any(|mount| uses(&mount.source)));
        user.map(|container| container.id.to_string())
    }
}

impl Engine {
    /// Makes a volume; one that exists already with the same options is returned as it is.
    pub fn create_volume(
        &self,
        name: &str,
        labels: BTreeMap<String, String>,
        options: BTreeMap<String, String>,
    ) -> Result<Volume> {
        let name = match name.is_empty() {
            true => random_id()?.to_string(),
            false => name.to_owned(),
        };
        match self.core.volume(&name) {
            Err(EngineError::NoVolume { .. }) => {
                Ok(self.core.make_volume(&name, NewVolume { labels, options })?)
            }
            Ok(found) if !options.is_empty() && found.options != options => {
                Err(EngineError::VolumeDiffers { name }.into())
            }
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

    /// The volumes that some container has, running or not.
    #[must_use]
    pub fn used_volumes(&self) -> HashSet<String> {
        let containers = self.core.containers.read();
        let mounts = containers.values().flat_map(|one| &one.record.spec.mounts);
        mounts
            .filter_map(|mount| match &mount.source {
                MountSource::Volume { name, .. } => Some(name.clone()),
                _ => None,
            })
            .collect()
    }
}

/// What events tell of a volume.
fn driver() -> BTreeMap<String, String> {
    [("driver".to_owned(), "local".to_owned())].into()
}

/// Docker's grammar, which also keeps a name from being a path.
fn check_name(name: &str) -> Result<(), EngineError> {
    let is_valid = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() <= NAME_BYTES
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if is_valid { Ok(()) } else { Err(EngineError::VolumeName { name: name.to_owned() }) }
}
