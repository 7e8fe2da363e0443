//! Archives that are not what they should be: of an image that is damaged, and of clients that go away.

use crate::platform::{Platform, output, run, wait_until};
use nix::sys::socket::{setsockopt, sockopt};
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn count(dir: &Path) -> usize {
    fs::read_dir(dir).unwrap().count()
}

/// Flips a byte in the middle of the largest blob, which is a layer; gives its digest.
fn damage(platform: &Platform) -> String {
    let blobs = fs::read_dir(platform.data_dir().join("content/blobs/sha256")).unwrap();
    let layer = blobs.map(|entry| entry.unwrap().path()).max_by_key(|path| path.metadata().unwrap().len());
    let layer = layer.unwrap();
    let mut bytes = fs::read(&layer).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(&layer, bytes).unwrap();
    format!("sha256:{}", layer.file_name().unwrap().to_str().unwrap())
}

#[test]
fn a_save_of_a_damaged_image_names_the_layer_and_leaves_nothing() {
    let platform = Platform::start();
    let scratch = tempfile::tempdir().unwrap();
    platform.run(&["image", "import-busybox"]);
    let digest = damage(&platform);
    let path = scratch.path().join("out");
    let to_file = ["-o", path.to_str().unwrap()];
    for flags in [
        to_file.to_vec(),
        [&["--format", "oci"], &to_file[..]].concat(),
        [&["--format", "oci-dir"], &to_file[..]].concat(),
        Vec::new(),
    ] {
        let broken = output(platform.hako().arg("save").args(&flags).arg("busybox"));
        assert!(!broken.status.success(), "{flags:?}");
        for part in ["busybox:latest is not whole", &digest] {
            assert!(said(&broken).contains(part), "{flags:?}: {part}: {}", said(&broken));
        }
        assert_eq!(count(scratch.path()), 0, "{flags:?}");
    }
    platform.down();
}

/// A client that sends an archive.
struct Sender(UnixStream);

impl Sender {
    /// Says how long the archive is.
    fn start(platform: &Platform, path: &str, length: usize) -> Self {
        let socket = PathBuf::from(platform.server()["engine_socket"].as_str().unwrap());
        let mut stream = UnixStream::connect(socket).unwrap();
        // All of it is sent, however little is read.
        setsockopt(&stream, sockopt::SndBufForce, &(4 << 20)).unwrap();
        let head = "HTTP/1.1\r\nHost: hako\r\nConnection: close\r\nContent-Type: application/x-tar\r\n";
        write!(stream, "POST {path} {head}Content-Length: {length}\r\n\r\n").unwrap();
        Self(stream)
    }
}

/// Whether anything is being unpacked, stored or held.
fn is_idle(platform: &Platform) -> bool {
    let count_of = |name: &str| fs::read_dir(platform.data_dir().join(name)).map_or(0, Iterator::count);
    ["snapshots/live", "content/ingest", "content/leases", "images/contexts"]
        .iter()
        .all(|name| count_of(name) == 0)
}

fn nothing_stays(platform: &Platform, what: &str) {
    wait_until(what, || is_idle(platform));
    assert_eq!(platform.run(&["images", "--output", "name"]), "", "{what}");
    for name in ["snapshots/committed", "content/blobs/sha256"] {
        wait_until(&format!("{name} to be empty after {what}"), || {
            count(&platform.data_dir().join(name)) == 0
        });
    }
}

/// An archive of one image whose only layer has a file of that many bytes.
fn archive(dir: &Path, size: u64) -> Vec<u8> {
    fs::File::create(dir.join("file")).unwrap().set_len(size).unwrap();
    let tar = |more: &[&str], to: &str| {
        let tar = Command::new("tar")
            .current_dir(dir)
            .args(["--sort=name", "-b1", "-cf", to])
            .args(more)
            .output()
            .unwrap();
        assert!(tar.status.success(), "{}", said(&tar));
        tar.stdout
    };
    tar(&["file"], "layer.tar");
    let sum =
        run(Command::new("sh").current_dir(dir).args(["-c", "tar --sort=name -b1 -cf - file | sha256sum"]));
    let diff_id = sum.split_whitespace().next().unwrap();
    let rootfs = format!(r#"{{"type":"layers","diff_ids":["sha256:{diff_id}"]}}"#);
    fs::write(dir.join("c.json"), format!(r#"{{"os":"linux","architecture":"amd64","rootfs":{rootfs}}}"#))
        .unwrap();
    let manifest = r#"[{"Config":"c.json","RepoTags":["left:1"],"Layers":["layer.tar"]}]"#;
    fs::write(dir.join("manifest.json"), manifest).unwrap();
    tar(&["manifest.json", "c.json", "layer.tar"], "-")
}

#[test]
fn a_load_whose_client_goes_away_ends_and_leaves_nothing() {
    let platform = Platform::start();
    let scratch = tempfile::tempdir().unwrap();
    // In the middle of a layer.
    let plain = archive(scratch.path(), 16 << 20);
    let mut sender = Sender::start(&platform, "/images/load", plain.len());
    sender.0.write_all(&plain[..plain.len() / 2]).unwrap();
    wait_until("the layer to come", || count(&platform.data_dir().join("snapshots/live")) > 0);
    drop(sender);
    nothing_stays(&platform, "a load of half an archive");
    // It would have been an image.
    let mut sender = Sender::start(&platform, "/images/load", plain.len());
    sender.0.write_all(&plain).unwrap();
    let mut answer = String::new();
    sender.0.read_to_string(&mut answer).unwrap();
    assert!(answer.contains("Loaded image: left:1"), "{answer}");
    platform.down();
}

fn zstd(bytes: &[u8]) -> Vec<u8> {
    let mut child =
        Command::new("zstd").args(["-q", "-c"]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || stdin.write_all(bytes).unwrap());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        output.stdout
    })
}

/// The archive, packed so that its last hundreds of kilobytes take far longer to read than it takes to see that a client
/// has gone: a directory, again and again.
fn packed(archive: &[u8], times: usize) -> Vec<u8> {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("again")).unwrap();
    let tar =
        Command::new("tar").current_dir(dir.path()).args(["-cf", "-", "again"]).output().unwrap().stdout;
    let again = zstd(&tar[..512].repeat((64 << 20) / 512));
    // Between its entries and its end.
    let (entries, end) = archive.split_at(archive.len() - 1024);
    [zstd(entries), again.repeat(times), zstd(end)].concat()
}

#[test]
fn who_sends_all_and_goes_before_it_is_unpacked_ends_it_and_leaves_nothing() {
    let platform = Platform::start();
    let scratch = tempfile::tempdir().unwrap();
    let load = packed(&archive(scratch.path(), 1000), 100);
    fs::write(scratch.path().join("Dockerfile"), "FROM scratch\nCOPY Dockerfile /d\n").unwrap();
    let files = Command::new("tar")
        .current_dir(scratch.path())
        .args(["-b1", "-cf", "-", "Dockerfile"])
        .output()
        .unwrap()
        .stdout;
    // No more entries than a layer or a context may have.
    let files = packed(&files, 36);
    let asked = [&b"{\"tags\":[\"left:1\"]}\n"[..], &files].concat();
    for (path, body) in [
        ("/images/load", &load),
        ("/images/create?fromSrc=-&repo=left", &files),
        ("/build?t=left:1", &files),
        ("/hako/build", &asked),
    ] {
        let mut sender = Sender::start(&platform, path, body.len());
        sender.0.write_all(body).unwrap();
        wait_until(&format!("{path} to begin"), || !is_idle(&platform));
        drop(sender);
        nothing_stays(&platform, path);
    }
    platform.down();
}
