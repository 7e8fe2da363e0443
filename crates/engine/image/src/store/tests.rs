use super::*;
use crate::layer::{DiffOptions, Encoder, Permits};
use crate::transfer::Stop;
use crate::{NewImage, busybox_rootfs};
use hako_error::Kind;
use hako_oci::media_type::Compression;
use hako_snapshot::Overlay;
use nix::mount::{MsFlags, mount, umount};
use nix::sched::{CloneFlags, unshare};
use std::collections::HashSet;
use std::fs;
use std::io::{Read, Write};
use std::time::Duration;

pub(super) fn open(dir: &Path) -> ImageStore {
    let content = ContentStore::open(dir.join("content")).unwrap();
    let snapshots = Arc::new(Overlay::open(dir.join("snapshots")).unwrap());
    ImageStore::open(content, snapshots, dir.join("images")).unwrap()
}

fn store() -> (tempfile::TempDir, ImageStore) {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path());
    (dir, store)
}

fn name(text: &str) -> ImageRef {
    text.parse().unwrap()
}

/// A tar with one file of that content.
fn small_tar(content: &str) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("file"), content).unwrap();
    let mut tar = Vec::new();
    crate::layer::diff(dir.path(), &[], &DiffOptions { newest_unix_s: Some(0) }, &mut tar).unwrap();
    tar
}

fn import(store: &ImageStore, text: &str, content: &str) -> Image {
    store.import_rootfs(small_tar(content).as_slice(), &name(text), ImageConfiguration::default()).unwrap()
}

#[test]
fn a_root_file_system_is_imported_and_ready_to_run() {
    let (_dir, store) = store();
    let image = import(&store, "base", "hello");
    assert_eq!(image.name, Some(name("base")));
    let parent = store.unpack(&image).unwrap();
    let mounts = store.snapshots().prepare("run", parent.as_deref()).unwrap();
    assert_eq!(fs::read_to_string(mounts.lower[0].join("file")).unwrap(), "hello");
    assert_eq!(import(&store, "again", "hello").id, image.id, "the same tar is the same image");
    assert_eq!(store.find("base").unwrap().names, [name("again"), name("base")]);
}

#[test]
fn compressed_root_file_systems_are_the_same_layer() {
    let (_dir, store) = store();
    let plain = import(&store, "plain", "x");
    for compression in [Compression::Gzip, Compression::Zstd] {
        let mut encoder = Encoder::new(Vec::new(), compression).unwrap();
        encoder.write_all(&small_tar("x")).unwrap();
        let (bytes, _) = encoder.finish().unwrap();
        let image =
            store.import_rootfs(bytes.as_slice(), &name("packed"), ImageConfiguration::default()).unwrap();
        assert_eq!(image.chain_id(), plain.chain_id());
        assert_eq!(store.content().read(image.layers[0].digest).unwrap(), bytes);
    }
}

#[test]
fn a_hostile_import_leaves_nothing() {
    let (dir, store) = store();
    let mut tar = small_tar("x");
    tar.truncate(512);
    let error = store.import_rootfs(tar.as_slice(), &name("bad"), ImageConfiguration::default()).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.chain().contains("bad"), "{error:?}");
    assert!(store.list().unwrap().is_empty() && store.content().list().unwrap().is_empty());
    assert!(store.snapshots().list().is_empty());
    assert_eq!(fs::read_dir(dir.path().join("content/leases")).unwrap().count(), 0);
}

/// What `tar -P` made of a directory, and one device that not every root file system has.
fn absolute_tar(dir: &Path, flags: &[&str]) -> Vec<u8> {
    let output = std::process::Command::new("tar").args(["-P", "-cf", "-"]).args(flags).arg(dir).output();
    output.unwrap().stdout
}

