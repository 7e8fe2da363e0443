//! A Docker daemon of the bench's own, where one is installed.

use hako_benches::{has, time};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Docker {
    daemon: Child,
    directory: tempfile::TempDir,
}

impl Docker {
    /// `None` where dockerd is not installed or does not start here.
    pub fn start() -> Option<Self> {
        if !has("dockerd") {
            println!("dockerd is not installed: install docker.io to compare with it");
            return None;
        }
        let directory = tempfile::Builder::new().prefix("hako-bench-docker-").tempdir().ok()?;
        let path = |name: &str| directory.path().join(name);
        let log = std::fs::File::create(path("log")).ok()?;
        let daemon = Command::new("dockerd")
            .arg("--data-root")
            .arg(path("data"))
            .arg("--exec-root")
            .arg(path("exec"))
            .arg("--pidfile")
            .arg(path("pid"))
            .arg("--host")
            .arg(format!("unix://{}", path("docker.sock").display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .ok()?;
        let mut docker = Self { daemon, directory };
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(20) {
            if docker
                .command()
                .args(["version"])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .is_ok_and(|status| status.success())
            {
                return Some(docker);
            }
            if docker.daemon.try_wait().ok().flatten().is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        let log = std::fs::read_to_string(docker.directory.path().join("log")).unwrap_or_default();
        println!("dockerd does not start here: {}", log.lines().last().unwrap_or_default());
        None
    }

    /// The daemon and the containerd that it started.
    pub fn pids(&self) -> anyhow::Result<Vec<u64>> {
        let own = u64::from(self.daemon.id());
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children"))?;
        let children = children.split_whitespace().filter_map(|pid| pid.parse().ok());
        Ok([own].into_iter().chain(children).collect())
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.directory.path().join("docker.sock").display()));
        command
    }

    pub fn import_busybox(&self) -> anyhow::Result<()> {
        let tar = self.directory.path().join("busybox.tar");
        let root = self.directory.path().join("rootfs");
        std::fs::create_dir_all(root.join("bin"))?;
        std::fs::copy("/bin/busybox", root.join("bin/busybox"))?;
        for name in ["true", "sleep"] {
            std::os::unix::fs::symlink("busybox", root.join("bin").join(name))?;
        }
        time(Command::new("tar").arg("-C").arg(&root).arg("-cf").arg(&tar).arg("."))?;
        time(self.command().arg("import").arg(&tar).arg("busybox")).map(drop)
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        // Its own child: a polite end lets it take its containers, links and mounts along.
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
    }
}
