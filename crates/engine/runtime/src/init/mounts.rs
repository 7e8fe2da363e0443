//! One mount at a time, from a detached mount to a descriptor inside the root.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hako_sys::{MountAttributes, open_in_root, open_or_create_in_root, set_attributes};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use super::error::{InitError, failed};
use crate::plan::{IN_PROC, MountIds, MountPlan, MountSource};

/// Puts a detached mount on what `target` refers to.
pub(super) fn attach(tree: BorrowedFd<'_>, target: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", target, "", flags)
}

/// What a mount shows, before it has a place.
#[derive(Debug)]
pub(super) enum Taken {
    /// A mount, and whether it is a directory.
    Tree(OwnedFd, bool),
    /// The container's groups, in the plan's order.
    Groups(Vec<OwnedFd>),
}

fn doing(plan: &MountPlan) -> String {
    match &plan.source {
        MountSource::Bind { path, .. } => {
            format!("cannot mount {} at {}", path.display(), plan.target.display())
        }
        _ => format!("cannot mount {}", plan.target.display()),
    }
}

/// Takes what the host has; `None` for what the container makes itself.
pub(super) fn take(plan: &MountPlan) -> Result<Option<Taken>, InitError> {
    let own = MountAttributes::new(plan.set, plan.clear);
    match &plan.source {
        MountSource::Bind { path, recursive } => {
            let (tree, is_directory) = bind(path, *recursive, plan.below.as_deref())?;
            if let Some(map) = &plan.id_map {
                map_ids(tree.as_fd(), map, plan)?;
            }
            set_attributes(tree.as_fd(), &own, false).map_err(failed(doing(plan)))?;
            Ok(Some(Taken::Tree(tree, is_directory)))
        }
        MountSource::Cgroup(views) => {
            let one = |(_, directory): &(String, std::path::PathBuf)| {
                let (tree, _) = bind(directory, false, None)?;
                set_attributes(tree.as_fd(), &own, false).map_err(failed(doing(plan)))?;
                Ok(tree)
            };
            Ok(Some(Taken::Groups(views.iter().map(one).collect::<Result<_, _>>()?)))
        }
        MountSource::FileSystem { .. } => Ok(None),
    }
}

/// Makes a file system of its own.
pub(super) fn make(plan: &MountPlan) -> Result<Taken, InitError> {
    let MountSource::FileSystem { kind, source, parameters } = &plan.source else {
        return Err(InitError::new(doing(plan)));
    };
    let whole = file_system(kind, source.as_deref(), parameters, plan)?;
    match &plan.below {
        None => Ok(Taken::Tree(whole, true)),
        Some(below) => {
            part(whole.as_fd(), below, false).map(|(tree, is_directory)| Taken::Tree(tree, is_directory))
        }
    }
}

/// File systems that a user namespace may mount; what is behind the others is the host's.
pub(super) fn is_own_kind(kind: &str) -> bool {
    matches!(kind, "proc" | "sysfs" | "tmpfs" | "ramfs" | "devpts" | "mqueue" | "cgroup" | "cgroup2" | "fuse")
}

/// The ids that files have in this mount.
fn map_ids(tree: BorrowedFd<'_>, map: &MountIds, plan: &MountPlan) -> Result<(), InitError> {
    let namespace = crate::user::new_mapping(&map.map).map_err(failed(doing(plan)))?;
    hako_sys::map_ids(tree, namespace.as_fd(), map.recursive).map_err(failed(format!(
        "{}: cannot map its ids; has the file system mapped mounts, and the kernel (Linux 5.12)?",
        doing(plan)
    )))
}

/// A mount that others may be put into. It becomes read-only when all are there, as runc does it.
#[derive(Debug)]
pub(super) struct Unfinished<'a> {
    tree: OwnedFd,
    plan: &'a MountPlan,
}

impl Unfinished<'_> {
    pub fn finish(&self) -> Result<(), InitError> {
        set_attributes(self.tree.as_fd(), &MountAttributes::read_only(), false)
            .map_err(failed(format!("cannot make {} read-only", self.plan.target.display())))
    }
}

/// Whether places for other mounts are made in it although it is to be read-only.
fn is_finished_late(plan: &MountPlan) -> bool {
    let is_memory = matches!(&plan.source, MountSource::FileSystem { kind, .. } if kind == "tmpfs");
    is_memory && plan.set & MountAttributes::RDONLY != 0
}

/// The same mount, to be written for now.
fn writable(plan: &MountPlan) -> MountPlan {
    MountPlan { set: plan.set & !MountAttributes::RDONLY, ..plan.clone() }
}

