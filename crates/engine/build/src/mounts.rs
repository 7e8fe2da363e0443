//! What `RUN --mount` shows to a step.
//!
//! Everything is put together in a mount namespace of the step's own, inside which the runtime starts: nothing
//! of it shows in the host's mount table, and it ends with the step however that ends. Secrets are only in
//! memory there, never on a disk.

use crate::agent::Forwarded;
use crate::caches::Held;
use crate::copy::{View, send};
use crate::error::BuildError;
use crate::files::{Dress, Source};
use crate::graph::{Input, MountKind, RunMount, RunOp};
use crate::scratch::Scratch;
use crate::shared::Shared;
use crate::solve::Results;
use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{Mount, MountBuilder};
use hako_snapshot::{MountedTree, Snapshotter};
use rustix::fs::{CWD, OFlags, ResolveFlags};
use rustix::mount::{MountPropagationFlags, MoveMountFlags, mount_change, move_mount};
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What secrets of one step may hold together, in bytes.
const SECRETS_SIZE: &str = "size=16m,mode=0700";

/// A step's mounts, kept until it has ended.
#[derive(Default)]
pub(crate) struct Mounts {
    /// What the runtime mounts.
    pub list: Vec<Mount>,
    /// Variables that go with them.
    pub env: Vec<String>,
    /// Trees and where they are to be attached in the step's namespace.
    trees: Vec<(MountedTree, PathBuf)>,
    secrets: Vec<(PathBuf, Vec<u8>, crate::dockerfile::Owner)>,
    secrets_dir: Option<PathBuf>,
    /// Binds whose source exists only in the namespace: the place, the path below it, the target, `ro`.
    late: Vec<(PathBuf, String, String, bool)>,
    held: Vec<Held>,
    agents: Vec<Forwarded>,
    snapshots: Vec<Snapshot>,
    scratch: Option<Scratch>,
}

/// A writable snapshot whose changes nobody keeps.
struct Snapshot {
    snapshots: Arc<dyn Snapshotter>,
    key: String,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        let _ = self.snapshots.remove(&self.key);
    }
}

fn invalid(message: String) -> Error {
    Error::new(Kind::Invalid, message)
}

impl Mounts {
    /// Gets everything ready that a step's flags ask for.
    pub(crate) fn prepare(shared: &Shared, run: &RunOp, results: &Results) -> Result<Self> {
        let mut mounts = Self::default();
        if run.mounts.is_empty() && run.script.is_none() {
            return Ok(mounts);
        }
        let scratch = Scratch::new(&shared.scratch)?;
        let dir = scratch.path().to_owned();
        mounts.scratch = Some(scratch);
        if let Some((name, content)) = &run.script {
            mounts.script(&dir, name, content)?;
        }
        // In one order for everybody: two steps with the same two locked caches must not wait for each other.
        let mut order: Vec<usize> = (0..run.mounts.len()).collect();
        order.sort_by_key(|index| cache_id(&run.mounts[*index]));
        let mut held: Vec<(usize, Held)> = Vec::new();
        for index in order {
            if let MountKind::Cache { id, sharing, .. } = &run.mounts[index].kind {
                held.push((index, shared.caches.hold(id, *sharing, &shared.cancel)?));
            }
        }
        for (index, mount) in run.mounts.iter().enumerate() {
            let at = held.iter().position(|(of, _)| *of == index);
            let cache = at.map(|at| held.swap_remove(at).1);
            mounts.add(shared, results, mount, &dir.join(index.to_string()), cache)?;
        }
        Ok(mounts)
    }

