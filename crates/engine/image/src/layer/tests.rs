use super::reader::{Entry, EntryKind, TarReader};
use super::writer::TarWriter;
use super::{ApplyError, DiffOptions, Limits, Permits, apply, apply_alone, diff};
use hako_error::Kind;
use rustix::fs::{
    CWD, FileType, Mode, OFlags, XattrFlags, lgetxattr, lsetxattr, makedev, mkdirat, mknodat, openat,
};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// All that a layer carries about one file.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    time: Option<(i64, i64)>,
    device: u64,
    content: Vec<u8>,
    xattrs: Vec<(String, Vec<u8>)>,
    links: u64,
}

fn xattr(path: &Path, name: &str) -> Option<Vec<u8>> {
    let mut value = Vec::with_capacity(4096);
    lgetxattr(path, name, rustix::buffer::spare_capacity(&mut value)).ok().map(|_| value)
}

fn look(root: &Path, relative: &Path, with_times: bool, seen: &mut BTreeMap<PathBuf, Seen>) {
    for entry in fs::read_dir(root.join(relative)).unwrap() {
        let relative = relative.join(entry.unwrap().file_name());
        let path = root.join(&relative);
        let metadata = path.symlink_metadata().unwrap();
        let content = if metadata.is_file() {
            fs::read(&path).unwrap()
        } else if metadata.is_symlink() {
            fs::read_link(&path).unwrap().to_string_lossy().into_owned().into_bytes()
        } else {
            Vec::new()
        };
        let names = ["user.note", "trusted.note", "security.capability"];
        let xattrs = names.iter().filter_map(|name| Some(((*name).to_owned(), xattr(&path, name)?)));
        let it = Seen {
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            time: with_times.then(|| (metadata.mtime(), metadata.mtime_nsec())),
            device: metadata.rdev(),
            content,
            xattrs: xattrs.collect(),
            links: if metadata.is_dir() { 0 } else { metadata.nlink() },
        };
        seen.insert(relative.clone(), it);
        if metadata.is_dir() {
            look(root, &relative, with_times, seen);
        }
    }
}

fn tree(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    look(root, Path::new(""), true, &mut seen);
    seen
}

fn untimed(root: &Path) -> BTreeMap<PathBuf, Seen> {
    let mut seen = BTreeMap::new();
    look(root, Path::new(""), false, &mut seen);
    seen
}

