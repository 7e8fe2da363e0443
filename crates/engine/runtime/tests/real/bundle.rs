//! A bundle with a busybox root, run by our command line or another's.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use hako_oci::runtime::Spec;
use tempfile::TempDir;

use crate::bed::{busybox_root, unique};

/// Our own command line: this executable, started anew.
pub const HAKO: &str = "/proc/self/exe";

/// A bundle and a state directory.
pub struct Bundle {
    pub directory: TempDir,
    pub id: String,
}

impl Bundle {
    pub fn new(spec: Spec) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let id = unique("hako-cli-");
        busybox_root(&directory.path().join("rootfs"));
        let bundle = Self { directory, id };
        bundle.write_spec(spec);
        bundle
    }

    pub fn write_spec(&self, mut spec: Spec) {
        let linux = spec.linux_mut().as_mut().unwrap();
        linux.set_cgroups_path(Some(PathBuf::from(format!("/{}", self.id))));
        fs::write(self.path("config.json"), serde_json::to_vec(&spec).unwrap()).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        if program == HAKO {
            command.arg("runtime");
        }
        let args: Vec<String> = args.iter().map(|arg| arg.replace("ID", &self.id)).collect();
        command.arg("--root").arg(self.path("state")).args(args).current_dir(self.directory.path());
        command
    }

    pub fn hako(&self, args: &[&str]) -> Output {
        self.command(HAKO, args).output().unwrap()
    }

    /// Runs a command that must succeed; its output.
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.hako(args);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    pub fn status(&self) -> String {
        let state: serde_json::Value = serde_json::from_str(&self.ok(&["state", "ID"])).unwrap();
        state["status"].as_str().unwrap().to_owned()
    }

    pub fn until(&self, status: &str) {
        let deadline = std::time::Instant::now() + crate::bed::DEADLINE;
        while self.status() != status {
            assert!(std::time::Instant::now() < deadline, "not {status} in time");
        }
    }

    pub fn check_clean(&self) {
        assert_eq!(fs::read_dir(self.path("state")).unwrap().count(), 0);
        assert!(hako_cgroup::CgroupRoot::detect().unwrap().open(&format!("/{}", self.id)).is_err());
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&self.directory.path().display().to_string()));
    }
}

impl Drop for Bundle {
    fn drop(&mut self) {
        let _ = self.command(HAKO, &["delete", "--force", "ID"]).output();
    }
}

/// `create` leaves its streams to the container, so its output cannot be waited for through a pipe.
pub fn create(bundle: &Bundle, args: &[&str]) {
    let out = fs::File::create(bundle.path("out")).unwrap();
    let status = bundle.command(HAKO, args).stdout(out.try_clone().unwrap()).stderr(out).status().unwrap();
    assert!(status.success(), "{}", fs::read_to_string(bundle.path("out")).unwrap());
}
