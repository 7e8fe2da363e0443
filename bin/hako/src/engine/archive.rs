//! `hako save`, `load` and `image export`: images as files.

use super::client::{EngineClient, Payload, escape};
use super::images::chunks;
use super::transfer;
use crate::cli::{ArchiveFormat, LoadArgs, OutputFormat, SaveArgs};
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use hako_build::{FOR_ALL, NewFile};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::json;
use std::fs::File;
use std::io::{BufReader, BufWriter, IsTerminal, PipeReader, PipeWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread::JoinHandle;

pub(crate) async fn save(target: &Target, args: &SaveArgs) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let file = match (args.format, args.file.as_deref()) {
        (ArchiveFormat::OciDir, Some(dir)) => Destination::layout(dir)?,
        (ArchiveFormat::OciDir, None) => bail!("a directory is no standard output: give -o DIR"),
        (_, file) => Destination::open(file, "-o FILE")?,
    };
    let mut query: Vec<String> = args.names.iter().map(|name| format!("names={}", escape(name))).collect();
    if args.format != ArchiveFormat::Docker {
        query.push("format=oci".to_owned());
    }
    query.extend(args.compression.map(|form| format!("compression={}", escape(&form.to_string()))));
    let path = format!("/images/get?{}", query.join("&"));
    let saved = async {
        let response = engine.send(Method::GET, &path, Payload::Empty).await?;
        file.fill(response.into_body()).await
    };
    if let Err(broken) = saved.await {
        // A connection that broke off cannot say why; this can.
        engine.send(Method::GET, &format!("{path}&verify=1"), Payload::Empty).await?;
        return Err(broken);
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn load(target: &Target, args: &LoadArgs, format: OutputFormat) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let (payload, what) = match &args.file {
        Some(path) if path.is_dir() => (chunks(layout(path)?), format!("load {}", path.display())),
        Some(path) => {
            let file = File::open(path).with_context(|| format!("open {}", path.display()))?;
            (chunks(file), format!("load {}", path.display()))
        }
        None if std::io::stdin().is_terminal() => {
            bail!("standard input is a terminal: name an archive with --from, or redirect one")
        }
        None => (chunks(std::io::stdin()), "load standard input".to_owned()),
    };
    let loaded = async {
        let response = engine.send(Method::POST, "/images/load?quiet=1", Payload::Tar(payload)).await?;
        transfer::watch(response.into_body(), true).await
    };
    let said = loaded.await.context(what)?;
    let name =
        |line: &String| line.split_once(": ").map_or_else(|| line.clone(), |(_, name)| name.to_owned());
    let names: Vec<String> = said.lines.iter().map(name).collect();
    match format {
        OutputFormat::Json => output::json(&json!(names)),
        _ => names.iter().for_each(|name| output::line(name)),
    }
    Ok(ExitCode::SUCCESS)
}

/// The root filesystem of an image: that of a container of it that never runs.
pub(super) async fn export(engine: &EngineClient, name: &str, archive: &Path) -> anyhow::Result<()> {
    let file = Destination::open(Some(archive).filter(|path| *path != Path::new("-")), "a file's name")?;
    // An image may have no command; one that never runs needs none that exists.
    let config = json!({ "Image": name, "Entrypoint": ["/export"], "HostConfig": { "NetworkMode": "none" } });
    let created = engine.json(Method::POST, "/containers/create", Payload::Json(config)).await?;
    let id = created["Id"].as_str().context("the engine gave no id")?.to_owned();
    let exported = async {
        let response = engine.send(Method::GET, &format!("/containers/{id}/export"), Payload::Empty).await?;
        file.fill(response.into_body()).await
    };
    let exported = exported.await;
    let removed = engine.send(Method::DELETE, &format!("/containers/{id}?force=1&v=1"), Payload::Empty).await;
    exported.and(removed.map(drop))
}

/// An OCI image layout as the tar that the engine reads.
fn layout(dir: &Path) -> anyhow::Result<PipeReader> {
    if !dir.join("index.json").is_file() {
        bail!("{} is no OCI image layout: it has no index.json", dir.display());
    }
    let (reader, writer) = std::io::pipe()?;
    let dir = dir.to_owned();
    std::thread::spawn(move || {
        let mut tar = tar::Builder::new(BufWriter::with_capacity(1 << 18, writer));
        // Links could lead out of the layout, and none belong into it.
        tar.follow_symlinks(false);
        let packed = ["oci-layout", "index.json", "manifest.json", "blobs"]
            .into_iter()
            .filter(|name| dir.join(name).exists())
            .try_for_each(|name| match name {
                "blobs" => tar.append_dir_all(name, dir.join(name)),
                _ => tar.append_path_with_name(dir.join(name), name),
            });
        // A tar without its end is refused by who reads it.
        if let Err(error) = packed.and_then(|()| tar.into_inner()?.flush()) {
            output::error(&format!("read {}: {error}", dir.display()));
        }
    });
    Ok(reader)
}

/// A directory that has another name until it is whole, and is removed if it never is.
struct Unfinished {
    path: PathBuf,
    beside: PathBuf,
}

impl Unfinished {
    fn new(path: &Path) -> anyhow::Result<Self> {
        // What a symlink leads to is replaced, not the link.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let mut name =
            path.file_name().with_context(|| format!("{} is no directory", path.display()))?.to_owned();
        name.push(format!(".{}.part", std::process::id()));
        Ok(Self { beside: path.with_file_name(name), path })
    }

    fn finish(self) -> anyhow::Result<()> {
        std::fs::rename(&self.beside, &self.path).with_context(|| format!("write {}", self.path.display()))
    }
}

impl Drop for Unfinished {
    fn drop(&mut self) {
        // It is gone when it has its name.
        let _ = std::fs::remove_dir_all(&self.beside);
    }
}

/// A file or directory, or standard output.
enum Destination {
    File { new: NewFile, path: PathBuf },
    Layout { sink: PipeWriter, unpacking: JoinHandle<std::io::Result<()>>, made: Unfinished },
    Stdout,
}

impl Destination {
    fn open(path: Option<&Path>, how: &str) -> anyhow::Result<Self> {
        let Some(path) = path else {
            if std::io::stdout().is_terminal() {
                bail!("an archive is not for a terminal: give {how}, or redirect standard output");
            }
            return Ok(Self::Stdout);
        };
        let new = NewFile::create(path, FOR_ALL).with_context(|| format!("write {}", path.display()))?;
        Ok(Self::File { new, path: path.to_owned() })
    }

    /// A directory that an archive is unpacked to as it comes.
    fn layout(path: &Path) -> anyhow::Result<Self> {
        if std::fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_some()) {
            bail!("{} is not empty: a layout is written to a directory of its own", path.display());
        }
        let made = Unfinished::new(path)?;
        std::fs::create_dir(&made.beside).with_context(|| format!("create {}", made.beside.display()))?;
        let (reader, sink) = std::io::pipe()?;
        let dir = made.beside.clone();
        let unpacking = std::thread::spawn(move || unpack(reader, &dir));
        Ok(Self::Layout { sink, unpacking, made })
    }

    async fn fill(mut self, mut body: Incoming) -> anyhow::Result<()> {
        while let Some(frame) = body.frame().await {
            let frame = frame.context("read the archive from the engine")?;
            let Some(data) = frame.data_ref() else { continue };
            match &mut self {
                Self::File { new, path } => {
                    new.file().write_all(data).with_context(|| format!("write {}", path.display()))?;
                }
                Self::Layout { sink, .. } => {
                    if sink.write_all(data).is_err() {
                        // Why nobody reads any more, its thread says.
                        break;
                    }
                }
                Self::Stdout => output::bytes(data),
            }
        }
        self.finish()
    }

    fn finish(self) -> anyhow::Result<()> {
        match self {
            Self::File { new, path } => {
                new.finish_durably().with_context(|| format!("write {}", path.display()))
            }
            Self::Layout { sink, unpacking, made } => {
                drop(sink);
                let Ok(unpacked) = unpacking.join() else { bail!("a thread that unpacks panicked") };
                unpacked.with_context(|| format!("write {}", made.beside.display()))?;
                made.finish()
            }
            Self::Stdout => Ok(()),
        }
    }
}

fn unpack(archive: PipeReader, dir: &Path) -> std::io::Result<()> {
    let mut archive = tar::Archive::new(BufReader::with_capacity(1 << 18, archive));
    archive.set_preserve_mtime(false);
    archive.unpack(dir)?;
    // What comes behind the archive's end.
    std::io::copy(&mut archive.into_inner(), &mut std::io::sink()).map(drop)
}
