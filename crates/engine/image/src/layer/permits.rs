//! What entries a tar may have, by where it is from.
//!
//! Neither a name that begins with `/` nor a device can lead out of the root: names are resolved inside it, and no
//! container opens a device that its own rules do not allow. They are refused in layers all the same, for a layer that
//! has them was either made by a broken tool or to be tried on one that is less careful.

use super::inside::clean;
use super::reader::{Entry, EntryKind};

/// What a tar may hold beyond files, directories, links, pipes and the devices that every root file system has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Permits {
    /// Names that begin with `/`, also of what a hard link points to: they are taken as names below the root, as tar
    /// takes them.
    pub absolute_names: bool,
    /// Any device.
    pub devices: bool,
}

/// The character devices that debootstrap makes in a root file system: null, zero, full, random, urandom, tty, console
/// and ptmx, by driver and number.
const COMMON: [(u32, u32); 8] = [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2)];

impl Permits {
    /// What a layer from elsewhere may hold.
    pub const LAYER: Self = Self { absolute_names: false, devices: false };
    /// What is made here, and archives that layers are made of here.
    pub const ALL: Self = Self { absolute_names: true, devices: true };

    /// Why an entry is refused, if it is.
    pub(crate) fn refuse(self, entry: &Entry) -> Option<String> {
        self.refuse_name(entry).or_else(|| self.refuse_device(&entry.kind))
    }

    fn refuse_name(self, entry: &Entry) -> Option<String> {
        if self.absolute_names {
            return None;
        }
        let next = "\"hako up --allow-in-layers absolute-names\" takes such names as names below the root";
        // `/` alone is the root itself, which some builders list first.
        let is_root = || entry.kind == EntryKind::Directory && clean(&entry.path) == Ok(Vec::new());
        if entry.path.starts_with(b"/") && !is_root() {
            return Some(format!("its name begins with \"/\"; {next}"));
        }
        match &entry.kind {
            EntryKind::HardLink(target) if target.starts_with(b"/") => {
                let target = String::from_utf8_lossy(target);
                Some(format!("it is a hard link to {target:?}, a name that begins with \"/\"; {next}"))
            }
            _ => None,
        }
    }

    fn refuse_device(self, kind: &EntryKind) -> Option<String> {
        let (what, major, minor) = match kind {
            EntryKind::Character { major: 0, minor: 0 } => {
                return Some("a device 0:0 is overlayfs' own whiteout".to_owned());
            }
            EntryKind::Character { major, minor } if COMMON.contains(&(*major, *minor)) => return None,
            EntryKind::Character { major, minor } => ("character", major, minor),
            EntryKind::Block { major, minor } => ("block", major, minor),
            _ => return None,
        };
        (!self.devices).then(|| {
            format!(
                "it is the {what} device {major}:{minor}; of devices a layer may hold null, zero, full, random, \
                 urandom, tty, console and ptmx, and with \"hako up --allow-in-layers devices\" any"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARCHIVE: Permits = Permits { absolute_names: true, devices: false };

    fn entry(path: &str, kind: EntryKind) -> Entry {
        Entry::bare(path.into(), kind)
    }

    #[test]
    fn a_name_that_begins_with_a_slash_is_taken_from_archives_alone() {
        let link = |target: &str| EntryKind::HardLink(target.into());
        for refused in [
            entry("/etc/passwd", EntryKind::File),
            entry("//x", EntryKind::Directory),
            entry("/", EntryKind::File),
            entry("x", link("/etc/shadow")),
        ] {
            assert!(Permits::LAYER.refuse(&refused).unwrap().contains("begins with \"/\""), "{refused:?}");
            assert_eq!(ARCHIVE.refuse(&refused), None, "{refused:?}");
        }
        for taken in [
            entry("./x", EntryKind::File),
            entry("/", EntryKind::Directory),
            entry("/./", EntryKind::Directory),
            entry("x", link("./y")),
            entry("x", EntryKind::Symlink(b"/usr/bin".to_vec())),
        ] {
            assert_eq!(Permits::LAYER.refuse(&taken), None, "{taken:?}");
        }
    }

    #[test]
    fn only_devices_that_every_root_file_system_has_are_taken() {
        let refused = [(1, 1), (1, 2), (1, 4), (1, 11), (4, 0), (5, 3), (10, 229), (3, 1)];
        for (major, minor) in refused {
            let reason = ARCHIVE.refuse(&entry("d", EntryKind::Character { major, minor })).unwrap();
            assert!(reason.contains(&format!("character device {major}:{minor}")), "{reason}");
        }
        for (major, minor) in COMMON {
            assert_eq!(Permits::LAYER.refuse(&entry("d", EntryKind::Character { major, minor })), None);
            let block = entry("d", EntryKind::Block { major, minor });
            assert!(Permits::LAYER.refuse(&block).unwrap().contains("block device"));
            assert_eq!(Permits::ALL.refuse(&block), None);
        }
        let whiteout = entry("d", EntryKind::Character { major: 0, minor: 0 });
        assert!(Permits::ALL.refuse(&whiteout).unwrap().contains("whiteout"));
    }
}