    fn add(
        &mut self,
        shared: &Shared,
        results: &Results,
        mount: &RunMount,
        dir: &Path,
        cache: Option<Held>,
    ) -> Result<()> {
        match &mount.kind {
            MountKind::Bind { input, source, is_read_only, .. } => {
                self.bind(shared, results, mount, input, source, *is_read_only, dir)
            }
            MountKind::Cache { id, input, source, is_read_only, owner, .. } => {
                let Some(held) = cache else {
                    return Err(Error::new(Kind::Internal, "a cache was not taken"));
                };
                if held.is_new {
                    let data = held.data();
                    if !crate::exchange::fill(shared, id, &data)? {
                        fill(shared, results, input.as_ref(), source, &data)?;
                    }
                    dress(&data, *owner)?;
                }
                self.list.push(bind(&held.data(), &mount.target, *is_read_only)?);
                self.held.push(held);
                Ok(())
            }
            MountKind::Tmpfs { size_bytes, is_read_only } => {
                self.list.push(tmpfs(&mount.target, *size_bytes, *is_read_only)?);
                Ok(())
            }
            MountKind::Secret { id, env, is_required, owner } => {
                let Some(secret) = shared.lent.secret(id)? else {
                    return missing(*is_required, &format!("--secret id={id}"), "secret", id);
                };
                if let Some(env) = env {
                    self.env.push(format!("{env}={}", String::from_utf8_lossy(&secret.0)));
                }
                if !mount.target.is_empty() {
                    let secrets = dir.with_file_name("secrets");
                    let file = secrets.join(self.secrets.len().to_string());
                    self.late.push((file.clone(), String::new(), mount.target.clone(), true));
                    self.secrets.push((file, secret.0, *owner));
                    self.secrets_dir = Some(secrets);
                }
                Ok(())
            }
            MountKind::Ssh { id, is_required, owner } => {
                let Some(agent) = shared.lent.ssh_agent(id)? else {
                    return missing(*is_required, &format!("--ssh {id}"), "ssh agent", id);
                };
                let socket = dir.with_extension("sock");
                self.agents.push(Forwarded::listen(&socket, &agent, *owner)?);
                self.list.push(bind(&socket, &mount.target, false)?);
                if !self.env.iter().any(|pair| pair.starts_with("SSH_AUTH_SOCK=")) {
                    self.env.push(format!("SSH_AUTH_SOCK={}", mount.target));
                }
                Ok(())
            }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "a bind is what all of these say")]
    fn bind(
        &mut self,
        shared: &Shared,
        results: &Results,
        mount: &RunMount,
        input: &Input,
        source: &str,
        is_read_only: bool,
        dir: &Path,
    ) -> Result<()> {
        match input {
            // A copy: without what .dockerignore leaves out, owned by root, and free to be written to.
            Input::Files(files) => {
                fs::create_dir_all(dir).map_err(BuildError::io("create", dir))?;
                let path = materialise(files, source, dir)?;
                self.list.push(bind(&path, &mount.target, is_read_only)?);
                Ok(())
            }
            Input::Node(node) => {
                self.layers(shared, &results.layers(*node)?, source, mount, is_read_only, dir)
            }
            Input::Scratch => self.layers(shared, &[], source, mount, is_read_only, dir),
            Input::File(_) => Err(invalid("a bind takes a directory".into())),
        }
    }

    fn layers(
        &mut self,
        shared: &Shared,
        layers: &[hako_image::Layer],
        source: &str,
        mount: &RunMount,
        is_read_only: bool,
        dir: &Path,
    ) -> Result<()> {
        fs::create_dir_all(dir).map_err(BuildError::io("create", dir))?;
        let snapshots = shared.images.snapshots().clone();
        let parent = shared.images.unpack_layers(layers)?;
        let key = crate::step::fresh_key();
        let view = if is_read_only {
            snapshots.view(&key, parent.as_deref())?
        } else {
            snapshots.prepare(&key, parent.as_deref())?
        };
        self.snapshots.push(Snapshot { snapshots: snapshots.clone(), key });
        self.trees.push((snapshots.mounted_unsynced(&view)?, dir.to_owned()));
        self.late.push((dir.to_owned(), source.to_owned(), mount.target.clone(), is_read_only));
        Ok(())
    }

    fn script(&mut self, dir: &Path, name: &str, content: &str) -> Result<()> {
        let path = dir.join("script");
        fs::write(&path, content).map_err(BuildError::io("write", &path))?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
            .map_err(BuildError::io("change", &path))?;
        self.list.push(bind(&path, &format!("{}/{name}", crate::dockerfile::SCRIPTS), true)?);
        Ok(())
    }

    /// All places that a step's mounts are at.
    pub(crate) fn targets(&self) -> Vec<PathBuf> {
        let late = self.late.iter().map(|(_, _, target, _)| PathBuf::from(target));
        self.list.iter().map(|mount| mount.destination().clone()).chain(late).collect()
    }

    /// Runs `work` where the mounts are to be seen, with the list of what the runtime is to mount.
    pub(crate) fn inside<T: Send>(&self, work: impl FnOnce(Vec<Mount>) -> Result<T> + Send) -> Result<T> {
        if self.late.is_empty() {
            return work(self.list.clone());
        }
        std::thread::scope(|scope| {
            let inside = scope.spawn(|| {
                self.enter()?;
                let mut list = self.list.clone();
                for (place, below, target, is_read_only) in &self.late {
                    list.push(bind(&resolve(place, below)?, target, *is_read_only)?);
                }
                work(list)
            });
            match inside.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        })
    }