fn set_mtime(path: &Path, seconds: i64, nanos: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

/// A file capability (cap_net_bind_service=ep); its bytes contain a newline in the second variant.
const CAPABILITY: [u8; 20] = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

/// One of every kind of file that a layer can hold.
fn every_kind(root: &Path) {
    fs::create_dir_all(root.join("dir/sub")).unwrap();
    fs::write(root.join("plain"), "hello").unwrap();
    fs::write(root.join("empty"), "").unwrap();
    fs::write(root.join("dir/setuid"), "#!").unwrap();
    std::os::unix::fs::chown(root.join("dir/setuid"), Some(1000), Some(3_000_000)).unwrap();
    fs::set_permissions(root.join("dir/setuid"), fs::Permissions::from_mode(0o6755)).unwrap();
    fs::set_permissions(root.join("dir/sub"), fs::Permissions::from_mode(0o1777)).unwrap();
    fs::hard_link(root.join("plain"), root.join("dir/hard")).unwrap();
    symlink("../plain", root.join("dir/soft")).unwrap();
    symlink("/no/where/".repeat(20), root.join("dir/dangling")).unwrap();
    let mode = Mode::from_raw_mode(0o640);
    mknodat(CWD, root.join("fifo"), FileType::Fifo, mode, 0).unwrap();
    mknodat(CWD, root.join("null"), FileType::CharacterDevice, mode, makedev(1, 3)).unwrap();
    mknodat(CWD, root.join("loop"), FileType::BlockDevice, mode, makedev(7, 300)).unwrap();
    let long = root.join("dir").join("n".repeat(200));
    fs::create_dir(&long).unwrap();
    fs::write(long.join("m".repeat(120)), "long").unwrap();
    fs::write(root.join("dir/ünïcödé \n name"), "x").unwrap();
    fs::write(root.join("capable"), "x").unwrap();
    lsetxattr(root.join("capable"), "security.capability", &CAPABILITY, XattrFlags::empty()).unwrap();
    lsetxattr(root.join("plain"), "trusted.note", b"a\nb=c\0d", XattrFlags::empty()).unwrap();
    lsetxattr(root.join("dir"), "trusted.note", b"", XattrFlags::empty()).unwrap();
    let mut sparse = File::create(root.join("sparse")).unwrap();
    sparse.write_all(b"start").unwrap();
    sparse.set_len(1 << 20).unwrap();
    set_mtime(&root.join("plain"), 1_700_000_000, 123_456_789);
    set_mtime(&root.join("empty"), -5, 250_000_000);
    set_mtime(&root.join("capable"), 1 << 34, 0);
    set_mtime(&root.join("dir/soft"), 7, 7);
    set_mtime(&root.join("dir/sub"), 1_000_000_000, 1);
    set_mtime(&root.join("dir"), 1_000_000_001, 0);
}

fn pack(root: &Path) -> Vec<u8> {
    let mut tar = Vec::new();
    diff(root, &[], &DiffOptions::default(), &mut tar).unwrap();
    tar
}

/// As what was made here.
fn unpack(tar: &[u8]) -> (tempfile::TempDir, hako_error::Result<super::Applied>) {
    unpack_permitting(tar, Permits::ALL)
}

fn unpack_permitting(
    tar: &[u8],
    permits: Permits,
) -> (tempfile::TempDir, hako_error::Result<super::Applied>) {
    let dir = tempfile::tempdir().unwrap();
    let root = File::open(dir.path()).unwrap();
    let applied = apply(&root, tar, "the layer", Limits { bytes: 64 << 20, entries: 1000, permits });
    (dir, applied)
}

#[test]
fn every_kind_of_file_survives_a_round_trip() {
    let source = tempfile::tempdir().unwrap();
    every_kind(source.path());
    let tar = pack(source.path());
    let (copy, applied) = unpack(&tar);
    applied.unwrap();
    assert_eq!(tree(copy.path()), tree(source.path()));
    assert_eq!(pack(copy.path()), tar, "the same directory gives the same bytes");
}

#[test]
fn gnu_tar_unpacks_what_we_pack() {
    let (source, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    every_kind(source.path());
    let mut child = Command::new("tar")
        .args(["--xattrs", "--xattrs-include=*", "--same-owner", "-xpf", "-", "-C"])
        .arg(copy.path())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&pack(source.path())).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(tree(copy.path()), tree(source.path()));
}

#[test]
fn we_unpack_what_gnu_tar_packs_in_each_format() {
    let source = tempfile::tempdir().unwrap();
    every_kind(source.path());
    let pax: &[&str] = &["--format=pax", "--xattrs", "--xattrs-include=*"];
    let sparse: &[&str] =
        &["--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=1.0"];
    let sparse_0: &[&str] =
        &["--format=pax", "--xattrs", "--xattrs-include=*", "--sparse", "--sparse-version=0.1"];
    let gnu: &[&str] = &["--format=gnu", "--sparse"];
    for options in [pax, sparse, sparse_0, gnu] {
        let output = Command::new("tar")
            .args(options)
            .arg("-cf-")
            .arg("-C")
            .arg(source.path())
            .arg(".")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let (copy, applied) = unpack(&output.stdout);
        assert!(applied.is_ok(), "{options:?}: {applied:?}");
        if options.contains(&"--xattrs") {
            assert_eq!(tree(copy.path()), tree(source.path()), "{options:?}");
        } else {
            let (mut expected, mut actual) = (untimed(source.path()), untimed(copy.path()));
            for seen in expected.values_mut().chain(actual.values_mut()) {
                seen.xattrs.clear();
            }
            assert_eq!(actual, expected, "{options:?}");
        }
    }
}

#[test]
fn what_a_real_overlay_changes_is_what_the_layer_changes() {
    use hako_snapshot::{Overlay, Snapshotter};
    let dir = tempfile::tempdir().unwrap();
    let snapshots = Overlay::open(dir.path()).unwrap();
    let base = snapshots.prepare("base-key", None).unwrap().upper.unwrap();
    every_kind(&base);
    fs::create_dir_all(base.join("old/deep")).unwrap();
    fs::write(base.join("old/deep/file"), "old").unwrap();
    fs::create_dir_all(base.join("replaced")).unwrap();
    fs::write(base.join("replaced/hidden"), "x").unwrap();
    snapshots.commit("base", "base-key").unwrap();
    let mounts = snapshots.prepare("run", Some("base")).unwrap();
    let merged = snapshots.mounted(&mounts).unwrap();
    let root = merged.path();
    fs::remove_file(root.join("plain")).unwrap();
    fs::remove_dir_all(root.join("old")).unwrap();
    fs::remove_dir_all(root.join("replaced")).unwrap();
    fs::create_dir(root.join("replaced")).unwrap();
    fs::write(root.join("replaced/new"), "new").unwrap();
    fs::create_dir_all(root.join("fresh/dir")).unwrap();
    fs::write(root.join("dir/setuid"), "changed").unwrap();
    fs::remove_dir(root.join("dir/sub")).unwrap();
    fs::rename(root.join("capable"), root.join("moved")).unwrap();
    fs::remove_file(root.join("fifo")).unwrap();
    fs::create_dir(root.join("fifo")).unwrap();
    fs::write(root.join("empty"), "linked").unwrap();
    fs::hard_link(root.join("empty"), root.join("empty2")).unwrap();

    let mut tar = Vec::new();
    diff(mounts.upper.as_ref().unwrap(), &mounts.lower, &DiffOptions::default(), &mut tar).unwrap();
    let names = names(&tar);
    for expected in [".wh.old", ".wh.plain", "replaced/.wh..wh..opq", "dir/.wh.sub"] {
        assert!(names.iter().any(|name| name == expected), "{expected} is not in {names:?}");
    }
    assert!(!names.iter().any(|name| name.starts_with("fresh/.wh.")), "{names:?}");

    let again = snapshots.prepare("again", Some("base")).unwrap();
    let copy = snapshots.mounted(&again).unwrap();
    apply(&File::open(copy.path()).unwrap(), tar.as_slice(), "x", Limits::NONE).unwrap();
    let (expected, actual) = (tree(&root), tree(&copy.path()));
    assert_eq!(actual, expected);
    assert!(!expected.contains_key(Path::new("replaced/hidden")));
}

fn names(tar: &[u8]) -> Vec<String> {
    let mut reader = TarReader::new(tar);
    let mut names = Vec::new();
    while let Some(entry) = reader.next().unwrap() {
        names.push(String::from_utf8(entry.path).unwrap());
    }
    names
}

fn entry(path: &str, kind: EntryKind, size: usize) -> Entry {
    Entry {
        path: path.into(),
        kind,
        mode: 0o755,
        uid: 0,
        gid: 0,
        mtime_s: 1,
        mtime_ns: 0,
        size: size as u64,
        xattrs: Vec::new(),
        sparse: None,
    }
}

fn tar(entries: &[(&str, EntryKind, &str)]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (path, kind, data) in entries {
        writer.append(&entry(path, kind.clone(), data.len()), data.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

fn soft(target: &Path) -> EntryKind {
    EntryKind::Symlink(target.to_str().unwrap().into())
}

fn hard(target: &str) -> EntryKind {
    EntryKind::HardLink(target.into())
}

/// Every trick that was ever used to write outside of the root: each must fail, or land inside.
#[test]
fn no_tar_reaches_outside_of_its_root() {
    use EntryKind::{Directory, File};
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "safe").unwrap();
    let (dir, file) = (outside.path(), victim.to_str().unwrap());
    let relative = format!("{}{file}", "../".repeat(30));
    let inner = format!("a/{relative}");
    let corpus: Vec<Vec<(&str, EntryKind, &str)>> = vec![
        vec![(&relative, File, "evil")],
        vec![(&inner, File, "evil")],
        vec![(file, File, "evil")],
        vec![("a", soft(dir), ""), ("a/victim", File, "evil")],
        vec![("a", soft(dir), ""), ("a/new", File, "evil")],
        vec![("a", soft(&victim), ""), ("a", File, "evil")],
        vec![("a", soft(Path::new("b")), ""), ("b", soft(dir), ""), ("a/victim", File, "evil")],
        vec![("a", soft(Path::new("../../../..")), ""), (&inner, File, "evil")],
        vec![("a", hard(file), ""), ("a", File, "evil")],
        vec![("a", hard(&relative), "")],
        vec![("a", soft(dir), ""), ("b", hard("a/victim"), ""), ("b", File, "evil")],
        vec![("a", soft(dir), ""), ("a/.wh.victim", File, "")],
        vec![("a", soft(dir), ""), ("a/.wh..wh..opq", File, "")],
        vec![("a", soft(dir), ""), ("a", Directory, ""), ("a/victim", File, "evil")],
        vec![(".wh...", File, "")],
        vec![(".wh..", File, "")],
        vec![("a/.wh...", File, "")],
        vec![("proc", soft(Path::new("/proc/self/root")), ""), ("proc/x", File, "evil")],
        vec![("d", soft(dir), ""), ("d/./victim", soft(Path::new("x")), "")],
    ];
    let permits = [Permits::LAYER, Permits::ALL];
    for (case, permits) in corpus.iter().flat_map(|case| permits.map(|permits| (case, permits))) {
        let (copy, applied) = unpack_permitting(&tar(case), permits);
        if let Err(error) = &applied {
            assert!(error.chain().contains("the layer"), "{error:?}");
        }
        assert_eq!(fs::read_to_string(&victim).unwrap(), "safe", "{case:?}");
        let left: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["victim"], "{case:?}");
        assert!(copy.path().exists(), "{case:?}");
    }
}

#[test]
fn a_name_that_leaves_the_root_is_refused_by_name() {
    for path in ["../x", "a/../../x", "/../x", ".wh...", "dir/.wh.."] {
        let (_copy, applied) = unpack(&tar(&[(path, EntryKind::File, "")]));
        let error = applied.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{path}: {error:?}");
        assert!(error.chain().contains(path), "{error:?}");
    }
    let away = soft(Path::new("/nowhere"));
    for (entries, reason) in [
        (vec![("h", hard("/etc/shadow"), "")], "hard link to \"/etc/shadow\""),
        (vec![("l", away, ""), ("l/x", EntryKind::File, "")], "symlink to nothing in the image"),
        (vec![("f", EntryKind::File, ""), ("f/x", EntryKind::File, "")], "through a file"),
    ] {
        let (_copy, applied) = unpack(&tar(&entries));
        let error = applied.unwrap_err();
        let (name, _, _) = entries.last().unwrap();
        assert!(error.chain().contains(reason) && error.chain().contains(name), "{error:?}");
        assert_eq!(error.kind(), Kind::Invalid, "{error:?}");
    }
    let device = EntryKind::Character { major: 0, minor: 0 };
    let (_copy, applied) = unpack(&tar(&[("ghost", device, "")]));
    assert_eq!(applied.unwrap_err().kind(), Kind::Invalid);
}

#[test]
fn a_layer_with_absolute_names_or_devices_is_refused_by_name_and_puts_nothing_there() {
    use EntryKind::{Block, Character, Directory, File as F};
    let (disk, memory) = (Block { major: 8, minor: 0 }, Character { major: 1, minor: 1 });
    let ghost = Character { major: 0, minor: 0 };
    for (path, kind, reason) in [
        ("/etc/cron.d/x", F, "begins with \"/\""),
        ("//x", Directory, "begins with \"/\""),
        ("/.wh.etc", F, "begins with \"/\""),
        ("/dir/.wh..wh..opq", F, "begins with \"/\""),
        ("passwd", hard("/etc/passwd"), "hard link to \"/etc/passwd\""),
        ("dev/sda", disk, "block device 8:0"),
        ("dev/mem", memory, "character device 1:1"),
        ("dev/ghost", ghost, "whiteout"),
    ] {
        let bytes = tar(&[("kept", F, ""), (path, kind, "")]);
        let (copy, applied) = unpack_permitting(&bytes, Permits::LAYER);
        let error = applied.unwrap_err();
        assert_eq!(error.kind(), Kind::Invalid, "{error:?}");
        let said = error.chain();
        assert!(["the layer", path, reason].iter().all(|part| said.contains(part)), "{path}: {said}");
        let left: Vec<_> = tree(copy.path()).into_keys().collect();
        assert_eq!(left, [Path::new("kept")], "{path}");
        let alone =
            apply_alone(&File::open(copy.path()).unwrap(), &bytes[..], "the layer", Limits::for_blob(1));
        assert!(matches!(alone, Err(ApplyError::Hostile { .. })), "{path}: {alone:?}");
    }
}

#[test]
fn a_root_file_system_of_debootstrap_is_no_hostile_layer() {
    use EntryKind::{Character, Directory};
    let devices = [
        ("./dev/null", 1, 3),
        ("./dev/zero", 1, 5),
        ("./dev/full", 1, 7),
        ("./dev/random", 1, 8),
        ("./dev/urandom", 1, 9),
        ("./dev/tty", 5, 0),
        ("./dev/console", 5, 1),
        ("./dev/ptmx", 5, 2),
    ];
    let mut entries = vec![("./", Directory, ""), ("./dev/", Directory, "")];
    entries.extend(devices.map(|(path, major, minor)| (path, Character { major, minor }, "")));
    entries.push(("./dev/fd", soft(Path::new("/proc/self/fd")), ""));
    // Some builders list the root like this.
    entries.push(("/", Directory, ""));
    let (copy, applied) = unpack_permitting(&tar(&entries), Permits::LAYER);
    applied.unwrap();
    assert_eq!(fs::symlink_metadata(copy.path().join("dev/ptmx")).unwrap().rdev(), makedev(5, 2));
}

#[test]
fn what_a_sparse_file_leaves_out_counts() {
    let mut child = Command::new("sh")
        .args(["-c", "cd $(mktemp -d) && truncate -s 8E huge 2>/dev/null || truncate -s 1T huge; tar -cSf - huge; rm -r $PWD"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut child.stdout.take().unwrap(), &mut bytes).unwrap();
    assert!(child.wait().unwrap().success() && bytes.len() < 1 << 20);
    let (_copy, applied) = unpack(&bytes);
    let error = applied.unwrap_err();
    assert!(error.chain().contains("the unpacked size in bytes exceeds"), "{error:?}");
}

#[test]
fn headers_that_only_announce_others_take_no_memory() {
    let block = |flag: u8, size: u64| {
        let mut header = ::tar::Header::new_ustar();
        header.set_path("x").unwrap();
        header.as_mut_bytes()[156] = flag;
        header.set_size(size);
        header.set_cksum();
        header.as_bytes().to_vec()
    };
    let (name, size) = ("SCHILY.xattr.user.x=", 600_000_usize);
    let mut record = format!("{size} {name}").into_bytes();
    record.resize(size - 1, b'v');
    record.push(b'\n');
    record.resize(size.next_multiple_of(512), 0);
    let one = [block(b'x', size as u64), record].concat();
    let bytes = [one.clone(), one, block(b'0', 0)].concat();
    let (_copy, applied) = unpack(&bytes);
    let error = applied.unwrap_err();
    assert!(error.chain().contains("extended headers of an entry are larger"), "{error:?}");
}

/// Directories in directories below `root`, far longer together than a path may be.
fn dig(root: &Path, depth: usize) {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut dir = openat(CWD, root, flags, Mode::empty()).unwrap();
    for _ in 0..depth {
        mkdirat(&dir, "d", Mode::from_raw_mode(0o755)).unwrap();
        dir = openat(&dir, "d", flags, Mode::empty()).unwrap();
    }
}

/// Runs `work` with less stack than one frame a directory would take.
fn on_a_small_stack<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(512 << 10).spawn_scoped(scope, work);
        thread.unwrap().join().unwrap()
    })
}

