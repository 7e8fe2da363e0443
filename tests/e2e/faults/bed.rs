//! A data directory in a network namespace of its own, and the daemons that work on it one after another.

use super::api::Api;
use super::state;
use crate::platform::{self, HAKO, enter_network_namespace, run, wait_until};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

pub struct Bed {
    directory: tempfile::TempDir,
    links: BTreeSet<String>,
    /// The files of a daemon that has nothing but its image.
    pub clean: BTreeSet<PathBuf>,
}

/// A daemon, killed when dropped.
pub struct Daemon {
    child: Child,
    pub api: Api,
}

impl Bed {
    /// In a new network namespace, which this thread enters.
    pub fn new() -> Self {
        Self::within(&std::env::temp_dir())
    }

    /// The same with its files below a directory.
    pub fn within(parent: &Path) -> Self {
        enter_network_namespace();
        let directory = tempfile::Builder::new().prefix("hako-fault-").tempdir_in(parent).unwrap();
        Self { directory, links: platform::links(), clean: BTreeSet::new() }
    }

    pub fn data(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    pub fn instance(&self) -> String {
        std::fs::read_to_string(self.data().join("instance")).unwrap().trim().to_owned()
    }

    pub fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap_or_default()
    }

    pub fn hako(&self, arguments: &[&str]) -> String {
        run(Command::new(HAKO).arg("--data-dir").arg(self.data()).args(arguments))
    }

    /// Starts a daemon, which dies at a point if one is named.
    pub fn up(&self, failpoint: Option<&str>) -> Daemon {
        let log = File::create(self.directory.path().join("log")).unwrap();
        let mut command = Command::new(HAKO);
        command.arg("--data-dir").arg(self.data()).args(["up", "--only", "engine"]);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log);
        match failpoint {
            Some(point) => command.env("HAKO_FAILPOINT", point),
            None => command.env_remove("HAKO_FAILPOINT"),
        };
        let mut child = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        assert!(said.contains("ready"), "the daemon did not start: {said}{}", self.log());
        let running: Value =
            serde_json::from_slice(&std::fs::read(self.data().join("server.json")).unwrap()).unwrap();
        Daemon { child, api: Api { socket: running["engine_socket"].as_str().unwrap().into() } }
    }

    /// Waits until kernel, files and what the API tells agree.
    #[track_caller]
    pub fn settle(&self, api: &Api) {
        self.wait(|| state::discord(api, &self.data(), &self.instance()));
    }

    /// Waits until nothing but the image is left.
    #[track_caller]
    pub fn settle_empty(&self, api: &Api) {
        self.settle(api);
        self.wait(|| {
            let files = state::files(&self.data());
            files.symmetric_difference(&self.clean).map(|path| format!("file {}", path.display())).collect()
        });
    }

    #[track_caller]
    fn wait(&self, look: impl Fn() -> Vec<String>) {
        let began = std::time::Instant::now();
        loop {
            let found = look();
            if found.is_empty() {
                return;
            }
            assert!(began.elapsed().as_secs() < 10, "{found:#?}");
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    /// Takes everything down and asserts that nothing is left.
    pub fn down(self) {
        let instance = self.instance();
        self.hako(&["down", "--purge"]);
        platform::assert_nothing_left(&instance, &self.links, self.directory.path());
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if self.data().exists() {
            let _ = Command::new(HAKO).arg("--data-dir").arg(self.data()).args(["down", "--purge"]).output();
        }
    }
}

impl Daemon {
    pub fn kill(self) {}

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.child.id()).unwrap())
    }

    /// Waits for the death at the point.
    #[track_caller]
    pub fn killed(&mut self) {
        let mut ended: Option<ExitStatus> = None;
        wait_until("the daemon to die at its point, which it never passed", || {
            ended = self.child.try_wait().unwrap();
            ended.is_some()
        });
        assert_eq!(ended.and_then(|status| status.signal()), Some(9), "the daemon died of something else");
    }

    /// How many files, sockets and pipes it has open.
    pub fn descriptors(&self) -> usize {
        std::fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// The most memory that it ever had, in KiB.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub fn lives(&self) -> bool {
        Path::new(&format!("/proc/{}/exe", self.child.id())).read_link().is_ok()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = kill(self.pid(), Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
