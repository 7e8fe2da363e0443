//! Devices of the host.

use crate::error::EngineError;
use crate::{Device, DeviceKind, DeviceRule};
use hako_oci::runtime::{
    LinuxDevice, LinuxDeviceBuilder, LinuxDeviceCgroup, LinuxDeviceCgroupBuilder, LinuxDeviceType,
};
use std::fs::Metadata;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Directories of /dev that a container has of its own, and what is no device of the host.
const OWN: [&str; 8] = [
    "/dev/pts",
    "/dev/shm",
    "/dev/fd",
    "/dev/mqueue",
    "/dev/console",
    "/dev/.lxc",
    "/dev/.lxd-mounts",
    "/dev/.udev",
];
/// How deep a directory of devices may be.
const MAX_DEPTH: usize = 16;

/// The nodes and rules of a device, or of every device in a directory.
pub(super) fn nodes(device: &Device) -> Result<Vec<(LinuxDevice, LinuxDeviceCgroup)>, EngineError> {
    let bad = |expected| EngineError::Value {
        what: "device",
        value: device.host_path.display().to_string(),
        expected,
    };
    let meta = std::fs::metadata(&device.host_path)
        .map_err(|_| bad("a device of the host, or a directory of devices"))?;
    let mut found = Vec::new();
    if meta.is_dir() {
        collect(&device.host_path, 0, &mut found);
    } else {
        found.push((device.host_path.clone(), meta));
    }
    let with_rule = |(path, meta): &(PathBuf, Metadata)| {
        let below = path.strip_prefix(&device.host_path).unwrap_or(Path::new(""));
        let inside = match below.as_os_str().is_empty() {
            true => device.container_path.clone(),
            false => device.container_path.join(below),
        };
        Some((node(&inside, meta)?, rule(meta, &device.access)?))
    };
    let nodes: Vec<_> = found.iter().filter_map(with_rule).collect();
    if nodes.is_empty() {
        return Err(bad("a character or block device of the host, or a directory that has some"));
    }
    Ok(nodes)
}

/// All devices of the host, for a privileged container.
pub(super) fn host_devices() -> Vec<LinuxDevice> {
    let mut found = Vec::new();
    collect(Path::new("/dev"), 0, &mut found);
    found.iter().filter_map(|(path, meta)| node(path, meta)).collect()
}

/// Device nodes below a directory; links are not followed, and what goes away meanwhile is not there.
fn collect(dir: &Path, depth: usize, found: &mut Vec<(PathBuf, Metadata)>) {
    if depth > MAX_DEPTH {
        return;
    }
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if OWN.iter().any(|own| path == Path::new(own)) {
            continue;
        }
        match entry.metadata() {
            Ok(meta) if meta.is_dir() => collect(&path, depth + 1, found),
            Ok(meta) if kind(&meta).is_some() => found.push((path, meta)),
            _ => {}
        }
    }
}

fn kind(meta: &Metadata) -> Option<LinuxDeviceType> {
    match meta.file_type() {
        kind if kind.is_char_device() => Some(LinuxDeviceType::C),
        kind if kind.is_block_device() => Some(LinuxDeviceType::B),
        _ => None,
    }
}

fn number(meta: &Metadata) -> (i64, i64) {
    let number = meta.rdev();
    (i64::from(rustix::fs::major(number)), i64::from(rustix::fs::minor(number)))
}

fn node(path: &Path, meta: &Metadata) -> Option<LinuxDevice> {
    let (major, minor) = number(meta);
    LinuxDeviceBuilder::default()
        .path(path)
        .typ(kind(meta)?)
        .major(major)
        .minor(minor)
        .file_mode(meta.permissions().mode() & 0o7777)
        .uid(meta.uid())
        .gid(meta.gid())
        .build()
        .ok()
}

fn rule(meta: &Metadata, access: &str) -> Option<LinuxDeviceCgroup> {
    let (major, minor) = number(meta);
    let rule = LinuxDeviceCgroupBuilder::default().allow(true).typ(kind(meta)?).major(major).minor(minor);
    rule.access(access.to_owned()).build().ok()
}

/// The caller's own rules.
pub(super) fn rules(wanted: &[DeviceRule]) -> impl Iterator<Item = LinuxDeviceCgroup> {
    wanted.iter().filter_map(|wanted| {
        let kind = match wanted.kind {
            DeviceKind::All => LinuxDeviceType::A,
            DeviceKind::Char => LinuxDeviceType::C,
            DeviceKind::Block => LinuxDeviceType::B,
        };
        let mut rule =
            LinuxDeviceCgroupBuilder::default().allow(true).typ(kind).access(wanted.access.clone());
        if let Some(major) = wanted.major {
            rule = rule.major(i64::from(major));
        }
        if let Some(minor) = wanted.minor {
            rule = rule.minor(i64::from(minor));
        }
        rule.build().ok()
    })
}
