//! Engines of others that are pointed at our runtime: podman, buildah, containerd, dockerd. What is not installed is
//! skipped out loud. Each has directories of its own and no network.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Instant;

use tempfile::TempDir;

use crate::bed::{DEADLINE, busybox_root, unique};

/// Directories for one engine, and the executable it takes for a runtime.
struct Host {
    directory: TempDir,
    name: String,
}

impl Host {
    /// `None` when a program is not installed.
    fn with(programs: &[&str]) -> Option<Self> {
        for program in programs {
            let found = Command::new("sh").args(["-c", &format!("command -v {program}")]).output().unwrap();
            if !found.status.success() {
                eprintln!("skipped: {program} is not installed");
                return None;
            }
        }
        let host = Self { directory: tempfile::tempdir().unwrap(), name: unique("hako-caller-") };
        busybox_root(&host.path("rootfs"));
        for directory in ["proc", "sys", "dev"] {
            fs::create_dir(host.path("rootfs").join(directory)).unwrap();
        }
        std::os::unix::fs::symlink(std::env::current_exe().unwrap(), host.path("hako-runtime")).unwrap();
        Some(host)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn runtime(&self) -> String {
        self.text("hako-runtime")
    }

    fn rootfs_tar(&self) -> PathBuf {
        let tar = self.path("root.tar");
        let made =
            Command::new("tar").arg("-C").arg(self.path("rootfs")).arg("-cf").arg(&tar).arg(".").status();
        assert!(made.unwrap().success());
        tar
    }
}

/// The output of a command that must succeed, without its last end of line.
fn ok(mut command: Command) -> String {
    let output = run(&mut command);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {errors}");
    String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap()
}

/// Polls until something holds; what is asked changes with a program's progress.
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < DEADLINE, "{what}");
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// A daemon of another engine, ended with the test.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

