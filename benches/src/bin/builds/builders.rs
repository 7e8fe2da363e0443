//! The builders, each with a state of its own below the bench's directory.

use hako_benches::{has, time};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Builds a context; what is known stays known.
pub trait Builder {
    fn build(&self, context: &Path) -> Command;
}

/// A platform of the bench's own.
pub struct Hako {
    hako: PathBuf,
    data: PathBuf,
}

impl Hako {
    pub fn start(hako: &Path, scratch: &Path, base: &Path) -> anyhow::Result<Self> {
        let ours = Self { hako: hako.into(), data: scratch.join("hako") };
        time(ours.command().args(["up", "--detach", "--listen", "127.0.0.1:0"]))?;
        time(ours.command().args(["image", "import"]).arg(base).arg("localhost/debian-base"))?;
        Ok(ours)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.hako);
        command.arg("--data-dir").arg(&self.data);
        command
    }

    /// The base image as an archive for the peers.
    pub fn save(&self, scratch: &Path) -> anyhow::Result<PathBuf> {
        let archive = scratch.join("base.tar");
        time(self.command().args(["save", "-o"]).arg(&archive).arg("localhost/debian-base"))?;
        Ok(archive)
    }
}

impl Hako {
    /// Milliseconds that a program takes in a container of the base image.
    pub fn alone(&self, script: &str) -> anyhow::Result<f64> {
        let mut command = self.command();
        command.args(["run", "--rm", "--network", "none", "localhost/debian-base", "sh", "-c", script]);
        time(&mut command)
    }
}

impl Builder for &Hako {
    fn build(&self, context: &Path) -> Command {
        let mut command = self.command();
        command.args(["build", "--network", "none", "-t", "built"]).arg(context);
        command
    }
}

impl Drop for Hako {
    fn drop(&mut self) {
        if let Err(error) = time(self.command().args(["down", "--purge"])) {
            println!("take down: {error:#}");
        }
    }
}

/// A docker daemon that changes nothing of the host's network.
pub struct Docker {
    daemon: Child,
    socket: String,
}

/// Debian's own client: a newer one, which may come first in PATH, builds with BuildKit by a plug-in only.
const CLIENT: &str = "/usr/bin/docker";

impl Docker {
    pub fn start(scratch: &Path, base: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(has("dockerd") && Path::new(CLIENT).exists(), "not installed");
        let path = |name: &str| scratch.join("docker").join(name);
        std::fs::create_dir(scratch.join("docker"))?;
        let socket = format!("unix://{}", path("docker.sock").display());
        let daemon = Command::new("dockerd")
            .args(["--bridge=none", "--iptables=false", "--ip6tables=false", "--host", &socket])
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(path("log"))?)
            .spawn()?;
        let mut docker = Self { daemon, socket };
        let began = Instant::now();
        while time(docker.command().arg("version")).is_err() {
            let is_over = docker.daemon.try_wait()?.is_some() || began.elapsed() > Duration::from_secs(30);
            let log = std::fs::read_to_string(path("log")).unwrap_or_default();
            anyhow::ensure!(
                !is_over,
                "dockerd does not start here: {}",
                log.lines().last().unwrap_or_default()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        time(docker.command().arg("import").arg(base).arg("localhost/debian-base"))?;
        Ok(docker)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(CLIENT);
        command.args(["--host", &self.socket]);
        command
    }

    /// The builder of before BuildKit, still the daemon's own.
    pub fn classic(&self) -> impl Builder + '_ {
        DockerBuild { docker: self, buildkit: "0" }
    }

    /// BuildKit as the daemon has it inside.
    pub fn buildkit(&self) -> impl Builder + '_ {
        DockerBuild { docker: self, buildkit: "1" }
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Its own child: a polite end lets it take its containers and mounts along.
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
    }
}

struct DockerBuild<'a> {
    docker: &'a Docker,
    buildkit: &'static str,
}

impl Builder for DockerBuild<'_> {
    fn build(&self, context: &Path) -> Command {
        let mut command = self.docker.command();
        command.env("DOCKER_BUILDKIT", self.buildkit);
        command.args(["build", "--network", "none", "-t", "built"]).arg(context);
        command
    }
}

/// Buildah with three jobs, its cache of layers on, without a network namespace for each step.
pub struct Buildah {
    root: PathBuf,
    driver: &'static str,
}

impl Buildah {
    pub fn new(scratch: &Path, archive: &Path) -> anyhow::Result<Self> {
        anyhow::ensure!(has("buildah"), "not installed");
        let mut buildah = Self { root: scratch.join("buildah"), driver: "overlay" };
        let pull = |buildah: &Self| {
            time(buildah.command().args(["pull", "-q"]).arg(format!("docker-archive:{}", archive.display())))
        };
        if let Err(error) = pull(&buildah) {
            println!("buildah without overlay: {error:#}");
            buildah.driver = "vfs";
            pull(&buildah)?;
        }
        Ok(buildah)
    }

    fn command(&self) -> Command {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.root.join("root")).arg("--runroot").arg(self.root.join("run"));
        command.args(["--storage-driver", self.driver]);
        command
    }
}

impl Builder for Buildah {
    fn build(&self, context: &Path) -> Command {
        let mut command = self.command();
        command.args(["bud", "--isolation", "chroot", "--network", "host", "--pull-never", "--layers"]);
        command.args(["--jobs", "3", "-t", "built"]).arg(context);
        command
    }
}

impl Drop for Buildah {
    fn drop(&mut self) {
        // Overlay mounts its own directory; nothing may stay mounted below the bench's.
        let _ = Command::new("umount").arg(self.root.join("root/overlay")).stderr(Stdio::null()).status();
    }
}
