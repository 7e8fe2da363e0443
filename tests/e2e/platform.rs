//! A platform in a data directory and a network namespace of its own, taken down and checked for leaks at the end.

use nix::sched::{CloneFlags, unshare};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

pub const HAKO: &str = env!("CARGO_BIN_EXE_hako");

/// Root of the checkout, where the example is.
pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Puts this thread, and all it starts from now on, into a network namespace with nothing but loopback.
pub fn enter_network_namespace() {
    unshare(CloneFlags::CLONE_NEWNET).expect("a network namespace; is this root?");
    run(Command::new("ip").args(["link", "set", "lo", "up"]));
}

/// Runs a command that must succeed; gives its standard output.
#[track_caller]
pub fn run(command: &mut Command) -> String {
    let output = output(command);
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{command:?} failed with {}\n{out}\n{err}", output.status);
    out.into_owned()
}

/// Runs a command; gives its exit code and both outputs.
#[track_caller]
pub fn output(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|error| panic!("{command:?}: {error}"))
}

/// Polls until it is so; says what was waited for if it never is.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited 60 s in vain for {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A running platform.
pub struct Platform {
    directory: tempfile::TempDir,
    listen: String,
    links: BTreeSet<String>,
    /// What it is started with besides.
    options: Vec<String>,
}

impl Platform {
    /// Starts one in a network namespace of its own.
    pub fn start() -> Self {
        enter_network_namespace();
        Self::start_here("127.0.0.1:0")
    }

    /// The same, with the image `busybox`.
    pub fn with_busybox() -> Self {
        let platform = Self::start();
        platform.run(&["image", "import-busybox"]);
        platform
    }

    /// Starts one in the present network namespace.
    pub fn start_here(listen: &str) -> Self {
        let mut platform = Self::prepare(&[]);
        platform.listen = listen.into();
        platform.up();
        platform
    }

    /// One in the present network namespace that is started later, with these options.
    pub fn prepare(options: &[&str]) -> Self {
        let directory = tempfile::Builder::new().prefix("hako-e2e-").tempdir().unwrap();
        let options = options.iter().map(ToString::to_string).collect();
        Self { directory, listen: "127.0.0.1:0".into(), links: links(), options }
    }

    /// Starts it, again after a crash too; gives what it said.
    #[track_caller]
    pub fn up(&mut self) -> String {
        let said = run(self.hako().args(["up", "--detach", "--listen", &self.listen]).args(&self.options));
        let api = self.server()["api"].as_str().unwrap().trim_start_matches("https://").to_owned();
        self.listen = api;
        said
    }

    pub fn listen(&self) -> &str {
        &self.listen
    }

    pub fn data_dir(&self) -> PathBuf {
        self.directory.path().join("data")
    }

    /// What the running platform says of itself.
    pub fn server(&self) -> Value {
        serde_json::from_slice(&std::fs::read(self.data_dir().join("server.json")).unwrap()).unwrap()
    }

