//! The OCI command line, and the same bundle under a peer.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use hako_oci::runtime::Spec;
use tempfile::TempDir;

use crate::bed::{busybox_root, set_args, shell, unique};

/// A bundle and a state directory.
struct Bundle {
    directory: TempDir,
    id: String,
}

impl Bundle {
    fn new(mut spec: Spec) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let id = unique("hako-cli-");
        busybox_root(&directory.path().join("rootfs"));
        let linux = spec.linux_mut().as_mut().unwrap();
        linux.set_cgroups_path(Some(PathBuf::from(format!("/{id}"))));
        fs::write(directory.path().join("config.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
        Self { directory, id }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        if program == "/proc/self/exe" {
            command.arg("runtime");
        }
        let args: Vec<String> = args.iter().map(|arg| arg.replace("ID", &self.id)).collect();
        command.arg("--root").arg(self.path("state")).args(args).current_dir(self.directory.path());
        command
    }

    fn hako(&self, args: &[&str]) -> Output {
        self.command("/proc/self/exe", args).output().unwrap()
    }

    /// Runs a command that must succeed; its output.
    fn ok(&self, args: &[&str]) -> String {
        let output = self.hako(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    fn status(&self) -> String {
        let state: serde_json::Value = serde_json::from_str(&self.ok(&["state", "ID"])).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }

    fn until(&self, status: &str) {
        let deadline = std::time::Instant::now() + crate::bed::DEADLINE;
        while self.status() != status {
            assert!(std::time::Instant::now() < deadline, "not {status} in time");
        }
    }

    fn check_clean(&self) {
        assert_eq!(fs::read_dir(self.path("state")).unwrap().count(), 0);
        assert!(hako_cgroup::CgroupRoot::detect().unwrap().open(&format!("/{}", self.id)).is_err());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&self.directory.path().display().to_string()));
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = self.command("/proc/self/exe", &["delete", "--force", "ID"]).output();
    }
}

/// `create` leaves its streams to the container, so its output cannot be waited for through a pipe.
fn create(bundle: &Bundle, args: &[&str]) {
    let out = fs::File::create(bundle.path("out")).unwrap();
    let status =
        bundle.command("/proc/self/exe", args).stdout(out.try_clone().unwrap()).stderr(out).status().unwrap();
    assert!(status.success(), "{}", fs::read_to_string(bundle.path("out")).unwrap());
}

#[test]
fn a_container_goes_through_create_start_exec_kill_and_delete() {
    let bundle = Bundle::new(shell("echo started; sleep 1000"));
    create(&bundle, &["create", "--bundle", ".", "--pid-file", "pid", "ID"]);
    assert_eq!(bundle.status(), "created");
    let pid = fs::read_to_string(bundle.path("pid")).unwrap();
    assert!(Path::new("/proc").join(&pid).exists());
    assert!(!bundle.hako(&["exec", "ID", "true"]).status.success(), "not started yet");
    assert_eq!(fs::read_to_string(bundle.path("out")).unwrap(), "");
    bundle.ok(&["start", "ID"]);
    assert_eq!(bundle.status(), "running");
    assert_eq!(
        bundle.ok(&["exec", "--env", "A=b", "ID", "sh", "-c", "echo $A; hostname > /dev/null"]),
        "b\n"
    );
    assert_eq!(bundle.hako(&["exec", "ID", "sh", "-c", "exit 6"]).status.code(), Some(6));
    assert!(bundle.ok(&["list"]).contains(&bundle.id));
    assert!(!bundle.hako(&["delete", "ID"]).status.success(), "still running");
    bundle.ok(&["pause", "ID"]);
    bundle.ok(&["resume", "ID"]);
    bundle.ok(&["kill", "ID", "KILL"]);
    bundle.until("stopped");
    bundle.ok(&["delete", "ID"]);
    assert_eq!(fs::read_to_string(bundle.path("out")).unwrap(), "started\n");
    bundle.ok(&["delete", "--force", "ID"]);
    bundle.check_clean();
}

#[test]
fn run_waits_and_gives_the_exit_code() {
    let bundle = Bundle::new(shell("echo out; exit 12"));
    let output = bundle.hako(&["run", "ID"]);
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(12), &b"out\n"[..]));
    bundle.check_clean();
}

