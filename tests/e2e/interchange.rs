//! What is built here runs under Debian's docker and podman, and what they build runs here; by archive and by
//! registry.

use crate::images::Registry;
use crate::platform::{Platform, run};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

const DOCKERFILE: &str = "FROM busybox\nARG WHO\nCOPY who /who\nRUN echo \"$WHO\" >> /who && ln /who /linked && chmod 600 /who\n\
                          CMD [\"cat\", \"/linked\"]\n";

/// Debian's dockerd with state of its own, in the present network namespace and a mount namespace of its own.
struct Docker {
    process: Child,
    dir: PathBuf,
    cgroup: String,
}

impl Docker {
    fn start(dir: &Path) -> Self {
        std::fs::create_dir(dir).unwrap();
        let path = |name: &str| dir.join(name).display().to_string();
        let cgroup = format!("hako-e2e-docker-{}", std::process::id());
        let process = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "dockerd"])
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["-H", &format!("unix://{}", path("sock")), "--storage-driver", "vfs"])
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none"])
            .args(["--cgroup-parent", &format!("/{cgroup}")])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(dir.join("log")).unwrap())
            .spawn()
            .expect("unshare, of util-linux");
        let mut docker = Self { process, dir: dir.to_owned(), cgroup };
        crate::platform::wait_until("dockerd", || {
            let ended = docker.process.try_wait().unwrap();
            let log = || std::fs::read_to_string(docker.dir.join("log")).unwrap_or_default();
            assert!(ended.is_none(), "dockerd ended, is docker.io of scripts/setup there? {}", log());
            docker.command(&["version"]).output().unwrap().status.success()
        });
        docker
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new("/usr/bin/docker");
        command.args(["--config", &self.dir.join("config").display().to_string()]);
        command.args(["-H", &format!("unix://{}/sock", self.dir.display())]).args(arguments);
        command.env("DOCKER_BUILDKIT", "0");
        command
    }

    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        run(&mut self.command(arguments))
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its containerd too.
        let pid = nix::unistd::Pid::from_raw(i32::try_from(self.process.id()).unwrap());
        let _ = nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM);
        let _ = self.process.wait();
        remove_group(&self.cgroup);
    }
}

/// What engines leave of the group that their containers were in.
fn remove_group(name: &str) {
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
    for hierarchy in hierarchies.map(|entry| entry.path()).chain([PathBuf::from("/sys/fs/cgroup")]) {
        let _ = std::fs::remove_dir(hierarchy.join(name));
    }
}

/// podman with state of its own.
struct Podman {
    dir: tempfile::TempDir,
}

impl Podman {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> String {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        let mut command = Command::new("podman");
        command.args(["--storage-driver", "vfs", "--root", &path("root"), "--runroot", &path("run")]);
        command.args(["--tmpdir", &path("tmp"), "--cgroup-manager", "cgroupfs", "--events-backend", "none"]);
        // Its own choice, crun, refuses machines with both versions of cgroups.
        run(command.args(["--runtime", "runc"]).args(arguments))
    }

    /// Runs a container, with limits that any root may set.
    #[track_caller]
    fn run_image(&self, image: &str) -> String {
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"];
        let group = format!("/{}", podman_group());
        let options = ["run", "--rm", "--network", "none", "--cgroup-parent", &group];
        self.run(&[&options[..], &limits, &[image]].concat())
    }
}

fn podman_group() -> String {
    format!("hako-e2e-podman-{}", std::process::id())
}

impl Drop for Podman {
    fn drop(&mut self) {
        remove_group(&podman_group());
    }
}

struct Bench {
    platform: Platform,
    scratch: tempfile::TempDir,
    registry: Registry,
}

impl Bench {
    fn start() -> Self {
        let platform = Platform::with_busybox();
        let scratch = tempfile::tempdir().unwrap();
        let registry = Registry::start(scratch.path(), false);
        let context = scratch.path().join("context");
        std::fs::create_dir(&context).unwrap();
        std::fs::write(context.join("Dockerfile"), DOCKERFILE).unwrap();
        std::fs::write(context.join("who"), "built by\n").unwrap();
        let bench = Self { platform, scratch, registry };
        bench.platform.run(&["save", "-o", &bench.path("busybox.tar"), "busybox"]);
        bench
    }

    fn path(&self, name: &str) -> String {
        self.scratch.path().join(name).display().to_string()
    }

    fn name(&self, name: &str) -> String {
        format!("{}/{name}:1", self.registry.host)
    }