/// Carries out one mount.
pub(super) fn mount<'a>(
    root: BorrowedFd<'_>,
    plan: &'a MountPlan,
    taken: Option<Taken>,
) -> Result<Option<Unfinished<'a>>, InitError> {
    let is_late = is_finished_late(plan);
    let taken = match taken {
        Some(taken) => taken,
        None if is_late => make(&writable(plan))?,
        None => make(plan)?,
    };
    let (tree, is_directory) = match (taken, &plan.source) {
        (Taken::Tree(tree, is_directory), _) => (tree, is_directory),
        (Taken::Groups(trees), MountSource::Cgroup(views)) => return cgroup(root, plan, views, &trees),
        (Taken::Groups(_), _) => return Err(InitError::new(doing(plan))),
    };
    let target = target_of(root, plan, is_directory)?;
    stays_out_of_proc(tree.as_fd(), target.as_fd(), plan)?;
    if let MountSource::Bind { path, .. } = &plan.source {
        same_kind(target.as_fd(), is_directory, path, &plan.target)?;
    }
    let below = MountAttributes::new(plan.recursive_set, plan.recursive_clear);
    set_attributes(tree.as_fd(), &below, true).map_err(failed(doing(plan)))?;
    attach(tree.as_fd(), target.as_fd()).map_err(failed(doing(plan)))?;
    propagate(tree.as_fd(), plan)?;
    Ok(is_late.then_some(Unfinished { tree, plan }))
}

/// The plan refused targets that are named inside /proc; here a link of the image is found that leads there, and a
/// bind onto /proc that is no procfs.
fn stays_out_of_proc(
    tree: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    plan: &MountPlan,
) -> Result<(), InitError> {
    let is_proc =
        |fd: BorrowedFd<'_>| rustix::fs::fstatfs(fd).is_ok_and(|found| found.f_type == PROC_SUPER_MAGIC);
    let is_named = IN_PROC.iter().any(|known| plan.target == Path::new(known));
    let is_fake = plan.target == Path::new("/proc") && !is_proc(tree);
    let is_inside = plan.target != Path::new("/proc") && !is_named && is_proc(target);
    if is_fake || is_inside {
        return Err(InitError::new(format!(
            "{} cannot be mounted: it is inside /proc; choose another place",
            plan.target.display()
        )));
    }
    Ok(())
}

/// What statfs calls procfs.
const PROC_SUPER_MAGIC: rustix::fs::FsWord = 0x9fa0;

/// The kernel puts files on files and directories on directories, and says of anything else that it is invalid.
fn same_kind(
    found: BorrowedFd<'_>,
    is_directory: bool,
    source: &Path,
    target: &Path,
) -> Result<(), InitError> {
    let doing = || format!("cannot mount {} at {}", source.display(), target.display());
    let stat = rustix::fs::fstat(found).map_err(failed(doing()))?;
    let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
    if (kind == rustix::fs::FileType::Directory) == is_directory {
        return Ok(());
    }
    let name = |is_directory| if is_directory { "a directory" } else { "a file" };
    Err(InitError::new(format!(
        "{}: {} of the host cannot be mounted on {} of the container; name the other kind on either side",
        doing(),
        name(is_directory),
        name(!is_directory),
    )))
}

/// What spreads is decided when the mount is in its place, for attaching changes it.
fn propagate(tree: BorrowedFd<'_>, plan: &MountPlan) -> Result<(), InitError> {
    let Some((propagation, recursive)) = plan.propagation else { return Ok(()) };
    let attributes = MountAttributes::default().propagation(propagation.into());
    set_attributes(tree, &attributes, recursive)
        .map_err(failed(format!("cannot set the propagation of {}", plan.target.display())))
}

/// proc and sysfs must be where their name says: a link in the image would put the masks elsewhere.
fn target_of(root: BorrowedFd<'_>, plan: &MountPlan, is_directory: bool) -> Result<OwnedFd, InitError> {
    let target = &plan.target;
    let opened = open_or_create_in_root(root, target, is_directory).map_err(failed(format!(
        "cannot create mount target {} in the container{}",
        target.display(),
        of(&plan.source)
    )))?;
    let is_kernel =
        matches!(&plan.source, MountSource::FileSystem { kind, .. } if kind == "proc" || kind == "sysfs");
    if !is_kernel {
        return Ok(opened);
    }
    let inside = target.strip_prefix("/").unwrap_or(target);
    openat2(
        root,
        inside,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS,
    )
    .map_err(|_| {
        InitError::new(format!(
            "{} in the image is a symbolic link; it must be a directory",
            target.display()
        ))
    })
}

/// What is to be mounted, for a message.
fn of(source: &MountSource) -> String {
    match source {
        MountSource::Bind { path, .. } => format!(" for {}", path.display()),
        _ => String::new(),
    }
}