#[test]
fn a_tree_deeper_than_the_stack_is_hidden_and_is_no_layer() {
    let dir = tempfile::tempdir().unwrap();
    dig(dir.path(), 6000);
    let refused = on_a_small_stack(|| diff(dir.path(), &[], &DiffOptions::default(), io::sink()));
    assert!(refused.unwrap_err().chain().contains("list"));
    let root = File::open(dir.path()).unwrap();
    let whiteout = tar(&[(".wh.d", EntryKind::File, "")]);
    on_a_small_stack(|| apply(&root, whiteout.as_slice(), "x", Limits::for_blob(1))).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_lies_deeper_than_anything_real_is_refused_by_name() {
    let deep = |part: &str, count: usize| vec![part; count].join("/");
    let (_copy, applied) = unpack(&tar(&[(&deep("a", 1024), EntryKind::Directory, "")]));
    applied.unwrap();
    let (_copy, applied) = unpack(&tar(&[(&deep("a", 1025), EntryKind::File, "")]));
    let error = applied.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.chain().contains("1024 directories deep"), "{error:?}");
    let (half, behind) = (deep("a", 600), format!("link/{}", deep("b", 600)));
    let entries = [
        (half.as_str(), EntryKind::Directory, ""),
        ("link", soft(Path::new(&half)), ""),
        (behind.as_str(), EntryKind::Directory, ""),
    ];
    let (_copy, applied) = unpack(&tar(&entries));
    let error = applied.unwrap_err();
    assert!(error.kind() == Kind::Invalid && error.chain().contains("through symlinks"), "{error:?}");
}

