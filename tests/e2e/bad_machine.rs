//! A machine that cannot do it, or is taken: one clear line that names what and the next step, nothing half done.

use crate::bad_input::{assert_says, fails_with_one_line};
use crate::platform::{HAKO, Platform, assert_nothing_left, enter_network_namespace, links, output, run};
use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// In the foreground and in the background a start fails alike.
fn both_ways<'a>(arguments: &[&'a str]) -> [Vec<&'a str>; 2] {
    [arguments.to_vec(), [arguments, &["--detach"]].concat()]
}

#[test]
fn a_second_hako_on_a_data_directory_is_told_which_one_runs() {
    let platform = Platform::start();
    for up in both_ways(&["up", "--listen", "127.0.0.1:0"]) {
        let second = fails_with_one_line(platform.hako().args(up));
        assert_says(
            &second,
            &[platform.data_dir().to_str().unwrap(), &platform.pid().to_string(), "hako down"],
        );
    }
    platform.down();
}

#[test]
fn the_api_port_in_use_is_named_and_nothing_is_left() {
    let platform = Platform::start();
    let other = Platform::start_here("127.0.0.1:0");
    other.run(&["down"]);
    let scratch = tempfile::tempdir().unwrap();
    let new = scratch.path().join("data");
    for up in both_ways(&["up", "--listen", platform.listen()]) {
        for data_dir in [&other.data_dir(), &new] {
            let mut command = Command::new(HAKO);
            let said = fails_with_one_line(command.arg("--data-dir").arg(data_dir).args(&up));
            assert_says(&said, &[platform.listen(), "--listen"]);
            assert!(!new.exists(), "a start that failed left its directory");
        }
    }
    other.down();
    platform.down();
}

#[test]
fn a_wrong_configuration_of_identities_is_told_by_field() {
    let scratch = tempfile::tempdir().unwrap();
    let (data, file) = (scratch.path().join("data"), scratch.path().join("authentication.json"));
    let file = file.to_str().unwrap();
    let jwt = serde_json::json!([{"issuer": {"url": "http://issuer.example", "audiences": ["a"]},
        "claimMappings": {"username": {"claim": "sub", "prefix": ""}}}]);
    let kind = "AuthenticationConfiguration";
    let text = serde_json::json!({"apiVersion": "apiserver.config.k8s.io/v1", "kind": kind, "jwt": jwt});
    std::fs::write(file, text.to_string()).unwrap();
    for up in both_ways(&["up", "--listen", "127.0.0.1:0", "--authentication-config", file]) {
        let mut command = Command::new(HAKO);
        let said = fails_with_one_line(command.arg("--data-dir").arg(&data).args(up));
        assert_says(&said, &[file, "jwt[0].issuer.url", "scheme must be https"]);
        assert!(!data.exists(), "a start that failed left its directory");
    }
}

#[test]
fn who_is_not_root_is_told_so() {
    for up in both_ways(&["up", "--data-dir", "/nonexistent/hako"]) {
        let mut command = Command::new(HAKO);
        assert_says(&fails_with_one_line(command.args(up).uid(65534).gid(65534)), &["root", "sudo"]);
    }
}

#[test]
fn a_missing_feature_of_the_kernel_is_named_with_the_way_to_get_it() {
    enter_network_namespace();
    let links = links();
    let scratch = tempfile::tempdir().unwrap();
    let data = scratch.path().join("data");
    for up in both_ways(&["up", "--listen", "127.0.0.1:0"]) {
        let mut command = Command::new("unshare");
        // The control groups go in a mount namespace of this command's own.
        command.args(["--mount", "sh", "-c", "umount --lazy /sys/fs/cgroup && exec \"$0\" \"$@\"", HAKO]);
        let said = fails_with_one_line(command.arg("--data-dir").arg(&data).args(up));
        assert_says(&said, &["lacks control groups", "mount -t cgroup2"]);
        assert!(!data.exists(), "a start that failed left its directory");
    }
    assert_eq!(crate::platform::links(), links);
}

/// A platform on a small file system, in a mount namespace that goes with its process.
struct SmallDisk {
    directory: tempfile::TempDir,
    links: BTreeSet<String>,
    process: Child,
}

