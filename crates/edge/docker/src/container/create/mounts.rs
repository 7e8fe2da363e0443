//! Binds, volumes and tmpfs in each of the spellings Docker has for them.

use super::super::host::{BindOptions, HostConfig, MountRequest};
use super::bytes;
use crate::DockerState;
use crate::api::ApiVersion;
use crate::error::{Failure, invalid, unimplemented};
use hako_container::{Below, ContainerEngine, Mount, MountSource, NewVolume, Propagation};
use std::path::PathBuf;

/// All mounts of a request; `volumes` are targets that get an anonymous volume unless something else is mounted there.
pub(super) fn mounts<'a>(
    host: &HostConfig,
    volumes: impl Iterator<Item = &'a str>,
    version: ApiVersion,
) -> Result<Vec<Mount>, Failure> {
    let mut mounts = Vec::new();
    for bind in host.binds.iter().flatten() {
        mounts.push(bind_mount(bind, version)?);
    }
    for mount in host.mounts.iter().flatten() {
        mounts.push(typed_mount(mount, version)?);
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        mounts.push(tmpfs(target, options)?);
    }
    for (index, mount) in mounts.iter().enumerate() {
        if mounts[..index].iter().any(|other| other.target == mount.target) {
            return Err(invalid(format!("Duplicate mount point: {}", mount.target.display())));
        }
    }
    for target in volumes {
        let volume = bind_mount(target, version)?;
        if !mounts.iter().any(|mount| mount.target == volume.target) {
            mounts.push(volume);
        }
    }
    Ok(mounts)
}

/// Takes over the mounts of other containers, `NAME[:ro|rw]`, where the request mounts nothing itself.
pub(super) async fn take_volumes(
    state: &DockerState,
    wanted: &[String],
    mounts: &mut Vec<Mount>,
) -> Result<(), Failure> {
    for entry in wanted {
        let (name, mode) = entry.split_once(':').unwrap_or((entry, ""));
        let mut read_only = None;
        for option in mode.split(',').filter(|option| !option.is_empty()) {
            match option {
                "ro" => read_only = Some(true),
                "rw" => read_only = Some(false),
                "z" | "Z" => {}
                _ => return Err(invalid(format!("invalid mode for volumes-from: {mode}"))),
            }
        }
        // Not 404: clients take that for a missing image, and pull it.
        let id = state.engine.resolve(name).await.map_err(|error| match error.is_not_found() {
            true => invalid(error.chain()),
            false => error.into(),
        })?;
        let container = state.engine.container(&id).await?;
        let taken =
            container.spec.mounts.iter().filter(|mount| !matches!(mount.source, MountSource::Tmpfs { .. }));
        for mount in taken {
            if !mounts.iter().any(|known| known.target == mount.target) {
                mounts.push(Mount { read_only: read_only.unwrap_or(mount.read_only), ..mount.clone() });
            }
        }
    }
    Ok(())
}

/// Whether the volumes that are missing can be made as is asked for. One that exists is taken as it is, whatever is asked
/// for, as dockerd does.
pub(super) fn check_new_volumes(state: &DockerState, mounts: &[Mount]) -> Result<(), Failure> {
    for mount in mounts {
        let MountSource::Volume { name, new } = &mount.source else { continue };
        let is_there = || !name.is_empty() && state.engine.volume(name).is_ok();
        if !new.is_plain() && !is_there() {
            crate::volume::check_options(&new.options)?;
        }
    }
    Ok(())
}

/// Targets of the volumes that ask for `nocopy`.
pub(super) fn no_copy(host: &HostConfig) -> Vec<PathBuf> {
    let asks = |bind: &&String| bind.rsplit(':').next().unwrap_or("").split(',').any(|one| one == "nocopy");
    let binds = host.binds.iter().flatten().filter(asks).filter_map(|bind| bind.split(':').nth(1));
    let asks = |mount: &&MountRequest| mount.volume_options.as_ref().is_some_and(|options| options.no_copy);
    let mounts = host.mounts.iter().flatten().filter(asks).map(|mount| mount.target.as_str());
    binds.chain(mounts).filter_map(destination).collect()
}

