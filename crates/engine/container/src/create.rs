//! Making a container: image, snapshot, volumes, record. Nothing of it runs yet.

use crate::container::ContainerObject;
use crate::core::{Core, random_id};
use crate::error::{EngineError, blocking, io};
use crate::record::{self, ContainerRecord, ContainerStatus, SandboxRecord};
use crate::sandbox::SandboxObject;
use crate::{
    Action, Below, ContainerSpec, ContainerState, ImageSource, Mount, MountSource, Resolved, SandboxId,
    SandboxSpec,
};
use hako_error::Result;
use hako_image::Image;
use hako_names::ContainerId;
use jiff::Timestamp;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The key of a container's snapshot, where all that it changed of its image is.
#[must_use]
pub fn snapshot_key(id: &str) -> String {
    format!("{SNAPSHOT_PREFIX}{id}")
}

/// The key under which the files of a mounted image are kept.
fn view_key(id: &ContainerId, index: usize) -> String {
    format!("{}.m{index}", snapshot_key(id.as_str()))
}

/// What tells our snapshots from those of others.
pub(crate) const SNAPSHOT_PREFIX: &str = "container-";

/// A taken name, given back unless kept.
struct NameGuard<'a> {
    core: &'a Core,
    name: Option<String>,
}

impl Drop for NameGuard<'_> {
    fn drop(&mut self) {
        if let Some(name) = self.name.take() {
            self.core.names.lock().remove(&name);
        }
    }
}

impl Core {
    pub(crate) async fn create_in(
        self: &Arc<Self>,
        sandbox: &SandboxId,
        spec: ContainerSpec,
    ) -> Result<ContainerId> {
        let sandbox = self.sandbox(sandbox)?;
        if sandbox.record.standalone {
            return Err(EngineError::Standalone { id: sandbox.id.short().to_owned() }.into());
        }
        let _shared = sandbox.op.read().await;
        sandbox.usable()?;
        let id = random_id()?;
        let container = self.make_container(id, Arc::clone(&sandbox), spec).await?;
        Ok(self.publish(container))
    }

    pub(crate) async fn create_standalone(
        self: &Arc<Self>,
        mut sandbox: SandboxSpec,
        mut spec: ContainerSpec,
    ) -> Result<ContainerId> {
        crate::sandbox::check_sysctls(&sandbox)?;
        let id = random_id()?;
        let mut name = match spec.name.is_empty() {
            true => self.take_any_name(&id)?,
            false => self.take_name(&spec.name, &id)?,
        };
        spec.name = name.name.clone().unwrap_or_default();
        let hostname = match (&sandbox.share.net, sandbox.hostname.is_empty()) {
            (Some(other), _) => self.container(other)?.sandbox.record.hostname.clone(),
            (None, true) => id.short().to_owned(),
            (None, false) => sandbox.hostname.clone(),
        };
        if sandbox.name.is_empty() {
            sandbox.name.clone_from(&spec.name);
        }
        let users = self.config.users.clone().filter(|_| sandbox.remapped);
        self.check_donors(&sandbox, users.is_some())?;
        let record = SandboxRecord {
            spec: Arc::new(sandbox),
            created_at: Timestamp::now(),
            standalone: true,
            hostname,
            users,
        };
        let sandbox = self.prepare_sandbox(SandboxId(random_id()?), record)?;
        match self.make_container(id, Arc::clone(&sandbox), spec).await {
            Ok(container) => {
                name.name = None;
                Ok(self.publish(container))
            }
            Err(error) => {
                self.discard_sandbox(&sandbox).await?;
                Err(error)
            }
        }
    }

