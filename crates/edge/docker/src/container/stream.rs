//! A container's streams: attach, resize, logs.

use crate::DockerState;
use crate::error::{Answer, Failure, invalid};
use crate::exec::size;
use crate::frame;
use crate::params::Params;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use hako_container::{AttachOptions, Container, ContainerEngine, LogLine, LogOptions, Output};
use hako_error::{Error, Kind};
use http::header;
use hyper::upgrade::OnUpgrade;
use std::future;

pub(crate) async fn attach(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
    mut request: Request,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let container = state.engine.container(&id).await?;
    let connection =
        request.extensions_mut().remove::<OnUpgrade>().filter(|_| frame::wants_upgrade(request.headers()));
    let tty = container.spec.tty;
    let (stdin, output) = match params.flag("stream") {
        true => {
            let options = AttachOptions {
                stdin: params.flag("stdin"),
                stdout: params.flag("stdout"),
                stderr: params.flag("stderr"),
            };
            if options.stdin && connection.is_none() {
                return Err(invalid(
                    "standard input needs a connection upgrade: send Connection: Upgrade and Upgrade: tcp",
                ));
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
            tokio::spawn(frame::pump(connection, tty, stdin, output));
            frame::upgraded(tty)
        }
        None => Ok(frame::streamed(tty, output)),
    }
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
    state.engine.resize(&id, size(&params)?).await?;
    Ok(Response::new(Body::empty()))
}

pub(crate) async fn logs(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let container = state.engine.container(&id).await?;
    let options = LogOptions {
        follow: params.flag("follow"),
        since: params.time("since")?,
        until: params.time("until")?,
        tail: match params.get("tail") {
            None | Some("all") => None,
            Some(text) => text.parse().ok(),
        },
        limit_bytes: None,
        stdout: params.flag("stdout"),
        stderr: params.flag("stderr"),
    };
    if !(options.stdout || options.stderr) {
        return Err(invalid("Bad parameters: you must choose at least one stream"));
    }
    let (tty, timestamps) = (container.spec.tty, params.flag("timestamps"));
    let mut continues = false;
    let lines = state.engine.logs(&id, options).await?;
    let pieces = lines.map(move |line| {
        line.map(|line| {
            let stamp = timestamps && !std::mem::replace(&mut continues, line.partial);
            frame::wire(tty, line.stream, text(&line, stamp))
        })
    });
    // A container that is removed while its log is followed ends the answer, not the connection.
    let pieces = pieces.take_while(|piece| future::ready(!matches!(piece, Err(error) if is_gone(error))));
    Ok(([(header::CONTENT_TYPE, frame::content_type(tty))], Body::from_stream(pieces)).into_response())
}

fn is_gone(error: &Error) -> bool {
    error.kind() == Kind::NotFound
}

fn text(line: &LogLine, stamp: bool) -> Bytes {
    if !stamp {
        return line.bytes.clone();
    }
    let mut text = BytesMut::with_capacity(40 + line.bytes.len());
    text.put_slice(format!("{:.9} ", line.time).as_bytes());
    text.put_slice(&line.bytes);
    text.freeze()
}
