//! Mounts and their options.

use std::path::{Component, Path, PathBuf};

use hako_error::Result;
use hako_oci::runtime::Mount;
use hako_sys::{MountAttributes, Propagation};
use serde::{Deserialize, Serialize};

use super::PlanError;
use super::namespaces::id_map;
use crate::types::IdMap;

/// What is mounted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MountSource {
    /// A path of the host.
    Bind { path: PathBuf, recursive: bool },
    /// A file system of its own, with its parameters in order (a flag has no value).
    FileSystem { kind: String, source: Option<String>, parameters: Vec<(String, Option<String>)> },
    /// The container's own groups: one directory, or one for each hierarchy by name.
    Cgroup(Vec<(String, PathBuf)>),
}

/// One mount in the container.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountPlan {
    pub target: PathBuf,
    pub source: MountSource,
    /// `MOUNT_ATTR_*` of the mount itself.
    pub set: u64,
    pub clear: u64,
    /// The same for all mounts below it too.
    pub recursive_set: u64,
    pub recursive_clear: u64,
    pub propagation: Option<(MountPropagation, bool)>,
    /// The part of the source that is shown, as seen by somebody whose root the source is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub below: Option<PathBuf>,
    /// The ids that its files are shown with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id_map: Option<MountIds>,
}

/// How the ids of a mount's files are shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountIds {
    pub map: IdMap,
    /// Whether that goes for the mounts below it too.
    pub recursive: bool,
}

/// An option of ours: the part of the source that is shown. No link in the source leads out of it.
pub const SUBPATH_OPTION: &str = "x-hako.subpath=";

/// How a mount spreads; the flag beside it says whether that goes for those below it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MountPropagation {
    Private,
    Shared,
    Slave,
    Unbindable,
}

impl From<MountPropagation> for Propagation {
    fn from(from: MountPropagation) -> Self {
        match from {
            MountPropagation::Private => Self::Private,
            MountPropagation::Shared => Self::Shared,
            MountPropagation::Slave => Self::Slave,
            MountPropagation::Unbindable => Self::Unbindable,
        }
    }
}

/// Options that are attributes: (name, bits set, bits cleared).
const ATTRIBUTES: [(&str, u64, u64); 16] = [
    ("ro", MountAttributes::RDONLY, 0),
    ("rw", 0, MountAttributes::RDONLY),
    ("nosuid", MountAttributes::NOSUID, 0),
    ("suid", 0, MountAttributes::NOSUID),
    ("nodev", MountAttributes::NODEV, 0),
    ("dev", 0, MountAttributes::NODEV),
    ("noexec", MountAttributes::NOEXEC, 0),
    ("exec", 0, MountAttributes::NOEXEC),
    ("noatime", MountAttributes::NOATIME, MountAttributes::ATIME),
    ("atime", 0, MountAttributes::ATIME),
    ("relatime", 0, MountAttributes::ATIME),
    ("strictatime", MountAttributes::STRICTATIME, MountAttributes::ATIME),
    ("nodiratime", MountAttributes::NODIRATIME, 0),
    ("diratime", 0, MountAttributes::NODIRATIME),
    ("nosymfollow", MountAttributes::NOSYMFOLLOW, 0),
    ("symfollow", 0, MountAttributes::NOSYMFOLLOW),
];

/// Options without a meaning for mounts in containers.
const IGNORED: [&str; 9] =
    ["defaults", "norelatime", "nostrictatime", "async", "loud", "silent", "nomand", "norbind", "tmpcopyup"];

/// Options that are read with the mount's mappings.
const ID_MAPS: [&str; 2] = ["idmap", "ridmap"];

/// The names of all options, for `features`.
pub(crate) fn mount_options() -> Vec<String> {
    let attributes = ATTRIBUTES.iter().flat_map(|(name, ..)| [(*name).to_owned(), format!("r{name}")]);
    let others = [
        "bind",
        "rbind",
        "private",
        "rprivate",
        "shared",
        "rshared",
        "slave",
        "rslave",
        "unbindable",
        "runbindable",
        "idmap",
        "ridmap",
    ];
    attributes.chain(others.map(str::to_owned)).collect()
}