#[test]
fn a_size_that_no_tar_can_hold_is_refused_by_name() {
    for (kind, size) in [(b'0', u64::MAX), (b'0', u64::MAX - 510), (b'V', u64::MAX), (b'x', u64::MAX)] {
        let mut header = ::tar::Header::new_gnu();
        header.set_path("huge").unwrap();
        let bytes = header.as_mut_bytes();
        bytes[156] = kind;
        bytes[124..136].copy_from_slice(&[0x80; 12]);
        bytes[125..128].fill(0);
        bytes[128..136].copy_from_slice(&size.to_be_bytes());
        header.set_cksum();
        let (_copy, applied) = unpack(header.as_bytes());
        let error = applied.unwrap_err();
        let part = if kind == b'x' { "extended header" } else { "\"huge\"" };
        assert!(error.kind() == Kind::Invalid && error.chain().contains(part), "{error:?}");
    }
}

#[test]
fn a_layer_has_entries_in_proportion() {
    let entries = |size| Limits::for_blob(size).entries;
    assert_eq!([0, 1 << 20, 4 << 20, 1 << 30].map(entries), [200_000, 262_144, 1 << 20, 5_000_000]);
}

#[test]
fn a_directory_is_made_through_links_to_what_is_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    fs::create_dir(&root).unwrap();
    for (name, target) in
        [("app", "/data/app"), ("out", "../../../away"), ("near", "app/./sub"), ("loop", "loop")]
    {
        symlink(target, root.join(name)).unwrap();
    }
    let tree = File::open(&root).unwrap();
    let make = |path: &str| super::make_directories(&tree, path.as_bytes(), Some((1, 2))).map(drop);
    for (path, made) in
        [("/app/x", "data/app/x"), ("out/y", "away/y"), ("near/../z", "data/app/z"), ("/", "")]
    {
        make(path).unwrap();
        assert!(root.join(made).symlink_metadata().unwrap().is_dir(), "{path}");
    }
    let made = root.join("data").symlink_metadata().unwrap();
    assert_eq!((made.uid(), made.gid(), made.mode() & 0o777), (1, 2, 0o755));
    assert!(!dir.path().join("away").exists());
    assert!(make("loop/x").is_err());
}

