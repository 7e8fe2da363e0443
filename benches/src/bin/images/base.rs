//! What is moved: a Debian root filesystem in two versions, and the first as an archive and as a gzip layer.

use crate::engines::Engine;
use hako_benches::{has, time};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub struct Files {
    pub tar: PathBuf,
    /// The same with one file in a hundred changed.
    pub changed: PathBuf,
    pub gzip: PathBuf,
    /// Of docker save's form.
    pub archive: PathBuf,
}

/// Left out: what a base image has no use for.
const EXCLUDED: [&str; 4] =
    ["./var/cache/apt/archives/*", "./var/cache/apt/*.bin", "./var/lib/apt/lists/*", "./dev/*"];

/// The tar is made once and kept beside the program.
pub fn tar() -> anyhow::Result<PathBuf> {
    let tar = std::env::current_exe()?.with_file_name("bench-debian-121.tar");
    if !tar.is_file() {
        anyhow::ensure!(has("debootstrap"), "debootstrap is not installed: it makes the image");
        let scratch = tempfile::tempdir()?;
        let root = scratch.path().join("root");
        time(Command::new("debootstrap").args(["--variant=minbase", "bookworm"]).arg(&root))?;
        let new = tar.with_extension("new");
        pack(&root, &new)?;
        fs::rename(new, &tar)?;
    }
    Ok(tar)
}

fn pack(root: &Path, tar: &Path) -> anyhow::Result<()> {
    let excluded = EXCLUDED.map(|pattern| format!("--exclude={pattern}"));
    time(
        Command::new("tar")
            .arg("--sort=name")
            .arg("-C")
            .arg(root)
            .args(excluded)
            .arg("-cf")
            .arg(tar)
            .arg("."),
    )
    .map(drop)
}

pub fn make(scratch: &Path, podman: &Engine, name: &str) -> anyhow::Result<Files> {
    let path = |name: &str| scratch.join(name);
    let (tar, changed, gzip, archive) = (tar()?, path("changed.tar"), path("layer.tgz"), path("archive.tar"));
    let root = path("root");
    fs::create_dir(&root)?;
    time(Command::new("tar").arg("-C").arg(&root).arg("-xf").arg(&tar))?;
    // Every hundredth file gets a line more.
    let change = "find \"$1\" -type f | sort | awk 'NR % 100 == 0' | while IFS= read -r file; do \
                  echo changed >> \"$file\"; done";
    time(Command::new("sh").args(["-c", change, "sh"]).arg(&root))?;
    pack(&root, &changed)?;
    fs::remove_dir_all(&root)?;
    time(Command::new("sh").args(["-c", "gzip -c \"$1\" > \"$2\"", "sh"]).arg(&tar).arg(&gzip))?;
    time(podman.command().arg("import").arg(&tar).arg(name))?;
    time(podman.command().args(["save", "--format", "docker-archive", "-o"]).arg(&archive).arg(name))?;
    podman.remove(name)?;
    Ok(Files { tar, changed, gzip, archive })
}
