//! Binds, volumes and tmpfs in each of the spellings Docker has for them.

use super::super::host::{HostConfig, MountRequest};
use super::bytes;
use crate::error::{Failure, invalid, unimplemented};
use hako_container::{Mount, MountSource, Propagation};
use std::path::PathBuf;

pub(super) fn mounts(host: &HostConfig) -> Result<Vec<Mount>, Failure> {
    let mut mounts = Vec::new();
    for bind in host.binds.iter().flatten() {
        mounts.push(bind_mount(bind)?);
    }
    for mount in host.mounts.iter().flatten() {
        mounts.push(typed_mount(mount)?);
    }
    for (target, options) in host.tmpfs.iter().flatten() {
        mounts.push(tmpfs(target, options)?);
    }
    Ok(mounts)
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
pub(super) fn bind_mount(text: &str) -> Result<Mount, Failure> {
    let bad = |why: &str| invalid(format!("invalid volume specification {text:?}: {why}"));
    let parts: Vec<&str> = text.split(':').collect();
    let (source, target, options) = match parts.as_slice() {
        [target] => ("", *target, ""),
        [source, target] => (*source, *target, ""),
        [source, target, options] => (*source, *target, *options),
        _ => return Err(bad("it must be SOURCE:TARGET[:OPTIONS]")),
    };
    let target =
        destination(target).ok_or_else(|| bad("the target must be an absolute path other than /"))?;
    let (mut read_only, mut propagation) = (false, Propagation::Private);
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => read_only = true,
            "rw" | "z" | "Z" | "nocopy" | "consistent" | "cached" | "delegated" | "rprivate" | "private" => {}
            "rslave" | "slave" => propagation = Propagation::Slave,
            "rshared" | "shared" => propagation = Propagation::Shared,
            _ => return Err(bad(&format!("option {option:?} is unknown"))),
        }
    }
    let source = match source.starts_with('/') {
        true => MountSource::Bind { path: source.into(), propagation, create: true },
        false => MountSource::Volume { name: source.to_owned() },
    };
    Ok(Mount { target, source, read_only })
}

/// Where a mount goes, without `.` and `..`; `None` for what is not absolute, or the root.
fn destination(target: &str) -> Option<PathBuf> {
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

fn typed_mount(mount: &MountRequest) -> Result<Mount, Failure> {
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
                return Err(invalid(format!("bind source path does not exist: {}", mount.source)));
            }
            MountSource::Bind {
                path: mount.source.clone().into(),
                propagation,
                create: options.create_mountpoint,
            }
        }
        "volume" => MountSource::Volume { name: mount.source.clone() },
        "tmpfs" => {
            let options = mount.tmpfs_options.clone().unwrap_or_default();
            MountSource::Tmpfs { size: options.size_bytes, mode: options.mode, options: Vec::new() }
        }
        other => {
            return Err(unimplemented(format!(
                "mount type {other:?} is unimplemented: use bind, volume or tmpfs"
            )));
        }
    };
    Ok(Mount { target, source, read_only: mount.read_only })
}

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
            _ => options.push(option.to_owned()),
        }
    }
    let place = destination(target)
        .ok_or_else(|| invalid(format!("tmpfs target {target:?} must be an absolute path other than /")))?;
    Ok(Mount { target: place, source: MountSource::Tmpfs { size, mode, options }, read_only })
}