impl Daemon {
    fn start(command: &mut Command, log: &Path) -> Self {
        let file = fs::File::create(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        Self(command.spawn().unwrap())
    }

    /// Waits until a command succeeds; `false` when the daemon does not start on this machine.
    fn answers(&mut self, mut ask: impl FnMut() -> Command) -> bool {
        let began = Instant::now();
        loop {
            if run(&mut ask()).status.success() {
                return true;
            }
            if self.0.try_wait().unwrap().is_some() || began.elapsed() > DEADLINE {
                return false;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }
}

/// Gives a tree away, for user namespaces whose root is to own it.
fn chown_to(tree: &Path, id: u32) {
    let given = Command::new("chown").args(["-hR", &format!("{id}:{id}")]).arg(tree).status().unwrap();
    assert!(given.success());
    let directory = tree.parent().unwrap();
    fs::set_permissions(directory, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
}

#[test]
#[expect(clippy::too_many_lines, reason = "a table of cases")]
fn podman_runs_its_containers_with_our_runtime() {
    let Some(host) = Host::with(&["podman", "conmon"]) else { return };
    let podman = |args: &[&str]| {
        let mut command = Command::new("podman");
        for (flag, directory) in [("--root", "store"), ("--runroot", "run"), ("--tmpdir", "tmp")] {
            command.arg(flag).arg(host.path(directory));
        }
        command.args(["--cgroup-manager", "cgroupfs", "--storage-driver", "vfs", "--events-backend", "none"]);
        command.args(["--runtime", &host.runtime()]).args(args);
        command
    };
    let rootfs = host.text("rootfs");
    let parent = format!("/{}", host.name);
    let flags = |name: &str| {
        [
            "--ulimit",
            "nofile=1024:1024",
            "--ulimit",
            "nproc=1000:1000",
            "--network",
            "none",
            "--log-driver",
            "k8s-file",
        ]
        .map(str::to_owned)
        .into_iter()
        .chain(["--cgroup-parent".to_owned(), parent.clone(), "--name".to_owned(), name.to_owned()])
        .collect::<Vec<_>>()
    };
    let with = |before: &[&str], name: &str, after: &[&str]| {
        let mut command = podman(before);
        command.args(flags(name)).arg("--rootfs").arg(&rootfs).args(after);
        command
    };
    assert_eq!(ok(with(&["run", "--rm"], "one", &["echo", "hello"])), "hello");
    // It mounts systemd's hierarchy below the groups of the container, which are read-only.
    assert_eq!(ok(with(&["run", "--rm", "--systemd=always"], "unit", &["echo", "up"])), "up");
    let failed = run(&mut with(&["run", "--rm"], "two", &["sh", "-c", "exit 9"]));
    assert_eq!(failed.status.code(), Some(9));
    let missing = run(&mut with(&["run", "--rm"], "three", &["nonesuch"]));
    assert_eq!(missing.status.code(), Some(127), "{}", String::from_utf8_lossy(&missing.stderr));
    ok(with(&["run", "-d", "--memory", "64m"], "box", &["sh", "-c", "echo started; exec sleep 1000"]));
    until("the container writes its log", || ok(podman(&["logs", "box"])) == "started");
    assert_eq!(ok(podman(&["exec", "box", "echo", "inside"])), "inside");
    assert_eq!(run(&mut podman(&["exec", "box", "sh", "-c", "exit 5"])).status.code(), Some(5));
    assert_eq!(ok(podman(&["exec", "-t", "box", "tty"])), "/dev/pts/0");
    ok(podman(&["pause", "box"]));
    assert_eq!(ok(podman(&["inspect", "-f", "{{.State.Status}}", "box"])), "paused");
    ok(podman(&["unpause", "box"]));
    ok(podman(&["update", "--cpu-shares", "512", "box"]));
    assert!(ok(podman(&["top", "box", "comm"])).contains("sleep"));
    ok(podman(&["restart", "-t", "0", "box"]));
    ok(podman(&["kill", "box"]));
    assert_eq!(ok(podman(&["wait", "box"])), "137");
    ok(podman(&["rm", "box"]));
    // Maps that podman makes, and namespaces that it made before.
    chown_to(&host.path("rootfs"), 200_000);
    let map = ["run", "--rm", "--uidmap", "0:200000:5000", "--gidmap", "0:200000:5000"];
    let script =
        "awk '{print $1, $2, $3}' /proc/self/uid_map; id -u; touch /tmp/mapped; hostname box && hostname";
    let mapped = run(&mut with(&map, "mapped", &["sh", "-c", script]));
    let errors = String::from_utf8_lossy(&mapped.stderr);
    assert_eq!(String::from_utf8_lossy(&mapped.stdout), "0 200000 5000\n0\n", "{errors}");
    let owner = std::os::unix::fs::MetadataExt::uid(&fs::metadata(host.path("rootfs/tmp/mapped")).unwrap());
    assert_eq!(owner, 200_000);
    let group = hako_cgroup::CgroupRoot::detect().unwrap().open(&parent);
    group.map(|group| group.delete().unwrap()).ok();
}

#[test]
fn buildah_builds_with_our_runtime() {
    let Some(host) = Host::with(&["buildah"]) else { return };
    host.rootfs_tar();
    let file = "FROM scratch\nADD root.tar /\nRUN echo built > /mark\nRUN cat /mark && id -u\n";
    fs::write(host.path("Dockerfile"), file).unwrap();
    let mut command = Command::new("buildah");
    command.arg("--root").arg(host.path("store")).arg("--runroot").arg(host.path("run"));
    command.args(["--storage-driver", "vfs", "bud", "--isolation", "oci", "--network", "none"]);
    command.args(["--runtime", &host.runtime(), "--ulimit", "nofile=1024:1024"]);
    command.args(["--cgroup-parent", &format!("/{}", host.name), "-t", "x", "."]);
    let built = ok({
        command.current_dir(host.directory.path());
        command
    });
    assert!(built.contains("built\n0"), "{built}");
    let group = hako_cgroup::CgroupRoot::detect().unwrap().open(&format!("/{}", host.name));
    group.map(|group| group.delete().unwrap()).ok();
}

#[test]
fn containerd_runs_tasks_with_our_runtime() {
    let Some(host) = Host::with(&["containerd", "ctr", "containerd-shim-runc-v2"]) else { return };
    let (socket, config) = (host.text("c.sock"), host.path("config.toml"));
    let (root, state) = (host.text("root"), host.text("state"));
    let text = format!(
        "version = 2\nroot = {root:?}\nstate = {state:?}\ndisabled_plugins = [\"io.containerd.grpc.v1.cri\"]\n[grpc]\naddress = {socket:?}\n"
    );
    fs::write(&config, text).unwrap();
    let mut daemon =
        Daemon::start(Command::new("containerd").arg("--config").arg(&config), &host.path("log"));
    let ctr = |args: &[&str]| {
        let mut command = Command::new("ctr");
        command.args(["--address", &socket]).args(args);
        command
    };
    if !daemon.answers(|| ctr(&["version"])) {
        eprintln!("skipped: containerd does not start here");
        return;
    }
    let (runtime, rootfs) = (host.runtime(), host.text("rootfs"));
    let run_flags = ["run", "--runc-binary", &runtime, "--cgroup", &format!("/{}", host.name), "--rootfs"];
    let with = |more: &[&str], id: &str, program: &[&str]| {
        let mut command = ctr(&run_flags[..5]);
        command.args(more).args(["--rootfs", &rootfs, id]).args(program);
        command
    };
    assert_eq!(ok(with(&["--rm"], "one", &["echo", "hello"])), "hello");
    assert_eq!(run(&mut with(&["--rm"], "two", &["sh", "-c", "exit 9"])).status.code(), Some(9));
    let mut detached = with(&["-d"], "box", &["sleep", "1000"]);
    // Its shim keeps the streams, so they are no pipes of ours.
    let status = detached.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
    assert!(status.unwrap().success());
    assert_eq!(ok(ctr(&["task", "exec", "--exec-id", "e", "box", "echo", "inside"])), "inside");
    ok(ctr(&["task", "pause", "box"]));
    assert!(ok(ctr(&["task", "ls"])).contains("PAUSED"));
    ok(ctr(&["task", "resume", "box"]));
    assert!(ok(ctr(&["task", "metrics", "box"])).contains("memory.usage_in_bytes"));
    assert!(ok(ctr(&["task", "ps", "box"])).lines().count() >= 2);
    ok(ctr(&["task", "kill", "--signal", "SIGKILL", "box"]));
    until("the task stops", || ok(ctr(&["task", "ls"])).contains("STOPPED"));
    ok(ctr(&["task", "rm", "box"]));
    ok(ctr(&["container", "rm", "box"]));
}

#[test]
fn dockerd_runs_its_containers_with_our_runtime() {
    let Some(host) = Host::with(&["dockerd", "docker", "containerd"]) else { return };
    let socket = format!("unix://{}", host.text("d.sock"));
    let mut command = Command::new("dockerd");
    for (flag, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
        command.arg(flag).arg(host.path(name));
    }
    command.args(["--host", &socket, "--bridge", "none", "--iptables=false", "--storage-driver", "vfs"]);
    command.args(["--add-runtime", &format!("hako={}", host.runtime()), "--default-runtime", "hako"]);
    command.args(["--cgroup-parent", &format!("/{}", host.name)]);
    let mut daemon = Daemon::start(&mut command, &host.path("log"));
    let docker = |args: &[&str]| {
        let mut command = Command::new("docker");
        command.args(["--host", &socket]).args(args);
        command
    };
    if !daemon.answers(|| docker(&["version"])) {
        eprintln!("skipped: dockerd does not start here");
        return;
    }
    let tar = host.rootfs_tar().display().to_string();
    ok(docker(&["import", &tar, "box"]));
    let none = ["--network", "none"];
    let with = |before: &[&str], after: &[&str]| docker(&[before, &none, after].concat());
    assert_eq!(ok(with(&["run", "--rm"], &["box", "echo", "hello"])), "hello");
    assert_eq!(run(&mut with(&["run", "--rm"], &["box", "sh", "-c", "exit 9"])).status.code(), Some(9));
    let missing = run(&mut with(&["run", "--rm"], &["box", "nonesuch"]));
    assert_eq!(missing.status.code(), Some(127), "{}", String::from_utf8_lossy(&missing.stderr));
    assert_eq!(ok(with(&["run", "--rm", "-t"], &["box", "tty"])), "/dev/pts/0");
    let program = ["box", "sh", "-c", "echo started; exec sleep 1000"];
    ok(with(&["run", "-d", "--name", "cc", "--memory", "64m"], &program));
    until("the container writes its log", || ok(docker(&["logs", "cc"])) == "started");
    assert_eq!(ok(docker(&["exec", "cc", "echo", "inside"])), "inside");
    assert_eq!(run(&mut docker(&["exec", "cc", "sh", "-c", "exit 5"])).status.code(), Some(5));
    ok(docker(&["pause", "cc"]));
    assert_eq!(ok(docker(&["inspect", "-f", "{{.State.Status}}", "cc"])), "paused");
    ok(docker(&["unpause", "cc"]));
    ok(docker(&["update", "--memory", "128m", "--memory-swap", "-1", "cc"]));
    let stats = ok(docker(&["stats", "--no-stream", "--format", "{{.MemUsage}}", "cc"]));
    assert!(stats.contains("128MiB"), "{stats}");
    assert!(ok(docker(&["top", "cc"])).contains("sleep"));
    ok(docker(&["restart", "-t", "0", "cc"]));
    ok(docker(&["kill", "cc"]));
    assert_eq!(ok(docker(&["wait", "cc"])), "137");
    ok(docker(&["rm", "cc"]));
    let limited =
        ["--pids-limit", "50", "--cpus", "0.5", "--read-only", "--cap-drop", "ALL", "--user", "1000"];
    let output = ok(with(
        &[&["run", "--rm"], &limited[..]].concat(),
        &["box", "sh", "-c", "id -u; touch /x || echo ro"],
    ));
    assert_eq!(output, "1000\nro");
    drop(daemon);
    let group = hako_cgroup::CgroupRoot::detect().unwrap().open(&format!("/{}", host.name));
    group.map(|group| group.delete().unwrap()).ok();
}
