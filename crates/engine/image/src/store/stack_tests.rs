//! Applied alone and stacked, a layer gives the tree that it gives when applied to what is below.

use super::tests::open;
use super::*;
use crate::layer::{Entry, EntryKind, Limits, TarWriter, apply_alone};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;

const NAMES: [&str; 3] = ["a", "b", "c"];

fn any_path() -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(&NAMES[..]), 1..4).prop_map(|parts| parts.join("/"))
}

/// Few names and all kinds, so that everything meets everything.
fn any_entry() -> impl Strategy<Value = Entry> {
    let kind = prop_oneof![
        4 => Just(EntryKind::File),
        4 => Just(EntryKind::Directory),
        1 => any_path().prop_map(|target| EntryKind::Symlink(target.into_bytes())),
        1 => any_path().prop_map(|target| EntryKind::Symlink(format!("/{target}").into_bytes())),
        1 => any_path().prop_map(|target| EntryKind::HardLink(target.into_bytes())),
    ];
    let prefix = prop_oneof![6 => Just(""), 2 => Just(".wh."), 1 => Just("opaque")];
    (any_path(), kind, prefix, 0_u32..4).prop_map(|(path, kind, prefix, number)| {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", &path));
        let parent = if parent.is_empty() { String::new() } else { format!("{parent}/") };
        let (path, kind) = match prefix {
            "opaque" => (format!("{path}/.wh..wh..opq"), EntryKind::File),
            ".wh." => (format!("{parent}.wh.{name}"), EntryKind::File),
            _ => (path.clone(), kind),
        };
        Entry {
            path: path.into_bytes(),
            size: if kind == EntryKind::File { number.into() } else { 0 },
            kind,
            mode: 0o700 + number,
            uid: number,
            gid: 7,
            mtime_s: 1_000 + i64::from(number),
            mtime_ns: 0,
            xattrs: Vec::new(),
            sparse: None,
        }
    })
}

fn tar(entries: &[Entry]) -> Vec<u8> {
    let mut tar = TarWriter::new(Vec::new());
    for entry in entries {
        tar.append(entry, &b"xxxx"[..]).unwrap();
    }
    tar.finish().unwrap()
}

fn layer(store: &ImageStore, entries: &[Entry]) -> Layer {
    let bytes = tar(entries);
    let blob = store.content().put("a layer", &bytes, None).unwrap();
    let media_type = hako_oci::media_type::LAYER_TAR.into();
    let (digest, size) = (blob.digest, blob.size);
    Layer { digest, size, media_type, diff_id: blob.digest, annotations: BTreeMap::new() }
}

/// Every file of the merged tree, with what layers decide about it.
fn look(store: &ImageStore, chain: &str) -> BTreeMap<PathBuf, (u32, u32, i64, Vec<u8>)> {
    let mounts = store.snapshots().view("look", Some(chain)).unwrap();
    let tree = store.snapshots().mounted(&mounts).unwrap();
    let (mut seen, mut left) = (BTreeMap::new(), vec![PathBuf::new()]);
    while let Some(relative) = left.pop() {
        for entry in std::fs::read_dir(tree.path().join(&relative)).unwrap() {
            let relative = relative.join(entry.unwrap().file_name());
            let path = tree.path().join(&relative);
            let metadata = path.symlink_metadata().unwrap();
            let content = match metadata.file_type() {
                kind if kind.is_file() => std::fs::read(&path).unwrap(),
                kind if kind.is_symlink() => {
                    std::fs::read_link(&path).unwrap().to_string_lossy().into_owned().into_bytes()
                }
                _ => Vec::new(),
            };
            if metadata.is_dir() {
                left.push(relative.clone());
            }
            // A directory's time is that of its last change unless its own layer says it.
            let time = if metadata.is_dir() { 0 } else { metadata.mtime() };
            seen.insert(relative, (metadata.mode(), metadata.uid(), time, content));
        }
    }
    drop(tree);
    store.snapshots().remove("look").unwrap();
    seen
}

/// `PROPTEST_CASES` asks for more than what every run tries.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(256)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), failure_persistence: None, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn stacking_gives_the_tree_that_applying_in_order_gives(
        below in prop::collection::vec(any_entry(), 0..12),
        above in prop::collection::vec(any_entry(), 1..12),
    ) {
        let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (in_order, stacked) = (open(one.path()), open(two.path()));
        let layers = [layer(&in_order, &below), layer(&in_order, &above)];
        let expected = in_order.unpack_layers(&layers);
        for entries in [&below, &above] {
            layer(&stacked, entries);
        }
        let Ok(first) = stacked.unpack_layers(&layers[..1]) else {
            prop_assert!(expected.is_err());
            return Ok(());
        };
        let mut loose = stacked.loose().unwrap();
        let applied = apply_alone(&loose.root().unwrap(), tar(&above).as_slice(), "x", Limits::for_blob(1));
        let chain = chain_id(layers.iter().map(|layer| layer.diff_id)).unwrap().hex();
        let result = match applied {
            Ok(alone) => {
                loose.alone = alone;
                stacked.stack(loose, &chain, first.as_deref())
            }
            Err(error) => {
                prop_assert!(error.is_of_this_place() || expected.is_err(), "{error}");
                Ok(Stacked::NeedsMerged)
            }
        };
        if result.unwrap() == Stacked::NeedsMerged {
            // Then it is applied in order, as pulls do.
            return Ok(());
        }
        if expected.is_err() {
            // What walks through a loop of links that the layer itself replaces later can only be applied alone.
            return Ok(());
        }
        prop_assert_eq!(look(&stacked, &chain), look(&in_order, &chain));
    }
}

fn plain(path: &str) -> Entry {
    Entry {
        path: path.into(),
        size: 0,
        kind: EntryKind::File,
        mode: 0o700,
        uid: 0,
        gid: 7,
        mtime_s: 1_000,
        mtime_ns: 0,
        xattrs: Vec::new(),
        sparse: None,
    }
}

/// Found by the property above: a directory that only a whiteout walked through is hidden with all that is below.
#[test]
fn an_opaque_directory_hides_what_only_whiteouts_walked_through() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let below = layer(&store, &[plain("a/c/a")]);
    let entries = [plain("a/.wh..wh..opq"), plain("a/c/.wh.a")];
    let above = layer(&store, &entries);
    store.unpack_layers(&[below.clone(), above.clone()]).unwrap();
    let chain = chain_id([below.diff_id, above.diff_id]).unwrap().hex();
    assert_eq!(look(&store, &chain).into_keys().collect::<Vec<_>>(), [PathBuf::from("a")], "in order");

    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    layer(&store, &[plain("a/c/a")]);
    let first = store.unpack_layers(&[below]).unwrap();
    let mut loose = store.loose().unwrap();
    loose.alone =
        apply_alone(&loose.root().unwrap(), tar(&entries).as_slice(), "x", Limits::for_blob(1)).unwrap();
    assert_eq!(store.stack(loose, &chain, first.as_deref()).unwrap(), Stacked::Done);
    assert_eq!(look(&store, &chain).into_keys().collect::<Vec<_>>(), [PathBuf::from("a")], "stacked");
}

/// Found by the property above: the file belongs behind the link that the directory replaces afterwards.
#[test]
fn a_directory_named_after_what_is_in_it_needs_the_merged_tree() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    let entries = [plain("b/a"), Entry { kind: EntryKind::Directory, ..plain("b") }];
    let loose = store.loose().unwrap();
    let alone =
        apply_alone(&loose.root().unwrap(), tar(&entries).as_slice(), "x", Limits::for_blob(1)).unwrap();
    assert!(alone.needs_merged);
}