/// `SOURCE:TARGET[:OPTIONS]`, where a source that is no path is a volume; a bare `TARGET` is an anonymous one.
pub(super) fn bind_mount(text: &str, version: ApiVersion) -> Result<Mount, Failure> {
    let bad = |why: &str| invalid(format!("invalid volume specification {text:?}: {why}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(bad("it must be SOURCE:TARGET[:OPTIONS]")),
    };
    if !target.starts_with('/') {
        return Err(invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"bind\": invalid mount path: \
             '{target}' mount path must be absolute"
        )));
    }
    let target =
        destination(target).ok_or_else(|| bad("the target must be an absolute path other than /"))?;
    let (mut read_only, mut propagation) = (false, Propagation::Private);
    let mut answered = Vec::new();
    for option in options.split(',').filter(|option| !option.is_empty()) {
        let question = question(option);
        if answered.contains(&question) {
            return Err(invalid(format!("invalid mode: {options}")));
        }
        answered.push(question);
        match option {
            "ro" => read_only = true,
            "rw" | "z" | "Z" | "nocopy" | "consistent" | "cached" | "delegated" | "rprivate" | "private" => {}
            "rslave" | "slave" => propagation = Propagation::Slave,
            "rshared" | "shared" => propagation = Propagation::Shared,
            _ => return Err(invalid(format!("invalid mode: {options}"))),
        }
    }
    if propagation != Propagation::Private && !source.starts_with('/') {
        return Err(bad("mounts propagate to and from a path of the host, not a volume"));
    }
    if source.starts_with('/') && answered.contains(&"copy") {
        return Err(invalid(format!(
            "invalid volume specification: '{text}': invalid mount config for type \"bind\": field VolumeOptions must not be specified"
        )));
    }
    let source = match source.starts_with('/') {
        true => MountSource::Bind { path: source.into(), propagation, create: true },
        false => MountSource::volume(source),
    };
    Ok(Mount { target, source, read_only, below: below(version), subpath: String::new() })
}

/// What an option decides: each thing is said once.
fn question(option: &str) -> &str {
    match option {
        "ro" | "rw" => "rw",
        "z" | "Z" => "label",
        "nocopy" => "copy",
        "consistent" | "cached" | "delegated" => "consistency",
        _ => "propagation",
    }
}

/// What is mounted below a read-only bind is read-only too, since 1.44.
fn below(version: ApiVersion) -> Below {
    if version.has(44) { Below::Same } else { Below::Writable }
}

/// Where a mount goes, without `.` and `..`; `None` for what is not absolute, or the root.
pub(crate) fn destination(target: &str) -> Option<PathBuf> {
    let mut clean = PathBuf::from("/");
    for part in target.strip_prefix('/')?.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(clean.pop()),
            name => clean.push(name),
        }
    }
    (clean.as_os_str() != "/").then_some(clean)
}

/// Each type of mount has a block of options of its own.
fn check_options(mount: &MountRequest) -> Result<(), Failure> {
    let blocks = [
        ("BindOptions", "bind", mount.bind_options.is_some()),
        ("VolumeOptions", "volume", mount.volume_options.is_some()),
        ("TmpfsOptions", "tmpfs", mount.tmpfs_options.is_some()),
        ("ImageOptions", "image", mount.image_options.is_some()),
    ];
    match blocks.into_iter().find(|(_, owner, is_given)| *is_given && *owner != mount.r#type) {
        Some((block, ..)) => Err(invalid(format!(
            "invalid mount config for type {:?}: field {block} must not be specified",
            mount.r#type
        ))),
        None => Ok(()),
    }
}

fn bind_below(options: &BindOptions, read_only: bool, version: ApiVersion) -> Result<Below, Failure> {
    if options.read_only_force_recursive
        && (!read_only || options.non_recursive || options.read_only_non_recursive)
    {
        return Err(invalid(
            "mount options conflict: ReadOnlyForceRecursive needs ReadOnly and a recursive bind",
        ));
    }
    if options.read_only_non_recursive && !read_only {
        return Err(invalid(
            "mount source is set to be non-recursively read-only but mount is not read-only",
        ));
    }
    Ok(match options {
        _ if options.non_recursive => Below::Hidden,
        _ if options.read_only_non_recursive => Below::Writable,
        _ if options.read_only_force_recursive => Below::Same,
        _ => below(version),
    })
}

/// `[[name], [name, value]]` as mount(8) writes them.
fn tmpfs_options(options: &[Vec<String>]) -> Result<Vec<String>, Failure> {
    let word = |option: &Vec<String>| match option.as_slice() {
        [name] => Ok(name.clone()),
        [name, value] => Ok(format!("{name}={value}")),
        _ => Err(invalid(
            "invalid mount config for type \"tmpfs\": an option is a name, or a name and a value",
        )),
    };
    options.iter().map(word).collect()
}

/// The part of a volume or an image that is mounted. That it is there, and inside, is found out by the start.
fn subpath(mount: &MountRequest) -> Result<String, Failure> {
    let of_volume = mount.volume_options.as_ref().map(|options| options.subpath.clone());
    let of_image = mount.image_options.as_ref().map(|options| options.subpath.clone());
    let path = of_volume.or(of_image).unwrap_or_default();
    if !path.is_empty() && mount.r#type == "volume" && mount.source.is_empty() {
        return Err(invalid(
            "invalid mount config for type \"volume\": must not set Subpath when using anonymous volumes",
        ));
    }
    let leads_out = path.starts_with('/') || path.split('/').any(|part| part == "..") || path.contains('\0');
    match leads_out {
        true => {
            let kind = &mount.r#type;
            let text = "subpath must be a relative path within the volume";
            Err(invalid(format!("invalid mount config for type {kind:?}: {text}")))
        }
        false => Ok(path),
    }
}

