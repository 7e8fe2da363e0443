//! A sandbox to test in: a busybox root, a shim, and the check that nothing is left.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use hako_cgroup::CgroupRoot;
use hako_oci::runtime::{Process, Spec};
use hako_runtime::{
    CreateContainer, Exit, LogFile, Namespaces, Rootfs, Shim, ShimConfig, ShimEvent, Stdio,
    spec::default_spec,
};
use tempfile::TempDir;

/// How long anything may take before a test fails.
pub const DEADLINE: Duration = Duration::from_secs(20);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A name of its own for each test.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A root directory with busybox and nothing else.
pub fn busybox_root(root: &Path) {
    for directory in ["bin", "etc", "tmp", "root"] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    fs::copy("/usr/bin/busybox", root.join("bin/busybox")).unwrap();
    for name in [
        "sh", "cat", "ls", "true", "false", "id", "sleep", "hostname", "echo", "kill", "mount", "head",
        "tail", "wc", "stat", "touch", "mkdir", "tty", "stty", "readlink", "dd", "seq", "env", "pwd", "grep",
        "unshare", "test", "ip", "umount", "mknod", "awk", "cut",
    ] {
        symlink("busybox", root.join("bin").join(name)).unwrap();
    }
    fs::write(root.join("etc/passwd"), "root:x:0:0::/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n")
        .unwrap();
}

pub struct Bed {
    pub shim: Shim,
    pub config: ShimConfig,
    pub directory: TempDir,
    pub instance: String,
}

impl Bed {
    pub async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub async fn with(change: impl FnOnce(&mut ShimConfig)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        busybox_root(&root.join("image"));
        let instance = unique("/hako-test-");
        let mut config = ShimConfig {
            exe: hako_testkit::shim_exe(),
            socket: root.join("s"),
            state_dir: root.join("state"),
            id: "sandbox".to_owned(),
            hostname: "inside".to_owned(),
            domainname: String::new(),
            namespaces: Namespaces::default(),
            sysctls: BTreeMap::new(),
            cgroup: format!("{instance}/sandbox"),
            tmpfs: Vec::new(),
            oom_score_adj: 0,
            ..ShimConfig::default()
        };
        change(&mut config);
        let shim = Shim::spawn(config.clone()).await.unwrap();
        Self { shim, config, directory, instance }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn image(&self) -> PathBuf {
        self.path("image")
    }

    pub fn cgroup(&self, id: &str) -> String {
        format!("{}/{id}", self.config.cgroup)
    }

    /// An overlay of its own on the image.
    pub fn overlay(&self, id: &str) -> Rootfs {
        let (upper, work) = (self.path(&format!("{id}-upper")), self.path(&format!("{id}-work")));
        fs::create_dir_all(&upper).unwrap();
        fs::create_dir_all(&work).unwrap();
        Rootfs::Overlay { lower: vec![self.image()], upper, work }
    }

    pub fn container(&self, id: &str, spec: Spec) -> CreateContainer {
        CreateContainer {
            id: id.to_owned(),
            spec,
            rootfs: self.overlay(id),
            cgroup: self.cgroup(id),
            stdio: Stdio {
                log: Some(LogFile {
                    path: self.path(&format!("{id}.log")),
                    max_size: 1 << 20,
                    max_files: 3,
                    ..LogFile::default()
                }),
                ..Stdio::default()
            },
            init: false,
            pid_namespace: None,
        }
    }

    /// Runs a container to its end.
    pub async fn run(&self, container: CreateContainer) -> Exit {
        let id = container.id.clone();
        let mut events = self.shim.events();
        self.shim.create(container).await.unwrap();
        self.shim.start(&id).await.unwrap();
        wait_exit(&mut events, &id, None).await
    }

    /// Runs a shell script in a container of the default spec and returns exit code and output.
    pub async fn sh(&self, script: &str) -> (i32, String) {
        self.sh_with(script, |_| {}).await
    }

    pub async fn sh_with(&self, script: &str, change: impl FnOnce(&mut Spec)) -> (i32, String) {
        let id = unique("c");
        let mut spec = shell(script);
        change(&mut spec);
        let exit = self.run(self.container(&id, spec)).await;
        let output = self.log(&id);
        self.shim.delete(&id, false).await.unwrap();
        (exit.code, output)
    }

    /// The text of a log without times and stream names.
    pub fn log(&self, id: &str) -> String {
        let text = fs::read_to_string(self.path(&format!("{id}.log"))).unwrap();
        let lines = text.lines().map(|line| line.splitn(4, ' ').nth(3).unwrap_or_default());
        lines.map(|line| format!("{line}\n")).collect()
    }

    /// Shuts the sandbox down and checks that nothing of it is left.
    pub async fn finish(self) {
        let pid = self.shim.pid();
        self.shim.shutdown(true).await.unwrap();
        self.check_clean(pid);
    }

    pub fn check_clean(&self, shim_pid: u32) {
        let deadline = std::time::Instant::now() + DEADLINE;
        // Nobody's child any more: the machine's init takes its remains when it likes.
        while fs::read_link(format!("/proc/{shim_pid}/exe")).is_ok() {
            assert!(std::time::Instant::now() < deadline, "the shim is still there");
            std::thread::yield_now();
        }
        let root = CgroupRoot::detect().unwrap();
        assert!(root.open(&self.config.cgroup).is_err(), "the sandbox's group is left");
        root.open(&self.instance).unwrap().delete().unwrap();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let directory = self.directory.path().display().to_string();
        assert!(!mounts.contains(&directory), "mounts are left");
    }
}

/// A test that failed half-way leaves no processes behind.
impl Drop for Bed {
    fn drop(&mut self) {
        let Ok(group) = CgroupRoot::detect().and_then(|root| root.open(&self.instance)) else { return };
        let _ = group.kill_all();
        let _ = group.delete();
    }
}

/// The default spec with a script.
pub fn shell(script: &str) -> Spec {
    let mut spec = default_spec();
    set_args(&mut spec, &["sh", "-c", script]);
    spec
}

pub fn set_args(spec: &mut Spec, args: &[&str]) {
    let args = args.iter().map(ToString::to_string).collect();
    spec.process_mut().as_mut().unwrap().set_args(Some(args));
}

/// A process for exec with the capabilities of the default spec.
pub fn process(args: &[&str]) -> Process {
    let mut spec = default_spec();
    set_args(&mut spec, args);
    spec.process().clone().unwrap()
}

/// Waits for a container's exit, or that of a process in it.
pub async fn wait_exit(
    events: &mut tokio::sync::broadcast::Receiver<ShimEvent>,
    id: &str,
    exec: Option<&str>,
) -> Exit {
    let wait = async {
        loop {
            if let ShimEvent::Exited { id: of, exec: name, code, signal, oom_killed, at } =
                events.recv().await.unwrap()
                && of == id
                && name.as_deref() == exec
            {
                return Exit { code, signal, oom_killed, at };
            }
        }
    };
    tokio::time::timeout(DEADLINE, wait).await.expect("no exit in time")
}

/// Polls until something holds.
pub async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !holds() {
        assert!(tokio::time::Instant::now() < deadline, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// /dev/null three times.
pub fn null_streams() -> [OwnedFd; 3] {
    [(); 3].map(|()| fs::File::options().read(true).write(true).open("/dev/null").unwrap().into())
}
