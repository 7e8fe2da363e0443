//! The engine's shared heart: configuration, the maps of objects and the ways to find them.

use crate::SandboxId;
use crate::container::ContainerObject;
use crate::error::EngineError;
use crate::events::Events;
use crate::record::Layout;
use crate::sandbox::SandboxObject;
use hako_cgroup::CgroupRoot;
use hako_image::ImageStore;
use hako_names::ContainerId;
use hako_network::{Network, Networks};
use hako_oci::runtime::Spec;
use hako_runtime::IdMap;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::{Semaphore, watch};

/// Removed containers whose rest is given back at the same time; the next one waits with its answer.
const MOST_CLEANING: usize = 64;

/// What an [`Engine`](crate::Engine) is opened with.
#[derive(Clone)]
pub struct EngineConfig {
    /// Where the objects are; made when missing.
    pub data_dir: PathBuf,
    /// Where sockets are; short, made when missing.
    pub run_dir: PathBuf,
    /// Six hex digits that tell instances on one machine apart.
    pub instance: String,
    /// The executable that becomes a shim when its first argument is `shim`.
    pub exe: PathBuf,
    /// Where images come from, and the snapshots they are unpacked into.
    pub images: ImageStore,
    /// The bridge network; `None` refuses sandboxes that ask for it.
    pub network: Option<Arc<Network>>,
    /// The networks that people make; `None` refuses sandboxes that ask for one.
    pub networks: Option<Arc<Networks>>,
    /// The machine's control groups.
    pub cgroups: CgroupRoot,
    /// Where vendors describe what devices need.
    pub cdi: hako_cdi::Directories,
    /// Whose ids sandboxes have that are not to have the host's; `None` leaves all with the host's.
    pub users: Option<IdMap>,
}

impl fmt::Debug for EngineConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EngineConfig")
            .field("data_dir", &self.data_dir)
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// The engine without its public face. Tasks that outlive a call hold it weakly or end when `alive` does.
pub(crate) struct Core {
    pub(crate) layout: Layout,
    pub(crate) config: EngineConfig,
    pub(crate) events: Events,
    pub(crate) base_spec: Spec,
    pub(crate) sandboxes: RwLock<BTreeMap<SandboxId, Arc<SandboxObject>>>,
    pub(crate) containers: RwLock<BTreeMap<ContainerId, Arc<ContainerObject>>>,
    /// Names of standalone containers. A name is taken here before slow work begins.
    pub(crate) names: Mutex<HashMap<String, ContainerId>>,
    /// The groups that sandboxes have asked to be below. Kept until their own group is gone.
    pub(crate) group_parents: RwLock<HashMap<SandboxId, String>>,
    /// The places of those who give back what removed containers had, behind the answer.
    pub(crate) cleaning: Arc<Semaphore>,
    /// How many of those that were killed have ended.
    pub(crate) killed: AtomicU64,
    /// Held while volumes are filled from images.
    pub(crate) filling: Mutex<()>,
    /// Dropped with the engine, which ends its background tasks.
    pub(crate) alive: watch::Sender<()>,
}

impl Core {
    pub(crate) fn new(config: EngineConfig) -> Result<Self, EngineError> {
        let layout = Layout { data: config.data_dir.clone(), run: config.run_dir.clone() };
        layout.make()?;
        Ok(Self {
            layout,
            config,
            events: Events::new(),
            base_spec: hako_runtime::spec::default_spec(),
            sandboxes: RwLock::default(),
            containers: RwLock::default(),
            names: Mutex::default(),
            group_parents: RwLock::default(),
            cleaning: Arc::new(Semaphore::new(MOST_CLEANING)),
            killed: AtomicU64::default(),
            filling: Mutex::default(),
            alive: watch::Sender::new(()),
        })
    }

    pub(crate) fn sandbox(&self, id: &SandboxId) -> Result<Arc<SandboxObject>, EngineError> {
        self.sandboxes
            .read()
            .get(id)
            .cloned()
            .ok_or_else(|| EngineError::NoSandbox { name: id.short().to_owned() })
    }

    pub(crate) fn container(&self, id: &ContainerId) -> Result<Arc<ContainerObject>, EngineError> {
        self.containers
            .read()
            .get(id)
            .cloned()
            .ok_or_else(|| EngineError::NoContainer { name: id.short().to_owned() })
    }

    /// The containers of a sandbox.
    pub(crate) fn members(&self, sandbox: &SandboxId) -> Vec<Arc<ContainerObject>> {
        let only = self.sandboxes.read().get(sandbox).and_then(|sandbox| sandbox.container.get().cloned());
        if let Some(only) = only {
            // Not all of them are looked at: each start asks several times.
            return self.containers.read().get(&only).cloned().into_iter().collect();
        }
        self.containers
            .read()
            .values()
            .filter(|container| container.sandbox.id == *sandbox)
            .cloned()
            .collect()
    }

    /// By id, by name, by unique prefix of the id, in this order.
    pub(crate) fn resolve(&self, name: &str) -> Result<ContainerId, EngineError> {
        let name = name.strip_prefix('/').unwrap_or(name);
        let missing = || EngineError::NoContainer { name: name.to_owned() };
        if let Ok(id) = name.parse::<ContainerId>() {
            return self.container(&id).map(|_| id);
        }
        if let Some(id) = self.names.lock().get(name) {
            return self.container(id).map(|found| found.id.clone()).map_err(|_| missing());
        }
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(missing());
        }
        let containers = self.containers.read();
        let mut found = containers.keys().filter(|id| id.as_str().starts_with(name));
        match (found.next(), found.next()) {
            (Some(id), None) => Ok(id.clone()),
            (None, _) => Err(missing()),
            (Some(_), Some(_)) => Err(EngineError::Ambiguous { prefix: name.to_owned() }),
        }
    }

    /// The group of a sandbox, or of a container in it, inside every hierarchy.
    pub(crate) fn cgroup(&self, sandbox: &SandboxId, container: Option<&ContainerId>) -> String {
        let parent = self.group_parents.read().get(sandbox).cloned().unwrap_or_default();
        match container {
            None => format!("{parent}/hako-{}/{sandbox}", self.config.instance),
            Some(container) => format!("{parent}/hako-{}/{sandbox}/{container}", self.config.instance),
        }
    }
}

/// An id that no other object has: 32 random bytes.
pub(crate) fn random_id() -> Result<ContainerId, EngineError> {
    let mut bytes = [0; 32];
    let mut filled = 0;
    while filled < bytes.len() {
        let got = rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty());
        filled +=
            got.map_err(|error| crate::error::io("read random bytes from", "the kernel")(error.into()))?;
    }
    Ok(ContainerId::from_bytes(bytes))
}
