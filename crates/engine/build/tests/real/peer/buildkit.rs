//! The BuildKit in Debian's docker, 20.10, with its built-in frontend.

use super::{Peer, corpus, load};
use crate::bed::Bed;
use hako_image::{Image, SaveFormat};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// What needs more than it knows; README.md of the corpus says what.
const BEYOND: [&str; 7] = [
    "env-modifiers",
    "healthchecks",
    "mount-secret-env",
    "mount-tmpfs-and-cache",
    "onbuild-within",
    "only-metadata",
    "run-network",
];
/// Words of files that only a newer frontend reads; there is no network to fetch one from.
const BEYOND_WORDS: [&str; 6] = ["<<", "--link", "--parents", "--exclude", "--unpack", "--chmod=u"];

/// A daemon with directories of its own in memory, without networks.
pub struct BuildKit {
    daemon: Child,
    dir: tempfile::TempDir,
    group: String,
}

impl BuildKit {
    pub fn start(bed: &Bed) -> Self {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        let path = |name: &str| dir.path().join(name).display().to_string();
        let group = format!("/hako-test-{}-dockerd", std::process::id());
        let daemon = Command::new("dockerd")
            .args(["--data-root", &path("data"), "--exec-root", &path("exec"), "--pidfile", &path("pid")])
            .args(["-H", &format!("unix://{}", path("sock")), "--cgroup-parent", &group])
            .args(["--iptables=false", "--ip6tables=false", "--bridge=none", "--storage-driver", "overlay2"])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(path("log")).unwrap())
            .spawn()
            .unwrap_or_else(|error| panic!("dockerd: {error}; run scripts/setup tests"));
        let mut docker = Self { daemon, dir, group };
        while docker.run(&["version"]).is_err() {
            let log = || fs::read_to_string(docker.dir.path().join("log")).unwrap_or_default();
            assert!(docker.daemon.try_wait().unwrap().is_none(), "dockerd ended: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
        let base = docker.dir.path().join("busybox.tar");
        let named = [(bed.images.find("busybox").unwrap(), vec!["busybox".parse().unwrap()])];
        bed.images.save(&named, SaveFormat::DockerLegacy, File::create(&base).unwrap()).unwrap();
        docker.run(&["load", "-q", "-i", &base.display().to_string()]).unwrap();
        docker
    }

    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        // Another docker may come first in PATH that needs a plug-in to build.
        let mut command = Command::new("/usr/bin/docker");
        command.arg("--config").arg(self.dir.path().join("config"));
        command.arg("-H").arg(format!("unix://{}", self.dir.path().join("sock").display()));
        let output = command.args(arguments).env("DOCKER_BUILDKIT", "1").output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }

    /// The file without the line that names a frontend to fetch; its .dockerignore goes along.
    fn without_syntax(&self, file: &Path) -> PathBuf {
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        let copy = self.dir.path().join(&name);
        let text = fs::read(file).unwrap();
        let first = text.split_inclusive(|byte| *byte == b'\n').next().unwrap_or_default();
        let skipped = if first.starts_with(b"# syntax") { first.len() } else { 0 };
        fs::write(&copy, &text[skipped..]).unwrap();
        let ignore = file.with_file_name(format!("{name}.dockerignore"));
        if ignore.exists() {
            fs::copy(ignore, copy.with_file_name(format!("{name}.dockerignore"))).unwrap();
        }
        copy
    }
}

impl Peer for BuildKit {
    fn name(&self) -> &'static str {
        "BuildKit"
    }

    fn knows(&self, name: &str, text: &str) -> bool {
        !BEYOND.contains(&name) && !BEYOND_WORDS.iter().any(|word| text.contains(word))
    }

    fn build(&self, bed: &Bed, file: &Path) -> Result<Image, String> {
        let file = self.without_syntax(file);
        let name = file.file_stem().unwrap().to_string_lossy().into_owned();
        let (tag, archive) = (format!("peer:{name}"), self.dir.path().join(format!("{name}.tar")));
        let (shown, context) = (file.display().to_string(), corpus().join("context").display().to_string());
        self.run(&["build", "-q", "--network", "none", "-t", &tag, "-f", &shown, &context])?;
        self.run(&["save", "-o", &archive.display().to_string(), &tag])?;
        let image = load(bed, &archive);
        fs::remove_file(archive).unwrap();
        Ok(image)
    }
}

impl Drop for BuildKit {
    fn drop(&mut self) {
        // SIGTERM, so that it ends its containerd and takes its mounts along.
        let _ = Command::new("kill").arg(self.daemon.id().to_string()).status();
        let _ = self.daemon.wait();
        if let Ok(group) = hako_cgroup::CgroupRoot::detect().and_then(|root| root.open(&self.group)) {
            let _ = group.delete();
        }
    }
}