impl SmallDisk {
    fn start() -> Self {
        let (directory, links) = (tempfile::tempdir().unwrap(), links());
        let script = "mount -t tmpfs -o size=12m tmpfs \"$1\" && exec \"$0\" --data-dir \"$1/data\" up --listen 127.0.0.1:0";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, HAKO]).arg(directory.path()).stdout(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let disk = Self { directory, links, process };
        assert!(line.starts_with("ready"), "{line:?}");
        disk
    }

    fn free_bytes(&self) -> u64 {
        let root = format!("/proc/{}/root{}", self.process.id(), self.directory.path().display());
        let disk = rustix::fs::statvfs(root).unwrap();
        disk.f_bavail * disk.f_frsize
    }

    fn server(&self) -> Value {
        let path =
            format!("/proc/{}/root{}/data/server.json", self.process.id(), self.directory.path().display());
        serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
    }

    /// `hako --host …`
    fn hako(&self) -> Command {
        let mut command = Command::new(HAKO);
        command.arg("--host").arg(format!("unix://{}", self.server()["engine_socket"].as_str().unwrap()));
        command
    }

    fn down(mut self) {
        let instance = self.server()["instance"].as_str().unwrap().to_owned();
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--target", &self.process.id().to_string(), HAKO, "--data-dir"]);
        run(command.arg(self.directory.path().join("data")).arg("down"));
        self.process.wait().unwrap();
        assert_nothing_left(&instance, &self.links, self.directory.path());
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // It has ended where all went well.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_full_disk_is_named_and_harms_nothing_that_runs() {
    let platform = Platform::with_busybox();
    platform.run(&["run", "-d", "--name", "steady", "busybox", "sleep", "1000"]);
    let before = platform.container_processes();
    let small = SmallDisk::start();
    let scratch = tempfile::tempdir().unwrap();
    let archive = larger_than_the_disk(scratch.path());
    let said = fails_with_one_line(small.hako().args(["image", "import", &archive, "big:v1"]));
    // Whichever of the stored and the unpacked form meets the end of the disk first says so.
    assert_says(&said, &["big:v1", "o space left"]);
    std::fs::write(scratch.path().join("Dockerfile"), "FROM scratch\nCOPY big.tar /\n").unwrap();
    let built = output(small.hako().args(["build", "-t", "big:v1"]).arg(scratch.path()));
    assert!(!built.status.success(), "a build did not need the space that there is not");
    assert_says(
        &String::from_utf8_lossy(&built.stderr),
        &["Dockerfile:2", "big.tar", "No space left on device"],
    );
    assert_eq!(run(small.hako().args(["images", "--output", "name"])), "", "half an image was left");
    // What the step writes fits once, and not a second time as a layer.
    run(small.hako().args(["image", "import-busybox"]));
    let bytes = small.free_bytes() * 7 / 10;
    let text = format!("FROM busybox\nRUN --network=none head -c {bytes} /dev/urandom > /big\n");
    std::fs::write(scratch.path().join("Dockerfile"), text).unwrap();
    let built = output(small.hako().arg("build").arg(scratch.path()));
    let said = String::from_utf8_lossy(&built.stderr);
    assert!(!built.status.success() && !said.contains("damaged"), "{said}");
    assert_says(&said, &["Dockerfile:2", "the disk is full, layer of RUN", "o space left"]);
    run(small.hako().args(["rmi", "busybox"]));
    assert_eq!(platform.container_processes(), before, "a running container suffered");
    small.down();
    platform.down();
}

/// Takes all the room that there is.
fn fill(disk: &Path) {
    let mut file = std::fs::File::create(disk.join("filler")).unwrap();
    for size in [1 << 20, 4096, 1] {
        while file.write_all(&vec![1; size]).is_ok() {}
    }
}