#[test]
fn a_bomb_is_stopped_at_its_limit() {
    let mut writer = TarWriter::new(Vec::new());
    let size = 65 << 20;
    writer.append(&entry("big", EntryKind::File, size), io::repeat(0)).unwrap();
    let (_copy, applied) = unpack(&writer.finish().unwrap());
    let error = applied.unwrap_err();
    assert!(error.chain().contains("67108864"), "{error:?}");
    let many: Vec<String> = (0..1001).map(|number| format!("f{number}")).collect();
    let entries: Vec<_> = many.iter().map(|name| (name.as_str(), EntryKind::File, "")).collect();
    let (_copy, applied) = unpack(&tar(&entries));
    assert!(applied.unwrap_err().chain().contains("entries"));
}

#[test]
fn whiteouts_spare_what_the_same_layer_brought() {
    use EntryKind::{Directory, File as F};
    let dir = tempfile::tempdir().unwrap();
    let root = File::open(dir.path()).unwrap();
    let unlimited = Limits::NONE;
    let base = [("d", Directory, ""), ("d/old", F, "old"), ("d/sub", Directory, ""), ("d/sub/old", F, "old")];
    apply(&root, tar(&base).as_slice(), "base", unlimited).unwrap();
    let next = [
        ("d/new", F, "new"),
        ("d/sub/new", F, "new"),
        ("d/.wh..wh..opq", F, ""),
        ("d/.wh.new", F, ""),
        (".wh..wh.plnk", F, ""),
    ];
    apply(&root, tar(&next).as_slice(), "next", unlimited).unwrap();
    let left: Vec<PathBuf> = tree(dir.path()).into_keys().collect();
    assert_eq!(left, ["d", "d/new", "d/sub", "d/sub/new"].map(PathBuf::from));
}