    /// Gives this thread a mount namespace with everything in its place.
    fn enter(&self) -> Result<()> {
        let failed = |source: std::io::Error| {
            Error::new(Kind::Internal, "cannot make the mounts of a step").with_source(source)
        };
        hako_sys::unshare(hako_sys::CloneFlags::NEWNS).map_err(failed)?;
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
            .map_err(|error| failed(error.into()))?;
        for (tree, place) in &self.trees {
            move_mount(tree, "", CWD, place, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
                .map_err(|error| failed(error.into()))?;
        }
        if let Some(dir) = &self.secrets_dir {
            fs::create_dir_all(dir).map_err(failed)?;
            nix::mount::mount(
                Some("tmpfs"),
                dir,
                Some("tmpfs"),
                nix::mount::MsFlags::empty(),
                Some(SECRETS_SIZE),
            )
            .map_err(|error| failed(error.into()))?;
        }
        for (path, value, owner) in &self.secrets {
            let mut file =
                File::options().write(true).create_new(true).mode(0o600).open(path).map_err(failed)?;
            file.write_all(value).map_err(failed)?;
            file.set_permissions(fs::Permissions::from_mode(owner.mode)).map_err(failed)?;
            chown(path, Some(owner.uid), Some(owner.gid)).map_err(failed)?;
        }
        Ok(())
    }
}

fn cache_id(mount: &RunMount) -> Option<&str> {
    match &mount.kind {
        MountKind::Cache { id, .. } => Some(id),
        _ => None,
    }
}

fn missing(is_required: bool, flag: &str, what: &str, id: &str) -> Result<()> {
    if is_required {
        return Err(invalid(format!(
            "the step needs the {what} {id:?}, and the build has none: give {flag}"
        )));
    }
    Ok(())
}

fn tmpfs(target: &str, size_bytes: Option<u64>, is_read_only: bool) -> Result<Mount> {
    let mut options = vec!["nosuid".to_owned(), "nodev".to_owned()];
    options.extend(is_read_only.then(|| "ro".to_owned()));
    options.extend(size_bytes.map(|size| format!("size={size}")));
    let built =
        MountBuilder::default().destination(target).source("tmpfs").typ("tmpfs").options(options).build();
    built.map_err(incomplete)
}

fn incomplete(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(Kind::Internal, "a mount is incomplete").with_source(error)
}

fn bind(source: &Path, target: &str, is_read_only: bool) -> Result<Mount> {
    let mut options = vec!["rbind".to_owned(), "rprivate".to_owned()];
    if is_read_only {
        options.push("ro".into());
    }
    let built =
        MountBuilder::default().destination(target).source(source).typ("bind").options(options).build();
    built.map_err(incomplete)
}

/// Where `below` is inside the tree at `place`, links taken as in a root of their own.
fn resolve(place: &Path, below: &str) -> Result<PathBuf> {
    let below = crate::files::clean(below);
    if below.is_empty() {
        return Ok(place.to_owned());
    }
    let root = File::open(place).map_err(BuildError::io("open", place))?;
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = hako_sys::open_resolved(&root, &below, OFlags::PATH, resolve)
        .map_err(|_| invalid(format!("there is no {below:?} to mount")))?;
    let real = fs::read_link(format!("/proc/thread-self/fd/{}", found.as_raw_fd()));
    Ok(real.map_err(BuildError::io("find", &below))?)
}

/// Copies what `source` names into `dir`; returns where it is then.
fn materialise(files: &Source, source: &str, dir: &Path) -> Result<PathBuf> {
    let mut selected = files.select(source, &[], false, "")?;
    let (Some(one), true) = (selected.pop(), selected.is_empty()) else {
        return Err(invalid(format!("{source:?} names several files, a mount has one source")));
    };
    let root = File::open(dir).map_err(BuildError::io("open", dir))?;
    let is_dir = one.files.first().is_some_and(|file| file.metadata.is_dir());
    let name: &[u8] = if is_dir { b"" } else { b"file" };
    send(&root, |tar| files.pack(&one.files, &Dress::default(), name, tar))?;
    Ok(if is_dir { dir.to_owned() } else { dir.join("file") })
}

/// Gives a new cache the mode and owner that its step asks for.
fn dress(data: &Path, owner: crate::dockerfile::Owner) -> Result<(), BuildError> {
    fs::set_permissions(data, fs::Permissions::from_mode(owner.mode))
        .and_then(|()| chown(data, Some(owner.uid), Some(owner.gid)))
        .map_err(BuildError::io("change", data))
}

/// What a new cache starts with.
fn fill(shared: &Shared, results: &Results, input: Option<&Input>, source: &str, data: &Path) -> Result<()> {
    match input {
        Some(Input::Files(files)) => materialise(files, source, data).map(drop),
        Some(Input::Node(node)) => {
            let view = View::open(shared, &results.layers(*node)?)?;
            materialise(&view.source, source, data).map(drop)
        }
        _ => Ok(()),
    }
}
