//! From a spec and a group's name to what a shim is asked: the group is made and limited, the plan is written.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use hako_cgroup::{Cgroup, CgroupRoot, Version};
use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{Hook, Hooks, Mount, Process, Spec};

use crate::launch::plan_file;
use crate::plan::{
    ContainerPlan, ExecPlan, Surroundings, container_plan, limits, process_plan, strip_sandbox_namespaces,
};
use crate::types::{Rootfs, Stdio};
use crate::wire::Create;

/// The hierarchies of this machine, found once: they do not change while a process runs.
pub(crate) fn cgroup_root() -> Result<&'static CgroupRoot> {
    static ROOT: OnceLock<CgroupRoot> = OnceLock::new();
    if let Some(root) = ROOT.get() {
        return Ok(root);
    }
    let root = CgroupRoot::detect()?;
    Ok(ROOT.get_or_init(|| root))
}

/// The directories a mount of type cgroup shows.
pub(crate) fn cgroup_views(root: &CgroupRoot, path: &str) -> Vec<(String, PathBuf)> {
    let inside = &path[1..];
    if let (Version::V2, Some(unified)) = (root.version(), root.unified()) {
        return vec![(String::new(), unified.mount.join(inside))];
    }
    let views = root.hierarchies().iter().map(|one| (&one.mount, one.mount.join(inside)));
    let views = views.filter(|(_, directory)| directory.is_dir());
    views
        .map(|(mount, directory)| {
            (mount.file_name().unwrap_or_default().to_string_lossy().into_owned(), directory)
        })
        .collect()
}

/// Whether a container sees its groups: then it has one in each hierarchy, as programs expect that look for theirs.
/// Without, only those count that limit it, for each costs a directory and a migration at every start.
fn shows_groups(spec: &Spec) -> bool {
    let is_groups = |mount: &Mount| matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"));
    spec.mounts().iter().flatten().any(is_groups)
}

/// The group of version 2, if there is one.
pub(crate) fn unified_directory(root: &CgroupRoot, group: &Cgroup) -> Option<PathBuf> {
    let unified = root.unified()?;
    Some(unified.mount.join(&group.path()[1..]))
}

/// A container ready to be launched.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub plan: ContainerPlan,
    pub seccomp: std::sync::Arc<[hako_sys::SeccompInstruction]>,
    pub create: Create,
}

/// Makes the group and the plan. On failure the group is removed again.
pub(crate) fn prepare(
    id: &str,
    mut spec: Spec,
    rootfs: Rootfs,
    cgroup: &str,
    stdio: Stdio,
    mountpoint: &Path,
    is_in_sandbox: bool,
) -> Result<Prepared> {
    if is_in_sandbox {
        strip_sandbox_namespaces(&mut spec);
    }
    let root = cgroup_root()?;
    let group = match shows_groups(&spec) {
        true => root.create_everywhere(cgroup)?,
        false => root.create(cgroup)?,
    };
    let result = with_group(id, &spec, rootfs, root, &group, stdio, mountpoint);
    if result.is_err() {
        // The first error is the one to tell.
        let _left_behind = group.delete();
    }
    result
}

fn with_group(
    id: &str,
    spec: &Spec,
    rootfs: Rootfs,
    root: &CgroupRoot,
    group: &Cgroup,
    stdio: Stdio,
    mountpoint: &Path,
) -> Result<Prepared> {
    group.set(&limits(spec)?)?;
    let around = Surroundings {
        cgroup_dirs: group.v1_paths(),
        cgroup_views: cgroup_views(root, group.path()),
        mountpoint: mountpoint.to_owned(),
        tty: stdio.tty,
        tty_size: stdio.size,
    };
    let (mut plan, seccomp) = container_plan(spec, rootfs, around)?;
    plan.hook_state = serde_json::json!({"ociVersion": spec.version(), "id": id, "bundle": ""}).to_string();
    plan.waits_for_hooks = has_hooks_before_create(spec);
    let create = Create {
        id: id.to_owned(),
        clone: plan.namespaces.clone,
        join_pid: plan.namespaces.join_pid.clone(),
        unified: unified_directory(root, group),
        cgroup: group.path().to_owned(),
        oom: group.oom_file(),
        stdio,
        joins_pid: false,
        has_empty: false,
    };
    Ok(Prepared { plan, seccomp, create })
}

/// Hooks find their container's specification in a bundle, as those of vendors expect. Without hooks nothing is written.
/// `root` is where the root is for those that run in the container.
pub(crate) fn write_bundle(prepared: &mut Prepared, spec: &Spec, bundle: &Path, root: &Path) -> Result<()> {
    if spec.hooks().as_ref().is_none_or(|hooks| *hooks == Hooks::default()) {
        return Ok(());
    }
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
        let text = format!("cannot write the bundle {}", bundle.display());
        Error::new(Kind::Internal, text).with_source(error)
    };
    let mut described = spec.clone();
    let mut place = described.root().clone().unwrap_or_default();
    place.set_path(root.to_owned());
    described.set_root(Some(place));
    std::fs::create_dir_all(bundle).map_err(|error| failed(error.into()))?;
    let text = serde_json::to_vec(&described).map_err(|error| failed(error.into()))?;
    std::fs::write(bundle.join("config.json"), text).map_err(|error| failed(error.into()))?;
    let id = &prepared.create.id;
    let annotations = spec.annotations().clone().unwrap_or_default();
    let state = serde_json::json!({
        "ociVersion": spec.version(), "id": id, "bundle": bundle, "annotations": annotations,
    });
    prepared.plan.hook_state = state.to_string();
    Ok(())
}

pub(crate) fn has_hooks_before_create(spec: &Spec) -> bool {
    let hooks = spec.hooks().as_ref();
    let any = |list: &Option<Vec<Hook>>| list.as_ref().is_some_and(|list| !list.is_empty());
    hooks.is_some_and(|hooks| any(hooks.prestart()) || any(hooks.create_runtime()))
}

impl Prepared {
    /// The plan as a descriptor.
    pub fn plan_file(&self) -> Result<OwnedFd> {
        plan_file(&self.plan, &self.seccomp)
    }
}

/// An exec's plan as a descriptor. The profile is the container's, unless the caller has none.
pub(crate) fn exec_plan_file(
    process: &Process,
    cgroup: &str,
    profile: Option<&hako_oci::runtime::LinuxSeccomp>,
) -> Result<OwnedFd> {
    let group = cgroup_root()?.open(cgroup)?;
    let seccomp = match profile {
        Some(profile) => crate::seccomp::program(profile)?,
        None => std::sync::Arc::from([]),
    };
    let process = process_plan(process, 0, !seccomp.is_empty())?;
    let plan = ExecPlan { cgroup_dirs: group.v1_paths(), process };
    plan_file(&plan, &seccomp)
}

/// Removes a group, killing what is left in it. What does not exist is removed.
pub(crate) fn remove_group(path: &str) -> Result<()> {
    let group = match cgroup_root()?.open(path) {
        Ok(group) => group,
        Err(hako_cgroup::CgroupError::NotFound { .. }) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if group.delete_empty()? {
        return Ok(());
    }
    group.kill_all()?;
    group.delete()?;
    Ok(())
}

/// Runs blocking work of the client off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::new(Kind::Internal, "work for a shim was cut off").with_source(error)),
    }
}
