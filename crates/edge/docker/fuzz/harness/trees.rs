//! A client's tree: it is made below its directory, and nothing beside it, and no more bytes than came.

use std::path::Path;

use hako_docker::wire;

pub fn run(data: &[u8]) {
    let dir = tempfile::tempdir().expect("a directory");
    let (tree, beside) = (dir.path().join("tree"), dir.path().join("beside"));
    std::fs::create_dir(&tree).expect("made");
    std::fs::write(&beside, "safe").expect("written");
    let taken = wire::tree(data, &tree);
    assert_eq!(std::fs::read(&beside).expect("it is there"), b"safe");
    let names: Vec<_> = std::fs::read_dir(dir.path()).expect("a list").collect();
    assert_eq!(names.len(), 2, "{names:?}");
    assert!(bytes(&tree) <= data.len() as u64);
    if let Err(refused) = taken {
        assert!(!refused.chain().is_empty());
    }
}

/// The bytes of all files, each of them once.
fn bytes(dir: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut all = std::collections::BTreeMap::new();
    let mut left = vec![dir.to_owned()];
    while let Some(dir) = left.pop() {
        for entry in std::fs::read_dir(dir).expect("a list").map(|entry| entry.expect("an entry")) {
            let found = entry.metadata().expect("what it is");
            if found.is_dir() {
                left.push(entry.path());
            } else if found.is_file() {
                all.insert(found.ino(), found.len());
            }
        }
    }
    all.values().sum()
}
