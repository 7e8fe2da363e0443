//! Volumes of pods as paths of this node.
//!
//! Owns: what is below `<run_dir>/pods/<uid>/volumes` (files made of objects, on tmpfs where /run is) and
//! `<data_dir>/pods/<uid>/volumes` (emptyDir). Does not own: mounting; the engine does it from the paths given.
//! Invariant: everything of a pod lies below one of its two directories, so removing them removes it all.

mod content;
mod files;
mod host_path;
mod sub_path;

pub(crate) use content::{is_made_of_files, references};

use crate::env::{EnvError, PodFacts, Referenced};
use hako_container::{MemoryVolume, Mount, MountSource, Propagation};
use hako_error::{Classify, Kind};
use hako_names::Quantity;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, EmptyDirVolumeSource, Pod, Volume, VolumeMount};
use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

/// Why a volume cannot be made now; the pod stays in `ContainerCreating` with event `FailedMount`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// A kind of volume this node does not know.
    #[error(
        "volume {volume:?}: {kind} is not supported by this node, use emptyDir, hostPath, configMap, secret, downwardAPI or projected"
    )]
    Unsupported { volume: String, kind: &'static str },
    /// A projected token of the pod's service account.
    #[error("volume {volume:?}: failed to fetch token: {why}")]
    NoToken { volume: String, why: String },
    /// A kind of projected source this node does not know.
    #[error(
        "volume {volume:?}: {source_kind} is not supported by this node, drop that source from the projected volume"
    )]
    UnsupportedSource { volume: String, source_kind: &'static str },
    /// The referenced object does not exist.
    #[error("{kind} {name:?} not found")]
    ObjectMissing { kind: &'static str, name: String },
    /// The object has no such key.
    #[error("{kind} {name:?} references non-existent key: {key}")]
    KeyMissing { kind: &'static str, name: String, key: String },
    /// The path is something else.
    #[error("hostPath type check failed: {path} is not a {expected}")]
    HostPathType { path: PathBuf, expected: String },
    /// The path inside the volume is not usable.
    #[error("subPath {sub_path:?} is not usable: {why}")]
    SubPath { sub_path: String, why: &'static str },
    /// A container mounts a volume the pod does not have.
    #[error("container mounts volume {0:?}, which the pod does not define")]
    Unknown(String),
    /// A field of the pod cannot be shown.
    #[error(transparent)]
    Field(#[from] EnvError),
    /// Files could not be written.
    #[error(transparent)]
    Files(#[from] files::WriteError),
    /// The file system said no.
    #[error("volume {volume:?}: {path}")]
    Io { volume: String, path: PathBuf, source: io::Error },
}

impl Classify for VolumeError {
    fn kind(&self) -> Kind {
        match self {
            Self::Unsupported { .. } | Self::UnsupportedSource { .. } => Kind::Unimplemented,
            Self::NoToken { .. } => Kind::Unavailable,
            Self::ObjectMissing { .. } | Self::KeyMissing { .. } => Kind::NotFound,
            Self::HostPathType { .. } => Kind::FailedPrecondition,
            Self::SubPath { .. } | Self::Unknown(_) => Kind::Invalid,
            Self::Field(error) => Classify::kind(error),
            Self::Files(error) => Classify::kind(error),
            Self::Io { source, .. } => Kind::of_io(source),
        }
    }
}

/// Which volume could not be made, in the kubelet's words.
#[derive(Debug, thiserror::Error)]
#[error("MountVolume.SetUp failed for volume \"{volume}\"")]
pub(crate) struct MountFailure {
    pub(crate) volume: String,
    #[source]
    pub(crate) error: VolumeError,
}

impl Classify for MountFailure {
    fn kind(&self) -> Kind {
        Classify::kind(&self.error)
    }
}

/// Where the volumes of one pod are.
#[derive(Clone, Debug)]
pub(crate) struct PodDirs {
    secret: PathBuf,
    data: PathBuf,
}

/// The volumes of one pod, ready to be mounted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Volumes {
    paths: HashMap<String, PathBuf>,
    /// Paths of the host that nobody checked: the directory is made when it is missing.
    unchecked: HashSet<PathBuf>,
    /// Those made of objects of the API, which nobody may write.
    read_only: HashSet<PathBuf>,
    /// Memory-backed ones, which the sandbox has to mount.
    pub(crate) memory: Vec<MemoryVolume>,
    /// When files have to be written anew though no object changed.
    pub(crate) renew_at: Option<Timestamp>,
}

impl PodDirs {
    /// The directories of the pod `uid`.
    pub(crate) fn new(run_dir: &Path, data_dir: &Path, uid: &str) -> Self {
        Self { secret: run_dir.join("pods").join(uid), data: data_dir.join("pods").join(uid) }
    }

    /// Makes all volumes of `pod`, keeping what is there already.
    pub(crate) fn prepare(
        &self,
        facts: &PodFacts<'_>,
        referenced: &Referenced,
    ) -> Result<Volumes, MountFailure> {
        let tokens = referenced.tokens.values().flatten();
        let renew_at = tokens.map(|token| token.renew_at).min();
        let mut out = Volumes { renew_at, ..Volumes::default() };
        let group = fs_group(facts.pod);
        for volume in volumes_of(facts.pod) {
            let path = self.prepare_one(volume, facts, referenced, group, &mut out);
            let path = path.map_err(|error| MountFailure { volume: volume.name.clone(), error })?;
            out.paths.insert(volume.name.clone(), path);
        }
        Ok(out)
    }

    fn prepare_one(
        &self,
        volume: &Volume,
        facts: &PodFacts<'_>,
        referenced: &Referenced,
        group: Option<u32>,
        out: &mut Volumes,
    ) -> Result<PathBuf, VolumeError> {
        if is_made_of_files(volume) {
            let (path, _) = self.write_files(volume, facts, referenced)?;
            out.read_only.insert(path.clone());
            return Ok(path);
        }
        if let Some(source) = &volume.host_path {
            let path = PathBuf::from(&source.path);
            let kind = source.type_.as_deref().unwrap_or("");
            host_path::prepare(&volume.name, &path, kind)?;
            if kind.is_empty() {
                out.unchecked.insert(path.clone());
            }
            return Ok(path);
        }
        let default = EmptyDirVolumeSource::default();
        let source = match (&volume.empty_dir, unsupported_kind(volume)) {
            (Some(source), _) => source,
            (None, None) => &default,
            (None, Some(kind)) => {
                return Err(VolumeError::Unsupported { volume: volume.name.clone(), kind });
            }
        };
        self.empty_dir(volume, source, group, facts, out)
    }

    /// Brings the files of `volume` up to date; says whether they changed.
    pub(crate) fn write_files(
        &self,
        volume: &Volume,
        facts: &PodFacts<'_>,
        referenced: &Referenced,
    ) -> Result<(PathBuf, bool), VolumeError> {
        let files = content::files(volume, facts, referenced)?;
        let parent = self.secret.join("volumes");
        create_private(&volume.name, &parent)?;
        let path = parent.join(&volume.name);
        let changed = files::write(&path, &files, fs_group(facts.pod))?;
        Ok((path, changed))
    }

    fn empty_dir(
        &self,
        volume: &Volume,
        source: &EmptyDirVolumeSource,
        group: Option<u32>,
        facts: &PodFacts<'_>,
        out: &mut Volumes,
    ) -> Result<PathBuf, VolumeError> {
        let medium = source.medium.as_deref().unwrap_or("");
        let parent = match medium {
            "" => self.data.join("volumes"),
            "Memory" => self.secret.join("volumes"),
            _ => {
                return Err(VolumeError::Unsupported {
                    volume: volume.name.clone(),
                    kind: "emptyDir with huge pages",
                });
            }
        };
        create_private(&volume.name, &parent)?;
        let path = parent.join(&volume.name);
        create_shared(&path, group).map_err(|source| VolumeError::Io {
            volume: volume.name.clone(),
            path: path.clone(),
            source,
        })?;
        if medium == "Memory" {
            out.memory.push(MemoryVolume {
                path: path.clone(),
                size: memory_size(source, facts),
                // Its group is that of the directory it is mounted on.
                mode: Some(shared_mode(group)),
            });
        }
        Ok(path)
    }

    /// The file in which run `attempt` of a container leaves its last words.
    pub(crate) fn termination_message(&self, container: &str, attempt: u32) -> PathBuf {
        self.data.join("containers").join(container).join(attempt.to_string())
    }

    /// Removes everything of the pod.
    pub(crate) fn remove(&self) -> io::Result<()> {
        for dir in [&self.secret, &self.data] {
            match fs::remove_dir_all(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// The pods that have directories below `run_dir` or `data_dir`.
pub(crate) fn pods_on_disk(run_dir: &Path, data_dir: &Path) -> Vec<String> {
    let mut uids: Vec<String> = [run_dir, data_dir]
        .into_iter()
        .flat_map(|dir| fs::read_dir(dir.join("pods")).into_iter().flatten().flatten())
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    uids.sort();
    uids.dedup();
    uids
}

/// The volumes a pod defines.
pub(crate) fn volumes_of(pod: &Pod) -> &[Volume] {
    let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.as_deref());
    volumes.unwrap_or(&[])
}

fn fs_group(pod: &Pod) -> Option<u32> {
    let context = pod.spec.as_ref()?.security_context.as_ref()?;
    u32::try_from(context.fs_group?).ok()
}

/// The bound of a memory-backed directory: the least of its own, what the pod's containers may use together where all
/// are bounded, and what the node has.
fn memory_size(source: &EmptyDirVolumeSource, facts: &PodFacts<'_>) -> Option<u64> {
    let limit = |container: &Container| {
        let limits = container.resources.as_ref()?.limits.as_ref()?;
        bytes(limits.get("memory")?)
    };
    let containers = facts.pod.spec.iter().flat_map(|spec| &spec.containers);
    let of_pod = containers.map(limit).sum::<Option<u64>>();
    let own = source.size_limit.as_ref().and_then(bytes);
    let of_node = facts.allocatable.get("memory").and_then(|memory| u64::try_from(memory.units()).ok());
    [own, of_pod, of_node].into_iter().flatten().filter(|size| *size > 0).min()
}

fn bytes(amount: &k8s_openapi::apimachinery::pkg::api::resource::Quantity) -> Option<u64> {
    u64::try_from(amount.0.parse::<Quantity>().ok()?.units()).ok()
}

/// Parents are closed to others: whoever may read a volume gets it by a mount, not by its path.
fn create_private(volume: &str, dir: &Path) -> Result<(), VolumeError> {
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(|source| VolumeError::Io { volume: volume.to_owned(), path: dir.to_owned(), source })
}

fn create_shared(path: &Path, group: Option<u32>) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    }
    if group.is_some() {
        chown(path, None, group)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(shared_mode(group)))
}

/// For everybody; what is made in it belongs to the pod's group, if it has one.
fn shared_mode(group: Option<u32>) -> u32 {
    0o777 | group.map_or(0, |_| 0o2000)
}

/// The field of `volume` that is set and that this node cannot serve.
fn unsupported_kind(volume: &Volume) -> Option<&'static str> {
    let kinds = [
        (volume.persistent_volume_claim.is_some(), "persistentVolumeClaim"),
        (volume.csi.is_some(), "csi"),
        (volume.ephemeral.is_some(), "ephemeral"),
        (volume.image.is_some(), "image"),
        (volume.nfs.is_some(), "nfs"),
        (volume.iscsi.is_some(), "iscsi"),
        (volume.fc.is_some(), "fc"),
        (volume.cephfs.is_some(), "cephfs"),
        (volume.rbd.is_some(), "rbd"),
        (volume.glusterfs.is_some(), "glusterfs"),
        (volume.git_repo.is_some(), "gitRepo"),
        (volume.flex_volume.is_some(), "flexVolume"),
        (volume.aws_elastic_block_store.is_some(), "awsElasticBlockStore"),
        (volume.azure_disk.is_some(), "azureDisk"),
        (volume.azure_file.is_some(), "azureFile"),
        (volume.gce_persistent_disk.is_some(), "gcePersistentDisk"),
        (volume.cinder.is_some(), "cinder"),
        (volume.vsphere_volume.is_some(), "vsphereVolume"),
        (volume.portworx_volume.is_some(), "portworxVolume"),
        (volume.photon_persistent_disk.is_some(), "photonPersistentDisk"),
        (volume.quobyte.is_some(), "quobyte"),
        (volume.scale_io.is_some(), "scaleIO"),
        (volume.storageos.is_some(), "storageos"),
        (volume.flocker.is_some(), "flocker"),
    ];
    kinds.iter().find(|(is_set, _)| *is_set).map(|(_, kind)| *kind)
}

impl Volumes {
    /// The mounts of one container; `expand` replaces `$(NAME)` in `subPathExpr`.
    pub(crate) fn mounts(
        &self,
        mounts: &[VolumeMount],
        expand: impl Fn(&str) -> String,
    ) -> Result<Vec<Mount>, VolumeError> {
        mounts.iter().map(|mount| self.mount(mount, &expand)).collect()
    }

    fn mount(&self, mount: &VolumeMount, expand: &impl Fn(&str) -> String) -> Result<Mount, VolumeError> {
        let volume = self.paths.get(&mount.name).ok_or_else(|| VolumeError::Unknown(mount.name.clone()))?;
        let expanded = mount.sub_path_expr.as_deref().filter(|path| !path.is_empty()).map(expand);
        let sub_path = expanded.or_else(|| mount.sub_path.clone()).filter(|path| !path.is_empty());
        let path = match sub_path {
            Some(sub_path) if self.is_memory(volume) => {
                // The directory exists only inside the sandbox; nothing here could check or make it.
                return Err(VolumeError::SubPath {
                    sub_path,
                    why: "a volume in memory cannot be mounted in parts",
                });
            }
            Some(sub_path) => sub_path::resolve(volume, &sub_path, 0o750)?,
            None => volume.clone(),
        };
        let is_read_only = mount.read_only == Some(true) || self.read_only.contains(volume);
        let propagation = match mount.mount_propagation.as_deref() {
            Some("HostToContainer") => Propagation::Slave,
            Some("Bidirectional") => Propagation::Shared,
            _ => Propagation::Private,
        };
        Ok(Mount {
            target: absolute(&mount.mount_path),
            source: MountSource::Bind { create: self.unchecked.contains(&path), path, propagation },
            read_only: is_read_only,
            below: Default::default(),
            subpath: String::new(),
        })
    }

    fn is_memory(&self, path: &Path) -> bool {
        self.memory.iter().any(|volume| volume.path == path)
    }
}

fn absolute(path: &str) -> PathBuf {
    Path::new("/").join(path)
}

#[cfg(test)]
mod tests;
