//! From a container's specification to the OCI runtime spec its shim is given.

use crate::error::EngineError;
use crate::resolve::merge_env;
use crate::users::Identity;
use crate::{
    ContainerSpec, Device, ExecSpec, MountSource, Propagation, Resolved, Resources, Rlimit, Seccomp,
};
use hako_oci::runtime::{
    Capabilities, Capability, Linux, LinuxCapabilities, LinuxCpuBuilder, LinuxDeviceBuilder,
    LinuxDeviceCgroupBuilder, LinuxDeviceType, LinuxMemoryBuilder, LinuxNamespaceType, LinuxPidsBuilder,
    LinuxResources, Mount, MountBuilder, PosixRlimit, PosixRlimitBuilder, PosixRlimitType, Process, Spec,
    User,
};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What the sandbox and the engine add to a container's own specification.
#[derive(Debug)]
pub(crate) struct Surroundings {
    /// Host path and container path of the sandbox's files.
    pub(crate) files: [(PathBuf, &'static str); 3],
    /// Size of /dev/shm.
    pub(crate) shm_size: Option<u64>,
    /// The sandbox's host name.
    pub(crate) hostname: String,
    /// Whether processes of the host are visible.
    pub(crate) is_pid_shared: bool,
    /// Directory of the volume of this name.
    pub(crate) volumes: Vec<(String, PathBuf)>,
}

/// The whole spec.
pub(crate) fn runtime_spec(
    base: Spec,
    spec: &ContainerSpec,
    resolved: &Resolved,
    identity: &Identity,
    resources: &Resources,
    around: &Surroundings,
) -> Result<Spec, EngineError> {
    let mut oci = base;
    let mut process = oci.process().clone().unwrap_or_default();
    fill_process(&mut process, spec, resolved, identity, around)?;
    let mut root = oci.root().clone().unwrap_or_default();
    root.set_readonly(Some(spec.read_only_rootfs));
    let mut linux = oci.linux().clone().unwrap_or_default();
    fill_linux(&mut linux, spec, resources, around)?;
    let mounts = mounts(oci.mounts().clone().unwrap_or_default(), spec, around)?;
    oci.set_process(Some(process)).set_root(Some(root)).set_linux(Some(linux)).set_mounts(Some(mounts));
    Ok(oci)
}

/// The process of an exec: the container's own with what the exec changes.
pub(crate) fn exec_process(
    container: &Process,
    exec: &ExecSpec,
    identity: Option<&Identity>,
) -> Result<Process, EngineError> {
    if exec.argv.is_empty() {
        return Err(EngineError::NoCommand);
    }
    let mut process = container.clone();
    let mut inherited = container.env().clone().unwrap_or_default();
    if exec.tty {
        inherited.push("TERM=xterm".to_owned());
    }
    process.set_args(Some(exec.argv.clone()));
    process.set_terminal(Some(exec.tty));
    process.set_env(Some(merge_env(inherited.iter().chain(&exec.env))));
    if !exec.working_dir.is_empty() {
        process.set_cwd(exec.working_dir.clone().into());
    }
    if let Some(identity) = identity {
        process.set_user(user(identity));
    }
    if exec.privileged {
        process.set_capabilities(Some(capability_sets(all_capabilities(), true)));
    } else if identity.is_some() {
        let bounding = container.capabilities().as_ref().and_then(|sets| sets.bounding().clone());
        let is_root = process.user().uid() == 0;
        process.set_capabilities(Some(capability_sets(bounding.unwrap_or_default(), is_root)));
    }
    Ok(process)
}

fn user(identity: &Identity) -> User {
    let mut user = User::default();
    user.set_uid(identity.uid);
    user.set_gid(identity.gid);
    user.set_additional_gids(Some(identity.groups.clone()));
    user
}

fn fill_process(
    process: &mut Process,
    spec: &ContainerSpec,
    resolved: &Resolved,
    identity: &Identity,
    around: &Surroundings,
) -> Result<(), EngineError> {
    if spec.run_as_non_root && identity.uid == 0 {
        return Err(EngineError::RootForbidden { user: resolved.user.clone() });
    }
    let mut defaults = vec![format!("HOSTNAME={}", around.hostname), format!("HOME={}", identity.home)];
    if spec.tty {
        defaults.push("TERM=xterm".to_owned());
    }
    let path = resolved.env.iter().take(1);
    let env = merge_env(path.chain(&defaults).chain(&resolved.env));
    let dropped = if spec.privileged { all_capabilities() } else { capabilities(process, spec)? };
    process.set_terminal(Some(spec.tty));
    process.set_args(Some(resolved.argv.clone()));
    process.set_env(Some(env));
    process.set_cwd(resolved.working_dir.clone().into());
    process.set_user(user(identity));
    process.set_capabilities(Some(capability_sets(dropped, identity.uid == 0)));
    process.set_no_new_privileges(Some(spec.no_new_privs));
    process.set_oom_score_adj(spec.oom_score_adj);
    let rlimits = spec.rlimits.iter().map(rlimit).collect::<Result<Vec<_>, _>>()?;
    process.set_rlimits(Some(rlimits).filter(|limits| !limits.is_empty()));
    Ok(())
}

/// Docker's order: a dropped ALL empties the default set before the additions, an added ALL fills it before the rest is dropped.
fn capabilities(process: &Process, spec: &ContainerSpec) -> Result<Capabilities, EngineError> {
    let is_all = |name: &String| name.eq_ignore_ascii_case("all");
    let default =
        process.capabilities().as_ref().and_then(|sets| sets.bounding().clone()).unwrap_or_default();
    let mut set = match (spec.cap_add.iter().any(is_all), spec.cap_drop.iter().any(is_all)) {
        (true, _) => all_capabilities(),
        (false, true) => Capabilities::new(),
        (false, false) => default,
    };
    for name in spec.cap_add.iter().filter(|name| !is_all(name)) {
        set.insert(capability(name)?);
    }
    for name in spec.cap_drop.iter().filter(|name| !is_all(name)) {
        set.remove(&capability(name)?);
    }
    Ok(set)
}

fn capability(name: &str) -> Result<Capability, EngineError> {
    let upper = name.to_ascii_uppercase();
    upper.strip_prefix("CAP_").unwrap_or(&upper).parse().map_err(|_| EngineError::Value {
        what: "capability",
        value: name.to_owned(),
        expected: "a name of capabilities(7) such as NET_ADMIN, or ALL",
    })
}

/// A user that is not root keeps the bounding set only, so that set-uid programs and file capabilities still work.
fn capability_sets(set: Capabilities, is_root: bool) -> LinuxCapabilities {
    let mut sets = LinuxCapabilities::default();
    let active = if is_root { set.clone() } else { Capabilities::new() };
    sets.set_bounding(Some(set));
    sets.set_effective(Some(active.clone()));
    sets.set_permitted(Some(active));
    sets.set_inheritable(Some(Capabilities::new()));
    sets.set_ambient(Some(Capabilities::new()));
    sets
}

/// All that this process may hand on: capabilities that the engine itself lacks cannot be given.
fn all_capabilities() -> Capabilities {
    hako_sys::own_bounding_names().into_iter().filter_map(|name| name.parse().ok()).collect()
}

fn rlimit(limit: &Rlimit) -> Result<PosixRlimit, EngineError> {
    let upper = limit.name.to_ascii_uppercase();
    let name = format!("RLIMIT_{}", upper.strip_prefix("RLIMIT_").unwrap_or(&upper));
    let bad = |_| EngineError::Value {
        what: "ulimit",
        value: limit.name.clone(),
        expected: "a name of setrlimit(2) such as nofile",
    };
    let typ: PosixRlimitType = serde_json::from_value(serde_json::Value::String(name)).map_err(bad)?;
    let built = PosixRlimitBuilder::default().typ(typ).soft(limit.soft).hard(limit.hard).build();
    built.map_err(|_| EngineError::Value {
        what: "ulimit",
        value: limit.name.clone(),
        expected: "a soft limit not above the hard one",
    })
}

fn fill_linux(
    linux: &mut Linux,
    spec: &ContainerSpec,
    resources: &Resources,
    around: &Surroundings,
) -> Result<(), EngineError> {
    if around.is_pid_shared {
        let kept = linux.namespaces().clone().unwrap_or_default();
        linux.set_namespaces(Some(
            kept.into_iter().filter(|one| one.typ() != LinuxNamespaceType::Pid).collect(),
        ));
    }
    if spec.privileged {
        linux.set_seccomp(None).set_masked_paths(None).set_readonly_paths(None);
    }
    if spec.seccomp == Seccomp::Unconfined {
        linux.set_seccomp(None);
    }
    let texts = |paths: &Vec<PathBuf>| paths.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    if let Some(paths) = &spec.masked_paths {
        linux.set_masked_paths(Some(texts(paths)));
    }
    if let Some(paths) = &spec.readonly_paths {
        linux.set_readonly_paths(Some(texts(paths)));
    }
    let mut limits = linux.resources().clone().unwrap_or_default();
    fill_resources(&mut limits, resources);
    let mut rules = limits.devices().clone().unwrap_or_default();
    if spec.privileged {
        rules = LinuxDeviceCgroupBuilder::default().allow(true).access("rwm").build().into_iter().collect();
    }
    let mut nodes = linux.devices().clone().unwrap_or_default();
    for device in &spec.devices {
        let (typ, major, minor) = device_number(device)?;
        let node = LinuxDeviceBuilder::default()
            .path(&device.container_path)
            .typ(typ)
            .major(major)
            .minor(minor)
            .build();
        nodes.extend(node);
        let rule = LinuxDeviceCgroupBuilder::default().allow(true).typ(typ).major(major).minor(minor);
        rules.extend(rule.access(device.access.clone()).build());
    }
    limits.set_devices(Some(rules));
    linux.set_devices(Some(nodes)).set_resources(Some(limits));
    Ok(())
}

fn device_number(device: &Device) -> Result<(LinuxDeviceType, i64, i64), EngineError> {
    let bad = || EngineError::Value {
        what: "device",
        value: device.host_path.display().to_string(),
        expected: "a character or block device of the host",
    };
    let meta = std::fs::metadata(&device.host_path).map_err(|_| bad())?;
    let typ = match meta.file_type() {
        kind if kind.is_char_device() => LinuxDeviceType::C,
        kind if kind.is_block_device() => LinuxDeviceType::B,
        _ => return Err(bad()),
    };
    let number = meta.rdev();
    Ok((typ, i64::from(rustix::fs::major(number)), i64::from(rustix::fs::minor(number))))
}

fn fill_resources(limits: &mut LinuxResources, resources: &Resources) {
    let signed = |value: u64| i64::try_from(value).unwrap_or(i64::MAX);
    if resources.memory.is_some() || resources.memory_swap.is_some() {
        let mut memory = LinuxMemoryBuilder::default();
        if let Some(bytes) = resources.memory {
            memory = memory.limit(signed(bytes));
        }
        if let Some(bytes) = resources.memory_swap {
            memory = memory.swap(bytes);
        }
        limits.set_memory(memory.build().ok());
    }
    let mut cpu = LinuxCpuBuilder::default();
    if let Some(quota) = resources.cpu_quota_us {
        cpu = cpu.quota(quota);
    }
    if let Some(period) = resources.cpu_period_us {
        cpu = cpu.period(period);
    }
    if let Some(shares) = resources.cpu_shares {
        cpu = cpu.shares(shares);
    }
    if let Some(cpus) = &resources.cpuset_cpus {
        cpu = cpu.cpus(cpus.clone());
    }
    if let Some(mems) = &resources.cpuset_mems {
        cpu = cpu.mems(mems.clone());
    }
    limits.set_cpu(cpu.build().ok());
    if let Some(pids) = resources.pids {
        limits.set_pids(LinuxPidsBuilder::default().limit(pids).build().ok());
    }
}

/// The default mounts, the sandbox's files, the container's own in order of their targets' depth, so that a mount inside another's target is not hidden by it.
fn mounts(base: Vec<Mount>, spec: &ContainerSpec, around: &Surroundings) -> Result<Vec<Mount>, EngineError> {
    let own: Vec<&Path> = spec.mounts.iter().map(|mount| mount.target.as_path()).collect();
    let mut all: Vec<Mount> =
        base.into_iter().filter(|mount| !own.contains(&mount.destination().as_path())).collect();
    for mount in &mut all {
        adapt(mount, spec, around);
    }
    for (source, target) in &around.files {
        if !own.contains(&Path::new(target)) {
            all.extend(mount("bind", source, Path::new(target), &["rbind", "rprivate", "rw"]));
        }
    }
    let mut wanted: Vec<&crate::Mount> = spec.mounts.iter().collect();
    wanted.sort_by_key(|mount| mount.target.components().count());
    for one in wanted {
        all.push(own_mount(one, around)?);
    }
    Ok(all)
}

/// Adjusts a default mount: size of /dev/shm, writable /sys and cgroups when privileged.
fn adapt(mount: &mut Mount, spec: &ContainerSpec, around: &Surroundings) {
    let target = mount.destination().clone();
    let mut options = mount.options().clone().unwrap_or_default();
    if let (true, Some(size)) = (target == Path::new("/dev/shm"), around.shm_size) {
        options.retain(|option| !option.starts_with("size="));
        options.push(format!("size={size}"));
    }
    if spec.privileged && target.starts_with("/sys") {
        options.retain(|option| option != "ro");
    }
    mount.set_options(Some(options));
}

fn mount(typ: &str, source: &Path, target: &Path, options: &[&str]) -> Option<Mount> {
    let options: Vec<String> = options.iter().map(|option| (*option).to_owned()).collect();
    MountBuilder::default().typ(typ).source(source).destination(target).options(options).build().ok()
}

fn own_mount(wanted: &crate::Mount, around: &Surroundings) -> Result<Mount, EngineError> {
    let bad = |expected| EngineError::Value {
        what: "mount target",
        value: wanted.target.display().to_string(),
        expected,
    };
    if !wanted.target.is_absolute() {
        return Err(bad("an absolute path"));
    }
    let access = if wanted.read_only { "ro" } else { "rw" };
    let built = match &wanted.source {
        MountSource::Bind { path, propagation, create } => {
            if *create && !path.exists() {
                std::fs::create_dir_all(path).map_err(crate::error::io("make directory", path))?;
            }
            if !path.exists() {
                return Err(EngineError::NoBindSource { path: path.clone() });
            }
            let propagation = match propagation {
                Propagation::Private => "rprivate",
                Propagation::Slave => "rslave",
                Propagation::Shared => "rshared",
            };
            mount("bind", path, &wanted.target, &["rbind", propagation, access])
        }
        MountSource::Tmpfs { size, mode, options } => {
            let mut all = vec!["nosuid".to_owned(), "nodev".to_owned(), access.to_owned()];
            all.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
            all.extend(size.map(|size| format!("size={size}")));
            all.extend(options.iter().cloned());
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            mount("tmpfs", Path::new("tmpfs"), &wanted.target, &all)
        }
        MountSource::Volume { name } => {
            let dir = around.volumes.iter().find(|(volume, _)| volume == name).map(|(_, dir)| dir);
            let dir = dir.ok_or_else(|| EngineError::NoVolume { name: name.clone() })?;
            mount("bind", dir, &wanted.target, &["rbind", "rprivate", access])
        }
    };
    built.ok_or_else(|| bad("a path that the OCI runtime spec can hold"))
}
