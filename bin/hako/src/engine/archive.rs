//! `hako save`, `load` and `image export`: images as files.

use super::client::{EngineClient, Payload, escape};
use super::images::chunks;
use super::transfer;
use crate::cli::{LoadArgs, OutputFormat, SaveArgs};
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::json;
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

pub(crate) async fn save(target: &Target, args: &SaveArgs) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let file = Destination::open(args.file.as_deref(), "-o FILE")?;
    let names: Vec<String> = args.names.iter().map(|name| format!("names={}", escape(name))).collect();
    let path = format!("/images/get?{}", names.join("&"));
    let response = engine.send(Method::GET, &path, Payload::Empty).await?;
    file.fill(response.into_body()).await?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn load(target: &Target, args: &LoadArgs, format: OutputFormat) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let (payload, what) = match &args.file {
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

/// A file that appears under its name when it is whole, or standard output.
enum Destination {
    File { path: PathBuf, beside: PathBuf, file: File },
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
        let mut name = path.file_name().with_context(|| format!("{} is no file", path.display()))?.to_owned();
        name.push(format!(".{}.part", std::process::id()));
        let beside = path.with_file_name(name);
        let file = File::options().create_new(true).write(true).open(&beside);
        let file = file.with_context(|| format!("create {}", beside.display()))?;
        Ok(Self::File { path: path.to_owned(), beside, file })
    }

    async fn fill(mut self, mut body: Incoming) -> anyhow::Result<()> {
        while let Some(frame) = body.frame().await {
            let frame = frame.context("read the archive from the engine")?;
            let Some(data) = frame.data_ref() else { continue };
            match &mut self {
                Self::File { file, beside, .. } => {
                    file.write_all(data).with_context(|| format!("write {}", beside.display()))?;
                }
                Self::Stdout => output::bytes(data),
            }
        }
        if let Self::File { path, beside, file } = &mut self {
            file.sync_all().with_context(|| format!("write {}", beside.display()))?;
            std::fs::rename(&*beside, &*path).with_context(|| format!("write {}", path.display()))?;
        }
        Ok(())
    }
}

impl Drop for Destination {
    fn drop(&mut self) {
        if let Self::File { beside, .. } = self {
            // It is gone when it has its name.
            let _ = std::fs::remove_file(beside);
        }
    }
}