#[test]
fn a_root_file_system_with_absolute_names_becomes_a_layer_without() {
    let (dir, store) = store();
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/name"), "x").unwrap();
    fs::hard_link(root.join("etc/name"), root.join("etc/other")).unwrap();
    let transform = format!("--transform=s|^{}||", root.display());
    let tar = absolute_tar(&root, &[&transform]);
    for compression in [Compression::None, Compression::Gzip] {
        let mut encoder = Encoder::new(Vec::new(), compression).unwrap();
        encoder.write_all(&tar).unwrap();
        let (bytes, _) = encoder.finish().unwrap();
        let image =
            store.import_rootfs(bytes.as_slice(), &name("root"), ImageConfiguration::default()).unwrap();
        let mut layer = crate::layer::TarReader::new(store.plain(&image.layers[0]).unwrap());
        let mut entries = Vec::new();
        while let Some(entry) = layer.next().unwrap() {
            entries.push((String::from_utf8(entry.path).unwrap(), entry.kind));
        }
        use crate::layer::EntryKind::{Directory, File, HardLink};
        let link = HardLink(b"etc/name".to_vec());
        let expected = [("etc/", Directory), ("etc/name", File), ("etc/other", link)];
        assert_eq!(entries, expected.map(|(path, kind)| (path.to_owned(), kind)));
        assert!(store.unpack(&image).unwrap().is_some());
        // The archive as it came is not kept, and the layer can be unpacked anew.
        assert_eq!(store.content().list().unwrap().len(), 3, "layer, configuration and manifest");
        store.remove("root", false).unwrap();
        store.gc().unwrap();
    }
}

#[test]
fn an_imported_device_that_no_layer_may_have_is_refused_and_leaves_nothing() {
    let (dir, store) = store();
    let node = dir.path().join("disk");
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::BlockDevice;
    rustix::fs::mknodat(rustix::fs::CWD, &node, kind, mode, rustix::fs::makedev(7, 300)).unwrap();
    let tar = absolute_tar(&node, &[]);
    for (compression, permits) in [
        (Compression::None, Permits::LAYER),
        (Compression::Gzip, Permits::LAYER),
        (Compression::None, Permits::ALL),
    ] {
        store.permit(permits);
        let mut encoder = Encoder::new(Vec::new(), compression).unwrap();
        encoder.write_all(&tar).unwrap();
        let (bytes, _) = encoder.finish().unwrap();
        let imported = store.import_rootfs(bytes.as_slice(), &name("disk"), ImageConfiguration::default());
        if permits.devices {
            imported.unwrap();
            continue;
        }
        let error = imported.unwrap_err();
        assert!(error.chain().contains("block device 7:300") && error.kind() == Kind::Invalid, "{error:?}");
        assert!(store.list().unwrap().is_empty() && store.content().list().unwrap().is_empty());
        assert!(store.snapshots().list().is_empty());
    }
}

#[test]
fn an_import_that_unpacks_to_very_much_is_refused() {
    let (_dir, store) = store();
    let mut encoder = Encoder::new(Vec::new(), Compression::Zstd).unwrap();
    let mut header = ::tar::Header::new_gnu();
    header.set_path("zeros").unwrap();
    header.set_size(1 << 40);
    header.set_cksum();
    encoder.write_all(header.as_bytes()).unwrap();
    let zeros = vec![0; 16 << 20];
    for _ in 0..120 {
        encoder.write_all(&zeros).unwrap();
    }
    let (bytes, _) = encoder.finish().unwrap();
    let error =
        store.import_rootfs(bytes.as_slice(), &name("bomb"), ImageConfiguration::default()).unwrap_err();
    assert!(error.chain().contains("more than a layer may") && error.kind() == Kind::Invalid, "{error:?}");
    assert!(store.content().list().unwrap().is_empty() && store.snapshots().list().is_empty());
}