    pub fn instance(&self) -> String {
        std::fs::read_to_string(self.data_dir().join("instance")).unwrap().trim().to_owned()
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.server()["pid"].as_i64().unwrap()).unwrap()
    }

    pub fn kill(&self) {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.pid()), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
    }

    pub fn kubeconfig(&self) -> PathBuf {
        PathBuf::from(self.server()["kubeconfig"].as_str().unwrap())
    }

    /// `hako --data-dir …`
    pub fn hako(&self) -> Command {
        let mut command = Command::new(HAKO);
        command.arg("--data-dir").arg(self.data_dir());
        command
    }

    /// Runs `hako` with arguments that must succeed.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> String {
        run(self.hako().args(arguments))
    }

    /// Runs kubectl with arguments that must succeed.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        run(self.kubectl_command().args(arguments))
    }

    pub fn kubectl_command(&self) -> Command {
        let mut command = Command::new("kubectl");
        command
            .arg("--kubeconfig")
            .arg(self.kubeconfig())
            .arg("--cache-dir")
            .arg(self.directory.path().join("kubectl"));
        command
    }

    /// Imports busybox and builds the example as hello:v1 and hello:v2.
    #[track_caller]
    pub fn build_example(&self) {
        self.run(&["image", "import-busybox"]);
        let example = repository().join("examples/hello");
        for version in ["v1", "v2"] {
            let (tag, argument) = (format!("hello:{version}"), format!("VERSION={version}"));
            self.run(&["build", "-t", &tag, "--build-arg", &argument, example.to_str().unwrap()]);
        }
    }

    /// Builds the example, applies it and waits until it is rolled out.
    #[track_caller]
    pub fn deploy_example(&self) {
        self.build_example();
        self.kubectl(&["apply", "-f", repository().join("examples/hello").to_str().unwrap()]);
        self.kubectl(&["-n", "hello", "rollout", "status", "deployment/hello", "--timeout=60s"]);
    }

    /// The processes of containers, with their start times.
    pub fn container_processes(&self) -> BTreeSet<(i32, u64)> {
        let needle = format!("/hako-{}/", self.instance());
        let mut found = BTreeSet::new();
        for pid in pids() {
            let cgroups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
            let depth = cgroups
                .lines()
                .filter_map(|line| line.split_once(&needle))
                .map(|(_, rest)| rest.split('/').count())
                .max();
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            let started =
                stat.rsplit_once(')').and_then(|(_, rest)| rest.split_whitespace().nth(19)?.parse().ok());
            if let (Some(2..), Some(started)) = (depth, started) {
                found.insert((pid, started));
            }
        }
        found
    }

    /// Takes it down and asserts that nothing of it is left.
    #[track_caller]
    pub fn down(self) {
        let instance = self.instance();
        self.run(&["down", "--purge"]);
        assert_nothing_left(&instance, &self.links, self.directory.path());
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        if self.data_dir().exists() {
            if std::thread::panicking() {
                let log = std::fs::read_to_string(self.data_dir().join("hako.log")).unwrap_or_default();
                eprintln!("--- the platform's log ---\n{log}");
            }
            let _ = output(self.hako().args(["down", "--purge"]));
        }
    }
}

fn pids() -> Vec<i32> {
    let entries = std::fs::read_dir("/proc").unwrap();
    entries.flatten().filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).collect()
}

/// The links of this thread's network namespace.
pub fn links() -> BTreeSet<String> {
    let text = run(Command::new("ip").args(["-o", "link"]));
    text.lines().filter_map(|line| Some(line.split(": ").nth(1)?.split('@').next()?.to_owned())).collect()
}

/// Everything a platform makes bears its instance's name or its directory's path.
#[track_caller]
pub fn assert_nothing_left(instance: &str, links_before: &BTreeSet<String>, directory: &Path) {
    let mut left = Vec::new();
    for pid in pids() {
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line).replace('\0', " ");
        let mounts = std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
        let groups = std::fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        let lives = std::fs::read_link(format!("/proc/{pid}/exe")).is_ok();
        let is_ours =
            groups.contains(&format!("/hako-{instance}")) || mounts.contains(directory.to_str().unwrap());
        if is_ours && lives {
            left.push(format!("process {pid}: {line}"));
        }
    }
    let mut roots = vec![PathBuf::from("/sys/fs/cgroup")];
    roots.extend(std::fs::read_dir("/sys/fs/cgroup").unwrap().flatten().map(|entry| entry.path()));
    let groups = roots.iter().map(|root| root.join(format!("hako-{instance}"))).filter(|path| path.exists());
    left.extend(groups.map(|path| format!("cgroup {}", path.display())));
    // Another platform in this namespace has links of its own.
    let own_bridge = format!("hk{instance}");
    let others = links().iter().any(|link| link.starts_with("hk") && *link != own_bridge);
    let is_own = |link: &&String| **link == own_bridge || !others;
    left.extend(links().difference(links_before).filter(is_own).map(|link| format!("link {link}")));
    let tables = run(Command::new("nft").args(["list", "tables"]));
    left.extend(tables.lines().filter(|line| line.contains(instance)).map(|line| format!("nft {line}")));
    let sockets = PathBuf::from(format!("/run/hako/{instance}"));
    left.extend(sockets.exists().then(|| sockets.display().to_string()));
    assert!(left.is_empty(), "left behind: {left:#?}");
}