#[test]
fn what_fails_says_so_in_the_log_and_leaves_nothing() {
    let mut spec = shell("");
    set_args(&mut spec, &["nonesuch"]);
    let bundle = Bundle::new(spec);
    let output = bundle.hako(&["--log", "log", "--log-format", "json", "create", "ID"]);
    assert!(!output.status.success());
    let text = fs::read_to_string(bundle.path("log")).unwrap();
    let record: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert!(record["msg"].as_str().unwrap().contains("executable file \"nonesuch\" not found"), "{text}");
    bundle.check_clean();
    assert!(!bundle.hako(&["state", "ID"]).status.success());
}

#[test]
fn a_spec_is_written_and_features_are_json() {
    let bundle = Bundle::new(shell("true"));
    assert!(!bundle.hako(&["spec"]).status.success(), "config.json is there");
    fs::remove_file(bundle.path("config.json")).unwrap();
    bundle.ok(&["spec"]);
    let spec: Spec = serde_json::from_slice(&fs::read(bundle.path("config.json")).unwrap()).unwrap();
    assert_eq!(spec.mounts().as_ref().unwrap().len(), 7);
    let features: serde_json::Value = serde_json::from_str(&bundle.ok(&["features"])).unwrap();
    assert_eq!(features["linux"]["seccomp"]["enabled"], true);
}

#[test]
fn hooks_run_with_the_state_on_their_input() {
    let mut spec = shell("true");
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("hook").display().to_string();
    let hook = hako_oci::runtime::HookBuilder::default()
        .path("/bin/sh")
        .args(vec!["sh".to_owned(), "-c".to_owned(), format!("cat > {out}")])
        .build()
        .unwrap();
    let mut hooks = hako_oci::runtime::Hooks::default();
    hooks.set_create_runtime(Some(vec![hook]));
    spec.set_hooks(Some(hooks));
    let bundle = Bundle::new(spec);
    assert_eq!(bundle.hako(&["run", "ID"]).status.code(), Some(0));
    let state: serde_json::Value =
        serde_json::from_slice(&fs::read(directory.path().join("hook")).unwrap()).unwrap();
    assert_eq!((state["id"].as_str(), state["status"].as_str()), (Some(bundle.id.as_str()), Some("created")));
}

/// Where the peer and we differ on the same bundle, one of us is wrong.
#[test]
fn a_peer_shows_the_same_container() {
    let script = "cat /proc/self/status | grep -E '^(Cap|NoNewPrivs|Seccomp:|Groups|Uid|Umask)'; ls /dev; cat /proc/keys | wc -c; \
                  ulimit -n; echo $HOME $PATH $PWD; hostname; id; ls / ; touch /sys/x; echo $?; mount -t tmpfs x /tmp; echo $?; \
                  ls /proc/self/fd | wc -l";
    let mut spec = shell(script);
    spec.set_hostname(Some("peer".to_owned()));
    // Without limits and groups: this crun does not run where both versions of cgroups are mounted.
    spec.mounts_mut().as_mut().unwrap().retain(|mount| mount.typ().as_deref() != Some("cgroup"));
    spec.linux_mut().as_mut().unwrap().set_resources(None);
    let bundle = Bundle::new(spec);
    let run = |program: &str, flags: &[&str]| {
        let args = [flags, &["run", "ID"]].concat();
        let output = bundle.command(program, &args).output().unwrap();
        let errors = String::from_utf8_lossy(&output.stderr).into_owned();
        (String::from_utf8(output.stdout).unwrap(), errors)
    };
    let (ours, _) = run("/proc/self/exe", &[]);
    let (theirs, errors) = run("crun", &["--cgroup-manager=disabled"]);
    if errors.contains("hybrid mode not supported") {
        return compare_with_runc(&bundle, &ours);
    }
    assert!(!ours.is_empty());
    assert_eq!(ours, theirs);
}

fn compare_with_runc(bundle: &Bundle, ours: &str) {
    let output = bundle.command("runc", &["run", "ID"]).output().unwrap();
    assert_eq!(
        ours,
        String::from_utf8(output.stdout).unwrap(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}
