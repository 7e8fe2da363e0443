//! `POST /hako/build`: builds with all that the builder can, for our own command line.
//!
//! ```text
//! in:   the request as JSON on one line, then the context's tar if the request names no context
//! out:  one JSON object a line: {"event": …}, at the end {"built": …} or {"error": …}
//! ```
//! The request has paths of this machine: who reaches the engine's socket is root here anyway.

use crate::DockerState;
use crate::build::{AbortOnDrop, Context};
use crate::error::{Answer, blocking, invalid};
use crate::image::body_reader;
use crate::relay::{CLIPPED, Line, ON_THE_WAY, relay};
use ::hako_build::{BuildEvent, BuildRequest, Built, is_compressed};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::stream;
use hako_error::{Error, Kind, Result};
use hako_image::transfer::Stop;
use hako_names::ImageRef;
use http::header;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use tokio::sync::mpsc;

/// The longest request, with its secrets and its Dockerfile.
const REQUEST_LIMIT: u64 = 64 << 20;
/// A Dockerfile on standard input is no longer than this.
const DOCKERFILE_LIMIT: u64 = 4 << 20;

pub(crate) async fn build(State(state): State<DockerState>, request: Request) -> Answer {
    let parent = crate::build::contexts(&state.images);
    let body = body_reader(request.into_body());
    let stop = Stop::default();
    let _on_drop = stop.on_drop();
    let (wanted, context) = blocking(move || read(BufReader::new(body), parent, &stop)).await?;
    if wanted.context.as_os_str().is_empty() && wanted.remote.is_none() && wanted.dockerfile_text.is_none() {
        return Err(invalid("standard input was empty: it has to be a Dockerfile or the tar of a context"));
    }
    let (sender, receiver) = mpsc::channel::<String>(ON_THE_WAY);
    let running = tokio::spawn(run(state, wanted, context, sender));
    let guard = AbortOnDrop(running.abort_handle());
    let lines = stream::unfold((receiver, guard), |(mut receiver, guard)| async move {
        let line = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(format!("{line}\n"))), (receiver, guard)))
    });
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

/// The request, and the context where it came along.
fn read(
    mut body: impl BufRead + 'static,
    parent: PathBuf,
    stop: &Stop,
) -> Result<(BuildRequest, Option<Context>)> {
    let failed = |source| Error::new(Kind::Invalid, "the build request cannot be read").with_source(source);
    let mut line = String::new();
    body.by_ref().take(REQUEST_LIMIT).read_line(&mut line).map_err(failed)?;
    let mut wanted: BuildRequest = serde_json::from_str(&line)
        .map_err(|source| Error::new(Kind::Invalid, "the build request is malformed").with_source(source))?;
    let mut rest = BufReader::with_capacity(1 << 16, body);
    let head = rest.fill_buf().map_err(failed)?;
    if head.is_empty() {
        return Ok((wanted, None));
    }
    // A tar in some form has bytes that no text has in its first block.
    let is_text = !is_compressed(head) && !head[..head.len().min(512)].contains(&0);
    if is_text {
        let mut text = Vec::new();
        rest.take(DOCKERFILE_LIMIT + 1).read_to_end(&mut text).map_err(failed)?;
        if text.len() as u64 > DOCKERFILE_LIMIT {
            return Err(Error::new(Kind::Invalid, "the Dockerfile on standard input is larger than 4 MiB"));
        }
        wanted.dockerfile_text = Some(String::from_utf8_lossy(&text).into_owned());
        return Ok((wanted, None));
    }
    let context = Context::unpack(&parent, rest, stop)?;
    wanted.context = context.path().to_owned();
    Ok((wanted, Some(context)))
}

async fn run(
    state: DockerState,
    wanted: BuildRequest,
    context: Option<Context>,
    sender: mpsc::Sender<String>,
) {
    let (progress, events) = mpsc::unbounded_channel();
    let line = |event: BuildEvent| {
        let told = told(&event);
        Some(if matches!(event, BuildEvent::Output { .. }) { Line::Output(told) } else { Line::Told(told) })
    };
    let warning = || BuildEvent::Warning { line: 0, message: CLIPPED.trim_end().to_owned() };
    let show = relay(events, sender.clone(), line, || told(&warning()));
    let names = wanted.tags.clone();
    let (built, ()) = tokio::join!(state.builder.build(wanted, progress), show);
    drop(context);
    if let Ok(Built { image: Some(image), .. }) = &built {
        state.events.built(image, &names);
    }
    let last = match built {
        Ok(built) => json!({ "built": outcome(&built, &names) }),
        Err(error) => json!({ "error": error.chain() }),
    };
    // Nobody may be left to tell.
    let _ = sender.send(last.to_string()).await;
}

/// An event as a line. By way of a JSON value, each byte of output would cost 32.
fn told(event: &BuildEvent) -> String {
    #[derive(serde::Serialize)]
    struct Told<'a> {
        event: &'a BuildEvent,
    }
    serde_json::to_string(&Told { event }).unwrap_or_default()
}

/// The names are those that this build gave; the image may have more.
fn outcome(built: &Built, names: &[ImageRef]) -> Value {
    if let Some(report) = &built.report {
        return json!({ "report": report.to_string(), "findings": report.findings });
    }
    let Some(image) = &built.image else {
        return json!({ "materials": built.materials });
    };
    let mut outcome = json!({
        "id": built.id(),
        "names": names,
        "containerimage.digest": built.pushed.or(image.index).unwrap_or(image.manifest_digest),
        "image.name": names.iter().map(ToString::to_string).collect::<Vec<_>>().join(","),
        "platforms": built.platforms,
        "materials": built.materials,
    });
    if built.platforms.len() < 2 {
        outcome["containerimage.config.digest"] = json!(image.id);
    }
    outcome
}
