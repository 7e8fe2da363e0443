//! A container's streams: attach, resize, logs.

use crate::DockerState;
use crate::api::ApiVersion;
use crate::clean::escaped;
use crate::client::{self, Hijack};
use crate::detach::Keys;
use crate::error::{Answer, Failure, invalid};
use crate::events::note;
use crate::exec::size;
use crate::frame::Talk;
use crate::params::Params;
use crate::{frame, websocket};
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use hako_container::{AttachOptions, Container, ContainerEngine, LogLine, LogOptions, Output};
use hako_error::{Error, Kind};
use http::header;
use std::future;

pub(crate) async fn attach(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
    version: ApiVersion,
    mut request: Request,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let container = state.engine.container(&id).await?;
    let connection = Hijack::asked(&state, &mut request)?;
    let tty = container.spec.tty;
    let keys = Keys::parse(params.get("detachKeys"))?;
    let (stdin, output) = match params.flag("stream") {
        true => {
            let options = AttachOptions {
                stdin: params.flag("stdin"),
                stdout: params.flag("stdout"),
                stderr: params.flag("stderr"),
            };
            if options.stdin && connection.is_none() && !frame::has_body(request.headers()) {
                return Err(frame::needs_upgrade());
            }
            let session = state.engine.attach(&id, options).await?;
            (session.stdin, session.output)
        }
        false => (None, futures::stream::empty().boxed()),
    };
    let output = match params.flag("logs") {
        true => past(&state, &container, &params).await?.chain(output).boxed(),
        false => output,
    };
    match connection {
        Some(connection) => {
            let talk = Talk { tty, stdin, output, keys };
            tokio::spawn(async move {
                if frame::pump(connection, talk).await.is_some() {
                    note(&state, &id, "detach").await;
                }
            });
            frame::upgraded(tty, version)
        }
        None => {
            tokio::spawn(frame::pump_body(request.into_body(), stdin));
            Ok(frame::streamed(tty, version, output))
        }
    }
}

/// The same over a WebSocket: binary messages of the raw streams, both ways.
pub(crate) async fn attach_ws(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
    mut request: Request,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let container = state.engine.container(&id).await?;
    let keys = Keys::parse(params.get("detachKeys"))?;
    let (connection, answer) = websocket::accept(&mut request)?;
    let place = client::place(&state)?;
    let options = AttachOptions {
        stdin: params.flag("stdin"),
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
    };
    let (stdin, output) = match params.flag("stream") {
        true => {
            let session = state.engine.attach(&id, options).await?;
            (session.stdin, session.output)
        }
        false => (None, futures::stream::empty().boxed()),
    };
    let output = match params.flag("logs") {
        true => past(&state, &container, &params).await?.chain(output).boxed(),
        false => output,
    };
    let talk = Talk { tty: container.spec.tty, stdin, output, keys };
    tokio::spawn(async move {
        if websocket::pump(connection, talk).await {
            note(&state, &id, "detach").await;
        }
        drop(place);
    });
    Ok(answer)
}

/// What was written before now.
async fn past(state: &DockerState, container: &Container, params: &Params) -> Result<Output, Failure> {
    let options =
        LogOptions { stdout: params.flag("stdout"), stderr: params.flag("stderr"), ..LogOptions::default() };
    let lines = state.engine.logs(&container.id, options).await?;
    Ok(lines.map(|line| line.map(|line| (line.stream, line.bytes))).boxed())
}

pub(crate) async fn resize(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let size = size(&params)?;
    let container = state.engine.container(&id).await?;
    // Docker says that it is done also where there is no terminal.
    if container.spec.tty || !container.state.is_running() {
        state.engine.resize(&id, size).await?;
    }
    if let Ok(container) = state.engine.container(&id).await {
        let (height, width) = (size.rows.to_string(), size.columns.to_string());
        state.events.container_with("resize", &container, &[("height", &height), ("width", &width)]);
    }
    Ok(Response::new(Body::empty()))
}

pub(crate) async fn logs(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
    version: ApiVersion,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let container = state.engine.container(&id).await?;
    let options = LogOptions {
        follow: params.flag("follow"),
        since: params.time("since")?,
        until: params.time("until")?,
        // What is no number means all, as Docker has it.
        tail: params.get("tail").and_then(|text| text.parse().ok()),
        limit_bytes: None,
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
    };
    if !(options.stdout || options.stderr) {
        return Err(invalid("Bad parameters: you must choose at least one stream"));
    }
    let (tty, timestamps) = (container.spec.tty, params.flag("timestamps"));
    let details = params.flag("details").then(|| details(&container)).transpose()?;
    let mut continues = false;
    let lines = state.engine.logs(&id, options).await?;
    let pieces = lines.map(move |line| {
        line.map(|line| {
            let is_start = !std::mem::replace(&mut continues, line.partial);
            let details = details.as_deref().filter(|_| is_start);
            frame::wire(tty, line.stream, text(&line, timestamps && is_start, details))
        })
    });
    // A container that is removed while its log is followed ends the answer, not the connection.
    let pieces = pieces.take_while(|piece| future::ready(!matches!(piece, Err(error) if is_gone(error))));
    Ok(([(header::CONTENT_TYPE, frame::content_type(tty, version))], Body::from_stream(pieces))
        .into_response())
}

fn is_gone(error: &Error) -> bool {
    error.kind() == Kind::NotFound
}

/// What the log's options ask to be told with each line: `key=value,…`, as in a query.
fn details(container: &Container) -> Result<String, Error> {
    let attributes = hako_container::log_attributes(container)?;
    let pairs: Vec<String> =
        attributes.iter().map(|(key, value)| format!("{}={}", escaped(key), escaped(value))).collect();
    Ok(pairs.join(","))
}

fn text(line: &LogLine, stamp: bool, details: Option<&str>) -> Bytes {
    if !stamp && details.is_none() {
        return line.bytes.clone();
    }
    let mut text = BytesMut::with_capacity(40 + line.bytes.len());
    if stamp {
        text.put_slice(format!("{:.9} ", line.time).as_bytes());
    }
    if let Some(details) = details {
        text.put_slice(details.as_bytes());
        text.put_u8(b' ');
    }
    text.put_slice(&line.bytes);
    text.freeze()
}
