//! What the fuzz targets run, on a corpus and on damaged copies of it: the same each time.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use hako_image::layer::{Entry, EntryKind, TarWriter};

#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/reference.rs"]
mod reference;
#[path = "../fuzz/harness/tar.rs"]
mod tar;

#[test]
fn names_print_as_names_of_the_same_image() {
    let digest = format!("team/app@sha256:{}", "0123456789abcdef".repeat(4));
    let names = [
        "busybox",
        "docker.io/library/busybox:latest",
        "docker.io/a.b/c",
        "docker.io/localhost/x",
        "docker.io/library/localhost",
        "docker.io/library/a/b",
        "index.docker.io/x/y:1",
        "localhost:5000/team/app_1.2-3__4:v1.0-rc",
        "[::1]:5000/x",
        "EXAMPLE.com/x/y/z",
        "a/b@sha256:12",
        "../..:x",
        &digest,
    ];
    damaged::run(names.map(|name| name.as_bytes().to_vec()).into(), 2000, reference::run);
}

fn entry(path: &str, kind: EntryKind, size: u64) -> Entry {
    Entry {
        path: path.into(),
        kind,
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime_s: 0,
        mtime_ns: 0,
        size,
        xattrs: vec![(b"user.x".to_vec(), b"y\n".to_vec())],
        sparse: None,
    }
}

fn archive(entries: &[(&str, EntryKind)]) -> Vec<u8> {
    let mut writer = TarWriter::new(Vec::new());
    for (path, kind) in entries {
        let size = if *kind == EntryKind::File { 4 } else { 0 };
        writer.append(&entry(path, kind.clone(), size), &b"data"[..size as usize]).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn layers_stay_in_their_directory() {
    use EntryKind::{Block, Character, Directory, Fifo, File, HardLink, Symlink};
    let long = "n".repeat(200);
    let to = |target: &str| Symlink(target.into());
    let plain =
        archive(&[("d", Directory), ("d/a", File), ("d/l", to("a")), ("d/h", HardLink("d/a".into()))]);
    let seeds = vec![
        archive(&[("../guard", File), ("/guard", File), ("a/../../guard", File)]),
        archive(&[("l", to("..")), ("l/guard", File), ("l/new", File), ("l/.wh.guard", File)]),
        archive(&[("l", to("/")), ("l/guard", File), ("h", HardLink("../guard".into())), ("h", File)]),
        archive(&[("d", Directory), ("d", to("..")), ("d/.wh..wh..opq", File), ("d/guard", File)]),
        archive(&[("n", Character { major: 1, minor: 3 }), ("p", Fifo), ("p", Directory), ("p/x", File)]),
        archive(&[(&long, File), (".wh.d", File), ("d/.wh..wh..opq", File), (".wh...", File)]),
        archive(&[("sda", Block { major: 8, minor: 0 }), ("mem", Character { major: 1, minor: 1 })]),
        archive(&[("/etc/x", File), ("a", File), ("h", HardLink("/a".into())), ("/", Directory)]),
        plain,
    ];
    damaged::run(seeds, 600, tar::run);
}