#[test]
fn files_directories_and_links_replace_each_other() {
    use EntryKind::{Directory, File as F};
    let dir = tempfile::tempdir().unwrap();
    let root = File::open(dir.path()).unwrap();
    let unlimited = Limits::NONE;
    let link = soft(Path::new("elsewhere"));
    let kinds = [("x", F, "f"), ("x", Directory, ""), ("x/in", F, ""), ("x", link, ""), ("x", Directory, "")];
    apply(&root, tar(&kinds).as_slice(), "x", unlimited).unwrap();
    assert!(dir.path().join("x").symlink_metadata().unwrap().is_dir());
    apply(&root, tar(&[("x", F, "file")]).as_slice(), "x", unlimited).unwrap();
    assert_eq!(fs::read_to_string(dir.path().join("x")).unwrap(), "file");
}

#[test]
fn a_cut_or_foreign_stream_is_invalid() {
    let whole = tar(&[("a", EntryKind::File, &"x".repeat(5000))]);
    let text = b"this is not a tar".repeat(100);
    for broken in [&whole[..700], &whole[..100], &text] {
        let (_copy, applied) = unpack(broken);
        assert_eq!(applied.unwrap_err().kind(), Kind::Invalid);
    }
    for cause in [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded] {
        let full = ApplyError::Stream { layer: "layer of RUN x".into(), source: cause.into() };
        let said = full.to_string();
        assert!(said.starts_with("the disk is full, layer of RUN x cannot be written"), "{said}");
        assert_eq!(hako_error::Error::from(full).kind(), Kind::Exhausted);
    }
}

