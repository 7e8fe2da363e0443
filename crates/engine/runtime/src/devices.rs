//! Devices of the host as a spec names them: one, those of a directory, or all for a privileged container.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use hako_error::{Error, Kind, Result};
use hako_oci::runtime::{LinuxDevice, LinuxDeviceBuilder, LinuxDeviceType};

/// What is mounted or made for each container anew and is not taken from the host.
const OWN: [&str; 9] = [
    "/dev/console",
    "/dev/fd",
    "/dev/full",
    "/dev/mqueue",
    "/dev/null",
    "/dev/ptmx",
    "/dev/pts",
    "/dev/shm",
    "/dev/tty",
];

/// How deep directories are looked into.
const MAX_DEPTH: usize = 8;

/// The device at a path of the host, or those below it when it is a directory, at the same places below `target`.
/// Links are followed for the path itself and not below it.
pub fn at(source: &Path, target: &Path) -> Result<Vec<LinuxDevice>> {
    let failed = |error: std::io::Error| {
        Error::new(Kind::Invalid, format!("cannot read device {}", source.display())).with_source(error)
    };
    let found = fs::metadata(source).map_err(failed)?;
    if found.is_dir() {
        return Ok(below(source, target, MAX_DEPTH));
    }
    let none = || Error::new(Kind::Invalid, format!("{} is not a device node", source.display()));
    device(&found, target).map(|device| vec![device]).ok_or_else(none)
}

/// Every device of the host but those each container gets anew.
#[must_use]
pub fn all_of_host() -> Vec<LinuxDevice> {
    below(Path::new("/dev"), Path::new("/dev"), MAX_DEPTH)
}

fn below(source: &Path, target: &Path, depth: usize) -> Vec<LinuxDevice> {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(source).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect();
    paths.sort();
    let mut devices = Vec::new();
    for path in paths {
        // What goes while it is read, or cannot be read, is not there.
        let Ok(found) = fs::symlink_metadata(&path) else { continue };
        let place = target.join(path.file_name().unwrap_or_default());
        if OWN.iter().any(|own| path == Path::new(own)) {
            continue;
        }
        if found.is_dir() && depth > 0 {
            devices.extend(below(&path, &place, depth - 1));
        } else {
            devices.extend(device(&found, &place));
        }
    }
    devices
}

fn device(found: &fs::Metadata, target: &Path) -> Option<LinuxDevice> {
    let kind = match found.file_type() {
        kind if kind.is_char_device() => LinuxDeviceType::C,
        kind if kind.is_block_device() => LinuxDeviceType::B,
        _ => return None,
    };
    let number = found.rdev();
    let device = LinuxDeviceBuilder::default()
        .path(target)
        .typ(kind)
        .major(i64::from(rustix::fs::major(number)))
        .minor(i64::from(rustix::fs::minor(number)))
        .file_mode(found.mode() & 0o7777)
        .uid(found.uid())
        .gid(found.gid());
    device.build().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_named_by_its_numbers_at_the_place_asked_for() {
        let devices = at(Path::new("/dev/zero"), Path::new("/dev/nothing")).unwrap();
        assert_eq!((devices[0].major(), devices[0].minor()), (1, 5));
        assert_eq!(devices[0].path(), Path::new("/dev/nothing"));
        assert!(at(Path::new("/etc/passwd"), Path::new("/dev/x")).is_err());
    }

    #[test]
    fn the_hosts_devices_leave_out_what_a_container_gets_anew() {
        let all = all_of_host();
        let has = |path: &str| all.iter().any(|device| device.path() == Path::new(path));
        assert!(has("/dev/zero") && !has("/dev/null") && !has("/dev/pts/ptmx"));
    }
}
