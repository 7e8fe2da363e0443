//! `hako restore`: an empty data directory becomes what a backup was made of.
//!
//! ```text
//! check the file ─► DIR/restoring/{pki,store} ─► DIR/{pki,store} ─► DIR/instance: from here on it is a data directory
//! ```
//! A restore that was killed before that leaves a directory that `hako up` refuses and another restore begins anew in.

use super::archive::{self, Kept, Reader};
use crate::cli::{OutputFormat, RestoreArgs};
use crate::locate::Target;
use crate::output;
use crate::platform;
use anyhow::{Context, bail};
use serde_json::json;
use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::process::ExitCode;

const PARTS: [&str; 2] = ["pki", "store"];

pub(crate) async fn restore(
    target: &Target,
    args: &RestoreArgs,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    crate::up::require_root("restore")?;
    let (file, data_dir) = (args.file.clone(), target.data_dir().to_owned());
    let (objects, revision) = tokio::task::spawn_blocking(move || from_file(&file, &data_dir)).await??;
    match format {
        OutputFormat::Json => output::json(&json!({"objects": objects, "revision": revision})),
        _ => output::line(&format!(
            "{objects} objects are in {}: start the platform with `hako up`",
            target.data_dir().display()
        )),
    }
    Ok(ExitCode::SUCCESS)
}

fn from_file(file: &Path, data_dir: &Path) -> anyhow::Result<(u64, u64)> {
    // Nothing is touched before all of it is known to be whole.
    let objects = archive::verify(file)?;
    begin(data_dir)?;
    let restoring = data_dir.join(platform::RESTORING);
    let mut reader = Reader::open(file)?;
    write_files(&restoring.join("pki"), &reader.files)?;
    let store = restoring.join("store");
    platform::make_private(&store)?;
    let revision = hako_store::snapshot::restore(&store, reader.parts())
        .with_context(|| format!("restore {}", file.display()))?;
    for part in PARTS {
        let (from, to) = (restoring.join(part), data_dir.join(part));
        sync(&from)?;
        std::fs::rename(&from, &to).with_context(|| format!("make {}", to.display()))?;
    }
    sync(data_dir)?;
    platform::claim(data_dir)?;
    sync(data_dir)?;
    std::fs::remove_dir(&restoring).with_context(|| format!("remove {}", restoring.display()))?;
    Ok((objects, revision.0))
}

/// An empty directory with a place to begin in. What a restore before this one left unfinished goes first.
fn begin(data_dir: &Path) -> anyhow::Result<()> {
    let restoring = data_dir.join(platform::RESTORING);
    if restoring.is_dir() && !data_dir.join("instance").exists() {
        for part in PARTS.map(|part| data_dir.join(part)).iter().filter(|part| part.exists()) {
            std::fs::remove_dir_all(part).with_context(|| format!("remove {}", part.display()))?;
        }
        std::fs::remove_dir_all(&restoring).with_context(|| format!("remove {}", restoring.display()))?;
    }
    if !platform::is_unused(data_dir) {
        bail!(
            "{} is not empty, and a restore overwrites nothing: choose an empty or a new directory with --data-dir",
            data_dir.display()
        );
    }
    platform::make_private(data_dir)?;
    platform::make_private(&restoring)
}

fn write_files(pki: &Path, files: &[Kept]) -> anyhow::Result<()> {
    platform::make_private(pki)?;
    for Kept { name, content } in files {
        let path = pki.join(name);
        let mode = if name.ends_with(".crt") { 0o644 } else { 0o600 };
        let write = || -> std::io::Result<()> {
            let mut file = File::options().write(true).create_new(true).mode(mode).open(&path)?;
            file.write_all(content)?;
            file.sync_all()
        };
        write().with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn sync(directory: &Path) -> anyhow::Result<()> {
    File::open(directory)
        .and_then(|directory| directory.sync_all())
        .with_context(|| format!("write {}", directory.display()))
}