#[test]
fn an_import_that_is_stopped_leaves_nothing_however_far_it_came() {
    /// Its sender goes when so many bytes are left.
    struct Leaving<'a>(&'a [u8], usize, &'a Stop);
    impl Read for Leaving<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let few = buffer.len().min(512);
            let count = self.0.read(&mut buffer[..few])?;
            if self.0.len() <= self.1 {
                self.2.stop();
            }
            Ok(count)
        }
    }
    let tar = small_tar("x");
    for left in [tar.len() - 512, tar.len() / 2, 0] {
        let ((_dir, store), stop) = (store(), Stop::default());
        let sent = Leaving(&tar, left, &stop);
        let import =
            store.import_rootfs_until(sent, vec![name("left")], ImageConfiguration::default(), &stop);
        let error = import.unwrap_err();
        assert_eq!(error.kind(), Kind::Cancelled, "{left}: {error:?}");
        assert!(store.list().unwrap().is_empty() && store.snapshots().list().is_empty(), "{left}");
        assert_eq!(store.content().list().unwrap(), [], "{left}");
    }
}

#[test]
fn an_empty_file_is_no_root_file_system() {
    let (_dir, store) = store();
    let mut gzip = Encoder::new(Vec::new(), Compression::Gzip).unwrap();
    gzip.write_all(b"").unwrap();
    for nothing in [Vec::new(), gzip.finish().unwrap().0] {
        let refused = store.import_rootfs(nothing.as_slice(), &name("none"), ImageConfiguration::default());
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid);
        assert!(error.chain().contains("none") && error.chain().contains("empty"), "{error:?}");
        assert!(store.list().unwrap().is_empty() && store.snapshots().list().is_empty());
    }
}