    /// An image of ours, in the registry, and as two archives.
    fn ours(&self) -> String {
        let name = self.name("ours");
        let build = ["build", "-t", &name, "--build-arg", "WHO=hako"];
        self.platform.run(&[&build[..], &[&self.path("context")]].concat());
        self.platform.run(&["push", &name]);
        self.platform.run(&["save", "-o", &self.path("saved.tar"), &name]);
        let output = format!("type=docker,dest={}", self.path("output.tar"));
        self.platform.run(&[&build[..], &["--output", &output, &self.path("context")]].concat());
        name
    }

    /// An image for several platforms with attestations, in the registry.
    fn several(&self) -> String {
        let name = self.name("several");
        let text = "FROM --platform=$BUILDPLATFORM busybox AS tools\nFROM scratch\nCOPY --from=tools / /\n\
                    COPY who /who\nCMD [\"cat\", \"/who\"]\n";
        std::fs::write(self.scratch.path().join("context/Several"), text).unwrap();
        let wanted =
            ["--platform", "linux/arm64,linux/amd64", "--sbom", "--provenance", "-o", "type=registry"];
        let build = ["build", "-t", &name, "-f", "Several"];
        self.platform.run(&[&build[..], &wanted, &[&self.path("context")]].concat());
        name
    }

    /// Runs an image of theirs here, got both ways.
    #[track_caller]
    fn run_theirs(&self, name: &str, archive: &str, expected: &str) {
        self.platform.run(&["pull", name]);
        assert_eq!(self.platform.run(&["run", "--rm", name]), expected, "pulled");
        self.platform.run(&["rmi", name]);
        self.platform.run(&["load", "-i", archive]);
        assert_eq!(self.platform.run(&["run", "--rm", "--pull", "never", name]), expected, "loaded");
    }
}

#[test]
fn docker_runs_what_hako_builds_and_hako_what_docker_builds() {
    let bench = Bench::start();
    let docker = Docker::start(&bench.scratch.path().join("docker"));
    let ours = bench.ours();
    let runs = ["run", "--rm", "--network", "none", &ours];
    for archive in ["saved.tar", "output.tar"] {
        docker.run(&["load", "-i", &bench.path(archive)]);
        assert_eq!(docker.run(&runs), "built by\nhako\n", "{archive}");
        docker.run(&["rmi", &ours]);
    }
    docker.run(&["pull", &ours]);
    assert_eq!(docker.run(&runs), "built by\nhako\n", "pulled");
    let several = bench.several();
    docker.run(&["pull", &several]);
    let runs = ["run", "--rm", "--network", "none", &several];
    assert_eq!(docker.run(&runs), "built by\n", "one of several, with attestations");

    docker.run(&["load", "-i", &bench.path("busybox.tar")]);
    let theirs = bench.name("theirs");
    let context = bench.path("context");
    docker.run(&["build", "--network", "none", "-t", &theirs, "--build-arg", "WHO=docker", &context]);
    docker.run(&["push", &theirs]);
    docker.run(&["save", "-o", &bench.path("theirs.tar"), &theirs]);
    bench.run_theirs(&theirs, &bench.path("theirs.tar"), "built by\ndocker\n");
    drop(docker);
    bench.platform.down();
}

#[test]
fn podman_runs_what_hako_builds_and_hako_what_podman_builds() {
    let bench = Bench::start();
    // Its sockets have no longer names.
    let podman = Podman { dir: tempfile::tempdir_in("/run").unwrap() };
    let ours = bench.ours();
    for archive in ["saved.tar", "output.tar"] {
        podman.run(&["load", "-q", "-i", &bench.path(archive)]);
        assert_eq!(podman.run_image(&ours), "built by\nhako\n", "{archive}");
        podman.run(&["rmi", &ours]);
    }
    podman.run(&["pull", "-q", "--tls-verify=false", &ours]);
    assert_eq!(podman.run_image(&ours), "built by\nhako\n", "pulled");
    let several = bench.several();
    podman.run(&["pull", "-q", "--tls-verify=false", &several]);
    assert_eq!(podman.run_image(&several), "built by\n", "one of several, with attestations");
    // The format that knows no zstd.
    podman.run(&["save", "-q", "--format", "docker-archive", "-o", &bench.path("again.tar"), &ours]);

    podman.run(&["load", "-q", "-i", &bench.path("busybox.tar")]);
    let (theirs, context) = (bench.name("theirs"), bench.path("context"));
    let build = ["build", "-q", "--isolation", "chroot", "-t", &theirs];
    podman.run(&[&build[..], &["--build-arg", "WHO=podman", &context]].concat());
    podman.run(&["push", "-q", "--tls-verify=false", &theirs]);
    podman.run(&["save", "-q", "-o", &bench.path("theirs.tar"), &theirs]);
    bench.run_theirs(&theirs, &bench.path("theirs.tar"), "built by\npodman\n");
    bench.platform.down();
}
