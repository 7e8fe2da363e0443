//! `hako backup`: the objects at one revision and the platform's certificates and keys, as one file.
//!
//! Objects come from the API, sealed as they are kept. The keys come from the data directory: they are never sent.

use super::archive::{self, Kept, Writer};
use crate::cli::{BackupArgs, OutputFormat};
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use http_body_util::BodyExt as _;
use serde_json::json;
use std::fs::File;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How often keys may change while objects are read.
const ATTEMPTS: usize = 5;

pub(crate) async fn backup(
    target: &Target,
    args: &BackupArgs,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let pki = target.home()?.join("pki");
    let beside = Beside::new(&args.file)?;
    for _ in 0..ATTEMPTS {
        // Keys that were changed since may not open what was read, and those of before may be gone.
        let files = files(&pki)?;
        write(target, &beside.path, &files).await?;
        if files == self::files(&pki)? {
            let path = beside.path.clone();
            let objects = tokio::task::spawn_blocking(move || archive::verify(&path)).await??;
            beside.publish(&args.file)?;
            return Ok(tell(&args.file, objects, format));
        }
    }
    bail!("the keys in {} change all the time: try again when they do not", pki.display())
}

fn tell(file: &Path, objects: u64, format: OutputFormat) -> ExitCode {
    match format {
        OutputFormat::Json => output::json(&json!({"file": file, "objects": objects})),
        OutputFormat::Name => output::line(&file.display().to_string()),
        _ => {
            output::line(&format!("{objects} objects and the keys that open them are in {}", file.display()))
        }
    }
    ExitCode::SUCCESS
}

/// The file under another name, until it is whole; removed if it never is.
struct Beside {
    path: PathBuf,
}

impl Beside {
    fn new(file: &Path) -> anyhow::Result<Self> {
        let name = file.file_name().with_context(|| format!("{} names no file", file.display()))?;
        let mut new = name.to_owned();
        new.push(format!(".{}.new", std::process::id()));
        Ok(Self { path: file.with_file_name(new) })
    }

    fn publish(self, file: &Path) -> anyhow::Result<()> {
        std::fs::rename(&self.path, file).with_context(|| format!("make {}", file.display()))?;
        let parent = file.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .with_context(|| format!("write {}", parent.display()))
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Gone where it was published.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The plain files of the PKI by name, those that are just being written left out.
fn files(pki: &Path) -> anyhow::Result<Vec<Kept>> {
    let read = || -> std::io::Result<Vec<Kept>> {
        let mut files = Vec::new();
        for entry in std::fs::read_dir(pki)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if entry.file_type()?.is_file() && !name.ends_with(".new") {
                files.push(Kept { content: std::fs::read(entry.path())?, name });
            }
        }
        files.sort_by(|one, other| one.name.cmp(&other.name));
        Ok(files)
    };
    read().with_context(|| format!("read {} (a backup needs root)", pki.display()))
}

async fn write(target: &Target, path: &Path, files: &[Kept]) -> anyhow::Result<()> {
    let what = || format!("write {}", path.display());
    let mut body =
        super::client(target)?.get_stream("/hako/v1/store/snapshot").await.context("ask for the objects")?;
    let _ = std::fs::remove_file(path);
    let file = File::options().write(true).create_new(true).mode(0o600).open(path).with_context(what)?;
    let head = json!({"hako": env!("CARGO_PKG_VERSION")});
    let mut writer = Writer::begin(file, &head, files).with_context(what)?;
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the objects did not come whole: is the platform still running?")?;
        if let Ok(data) = frame.into_data() {
            writer.write(&data).with_context(what)?;
        }
    }
    writer.finish().map(drop).with_context(what)
}