#[test]
fn images_are_found_by_name_id_and_the_start_of_an_id() {
    let (_dir, store) = store();
    let image = import(&store, "base:1", "x");
    let hex = image.id.hex();
    for text in ["base:1", "docker.io/library/base:1", &hex[..12], &hex, &image.id.to_string()] {
        assert_eq!(store.find(text).unwrap().id, image.id, "{text}");
    }
    let pinned = name("base").with_digest(image.manifest_digest);
    assert_eq!(store.resolve(&pinned).unwrap().id, image.id);
    let error = store.find("nowhere").unwrap_err();
    assert!(error.is_not_found() && error.chain().contains("hako image import"), "{error:?}");
    assert_eq!(store.find("BAD NAME").unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_digest_in_a_name_is_what_the_bytes_say_and_nobodys_to_give() {
    let (dir, store) = store();
    let image = import(&store, "base", "x");
    let foreign = name("debian").with_digest(Digest::of(b"another"));
    let error = store.tag(&image, &foreign).unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.chain().contains("invalid tag"), "{error:?}");
    let named =
        NewImage { names: vec![foreign.clone()], layers: image.layers.clone(), ..NewImage::default() };
    assert_eq!(store.commit_image(named).unwrap_err().kind(), Kind::Invalid);
    assert!(store.resolve(&foreign).unwrap_err().is_not_found());
    // As an earlier version would have kept it.
    let record = serde_json::json!({ "name": foreign, "manifest": image.manifest_digest });
    let file = format!("images/names/{}.json", Digest::of(foreign.canonical().as_bytes()).hex());
    fs::write(dir.path().join(file), record.to_string()).unwrap();
    let reopened = open(dir.path());
    assert!(reopened.called(&foreign).is_none());
    assert!(reopened.resolve(&foreign).unwrap_err().is_not_found());
    let own = name("debian").with_digest(image.manifest_digest);
    assert_eq!(reopened.resolve(&own).unwrap().id, image.id);
}

#[test]
fn an_image_goes_with_its_last_name_and_takes_its_layers() {
    let (_dir, store) = store();
    let image = import(&store, "one", "x");
    store.tag(&image, &name("two")).unwrap();
    import(&store, "other", "y");
    let by_id = store.remove(&image.id.short(), false).unwrap_err();
    assert_eq!(by_id.kind(), Kind::Conflict);
    let removed = store.remove("one", false).unwrap();
    assert_eq!((removed.untagged, removed.deleted), (vec![name("one")], None));
    let removed = store.remove("two", false).unwrap();
    assert_eq!(removed.deleted, Some(image.id));
    assert_eq!((removed.collected.blobs.len(), removed.collected.snapshots.len()), (3, 1));
    assert!(store.find(&image.id.short()).unwrap_err().is_not_found());
    assert_eq!(store.list().unwrap().len(), 1);
}

#[test]
fn removing_an_image_looks_at_what_it_had_however_many_there_are() {
    let (_dir, store) = store();
    for number in 0..30 {
        import(&store, &format!("other:{number}"), &format!("other {number}"));
    }
    import(&store, "one", "x");
    store.gc().unwrap();
    let removed = store.remove("one", false).unwrap();
    let Collected { blobs, snapshots, looked_at } = removed.collected;
    // Manifest, configuration, layer and snapshot; that many more would be looked at if all were.
    assert_eq!((blobs.len(), snapshots.len(), looked_at), (3, 1, 4));
    assert_eq!(store.gc().unwrap().looked_at, 4 * 30);
}

#[test]
fn what_a_failed_import_left_goes_with_the_next_removal() {
    let (_dir, store) = store();
    import(&store, "one", "x");
    let lease = store.lease("build").unwrap();
    let left = store.content().put("left", b"left", Some(&lease)).unwrap();
    drop(lease);
    let removed = store.remove("one", false).unwrap();
    assert!(removed.collected.blobs.contains(&left), "{removed:?}");
    assert_eq!(store.content().list().unwrap(), []);
}

#[test]
fn spares_that_nobody_used_go_to_make_room_and_so_does_what_they_kept() {
    let (_dir, store) = store();
    let put = |text: &str| store.content().put(text, text.as_bytes(), None).unwrap();
    let (old, young) = (put("old"), put("young"));
    let kept = Arc::new(Mutex::new(HashMap::from([
        (old.digest, std::time::UNIX_EPOCH),
        (young.digest, std::time::SystemTime::now()),
    ])));
    let roots = kept.clone();
    store.add_roots(move || Ok(Roots { blobs: roots.lock().keys().copied().collect(), ..Roots::default() }));
    store.add_spares(move || {
        let spare = |(digest, used): (&Digest, &std::time::SystemTime)| {
            let (digest, kept) = (*digest, kept.clone());
            let forget = move || {
                kept.lock().remove(&digest);
                Ok(Roots { blobs: HashSet::from([digest]), ..Roots::default() })
            };
            Spare { name: "a result".into(), used: *used, forget: Box::new(forget) }
        };
        Ok(kept.lock().iter().map(spare).collect())
    });
    // Every disk has something on it.
    let tight = Budget { high_percent: 0, low_percent: 0, youngest: Duration::from_secs(3600) };
    let relieved = store.relieve(&tight).unwrap();
    assert_eq!((relieved.spares, relieved.collected.blobs), (1, vec![old]));
    assert_eq!(store.relieve(&tight).unwrap().spares, 0);
    assert!(store.content().exists(young.digest));
}

#[test]
fn leases_of_a_dead_process_end_at_the_next_start_except_those_of_pulls() {
    let (dir, store) = store();
    let kept = |what: &str, text: &[u8]| {
        // As an earlier process with the same number would call it.
        let id = format!("{what}-{}.1-0", std::process::id());
        let lease = store.content().lease(&id, Duration::from_secs(3600)).unwrap();
        let blob = store.content().put(what, text, Some(&lease)).unwrap();
        (blob.digest, lease)
    };
    let (built, pulled) = (kept("build", b"built"), kept("pull", b"pulled"));
    let own = store.lease("build").unwrap();
    let mine = store.content().put("mine", b"mine", Some(&own)).unwrap().digest;
    // The files of all three are there.
    let reopened = open(dir.path());
    reopened.gc().unwrap();
    let exists = |digest| reopened.content().exists(digest);
    assert!(!exists(built.0) && exists(pulled.0) && exists(mine));
    drop(own);
}

#[test]
fn collections_side_by_side_with_imports_and_removals_lose_nothing() {
    let (_dir, store) = store();
    let base = import(&store, "base", "base");
    std::thread::scope(|scope| {
        for worker in 0..3 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..15 {
                    let name = format!("app{worker}");
                    // Two of three have the same layer.
                    let image = import(store, &name, &format!("{} {round}", worker / 2));
                    let parent = store.unpack(&image).unwrap();
                    store.remove(&name, false).unwrap();
                    drop(parent);
                }
            });
        }
        for _ in 0..2 {
            scope.spawn(|| (0..40).for_each(|_| drop(store.gc().unwrap())));
        }
    });
    store.gc().unwrap();
    assert_eq!(store.content().list().unwrap().len(), 3, "the base is left");
    assert_eq!(store.snapshots().list().len(), 1);
    assert!(store.unpack(&base).unwrap().is_some());
}