/// What may be mounted inside /proc: files that show a container its own share of the machine, as lxcfs has them.
pub(crate) const IN_PROC: [&str; 11] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/net/dev",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// A path without `.` and `..`, which at the root means the root.
fn clean(path: &Path) -> PathBuf {
    let mut clean = PathBuf::from("/");
    for part in path.components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    clean
}

/// A mount inside /proc could hide what the masks are for, or make the init write where it does not mean to
/// (CVE-2025-52881). The init looks again at what the target turns out to be.
fn check_target(target: &Path, mount: &Mount) -> Result<()> {
    let is_in_proc = target.starts_with("/proc") && target != Path::new("/proc");
    let is_fake = target == Path::new("/proc") && is_other_than_proc(mount);
    if is_fake || (is_in_proc && !IN_PROC.iter().any(|known| target == Path::new(known))) {
        return Err(PlanError::InsideProc { target: target.display().to_string() }.into());
    }
    Ok(())
}

/// /proc itself is a procfs or the bind of one, which the init finds out.
fn is_other_than_proc(mount: &Mount) -> bool {
    let is_bind = |option: &String| option == "bind" || option == "rbind";
    let kind = mount.typ().as_deref().unwrap_or_default();
    kind != "proc" && kind != "bind" && !mount.options().iter().flatten().any(is_bind)
}

/// `user` are the ids of the container's own user namespace, if it has one.
pub(super) fn plan(
    mounts: &[Mount],
    cgroup_views: &[(String, PathBuf)],
    user: Option<&IdMap>,
) -> Result<Vec<MountPlan>> {
    mounts.iter().map(|mount| one(mount, cgroup_views, user)).collect()
}

/// The ids that a mount's files are shown with: its own, else those of the container's user namespace where an option
/// asks for them.
fn ids(mount: &Mount, user: Option<&IdMap>) -> Result<Option<MountIds>> {
    let has = |name: &str| mount.options().iter().flatten().any(|option| option == name);
    let own = id_map(mount.uid_mappings().as_deref(), mount.gid_mappings().as_deref());
    let bad = |expected| PlanError::Bad {
        field: "mounts.uidMappings",
        value: mount.destination().display().to_string(),
        expected,
    };
    let recursive = has("ridmap");
    let is_wanted = recursive || has("idmap") || own.is_some();
    if !is_wanted {
        return Ok(None);
    }
    let is_bind = has("bind") || has("rbind") || mount.typ().as_deref() == Some("bind");
    if !is_bind {
        return Err(bad("only the ids of bind mounts can be mapped").into());
    }
    let map = own.or_else(|| user.cloned());
    let map = map.ok_or_else(|| bad("idmap takes mappings of the mount, or of a user namespace"))?;
    if map.uids.is_empty() || map.gids.is_empty() {
        return Err(bad("give uidMappings and gidMappings").into());
    }
    Ok(Some(MountIds { map, recursive }))
}

fn one(mount: &Mount, cgroup_views: &[(String, PathBuf)], user: Option<&IdMap>) -> Result<MountPlan> {
    let bad = |field, value: String, expected| PlanError::Bad { field, value, expected };
    // Old specs have relative destinations; they are meant from the root.
    let target = clean(&PathBuf::from("/").join(mount.destination()));
    let mut plan = MountPlan {
        target,
        source: MountSource::Cgroup(cgroup_views.to_vec()),
        set: 0,
        clear: 0,
        recursive_set: 0,
        recursive_clear: 0,
        propagation: None,
        below: None,
        id_map: None,
    };
    check_target(&plan.target, mount)?;
    plan.id_map = ids(mount, user)?;
    let (mut bind, mut parameters) = (None, Vec::new());
    for option in mount.options().iter().flatten() {
        match option.as_str() {
            "bind" => bind = Some(false),
            "rbind" => bind = Some(true),
            other => option_of(&mut plan, &mut parameters, other),
        }
    }
    let kind = mount.typ().as_deref().unwrap_or_default();
    let source = mount.source().clone();
    if bind.is_some() || matches!(kind, "bind" | "rbind") {
        let path = source
            .ok_or_else(|| bad("mounts.source", String::new(), "a bind mount needs the path it shows"))?;
        let recursive = bind.unwrap_or(kind == "rbind");
        plan.source = MountSource::Bind { path, recursive };
    } else if !matches!(kind, "cgroup" | "cgroup2") {
        if kind.is_empty() || kind == "none" {
            let text = mount.destination().display().to_string();
            return Err(bad("mounts.type", text, "name a file system, or bind").into());
        }
        plan.source = MountSource::FileSystem {
            kind: kind.to_owned(),
            source: source.map(|source| source.display().to_string()),
            parameters,
        };
    }
    Ok(plan)
}

