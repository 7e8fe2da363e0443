//! Debian's buildah, 1.28.

use super::{Peer, corpus, load};
use crate::bed::Bed;
use hako_image::{Image, SaveFormat};
use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

/// What needs more than it knows; README.md of the corpus says what.
const BEYOND: [&str; 12] = [
    "case-does-not-matter",
    "copy-nothing-matches",
    "copy-patterns",
    "copy-several-sources",
    "copy-through-links",
    "env-modifiers",
    "go-cache-mounts",
    "python-pip-cache",
    "mount-secret-env",
    "mount-tmpfs-and-cache",
    "onbuild-within",
    "run-network",
];
/// Words of files that only a newer BuildKit reads.
const BEYOND_WORDS: [&str; 6] = ["<<", "--link", "--parents", "--exclude", "--unpack", "--chmod=u"];

/// Buildah with a store of its own in memory: on a disk it spends its time on syncing.
pub struct Buildah {
    dir: tempfile::TempDir,
}

impl Buildah {
    pub fn new(bed: &Bed) -> Self {
        let buildah = Self { dir: tempfile::tempdir_in("/dev/shm").unwrap() };
        let base = buildah.dir.path().join("busybox.tar");
        let named =
            [(bed.images.find("busybox").unwrap(), vec!["localhost/busybox:latest".parse().unwrap()])];
        bed.images.save(&named, SaveFormat::Oci, File::create(&base).unwrap()).unwrap();
        buildah.run(&["pull", "-q", &format!("oci-archive:{}", base.display())]).unwrap();
        buildah
    }

    fn run(&self, arguments: &[&str]) -> Result<(), String> {
        let mut command = Command::new("buildah");
        command.arg("--root").arg(self.dir.path().join("root"));
        command.arg("--runroot").arg(self.dir.path().join("run"));
        command.args(["--storage-driver", "vfs"]).args(arguments).env("TMPDIR", self.dir.path());
        let output = command.output().unwrap();
        if output.status.success() {
            Ok(())
        } else {
            Err(String::from_utf8_lossy(&output.stderr).into_owned())
        }
    }
}

impl Peer for Buildah {
    fn name(&self) -> &'static str {
        "buildah"
    }

    fn knows(&self, name: &str, text: &str) -> bool {
        !BEYOND.contains(&name) && !BEYOND_WORDS.iter().any(|word| text.contains(word))
    }

    fn build(&self, bed: &Bed, file: &Path) -> Result<Image, String> {
        let archive = self.dir.path().join("built.tar");
        let _ = fs::remove_file(&archive);
        let (file, context) = (file.display().to_string(), corpus().join("context").display().to_string());
        let bud = ["bud", "--isolation", "chroot", "--network", "host", "--format", "docker", "--pull-never"];
        self.run(&[&bud[..], &["-t", "peer", "-f", &file, &context]].concat())?;
        self.run(&["push", "-q", "peer", &format!("docker-archive:{}:peer:latest", archive.display())])?;
        Ok(load(bed, &archive))
    }
}
