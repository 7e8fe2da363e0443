//! A layer: it is applied or refused, touches nothing beside its directory, and stays within its bounds. One from
//! elsewhere has no absolute names and no devices but those that every root file system has.

use hako_image::layer::{Decoder, Limits, Permits, apply, apply_alone, sniff};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Cursor;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 500, permits: Permits::LAYER };
const GUARD: &str = "nobody writes here";

pub fn run(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory for a test");
    let (root, guard) = (dir.path().join("root"), dir.path().join("guard"));
    fs::write(&guard, GUARD).expect("write the guard");
    for (is_alone, permits) in
        [(false, Permits::LAYER), (false, Permits::ALL), (true, Permits::LAYER), (true, Permits::ALL)]
    {
        fs::create_dir(&root).expect("make the root");
        unpack(&root, data, is_alone, LIMITS.permitting(permits));
        if permits == Permits::LAYER {
            look_for_devices(&root, is_alone);
        }
        let beside: BTreeSet<_> = fs::read_dir(dir.path())
            .expect("list")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert!(beside == BTreeSet::from(["guard".into(), "root".into()]), "{beside:?}");
        assert!(fs::read_to_string(&guard).expect("read the guard") == GUARD);
        fs::remove_dir_all(&root).expect("remove the root");
    }
}

fn unpack(root: &Path, data: &[u8], is_alone: bool, limits: Limits) {
    let Ok((compression, stream)) = sniff(Cursor::new(data)) else { return };
    let Ok(tar) = Decoder::new(stream, compression) else { return };
    let root = File::open(root).expect("open the root");
    if is_alone {
        let _ = apply_alone(&root, tar, "fuzzed", limits);
    } else if let Ok(applied) = apply(&root, tar, "fuzzed", limits) {
        assert!(applied.bytes <= limits.bytes && applied.entries <= limits.entries, "{applied:?}");
        assert!(limits.permits.absolute_names || !applied.has_absolute_names, "{applied:?}");
    }
}

/// 0:0 is what a layer that was applied alone marks with what it hides.
fn look_for_devices(dir: &Path, is_alone: bool) {
    for entry in fs::read_dir(dir).expect("list").map(|entry| entry.expect("an entry")) {
        let meta = entry.metadata().expect("stat");
        assert!(!meta.file_type().is_block_device(), "{:?}", entry.path());
        if meta.file_type().is_char_device() {
            let number = (rustix::fs::major(meta.rdev()), rustix::fs::minor(meta.rdev()));
            let is_common = matches!(number, (1, 3 | 5 | 7 | 8 | 9) | (5, 0..=2));
            assert!(is_common || is_alone && number == (0, 0), "{:?} {number:?}", entry.path());
        }
        if meta.is_dir() {
            look_for_devices(&entry.path(), is_alone);
        }
    }
}
