//! A layer: it is applied or refused, touches nothing beside its directory, and stays within its bounds.

use hako_image::layer::{Decoder, Limits, apply, apply_alone, sniff};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Cursor;
use std::path::Path;

const LIMITS: Limits = Limits { bytes: 1 << 20, entries: 500 };
const GUARD: &str = "nobody writes here";

pub fn run(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory for a test");
    let (root, guard) = (dir.path().join("root"), dir.path().join("guard"));
    fs::write(&guard, GUARD).expect("write the guard");
    for is_alone in [false, true] {
        fs::create_dir(&root).expect("make the root");
        unpack(&root, data, is_alone);
        let beside: BTreeSet<_> = fs::read_dir(dir.path())
            .expect("list")
            .map(|entry| entry.expect("an entry").file_name())
            .collect();
        assert!(beside == BTreeSet::from(["guard".into(), "root".into()]), "{beside:?}");
        assert!(fs::read_to_string(&guard).expect("read the guard") == GUARD);
        fs::remove_dir_all(&root).expect("remove the root");
    }
}

fn unpack(root: &Path, data: &[u8], is_alone: bool) {
    let Ok((compression, stream)) = sniff(Cursor::new(data)) else { return };
    let Ok(tar) = Decoder::new(stream, compression) else { return };
    let root = File::open(root).expect("open the root");
    if is_alone {
        let _ = apply_alone(&root, tar, "fuzzed", LIMITS);
    } else if let Ok(applied) = apply(&root, tar, "fuzzed", LIMITS) {
        assert!(applied.bytes <= LIMITS.bytes && applied.entries <= LIMITS.entries, "{applied:?}");
    }
}
