//! `hako build`: sends the context as a tar stream and shows what the builder says.

use super::client::{EngineClient, Payload, escape};
use super::images::for_each_json;
use super::run::key_values;
use crate::cli::{BuildArgs, OutputFormat};
use crate::locate::Target;
use crate::output::{self, Progress};
use anyhow::{Context, bail};
use bytes::Bytes;
use hyper::Method;
use serde_json::{Value, json};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;
use tokio::sync::mpsc;

pub(crate) async fn build(
    target: &Target,
    args: &BuildArgs,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let id = build_image(&engine, args, &Progress::new()).await?;
    match format {
        OutputFormat::Json => output::json(&json!({ "id": id, "names": args.tags })),
        _ => output::line(&id),
    }
    Ok(ExitCode::SUCCESS)
}

/// Builds and gives the image's id.
pub(crate) async fn build_image(
    engine: &EngineClient,
    args: &BuildArgs,
    progress: &Progress,
) -> anyhow::Result<String> {
    let dockerfile = args.context.join(&args.file);
    if !args.context.is_dir() {
        bail!("build context {} is not a directory", args.context.display());
    }
    if !dockerfile.is_file() {
        bail!("no Dockerfile at {}: name one with --file", dockerfile.display());
    }
    for tag in &args.tags {
        tag.parse::<hako_names::ImageRef>()?;
    }
    let response = engine.send(Method::POST, &path(args), Payload::Tar(context_tar(&args.context))).await?;
    let mut id = None;
    let mut failure = None;
    for_each_json(response.into_body(), |message| {
        show(message, progress);
        id = message["aux"]["ID"].as_str().map(str::to_owned).or(id.take());
        failure = message["error"].as_str().map(str::to_owned).or(failure.take());
        Ok(())
    })
    .await?;
    progress.finish();
    match failure {
        Some(failure) => bail!("build {}: {failure}", args.context.display()),
        None => id.context("the builder gave no image id"),
    }
}

fn path(args: &BuildArgs) -> String {
    let mut path = format!("/build?dockerfile={}&nocache={}", escape(&args.file), u8::from(args.no_cache));
    for tag in &args.tags {
        path.push_str(&format!("&t={}", escape(tag)));
    }
    if let Some(target) = &args.target {
        path.push_str(&format!("&target={}", escape(target)));
    }
    for (name, pairs) in [("buildargs", &args.build_args), ("labels", &args.labels)] {
        if !pairs.is_empty() {
            path.push_str(&format!("&{name}={}", escape(&Value::Object(key_values(pairs)).to_string())));
        }
    }
    path
}

fn show(message: &Value, progress: &Progress) {
    if let Some(text) = message["stream"].as_str() {
        text.lines().filter(|line| !line.trim().is_empty()).for_each(|line| progress.step(line));
    }
}

/// The context as a tar stream. All of it goes: the builder applies .dockerignore with the exact rules.
fn context_tar(context: &Path) -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(4);
    let context = context.to_owned();
    tokio::task::spawn_blocking(move || {
        let mut archive =
            tar::Builder::new(std::io::BufWriter::with_capacity(256 * 1024, Chunks(sender.clone())));
        archive.follow_symlinks(false);
        let result = archive.append_dir_all(".", &context).and_then(|()| archive.into_inner()?.flush());
        if let Err(error) = result {
            // The receiver may be gone: then the builder has answered already.
            let _ = sender.blocking_send(Err(error));
        }
    });
    receiver
}

/// Hands written bytes on to the connection.
struct Chunks(mpsc::Sender<std::io::Result<Bytes>>);

impl Write for Chunks {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))) {
            Ok(()) => Ok(bytes.len()),
            Err(_) => Err(std::io::ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
