//! `kill -9` while an image is pushed and while garbage is collected: nothing corrupt, nothing leaked.

use crate::images::Registry;
use crate::platform::{Platform, output, run, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

/// So much of a push goes through before the gate closes: the middle of a layer.
const PASSED_BYTES: usize = 300_000;

/// Stands before a registry and stops what is sent to it in the middle, until it is opened.
struct Gate {
    address: String,
    passed: AtomicUsize,
    is_open: AtomicBool,
}

impl Gate {
    fn before(registry: &str) -> Arc<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let gate = Arc::new(Self { address, passed: AtomicUsize::new(0), is_open: AtomicBool::new(false) });
        let (own, registry) = (Arc::clone(&gate), registry.to_owned());
        // Both ends with the test's process.
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let server = TcpStream::connect(&registry).unwrap();
                let (from, to) = (server.try_clone().unwrap(), client.try_clone().unwrap());
                let own = Arc::clone(&own);
                std::thread::spawn(move || own.pass(client, server));
                std::thread::spawn(move || copy(from, to));
            }
        });
        gate
    }

    /// What a client sends, as far as the gate lets it.
    fn pass(&self, mut client: TcpStream, mut server: TcpStream) {
        let mut buffer = [0; 16 << 10];
        loop {
            while self.is_shut() {
                // A client that is gone meanwhile is seen at the next read.
                if client.peek(&mut [0]).is_ok_and(|count| count == 0) {
                    break;
                }
                std::thread::yield_now();
            }
            match client.read(&mut buffer) {
                Ok(count @ 1..) if server.write_all(&buffer[..count]).is_ok() => {
                    self.passed.fetch_add(count, Ordering::SeqCst);
                }
                _ => break,
            }
        }
        let _ = server.shutdown(Shutdown::Both);
    }

    fn is_shut(&self) -> bool {
        self.passed.load(Ordering::SeqCst) >= PASSED_BYTES && !self.is_open.load(Ordering::SeqCst)
    }
}

fn copy(mut from: TcpStream, mut to: TcpStream) {
    let _ = std::io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Both);
}

/// The blobs that are here; each is what its name says. One that a collection takes meanwhile is none.
fn blobs(platform: &Platform) -> BTreeSet<String> {
    let dir = platform.data_dir().join("content/blobs/sha256");
    let mut blobs = BTreeSet::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let entry = entry.unwrap();
        let bytes = match std::fs::read(entry.path()) {
            Err(e) if e.kind() == ErrorKind::NotFound => continue,
            bytes => bytes.unwrap(),
        };
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        let sum: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let name = entry.file_name().into_string().unwrap();
        assert_eq!(sum, name, "a blob is damaged");
        blobs.insert(name);
    }
    blobs
}

fn count(dir: &Path) -> usize {
    std::fs::read_dir(dir).map_or(0, Iterator::count)
}

#[test]
fn a_push_that_is_killed_leaves_the_image_whole_and_is_pushed_again() {
    let mut platform = Platform::start();
    let scratch = tempfile::tempdir().unwrap();
    let registry = Registry::start(scratch.path(), false);
    let gate = Gate::before(&registry.host);
    let name = format!("{}/fleet/box:v1", gate.address);
    platform.run(&["image", "import-busybox"]);
    platform.run(&["tag", "busybox", &name]);
    let before = blobs(&platform);

    let mut push = platform.hako();
    push.args(["push", &name]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let push = push.spawn().unwrap();
    wait_until("the push to be in the middle of a layer", || gate.is_shut());
    platform.kill();
    let pushed = push.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&pushed.stderr).into_owned();
    assert!(!pushed.status.success() && said.contains("start it with `hako up`"), "{said}");
    let there = format!("docker://{}/fleet/box", registry.host);
    let tags = output(Command::new("skopeo").args(["list-tags", "--tls-verify=false", &there]));
    assert!(!String::from_utf8_lossy(&tags.stdout).contains("v1"), "what is not whole has no name");

    platform.up();
    assert_eq!(blobs(&platform), before);
    assert_eq!(count(&platform.data_dir().join("content/ingest")), 0);
    assert_eq!(platform.run(&["run", "--rm", &name, "echo", "whole"]), "whole\n");
    gate.is_open.store(true, Ordering::SeqCst);
    platform.run(&["push", &name]);
    run(Command::new("skopeo").args(["inspect", "--tls-verify=false", &format!("{there}:v1")]));
    platform.run(&["rmi", &name, "busybox"]);
    platform.run(&["pull", &name]);
    assert_eq!(platform.run(&["run", "--rm", &name, "echo", "back"]), "back\n");
    platform.down();
}

/// So many layers has the image that goes: its collection takes a while.
const LAYERS: usize = 60;

/// An image whose layers nothing else has.
fn build_loose(platform: &Platform, context: &Path, round: usize) {
    let mut dockerfile = "FROM busybox\n".to_owned();
    for at in 0..LAYERS {
        std::fs::write(context.join(format!("file{at}")), format!("{round} {at}")).unwrap();
        dockerfile.push_str(&format!("COPY file{at} /\n"));
    }
    std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
    platform.run(&["build", "-t", "loose", context.to_str().unwrap()]);
}

#[test]
fn collections_that_are_killed_lose_nothing_and_leave_nothing() {
    let mut platform = Platform::start();
    let context = tempfile::tempdir().unwrap();
    platform.run(&["image", "import-busybox"]);
    platform.run(&["run", "-d", "--name", "steady", "busybox", "sleep", "100000"]);
    platform.run(&["system", "prune", "--all", "--force"]);
    let kept = blobs(&platform);
    let layers = platform.data_dir().join("snapshots/committed");
    let kept_layers = count(&layers);
    assert!(kept_layers > 0, "{} is where layers are", layers.display());

    let blobs_dir = platform.data_dir().join("content/blobs/sha256");
    let mut cut = 0;
    // At the beginning and in the middle of what is deleted first, and of what is deleted then.
    for (round, (watched, gone)) in
        [(&blobs_dir, 1), (&blobs_dir, LAYERS / 2), (&layers, 1), (&layers, LAYERS / 2)]
            .into_iter()
            .enumerate()
    {
        build_loose(&platform, context.path(), round);
        let (all, pid) = (count(watched), platform.pid());
        let mut prune = platform.hako();
        prune.args(["system", "prune", "--all", "--force"]);
        let mut prune =
            prune.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        while all.saturating_sub(count(watched)) < gone && prune.try_wait().unwrap().is_none() {}
        kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
        cut += usize::from(!prune.wait().unwrap().success());

        platform.up();
        blobs(&platform);
        assert_eq!(platform.run(&["exec", "steady", "echo", "steady"]), "steady\n");
        for image in platform.run(&["images", "--output", "name"]).lines() {
            assert_eq!(platform.run(&["run", "--rm", image, "echo", "whole"]), "whole\n", "{image}");
        }
        platform.run(&["system", "prune", "--all", "--force"]);
        assert_eq!(blobs(&platform), kept, "round {round}");
        assert_eq!(count(&layers), kept_layers, "round {round}");
    }
    assert!(cut > 0, "no collection was killed before its end");
    platform.down();
}
