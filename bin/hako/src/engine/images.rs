//! `hako images` and `hako image …`.

use super::client::{EngineClient, Payload, escape};
use super::system;
use crate::cli::{HistoryArgs, ImageCommand, InspectArgs, OutputFormat, RmiArgs, TagArgs};
use crate::locate::Target;
use crate::output;
use anyhow::{Context, bail};
use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::Method;
use hyper::body::Incoming;
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::process::ExitCode;
use tokio::sync::mpsc;

pub(crate) async fn images(target: &Target, format: OutputFormat) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let list = engine.json(Method::GET, "/images/json", Payload::Empty).await?;
    if format == OutputFormat::Json {
        output::json(&list);
        return Ok(ExitCode::SUCCESS);
    }
    let mut rows = Vec::new();
    for image in list.as_array().context("the engine gave no list")? {
        let id = image["Id"]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches("sha256:")
            .chars()
            .take(12)
            .collect::<String>();
        let names = image["RepoTags"].as_array().map(Vec::as_slice).unwrap_or_default();
        let size = human_size(image["Size"].as_u64().unwrap_or(0));
        let created = image["Created"].as_i64().map(age).unwrap_or_default();
        for name in names.iter().filter_map(Value::as_str) {
            rows.push(vec![name.to_owned(), id.clone(), created.clone(), size.clone()]);
        }
        if names.is_empty() {
            rows.push(vec!["<none>".to_owned(), id, created, size]);
        }
    }
    if format == OutputFormat::Name {
        rows.iter().for_each(|row| output::line(&row[0]));
    } else {
        output::table(&["NAME", "ID", "CREATED", "SIZE"], &rows);
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn human_size(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    #[expect(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut size = bytes as f64;
    let mut unit = 0;
    while size >= 1000.0 && unit + 1 < units.len() {
        (size, unit) = (size / 1000.0, unit + 1);
    }
    if unit == 0 {
        format!("{bytes}B")
    } else {
        format!("{size:.3}",).chars().take(4).collect::<String>().trim_end_matches('.').to_owned()
            + units[unit]
    }
}

/// How long ago that was, as docker says it; 0 stands for an image that does not say.
fn age(created: i64) -> String {
    if created <= 0 {
        return "N/A".to_owned();
    }
    let now =
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let seconds = now.saturating_sub(u64::try_from(created).unwrap_or(0));
    match seconds {
        0..120 => format!("{seconds} seconds ago"),
        120..7_200 => format!("{} minutes ago", seconds / 60),
        7_200..172_800 => format!("{} hours ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

pub(crate) async fn image(
    target: &Target,
    command: ImageCommand,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    match command {
        ImageCommand::Ls => return images(target, format).await,
        ImageCommand::Import { rootfs, name } => {
            let id = if rootfs == Path::new("-") {
                import(&engine, std::io::stdin(), &name).await
            } else {
                let file =
                    std::fs::File::open(&rootfs).with_context(|| format!("open {}", rootfs.display()))?;
                import(&engine, file, &name).await
            };
            output::line(&id.with_context(|| format!("import {}", rootfs.display()))?);
        }
        ImageCommand::ImportBusybox { name, from } => {
            output::line(&import_busybox(&engine, &from, &name).await?)
        }
        ImageCommand::Export { name, archive } => super::archive::export(&engine, &name, &archive).await?,
        ImageCommand::Inspect { name } => {
            output::json(
                &engine.json(Method::GET, &format!("/images/{}/json", escape(&name)), Payload::Empty).await?,
            );
        }
        ImageCommand::History(args) => return history(target, &args, format).await,
        ImageCommand::Pull(args) => return super::pull(target, &args, format).await,
        ImageCommand::Push(args) => return super::push(target, &args, format).await,
        ImageCommand::Save(args) => return super::save(target, &args).await,
        ImageCommand::Load(args) => return super::load(target, &args, format).await,
        ImageCommand::Tag(args) => return tag(target, &args).await,
        ImageCommand::Rm(args) => return rmi(target, &args).await,
        ImageCommand::Prune(args) => {
            let what =
                if args.all { "all images that no container has" } else { "all images without a name" };
            system::confirm(what, args.force)?;
            let answer = engine.json(Method::POST, &system::image_route(args.all), Payload::Empty).await?;
            system::report(&[answer], format);
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn tag(target: &Target, args: &TagArgs) -> anyhow::Result<ExitCode> {
    args.target.parse::<hako_names::ImageRef>()?;
    let engine = EngineClient::new(target.engine_socket()?);
    let (repository, tag) = split_tag(&args.target);
    let path =
        format!("/images/{}/tag?repo={}&tag={}", escape(&args.source), escape(repository), escape(tag));
    engine.send(Method::POST, &path, Payload::Empty).await?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn history(
    target: &Target,
    args: &HistoryArgs,
    format: OutputFormat,
) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let path = format!("/images/{}/history", escape(&args.name));
    let list = engine.json(Method::GET, &path, Payload::Empty).await?;
    if format == OutputFormat::Json {
        output::json(&list);
        return Ok(ExitCode::SUCCESS);
    }
    let text = |value: &Value| value.as_str().unwrap_or_default().replace(['\n', '\t'], " ");
    let width = if format == OutputFormat::Wide { usize::MAX } else { 60 };
    let row = |step: &Value| {
        let created = step["Created"].as_i64().filter(|created| *created > 0).map(age).unwrap_or_default();
        let by = [text(&step["CreatedBy"]), text(&step["Comment"])].join(" ");
        let by: String = by.trim().chars().take(width).collect();
        vec![created, human_size(step["Size"].as_u64().unwrap_or(0)), by]
    };
    let rows: Vec<Vec<String>> =
        list.as_array().context("the engine gave no list")?.iter().map(row).collect();
    output::table(&["CREATED", "SIZE", "STEP"], &rows);
    Ok(ExitCode::SUCCESS)
}

pub(crate) async fn rmi(target: &Target, args: &RmiArgs) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let mut code = ExitCode::SUCCESS;
    for name in &args.names {
        let path = format!("/images/{}?force={}", escape(name), u8::from(args.force));
        match engine.json(Method::DELETE, &path, Payload::Empty).await {
            Ok(_) => output::line(name),
            // The engine names the image itself.
            Err(error) => code = crate::exit::report(&error),
        }
    }
    Ok(code)
}

/// Makes the busybox base image from a static busybox; gives the image's id.
pub(crate) async fn import_busybox(engine: &EngineClient, from: &Path, name: &str) -> anyhow::Result<String> {
    let tar = hako_image::busybox_rootfs(from).map_err(anyhow::Error::new).with_context(|| {
        format!(
            "make a root filesystem of {}: install the package busybox-static or name one with --from",
            from.display()
        )
    })?;
    import(engine, std::io::Cursor::new(tar), name).await
}

async fn import(
    engine: &EngineClient,
    rootfs: impl Read + Send + 'static,
    name: &str,
) -> anyhow::Result<String> {
    name.parse::<hako_names::ImageRef>()?;
    let (repository, tag) = split_tag(name);
    let path = format!("/images/create?fromSrc=-&repo={}&tag={}", escape(repository), escape(tag));
    let response = engine.send(Method::POST, &path, Payload::Tar(chunks(rootfs))).await?;
    let mut id = None;
    for_each_json(response.into_body(), |message| {
        if let Some(error) = message["error"].as_str() {
            bail!("import {name}: {error}");
        }
        id = message["status"].as_str().map(str::to_owned).or(id.take());
        Ok(())
    })
    .await?;
    id.context("the engine gave no id")
}

/// `repository:tag` apart; the colon of a port is not a tag's.
fn split_tag(name: &str) -> (&str, &str) {
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => (repository, tag),
        _ => (name, "latest"),
    }
}

/// Reads in a thread of its own, a few pieces ahead of the connection.
pub(super) fn chunks(mut reader: impl Read + Send + 'static) -> mpsc::Receiver<std::io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(4);
    tokio::task::spawn_blocking(move || {
        let mut buffer = vec![0; 256 * 1024];
        loop {
            let next = match reader.read(&mut buffer) {
                Ok(0) => return,
                Ok(read) => Ok(Bytes::copy_from_slice(&buffer[..read])),
                Err(error) => Err(error),
            };
            let failed = next.is_err();
            if sender.blocking_send(next).is_err() || failed {
                return;
            }
        }
    });
    receiver
}

/// `hako inspect`: all that is known of containers and images, an array as docker's.
pub(crate) async fn inspect(target: &Target, args: &InspectArgs) -> anyhow::Result<ExitCode> {
    let engine = EngineClient::new(target.engine_socket()?);
    let mut found = Vec::new();
    for name in &args.names {
        let route = |kind: &str| format!("/{kind}/{}/json", escape(name));
        let mut one = engine.json(Method::GET, &route("containers"), Payload::Empty).await;
        if one.as_ref().is_err_and(is_missing) {
            one = engine.json(Method::GET, &route("images"), Payload::Empty).await;
        }
        match one {
            Err(error) if is_missing(&error) => anyhow::bail!("no container and no image is called {name:?}"),
            one => found.push(one?),
        }
    }
    output::json(&Value::Array(found));
    Ok(ExitCode::SUCCESS)
}

/// Whether the engine said, in Docker's words, that it has nothing of that name.
fn is_missing(error: &anyhow::Error) -> bool {
    error.to_string().to_lowercase().starts_with("no such")
}

/// Calls `each` with every JSON message of a progress stream.
pub(super) async fn for_each_json(
    mut body: Incoming,
    mut each: impl FnMut(&Value) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let mut pending = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.context(
            "the platform ended before this was done: start it with `hako up`, then run the command again",
        )?;
        pending.extend_from_slice(frame.data_ref().map(|data| &data[..]).unwrap_or_default());
        let mut messages = serde_json::Deserializer::from_slice(&pending).into_iter::<Value>();
        let mut consumed = 0;
        while let Some(message) = messages.next() {
            match message {
                Ok(message) => each(&message)?,
                Err(error) if error.is_eof() => break,
                Err(error) => return Err(error).context("the engine's progress is damaged"),
            }
            consumed = messages.byte_offset();
        }
        pending.drain(..consumed);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_three_digits() {
        let sizes = [0, 999, 1_000, 12_345, 1_234_567, 123_456_789].map(human_size);
        assert_eq!(sizes, ["0B", "999B", "1.00kB", "12.3kB", "1.23MB", "123MB"]);
    }

    #[test]
    fn an_image_that_does_not_say_when_it_was_made_has_no_age() {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        let ages = [0, i64::try_from(now).unwrap() - 3 * 86_400 - 5].map(age);
        assert_eq!(ages, ["N/A", "3 days ago"]);
    }

    #[test]
    fn a_port_is_no_tag() {
        assert_eq!(split_tag("h:5000/a"), ("h:5000/a", "latest"));
        assert_eq!(split_tag("h:5000/a:b"), ("h:5000/a", "b"));
    }
}