#[test]
fn times_after_the_newest_are_clamped() {
    let source = tempfile::tempdir().unwrap();
    for (name, time) in [("old", 1000), ("new", 3000)] {
        fs::write(source.path().join(name), "").unwrap();
        set_mtime(&source.path().join(name), time, 5);
    }
    let mut tar = Vec::new();
    diff(source.path(), &[], &DiffOptions { newest_unix_s: Some(2000) }, &mut tar).unwrap();
    let mut reader = TarReader::new(tar.as_slice());
    let mut times = BTreeMap::new();
    while let Some(entry) = reader.next().unwrap() {
        times.insert(String::from_utf8(entry.path).unwrap(), (entry.mtime_s, entry.mtime_ns));
    }
    assert_eq!(times["old"], (1000, 5));
    assert_eq!(times["new"], (2000, 0));
}

proptest::proptest! {
    #[test]
    fn what_is_written_reads_back(
        path in "[a-z]{1,90}(/[a-zé\n =]{1,90}){0,3}x",
        link in proptest::option::of("[ -~]{1,300}"),
        mode in 0_u32..0o10000,
        uid in proptest::num::u32::ANY,
        mtime_s in -10_000_000_000_i64..100_000_000_000,
        mtime_ns in 0_u32..1_000_000_000,
        value in proptest::collection::vec(proptest::num::u8::ANY, 0..200),
    ) {
        let kind = link.map_or(EntryKind::Fifo, |link| EntryKind::Symlink(link.into_bytes()));
        let mut wanted = entry(&path, kind, 0);
        (wanted.mode, wanted.uid, wanted.gid) = (mode, uid, uid ^ 1);
        (wanted.mtime_s, wanted.mtime_ns) = (mtime_s, mtime_ns);
        wanted.xattrs = vec![(b"user.x=".to_vec(), value.clone()), (b"user.y".to_vec(), value)];
        wanted.xattrs.remove(0);
        let mut writer = TarWriter::new(Vec::new());
        writer.append(&wanted, io::empty()).unwrap();
        let bytes = writer.finish().unwrap();
        let read = TarReader::new(bytes.as_slice()).next().unwrap().unwrap();
        proptest::prop_assert_eq!(format!("{:?}", read), format!("{:?}", wanted));
    }

    #[test]
    fn damage_never_panics(
        position in 0_usize..3000,
        byte in proptest::num::u8::ANY,
        cut in 0_usize..4000,
    ) {
        let mut bytes = tar(&[("a", EntryKind::File, "data"), (&"n".repeat(150), EntryKind::File, "x")]);
        let length = bytes.len();
        bytes[position % length] = byte;
        bytes.truncate(cut);
        let _ = unpack(&bytes);
    }
}
