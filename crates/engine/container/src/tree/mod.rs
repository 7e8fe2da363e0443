//! A container's file system as the container sees it, for those outside: copying in and out.
//!
//! ```text
//! running   /proc/PID/root of its first process: its own mounts, as they are now
//! at rest   its overlay with its volumes and binds, mounted in a namespace of this thread only
//! ```
//!
//! Owns: the way to the tree, looking up paths in it. Does not own: archives (hako-image).
//! Invariant: every path is resolved by openat2(2) with RESOLVE_IN_ROOT to a descriptor and used through that alone;
//! nothing is chrooted into, executed or loaded from the tree (CVE-2018-15664, CVE-2019-14271).

mod mounted;
mod owners;
mod path;
mod read;
mod running;
mod write;

pub use path::PathStat;
pub use write::Extraction;

use crate::container::ContainerObject;
use crate::core::Core;
use crate::error::EngineError;
use crate::{ContainerState, Engine};
use hako_error::Result;
use hako_names::ContainerId;
use owners::Owners;
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// A container's root, while somebody works in it.
#[derive(Debug)]
pub struct Tree {
    root: OwnedFd,
    /// The container's name, for error texts.
    container: String,
    /// Who the container's first process is.
    owner: (u32, u32),
    /// Whom ids mean.
    owners: Owners,
}

impl Engine {
    /// Does something with a container's file system, in a thread of its own. A container at rest is not started
    /// meanwhile.
    ///
    /// # Errors
    /// What `work` fails with, or why there is no way to the files.
    pub async fn in_tree<T: Send + 'static>(
        &self,
        id: &ContainerId,
        work: impl FnOnce(&Tree) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (core, container) = (Arc::clone(&self.core), self.core.container(id)?);
        // A task of its own: who gives up waiting does not let a start in while the work goes on.
        let task = tokio::spawn(async move {
            let op = container.op.lock().await;
            let running = match container.state() {
                ContainerState::Running { pid, .. } => Some(pid),
                _ => None,
            };
            let _op = Some(op).filter(|_| running.is_none());
            let _sandbox = match running {
                None if container.standalone() => {
                    let exclusive = container.sandbox.op.write().await;
                    if container.sandbox.live().is_some() {
                        // It has just exited: its own mount of these files goes first.
                        core.take_down(&container.sandbox).await;
                    }
                    Some(exclusive)
                }
                _ => None,
            };
            let object = Arc::clone(&container);
            in_thread(move || work(&core.tree(&object, running)?)).await
        });
        task.await.map_err(|source| EngineError::Task { source })?
    }
}

/// Runs blocking work in a thread that may change its namespaces: it ends with the work.
async fn in_thread<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let run = move || {
        // Who waits may have gone away.
        let _ = sender.send(work());
    };
    let thread = std::thread::Builder::new().name("container-tree".into()).spawn(run);
    thread.map_err(crate::error::io("start a thread for", "a container's files"))?;
    receiver.await.map_err(|_| EngineError::Thread)?
}

impl Core {
    /// Called in a thread of its own.
    fn tree(&self, container: &ContainerObject, running: Option<u32>) -> Result<Tree> {
        let root = match running {
            Some(pid) => self.running_root(container, pid)?,
            None => self.mounted_root(container)?,
        };
        let name = container.status.read().name.clone();
        let owners = Owners::of(container.sandbox.record.users.clone(), running.is_some(), &root)?;
        Ok(Tree { root, container: name, owner: self.owner(container)?, owners })
    }

    fn owner(&self, container: &ContainerObject) -> Result<(u32, u32)> {
        let key = crate::snapshot_key(container.id.as_str());
        let mounts = self.config.images.snapshots().mounts(&key)?;
        let dirs = mounts.upper.iter().chain(&mounts.lower).map(std::path::PathBuf::as_path);
        let layers = crate::layers::Layers::new(dirs);
        let identity = crate::users::resolve(&layers, &container.record.resolved.user, &[], &[])?;
        Ok((identity.uid, identity.gid))
    }
}