fn bind(path: &Path, recursive: bool, below: Option<&Path>) -> Result<(OwnedFd, bool), InitError> {
    let doing = || format!("cannot bind {}", path.display());
    if let Some(below) = below {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let whole = rustix::fs::open(path, flags, Mode::empty()).map_err(failed(doing()))?;
        return part(whole.as_fd(), below, recursive);
    }
    let tree = open_tree(CWD.as_fd(), path, clone_flags(recursive)).map_err(failed(doing()))?;
    let is_directory = is_directory(tree.as_fd()).map_err(failed(doing()))?;
    Ok((tree, is_directory))
}

/// What is below a directory, where links are of no more use than to somebody whose root that is: what is found is
/// what is mounted, whatever happens to its name meanwhile.
fn part(whole: BorrowedFd<'_>, below: &Path, recursive: bool) -> Result<(OwnedFd, bool), InitError> {
    let doing = || format!("cannot mount the subpath {}", below.display());
    let found = open_in_root(whole, below, OFlags::PATH).map_err(failed(doing()))?;
    let flags = clone_flags(recursive) | OpenTreeFlags::AT_EMPTY_PATH;
    let tree = open_tree(found.as_fd(), "", flags).map_err(failed(doing()))?;
    let is_directory = is_directory(tree.as_fd()).map_err(failed(doing()))?;
    Ok((tree, is_directory))
}

fn clone_flags(recursive: bool) -> OpenTreeFlags {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive { flags | OpenTreeFlags::AT_RECURSIVE } else { flags }
}

fn is_directory(found: BorrowedFd<'_>) -> rustix::io::Result<bool> {
    let stat = rustix::fs::fstat(found)?;
    Ok(rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory)
}

fn file_system(
    kind: &str,
    source: Option<&str>,
    parameters: &[(String, Option<String>)],
    plan: &MountPlan,
) -> Result<OwnedFd, InitError> {
    let doing = |what: &str| format!("cannot mount {} as {kind}{what}", plan.target.display());
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC)
        .map_err(failed(doing(", does the kernel have this file system?")))?;
    fsconfig_set_string(context.as_fd(), "source", source.unwrap_or(kind)).map_err(failed(doing("")))?;
    for (key, value) in parameters {
        let set = match value {
            Some(value) => fsconfig_set_string(context.as_fd(), key.as_str(), value.as_str()),
            None => fsconfig_set_flag(context.as_fd(), key.as_str()),
        };
        set.map_err(failed(doing(&format!(", option {key}"))))?;
    }
    fsconfig_create(context.as_fd()).map_err(failed(doing("")))?;
    let attributes = MountAttrFlags::from_bits_retain(u32::try_from(plan.set).unwrap_or(0));
    fsmount(context.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(failed(doing("")))
}

/// The container's own groups: version 2's directory itself, or version 1's side by side in a tmpfs.
fn cgroup<'a>(
    root: BorrowedFd<'_>,
    plan: &'a MountPlan,
    views: &[(String, std::path::PathBuf)],
    trees: &[OwnedFd],
) -> Result<Option<Unfinished<'a>>, InitError> {
    let doing = || format!("cannot mount the groups at {}", plan.target.display());
    let target = open_or_create_in_root(root, &plan.target, true).map_err(failed(doing()))?;
    if let ([(name, _)], [tree]) = (views, trees)
        && name.is_empty()
    {
        attach(tree.as_fd(), target.as_fd()).map_err(failed(doing()))?;
        return Ok(None);
    }
    let parameters = [("mode".to_owned(), Some("755".to_owned()))];
    // Read-only only after the directories are in it, and those that others are mounted on.
    let writable = writable(plan);
    let tmpfs = file_system("tmpfs", Some("cgroup"), &parameters, &writable)?;
    for (name, _) in views {
        rustix::fs::mkdirat(tmpfs.as_fd(), name.as_str(), Mode::from_raw_mode(0o755))
            .map_err(failed(doing()))?;
    }
    attach(tmpfs.as_fd(), target.as_fd()).map_err(failed(doing()))?;
    for ((name, _), tree) in views.iter().zip(trees) {
        let place = open_in_root(tmpfs.as_fd(), Path::new(name), OFlags::PATH).map_err(failed(doing()))?;
        attach(tree.as_fd(), place.as_fd()).map_err(failed(doing()))?;
    }
    let own = MountAttributes::new(writable.set, writable.clear);
    set_attributes(tmpfs.as_fd(), &own, false).map_err(failed(doing()))?;
    let is_read_only = plan.set & MountAttributes::RDONLY != 0;
    Ok(is_read_only.then_some(Unfinished { tree: tmpfs, plan }))
}