#[test]
fn what_is_let_go_of_while_a_collection_runs_is_looked_at_by_the_next_one_of_what_was_let_go_of() {
    let (_dir, store) = store();
    let image = import(&store, "app", "x");
    let snapshot = store.unpack(&image).unwrap().unwrap();
    let lease = store.lease("test").unwrap();
    store.hold(&image, &lease).unwrap();
    let held = Mutex::new(Some((store.pin(&snapshot), lease)));
    store.remove("app", false).unwrap();
    // Asked for while a collection runs.
    store.add_roots(move || {
        drop(held.lock().take());
        Ok(Roots::default())
    });
    let spared = store.gc().unwrap();
    assert!(spared.blobs.is_empty() && spared.snapshots.is_empty(), "{spared:?}");
    let collected = store.collect_released().unwrap();
    assert_eq!((collected.blobs.len(), collected.snapshots), (3, vec![snapshot]));
}

#[test]
fn a_name_that_moves_on_leaves_its_image_without_a_name() {
    let (dir, store) = store();
    let old = import(&store, "app", "1");
    let new = import(&store, "app", "2");
    for store in [&store, &open(dir.path())] {
        assert_eq!(store.find("app").unwrap().id, new.id);
        let found = store.find(&old.id.short()).unwrap();
        assert!(found.names.is_empty() && store.list().unwrap().len() == 2);
    }
    assert_eq!(store.remove(&old.id.short(), false).unwrap().deleted, Some(old.id));
}

#[test]
fn collection_spares_containers_pins_and_roots() {
    let (_dir, store) = store();
    let image = import(&store, "base", "x");
    let snapshot = image.chain_id().unwrap();
    store.snapshots().prepare("container", Some(&snapshot)).unwrap();
    let removed = store.remove("base", false).unwrap();
    assert!(removed.collected.snapshots.is_empty(), "a container runs on it");
    store.snapshots().remove("container").unwrap();
    let pin = store.pin(&snapshot);
    assert!(store.gc().unwrap().snapshots.is_empty());
    drop(pin);
    let extra = store.content().put("x", b"extra", None).unwrap();
    let root = snapshot.clone();
    store.add_roots(move || {
        Ok(Roots { blobs: HashSet::from([extra.digest]), snapshots: HashSet::from([root.clone()]) })
    });
    let collected = store.gc().unwrap();
    assert!(collected.blobs.is_empty() && collected.snapshots.is_empty());
}

#[test]
fn what_cannot_be_removed_keeps_nothing_else_and_goes_when_it_can() {
    let (dir, store) = store();
    let image = import(&store, "stuck", "x");
    import(&store, "other", "y");
    // What is mounted over in this thread's namespace is busy.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    let none = None::<&str>;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let chain = image.chain_id().unwrap();
    let committed =
        fs::read_dir(dir.path().join("snapshots/committed")).unwrap().map(|entry| entry.unwrap().path());
    let mut committed =
        committed.filter(|path| fs::read_to_string(path.join("committed.json")).unwrap().contains(&chain));
    let file = committed.next().unwrap().join("fs/file");
    mount(Some(&file), &file, none, MsFlags::MS_BIND, none).unwrap();
    assert_eq!(store.remove("stuck", false).unwrap().collected.snapshots, [chain]);
    assert_eq!(store.remove("other", false).unwrap().collected.snapshots.len(), 1);
    let trash =
        || fs::read_dir(dir.path().join("snapshots/trash")).unwrap().map(|entry| entry.unwrap().path());
    store.gc().unwrap();
    assert_eq!(trash().count(), 1);
    umount(&trash().next().unwrap().join("fs/file")).unwrap();
    store.gc().unwrap();
    assert_eq!((trash().count(), store.content().list().unwrap().len()), (0, 0));
}