    /// Takes the first name that is free of those there are for `id`.
    fn take_any_name(&self, id: &ContainerId) -> Result<NameGuard<'_>, EngineError> {
        let mut taken = Err(EngineError::NameTaken { name: id.to_string(), id: id.to_string() });
        for name in crate::names::of(id.as_str()) {
            taken = self.take_name(&name, id);
            if !matches!(taken, Err(EngineError::NameTaken { .. })) {
                break;
            }
        }
        taken
    }

    /// Takes a name for `id`, or says who has it.
    fn take_name(&self, name: &str, id: &ContainerId) -> Result<NameGuard<'_>, EngineError> {
        check_name(name)?;
        let mut names = self.names.lock();
        if let Some(holder) = names.get(name) {
            return Err(EngineError::NameTaken { name: name.to_owned(), id: holder.to_string() });
        }
        names.insert(name.to_owned(), id.clone());
        Ok(NameGuard { core: self, name: Some(name.to_owned()) })
    }

    pub(crate) async fn rename(&self, id: &ContainerId, name: &str) -> Result<()> {
        let container = self.container(id)?;
        let _op = container.op.lock().await;
        container.stays()?;
        if container.status.read().name == name {
            return Err(EngineError::SameName.into());
        }
        let mut taken = self.take_name(name, id)?;
        let old = container.status.read().name.clone();
        container.record_name(name)?;
        hako_sys::failpoint!("container.rename.recorded");
        if let Err(error) = self.rename_endpoints(&container.sandbox, &old, name) {
            container.change(|status, _| status.name = old);
            return Err(error);
        }
        taken.name = None;
        self.names.lock().remove(&old);
        hako_sys::failpoint!("container.rename.known");
        self.container_event(&container, Action::Rename { old });
        Ok(())
    }

    fn publish(&self, container: Arc<ContainerObject>) -> ContainerId {
        let id = container.id.clone();
        self.containers.write().insert(id.clone(), Arc::clone(&container));
        self.container_event(&container, Action::Create);
        id
    }

    async fn make_container(
        self: &Arc<Self>,
        id: ContainerId,
        sandbox: Arc<SandboxObject>,
        spec: ContainerSpec,
    ) -> Result<Arc<ContainerObject>> {
        let core = Arc::clone(self);
        blocking(move || {
            let mut anonymous = Vec::new();
            let made = core.make_container_now(&id, sandbox, spec, &mut anonymous);
            if made.is_err() {
                core.unmake(&id, &anonymous);
            }
            made
        })
        .await
    }

    fn make_container_now(
        &self,
        id: &ContainerId,
        sandbox: Arc<SandboxObject>,
        mut spec: ContainerSpec,
        anonymous: &mut Vec<String>,
    ) -> Result<Arc<ContainerObject>> {
        let images = &self.config.images;
        let image = match &spec.image {
            ImageSource::Name(name) => images.resolve(name)?,
            ImageSource::Id(id) => images.find(id)?,
        };
        let resolved = resolved(&spec, &image)?;
        let pin = image.chain_id().map(|chain| images.pin(&chain));
        let parent = images.unpack(&image)?;
        let rootfs = images.snapshots().prepare(&snapshot_key(id.as_str()), parent.as_deref())?;
        drop(pin);
        hako_sys::failpoint!("container.create.snapshot");
        let dir = self.layout.containers().join(id.as_str());
        std::fs::create_dir_all(dir.join("log")).map_err(io("make directory", &dir))?;
        hako_sys::failpoint!("container.create.directory");
        self.make_volumes(&dir, &mut spec, &image, anonymous)?;
        hako_sys::failpoint!("container.create.volumes");
        let rootfs = self.with_base(rootfs, sandbox.record.standalone);
        self.populate_volumes(&spec, &rootfs, sandbox.record.users.as_ref())?;
        self.view_images(id, &spec)?;
        hako_sys::failpoint!("container.create.views");
        let status = ContainerStatus {
            name: spec.name.clone(),
            state: ContainerState::Created,
            restart_count: 0,
            ended_at: None,
            stopped_by_caller: false,
            paused: false,
            resources: spec.resources.clone(),
            restart: None,
        };
        let record = ContainerRecord {
            sandbox: sandbox.id.clone(),
            spec: Arc::new(spec),
            resolved: Arc::new(resolved),
            created_at: Timestamp::now(),
            anonymous_volumes: anonymous.clone(),
        };
        record::write(&dir.join("state.json"), &status)?;
        hako_sys::failpoint!("container.create.status");
        record::write(&dir.join("container.json"), &record)?;
        hako_sys::failpoint!("container.create.record");
        Ok(Arc::new(ContainerObject::new(id.clone(), sandbox, dir, record, status)))
    }

    /// Makes the volumes that mounts name, and one for each of the image's `VOLUME` paths where that is wanted.
    /// `anonymous` gets those without a name, which are written into `dir` before they are made.
    fn make_volumes(
        &self,
        dir: &Path,
        spec: &mut ContainerSpec,
        image: &Image,
        anonymous: &mut Vec<String>,
    ) -> Result<()> {
        if spec.image_volumes {
            let declared = image
                .config
                .config()
                .as_ref()
                .and_then(|config| config.volumes().clone())
                .unwrap_or_default();
            for target in declared.into_iter().map(PathBuf::from) {
                if !spec.mounts.iter().any(|mount| mount.target == target) {
                    let source = MountSource::volume("");
                    spec.mounts.push(Mount {
                        target,
                        source,
                        read_only: false,
                        below: Below::default(),
                        subpath: String::new(),
                    });
                }
            }
        }
        for mount in &mut spec.mounts {
            if let MountSource::Volume { name, .. } = &mut mount.source
                && name.is_empty()
            {
                *name = random_id()?.to_string();
                anonymous.push(name.clone());
            }
        }
        if !anonymous.is_empty() {
            record::write(&dir.join(record::ANONYMOUS), anonymous)?;
        }
        hako_sys::failpoint!("container.create.anonymous");
        for mount in &spec.mounts {
            if let MountSource::Volume { name, new } = &mount.source {
                self.ensure_volume(name, new)?;
            }
        }
        Ok(())
    }

    /// Keeps the files of the images that are mounted.
    fn view_images(&self, id: &ContainerId, spec: &ContainerSpec) -> Result<()> {
        let images = &self.config.images;
        for (index, mount) in spec.mounts.iter().enumerate() {
            let MountSource::Image { name } = &mount.source else { continue };
            let image = images.find(name).map_err(|error| match error.is_not_found() {
                true => EngineError::NoImage { name: name.clone() }.into(),
                false => error,
            })?;
            let pin = image.chain_id().map(|chain| images.pin(&chain));
            let parent = images.unpack(&image)?;
            images.snapshots().view(&view_key(id, index), parent.as_deref())?;
            drop(pin);
        }
        Ok(())
    }

    /// The layers of each image that is mounted, by the mount's place in the list.
    pub(crate) fn image_layers(
        &self,
        id: &ContainerId,
        spec: &ContainerSpec,
    ) -> Result<Vec<(usize, Vec<PathBuf>)>> {
        let images = spec.mounts.iter().enumerate();
        let images = images.filter(|(_, mount)| matches!(mount.source, MountSource::Image { .. }));
        let layers =
            |(index, _)| Ok((index, self.config.images.snapshots().mounts(&view_key(id, index))?.lower));
        images.map(layers).collect()
    }

    fn remove_views(&self, id: &ContainerId) -> Result<()> {
        let snapshots = self.config.images.snapshots();
        let own = format!("{}.", snapshot_key(id.as_str()));
        let mut views = snapshots.list().into_iter().filter(|info| info.name.starts_with(&own));
        views.try_for_each(|info| snapshots.remove(&info.name))
    }

    /// Undoes what a container has outside of any shim. Best effort: the next open looks for the rest.
    pub(crate) fn unmake(&self, id: &ContainerId, volumes: &[String]) {
        let removed = match self.config.images.snapshots().remove(&snapshot_key(id.as_str())) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        };
        hako_sys::failpoint!("container.remove.snapshot");
        let views = self.remove_views(id);
        hako_sys::failpoint!("container.remove.views");
        // One that another container has taken over (`--volumes-from`) stays with it.
        let unused = volumes.iter().filter(|name| self.volume_user(name).is_none());
        let volumes = unused.map(|name| self.delete_volume(name)).collect::<Result<Vec<_>, _>>();
        let volumes = volumes.map(drop).map_err(hako_error::Error::from);
        hako_sys::failpoint!("container.remove.volumes");
        // Last, for they say which volumes go.
        let trash = |mark: &str| self.layout.trash().join(format!("{mark}-{id}"));
        let dirs = [self.layout.containers().join(id.as_str()), trash("c"), trash("v")];
        let trees = dirs.iter().try_for_each(|dir| record::remove_tree(dir)).map_err(hako_error::Error::from);
        hako_sys::failpoint!("container.remove.trees");
        for error in [removed, views, trees, volumes].into_iter().filter_map(Result::err) {
            tracing::warn!(container = id.short(), error = %error.chain(), "not all of a container was removed");
        }
    }
}

fn resolved(spec: &ContainerSpec, image: &Image) -> Result<Resolved> {
    let merged = crate::resolve::merge(spec, &image.config)?;
    Ok(Resolved { image_id: image.id.to_string(), image_digest: image.manifest_digest.to_string(), ..merged })
}

/// Docker's grammar of names.
fn check_name(name: &str) -> Result<(), EngineError> {
    let is_valid = name.len() >= 2
        && name.len() <= 255
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
    if is_valid { Ok(()) } else { Err(EngineError::BadName { name: name.to_owned() }) }
}