fn option_of(plan: &mut MountPlan, parameters: &mut Vec<(String, Option<String>)>, option: &str) {
    let find = |name: &str| ATTRIBUTES.iter().find(|(known, ..)| *known == name);
    if let Some((_, set, clear)) = find(option) {
        plan.set = (plan.set & !clear) | set;
        plan.clear = (plan.clear & !set) | clear;
        return;
    }
    let propagation = |name: &str| match name {
        "private" => Some(MountPropagation::Private),
        "shared" => Some(MountPropagation::Shared),
        "slave" => Some(MountPropagation::Slave),
        "unbindable" => Some(MountPropagation::Unbindable),
        _ => None,
    };
    if let Some(propagation) = propagation(option) {
        plan.propagation = Some((propagation, false));
        return;
    }
    if let Some(recursive) = option.strip_prefix('r') {
        if let Some(propagation) = propagation(recursive) {
            plan.propagation = Some((propagation, true));
            return;
        }
        if let Some((_, set, clear)) = find(recursive) {
            plan.recursive_set |= set;
            plan.recursive_clear |= clear;
            return;
        }
    }
    if let Some(below) = option.strip_prefix(SUBPATH_OPTION) {
        plan.below = Some(PathBuf::from(below));
        return;
    }
    if IGNORED.contains(&option) || ID_MAPS.contains(&option) || option.starts_with("x-") {
        return;
    }
    parameters.push(match option.split_once('=') {
        Some((key, value)) => (key.to_owned(), Some(value.to_owned())),
        None => (option.to_owned(), None),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use hako_oci::runtime::MountBuilder;

    fn mount(kind: &str, options: &[&str]) -> MountPlan {
        let options: Vec<String> = options.iter().map(ToString::to_string).collect();
        let mount = MountBuilder::default().destination("/x").typ(kind).source("/src").options(options);
        one(&mount.build().unwrap(), &[], None).unwrap()
    }

    #[test]
    fn options_become_attributes_propagation_and_parameters() {
        let plan = mount("tmpfs", &["nosuid", "ro", "rw", "size=64k", "rslave"]);
        assert_eq!(plan.set, MountAttributes::NOSUID);
        assert_eq!(plan.clear, MountAttributes::RDONLY);
        assert_eq!(plan.propagation, Some((MountPropagation::Slave, true)));
        let MountSource::FileSystem { parameters, .. } = plan.source else { panic!() };
        assert_eq!(parameters, [("size".to_owned(), Some("64k".to_owned()))]);
    }

    #[test]
    fn a_part_of_the_source_is_an_option_of_ours() {
        let plan = mount("none", &["bind", "x-hako.subpath=a/b", "x-other=c"]);
        assert_eq!(plan.below, Some(PathBuf::from("a/b")));
    }

    fn at(target: &str, kind: &str) -> hako_error::Result<MountPlan> {
        let mount = MountBuilder::default()
            .destination(target)
            .typ(kind)
            .source("/src")
            .options(vec!["ro".to_owned()]);
        one(&mount.build().unwrap(), &[], None)
    }

    #[test]
    fn cve_2025_52881_nothing_is_mounted_inside_proc_but_what_shows_the_machine() {
        for target in ["/proc/self/attr", "/proc/1", "proc/sys", "/x/../proc/sysrq-trigger", "/proc/./scsi"] {
            assert!(at(target, "bind").unwrap_err().to_string().contains("inside /proc"), "{target}");
        }
        assert!(at("/proc", "tmpfs").is_err());
        for (target, kind) in
            [("/proc", "proc"), ("/proc", "bind"), ("/proc/uptime", "bind"), ("/process", "tmpfs")]
        {
            assert!(at(target, kind).is_ok(), "{target}");
        }
    }

    #[test]
    fn a_recursive_option_is_for_the_mounts_below_too() {
        let plan = mount("none", &["rbind", "rro"]);
        assert_eq!(plan.recursive_set, MountAttributes::RDONLY);
        assert!(matches!(plan.source, MountSource::Bind { recursive: true, .. }));
    }
}