/// What a volume has if the mount is what it is made for, whether it has a name or not.
fn new_volume(mount: &MountRequest) -> NewVolume {
    let wanted = mount.volume_options.clone().unwrap_or_default();
    let options = wanted.driver_config.and_then(|driver| driver.options);
    NewVolume { labels: wanted.labels.unwrap_or_default(), options: options.unwrap_or_default() }
}

fn typed_mount(mount: &MountRequest, version: ApiVersion) -> Result<Mount, Failure> {
    check_options(mount)?;
    let mut below = below(version);
    let target = destination(&mount.target).ok_or_else(|| {
        invalid(format!("mount target {:?} must be an absolute path other than /", mount.target))
    })?;
    let source = match mount.r#type.as_str() {
        "bind" => {
            let options = mount.bind_options.clone().unwrap_or_default();
            let propagation = match options.propagation.as_str() {
                "" | "rprivate" | "private" => Propagation::Private,
                "rslave" | "slave" => Propagation::Slave,
                "rshared" | "shared" => Propagation::Shared,
                other => return Err(invalid(format!("bind propagation {other:?} is unknown"))),
            };
            if !options.create_mountpoint && !std::path::Path::new(&mount.source).exists() {
                return Err(invalid(format!(
                    "invalid mount config for type \"bind\": bind source path does not exist: {}",
                    mount.source
                )));
            }
            below = bind_below(&options, mount.read_only, version)?;
            MountSource::Bind {
                path: mount.source.clone().into(),
                propagation,
                create: options.create_mountpoint,
            }
        }
        "volume" if mount.source.is_empty() && mount.read_only => {
            let text = "must not set ReadOnly mode when using anonymous volumes";
            return Err(invalid(format!("invalid mount config for type \"volume\": {text}")));
        }
        "volume" => MountSource::Volume { name: mount.source.clone(), new: new_volume(mount) },
        "tmpfs" => {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            if !mount.source.is_empty() {
                return Err(invalid(
                    "invalid mount config for type \"tmpfs\": field Source must not be specified",
                ));
            }
            // The last of two that contradict each other counts.
            let mut words = vec!["noexec".to_owned()];
            words.extend(tmpfs_options(options.options.as_deref().unwrap_or_default())?);
            MountSource::Tmpfs { size: options.size_bytes, mode: options.mode, options: words }
        }
        "image" if !version.has(48) => {
            return Err(invalid("Mount type \"image\" needs API v1.48 or newer"));
        }
        "image" if mount.source.is_empty() => {
            return Err(invalid("invalid mount config for type \"image\": field Source must not be empty"));
        }
        "image" => MountSource::Image { name: mount.source.clone() },
        other @ ("cluster" | "npipe") => {
            return Err(unimplemented(format!(
                "mount type {other:?} is unimplemented: use bind, volume, image or tmpfs"
            )));
        }
        other => return Err(invalid(format!("mount type unknown: {other:?}"))),
    };
    let read_only = mount.read_only || mount.r#type == "image";
    Ok(Mount { target, source, read_only, below, subpath: subpath(mount)? })
}

/// What may be said of a tmpfs beside its size, mode and whether it is written: mount(8) and tmpfs(5).
const TMPFS_OPTIONS: [&str; 26] = [
    "async",
    "atime",
    "defaults",
    "dev",
    "diratime",
    "dirsync",
    "gid",
    "mand",
    "mpol",
    "noatime",
    "nodev",
    "nodiratime",
    "noexec",
    "nomand",
    "norelatime",
    "nostrictatime",
    "nosuid",
    "nr_blocks",
    "nr_inodes",
    "private",
    "relatime",
    "rprivate",
    "strictatime",
    "suid",
    "sync",
    "uid",
];

fn tmpfs(target: &str, text: &str) -> Result<Mount, Failure> {
    let (mut size, mut mode, mut read_only, mut options) = (None, None, false, vec!["noexec".to_owned()]);
    let bad = |option: &str| invalid(format!("tmpfs option {option:?} of {target} is not valid"));
    for option in text.split(',').filter(|option| !option.is_empty()) {
        match option.split_once('=').unwrap_or((option, "")) {
            ("size", value) => size = Some(bytes(value).ok_or_else(|| bad(option))?),
            ("mode", value) => mode = Some(u32::from_str_radix(value, 8).map_err(|_| bad(option))?),
            ("ro", _) => read_only = true,
            ("rw", _) => {}
            ("exec", _) => options.retain(|known| known != "noexec"),
            (name, _) if TMPFS_OPTIONS.contains(&name) => options.push(option.to_owned()),
            _ => return Err(invalid(format!("invalid tmpfs option [{option:?}]"))),
        }
    }
    let place = destination(target)
        .ok_or_else(|| invalid(format!("tmpfs target {target:?} must be an absolute path other than /")))?;
    let source = MountSource::Tmpfs { size, mode, options };
    Ok(Mount { target: place, source, read_only, below: Below::default(), subpath: String::new() })
}
