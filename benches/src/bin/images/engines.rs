//! The programs that are measured, with state of their own below one directory.

use hako_benches::{has, time};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// One that keeps images in a store of its own.
pub struct Engine {
    pub name: &'static str,
    program: PathBuf,
    global: Vec<String>,
    /// What pull and push are told besides, and how load is told the file.
    transfer: &'static [&'static str],
    load: &'static str,
    daemon: Option<Child>,
    run: Option<tempfile::TempDir>,
}

impl Engine {
    pub fn hako(hako: &Path, scratch: &Path) -> anyhow::Result<Self> {
        let global = vec!["--data-dir".to_owned(), scratch.join("hako").display().to_string()];
        let engine = Self {
            name: "hako",
            program: hako.into(),
            global,
            transfer: &[],
            load: "--from",
            daemon: None,
            run: None,
        };
        time(engine.command().args(["up", "--detach", "--listen", "127.0.0.1:0"]))?;
        Ok(engine)
    }

    /// `None` where it is not installed.
    pub fn podman(scratch: &Path) -> Option<Self> {
        // It refuses a longer name for what it keeps while it runs, which is no images.
        let run = tempfile::tempdir_in("/run").ok()?;
        let root = scratch.join("podman").display().to_string();
        let global =
            vec!["--root".to_owned(), root, "--runroot".to_owned(), run.path().display().to_string()];
        has("podman").then(|| Self {
            name: "podman",
            program: "podman".into(),
            global,
            transfer: &["--tls-verify=false"],
            load: "-i",
            daemon: None,
            run: Some(run),
        })
    }

    /// A daemon that changes nothing of the host's network; `None` where it is not installed or does not start.
    pub fn docker(scratch: &Path) -> Option<Self> {
        if !has("dockerd") {
            return None;
        }
        let path = |name: &str| scratch.join(name).display().to_string();
        let socket = format!("unix://{}", path("docker.sock"));
        let daemon = Command::new("dockerd")
            .args(["--data-root", &path("docker"), "--exec-root", &path("docker-exec")])
            .args(["--pidfile", &path("docker.pid"), "--host", &socket])
            .args(["--bridge=none", "--iptables=false"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(std::fs::File::create(scratch.join("docker.log")).ok()?)
            .spawn()
            .ok()?;
        let mut engine = Self {
            name: "docker",
            program: "docker".into(),
            global: vec!["--host".to_owned(), socket],
            transfer: &[],
            load: "-i",
            daemon: Some(daemon),
            run: None,
        };
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(30) {
            if time(engine.command().arg("version")).is_ok() {
                return Some(engine);
            }
            if engine.daemon.as_mut().and_then(|daemon| daemon.try_wait().ok().flatten()).is_some() {
                break;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        None
    }

    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.global);
        command
    }

    pub fn pull(&self, image: &str) -> anyhow::Result<f64> {
        time(self.command().arg("pull").args(self.transfer).arg(image))
    }

    pub fn push(&self, image: &str) -> anyhow::Result<f64> {
        time(self.command().arg("push").args(self.transfer).arg(image))
    }

    pub fn load(&self, archive: &Path) -> anyhow::Result<f64> {
        time(self.command().args(["load", self.load]).arg(archive))
    }

    pub fn tag(&self, image: &str, name: &str) -> anyhow::Result<()> {
        time(self.command().args(["tag", image, name])).map(drop)
    }

    pub fn remove(&self, image: &str) -> anyhow::Result<()> {
        time(self.command().args(["rmi", image])).map(drop)
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        match &mut self.daemon {
            Some(daemon) => {
                // Its own child: a polite end lets it take its mounts along.
                let _ = Command::new("kill").arg(daemon.id().to_string()).status();
                let _ = daemon.wait();
            }
            None => match &self.run {
                // podman leaves its directory mounted on itself.
                Some(_) => drop(Command::new("umount").arg(format!("{}/overlay", self.global[1])).output()),
                None => drop(time(self.command().args(["down", "--purge"]))),
            },
        }
    }
}
