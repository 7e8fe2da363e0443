//! Whether mounts can propagate between a bind's source and the host.

use crate::Propagation;
use crate::error::{EngineError, io};
use rustix::fs::{Mode, OFlags};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// A mount of this process's namespace.
#[derive(Debug, PartialEq, Eq)]
struct Place {
    point: String,
    is_shared: bool,
    is_slave: bool,
}

/// Refuses what the mount that `path` is on would not do.
pub(super) fn check(path: &Path, wanted: Propagation) -> Result<(), EngineError> {
    if wanted == Propagation::Private {
        return Ok(());
    }
    let id = mount_id(path).map_err(io("find the mount of", path))?;
    let table = Path::new("/proc/self/mountinfo");
    let text = std::fs::read_to_string(table).map_err(io("read", table))?;
    let Some(place) = text.lines().find_map(|line| place(line, id)) else {
        return Err(EngineError::NoMount { path: path.to_owned() });
    };
    let expected = match wanted {
        Propagation::Shared if !place.is_shared => "shared",
        Propagation::Slave if !place.is_shared && !place.is_slave => "shared or slave",
        _ => return Ok(()),
    };
    let mount = PathBuf::from(place.point);
    Err(EngineError::NotPropagated { path: path.to_owned(), mount, expected })
}

fn mount_id(path: &Path) -> std::io::Result<u64> {
    let file = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let text = std::fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd()))?;
    let id = text.lines().find_map(|line| line.strip_prefix("mnt_id:")?.trim().parse().ok());
    id.ok_or_else(|| std::io::ErrorKind::InvalidData.into())
}

/// A line of mountinfo, proc_pid_mountinfo(5), if it is that mount's: optional fields come before a lone `-`.
fn place(line: &str, id: u64) -> Option<Place> {
    let mut fields = line.split(' ');
    if fields.next()?.parse() != Ok(id) {
        return None;
    }
    let point = fields.nth(3)?.replace("\\040", " ");
    let optional: Vec<&str> = fields.skip(1).take_while(|field| *field != "-").collect();
    let has = |tag: &str| optional.iter().any(|field| field.starts_with(tag));
    Some(Place { point, is_shared: has("shared:"), is_slave: has("master:") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_table_says_what_propagates() {
        let of = |optional: &str| {
            let line = format!("36 35 98:0 /mnt1 /mnt\\0402 rw,noatime{optional} - ext3 /dev/root rw");
            place(&line, 36).map(|place| (place.point, place.is_shared, place.is_slave))
        };
        assert_eq!(of(""), Some(("/mnt 2".into(), false, false)));
        assert_eq!(of(" shared:7"), Some(("/mnt 2".into(), true, false)));
        assert_eq!(of(" shared:7 master:1"), Some(("/mnt 2".into(), true, true)));
        assert_eq!(of(" master:1 propagate_from:2"), Some(("/mnt 2".into(), false, true)));
        assert_eq!(place("36 35 98:0 / / rw - ext3 a rw", 3), None);
    }

    #[test]
    fn the_mount_of_a_path_is_found() {
        let text = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        let found = text.lines().find_map(|line| place(line, mount_id(Path::new("/proc/version")).unwrap()));
        assert_eq!(found.unwrap().point, "/proc");
    }
}
