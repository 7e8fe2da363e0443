//! `hako backup`: the objects at one revision and the platform's certificates and keys, as one file.
//!
//! Objects come from the API, sealed as they are kept. The keys come from the data directory: they are never sent.

use super::archive::{self, Kept, Writer};
use crate::cli::{BackupArgs, OutputFormat};
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use hako_build::NewFile;
use http_body_util::BodyExt as _;
use rustix::fs::OFlags;
use serde_json::json;
use std::fs::File;
use std::io::Seek as _;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// How often keys may change while objects are read.
const ATTEMPTS: usize = 5;
/// There are keys in it.
const OWN: u32 = 0o600;

pub(crate) async fn backup(
    target: &Target,
    args: &BackupArgs,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let pki = target.home()?.join("pki");
    let dest = Dest::open(&args.file).with_context(|| format!("write {}", args.file.display()))?;
    for _ in 0..ATTEMPTS {
        // Keys that were changed since may not open what was read, and those of before may be gone.
        let files = files(&pki)?;
        write(target, &dest, &files).await.with_context(|| format!("write {}", args.file.display()))?;
        if files == self::files(&pki)? {
            let path = dest.written();
            let objects = tokio::task::spawn_blocking(move || archive::verify(&path)).await??;
            dest.publish().with_context(|| format!("make {}", args.file.display()))?;
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

/// The file, and where it is checked before it is one.
struct Dest {
    new: NewFile,
    /// What goes to a pipe or a device cannot be read again; this has no name.
    copy: Option<File>,
}

impl Dest {
    fn open(file: &Path) -> std::io::Result<Self> {
        let new = NewFile::create(file, OWN)?;
        let is_stream = new.is_stream();
        let unnamed = || {
            let flag = i32::try_from(OFlags::TMPFILE.bits()).unwrap_or(0);
            File::options().read(true).write(true).custom_flags(flag).mode(OWN).open(std::env::temp_dir())
        };
        Ok(Self { new, copy: is_stream.then(unnamed).transpose()? })
    }

    fn file(&self) -> &File {
        self.copy.as_ref().unwrap_or(self.new.file())
    }

    /// A name by which what was written can be read.
    fn written(&self) -> PathBuf {
        format!("/proc/self/fd/{}", self.file().as_raw_fd()).into()
    }

    fn publish(self) -> std::io::Result<()> {
        if let Some(mut copy) = self.copy {
            copy.rewind()?;
            std::io::copy(&mut copy, &mut self.new.file())?;
        }
        self.new.finish_durably()
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

async fn write(target: &Target, dest: &Dest, files: &[Kept]) -> anyhow::Result<()> {
    let mut body =
        super::client(target)?.get_stream("/hako/v1/store/snapshot").await.context("ask for the objects")?;
    let mut file = dest.file().try_clone()?;
    // What an attempt before left.
    file.rewind()?;
    file.set_len(0)?;
    let head = json!({"hako": env!("CARGO_PKG_VERSION")});
    let mut writer = Writer::begin(file, &head, files)?;
    while let Some(frame) = body.frame().await {
        let frame = frame.context("the objects did not come whole: is the platform still running?")?;
        if let Ok(data) = frame.into_data() {
            writer.write(&data)?;
        }
    }
    Ok(writer.finish().map(drop)?)
}