#[test]
fn a_start_in_the_background_that_a_full_disk_prevents_says_why_and_what_to_do() {
    enter_network_namespace();
    let links = links();
    let scratch = tempfile::tempdir().unwrap();
    // The disk ends with this thread, whatever happens.
    unshare(CloneFlags::CLONE_NEWNS).unwrap();
    run(Command::new("mount").args(["--make-rprivate", "/"]));
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(scratch.path()));
    let hako = |arguments: &[&str]| {
        let mut command = Command::new(HAKO);
        command.arg("--data-dir").arg(scratch.path().join("data")).args(arguments);
        command
    };
    let up = |listen: &str| hako(&["up", "--detach", "--listen", listen]);
    fill(scratch.path());
    let said = fails_with_one_line(&mut up("127.0.0.1:0"));
    assert_says(&said, &["No space left on device", "is full", "not even the log", "--data-dir"]);
    assert!(!scratch.path().join("data").exists(), "a start that failed left its directory");

    std::fs::remove_file(scratch.path().join("filler")).unwrap();
    run(&mut up("127.0.0.1:0"));
    let server = || -> Value {
        serde_json::from_slice(&std::fs::read(scratch.path().join("data/server.json")).unwrap()).unwrap()
    };
    let (instance, api) = (server()["instance"].as_str().unwrap().to_owned(), server()["api"].clone());
    let stop = |pid: Value| run(Command::new("kill").args(["-9", &pid.to_string()]));
    stop(server()["pid"].clone());
    // Another address would be a kubeconfig of other bytes. Once the log's last page has room for a line, once it has none.
    for (room, told) in [(2048, "data is full: free"), (0, "not even the log")] {
        let log = scratch.path().join("data/hako.log");
        let length = std::fs::metadata(&log).unwrap().len();
        let page = length.next_multiple_of(4096);
        let page = if page - length < room { page + 4096 } else { page };
        let mut log = std::fs::OpenOptions::new().append(true).open(log).unwrap();
        log.write_all(&vec![b'\n'; usize::try_from(page - room - length).unwrap()]).unwrap();
        fill(scratch.path());
        let said = fails_with_one_line(&mut up("127.0.0.1:0"));
        assert_says(&said, &["data/kubeconfig: No space left on device", told, "--listen"]);
        std::fs::remove_file(scratch.path().join("filler")).unwrap();
    }
    fill(scratch.path());
    run(&mut up(api.as_str().unwrap().trim_start_matches("https://")));
    run(&mut hako(&["down", "--purge"]));
    assert_nothing_left(&instance, &links, scratch.path());
}

fn larger_than_the_disk(directory: &Path) -> String {
    let archive = directory.join("big.tar").to_str().unwrap().to_owned();
    let script = "head -c 64000000 /dev/urandom > blob && tar -cf \"$0\" blob && rm blob";
    run(Command::new("sh").args(["-c", script, &archive]).current_dir(directory));
    archive
}

#[test]
fn a_data_directory_is_ours_alone_and_kept_behind_a_link() {
    enter_network_namespace();
    let links = links();
    let scratch = tempfile::tempdir().unwrap();
    let path = |name: &str| scratch.path().join(name);
    let hako = |data: &str, arguments: &[&str]| {
        let mut command = Command::new(HAKO);
        command.arg("--data-dir").arg(path(data)).args(arguments).current_dir(scratch.path());
        command
    };
    std::fs::create_dir(path("home")).unwrap();
    std::fs::write(path("home/letter"), "dear").unwrap();
    for up in both_ways(&["up", "--listen", "127.0.0.1:0"]) {
        let said = fails_with_one_line(&mut hako("home", &up));
        assert_says(&said, &["home is not empty", "letter", "--data-dir"]);
        assert_eq!(std::fs::read_dir(path("home")).unwrap().count(), 1);
    }
    for up in both_ways(&["up", "--node-name", "Bad_Name"]) {
        let said = fails_with_one_line(&mut hako("new", &up));
        assert_says(&said, &["Bad_Name", "--node-name"]);
        assert!(!path("new").exists(), "a start that failed left its directory");
        std::fs::create_dir(path("empty")).unwrap();
        assert_says(&fails_with_one_line(&mut hako("empty", &up)), &["Bad_Name"]);
        std::fs::remove_dir(path("empty")).expect("a start that failed left files");
    }

    std::fs::create_dir(path("real")).unwrap();
    std::os::unix::fs::symlink("real", path("link")).unwrap();
    let up = ["up", "--detach", "--listen", "127.0.0.1:0", "--kubeconfig", "config"];
    run(&mut hako("link", &up));
    assert!(path("config").exists(), "the kubeconfig is not where it was asked for");
    let instance = std::fs::read_to_string(path("real/instance")).unwrap();
    run(&mut hako("link", &["down", "--purge"]));
    assert_nothing_left(instance.trim(), &links, scratch.path());
    assert_eq!(std::fs::read_dir(path("real")).unwrap().count(), 0);
    assert!(path("link").is_symlink());
}