#[test]
fn layers_stack_and_each_is_unpacked_once_by_many_threads() {
    let (_dir, store) = store();
    let base = import(&store, "base", "base");
    let lease = store.lease("test").unwrap();
    let parent = store.unpack(&base).unwrap();
    let mounts = store.snapshots().prepare("step", parent.as_deref()).unwrap();
    {
        let tree = store.snapshots().mounted(&mounts).unwrap();
        fs::remove_file(tree.path().join("file")).unwrap();
        fs::write(tree.path().join("added"), "top").unwrap();
    }
    let layer =
        store.write_layer(&mounts, &DiffOptions::default(), "step", &lease).unwrap().commit().unwrap();
    store.snapshots().remove("step").unwrap();
    let layers = [base.layers.clone(), vec![layer]].concat();
    let new = NewImage { layers, names: vec![name("app")], ..NewImage::default() };
    let image = store.commit_image(new.clone()).unwrap();
    assert_eq!(store.commit_image(new).unwrap().manifest_digest, image.manifest_digest);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| assert_eq!(store.unpack(&image).unwrap(), image.chain_id()));
        }
    });
    assert_eq!(store.snapshots().list().len(), 2, "no snapshot is left over");
    let mounts = store.snapshots().view("look", image.chain_id().as_deref()).unwrap();
    let tree = store.snapshots().mounted(&mounts).unwrap();
    assert!(!tree.path().join("file").exists());
    assert_eq!(fs::read_to_string(tree.path().join("added")).unwrap(), "top");
}

#[test]
fn a_layer_that_is_not_what_its_image_says_is_refused() {
    let (_dir, store) = store();
    let base = import(&store, "base", "x");
    let mut layers = base.layers.clone();
    layers[0].diff_id = Digest::of(b"something else");
    let image = store.commit_image(NewImage { layers, ..NewImage::default() }).unwrap();
    let error = store.unpack(&image).unwrap_err();
    assert_eq!(error.kind(), Kind::Invalid);
    assert!(error.chain().contains(&base.layers[0].diff_id.to_string()), "{error:?}");
    assert_eq!(store.snapshots().list().len(), 1);
}

#[test]
fn a_crash_while_unpacking_leaves_no_snapshot() {
    let (dir, store) = store();
    let image = import(&store, "base", "x");
    store.snapshots().prepare("unpack-99", image.chain_id().as_deref()).unwrap();
    let reopened = open(dir.path());
    assert_eq!(reopened.snapshots().list().len(), 1);
    assert_eq!(reopened.find("base").unwrap().id, image.id);
}

#[test]
fn the_machines_busybox_becomes_a_root_file_system() {
    let (_dir, store) = store();
    let tar = busybox_rootfs(Path::new("/bin/busybox")).unwrap();
    let image = store.import_rootfs(tar.as_slice(), &name("busybox"), ImageConfiguration::default()).unwrap();
    let parent = store.unpack(&image).unwrap();
    let mounts = store.snapshots().view("look", parent.as_deref()).unwrap();
    let tree = store.snapshots().mounted(&mounts).unwrap();
    let run = std::process::Command::new("chroot")
        .arg(tree.path().canonicalize().unwrap_or(mounts.lower[0].clone()))
        .args(["/bin/sh", "-c", "echo $(id -un) in $(pwd)"])
        .output()
        .unwrap();
    assert_eq!(String::from_utf8_lossy(&run.stdout), "root in /\n", "{run:?}");
}
