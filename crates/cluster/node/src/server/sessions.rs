//! Exec and attach: a WebSocket, or the streams of SPDY, joined to the streams of a process.
//!
//! Back-pressure goes both ways: a client that does not read stops the reading of the program's output, a program
//! that does not read stops the reading from the client. Nothing is buffered beyond one message each way.

use super::Body;
use super::channels::{self, FromClient, Protocol, opened, output};
use super::logs::container;
use super::query::Query;
use super::remote::{self, Opens};
use super::upgrade::{Switched, Wanted};
use crate::context::Context;
use crate::node::Pods;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use hako_container::{AttachOptions, ExecSpec, Input, Output, Resize, Stream as Which};
use hako_error::{Error, Kind, Result};
use hako_names::ContainerId;
use http::{Request, Response};
use hyper::body::Incoming;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

const PING: Duration = Duration::from_secs(20);
const SPDY: &[&str] = &[channels::V4];

/// The streams of a process.
pub(super) struct Streams {
    pub(super) stdin: Option<Input>,
    pub(super) output: Output,
    pub(super) resize: Option<Resize>,
    pub(super) exit: BoxFuture<'static, Result<i32>>,
    pub(super) shown: Shown,
}

/// Which outputs the client wants to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) has_stdout: bool,
    pub(super) has_stderr: bool,
}

impl Streams {
    /// Streams that only tell why there is no process. Told inside the WebSocket: kubectl takes an upgrade that is
    /// refused for a server that wants SPDY, and hides the reason.
    fn failed(error: Error, shown: Shown) -> Self {
        Self {
            stdin: None,
            output: futures::stream::empty().boxed(),
            resize: None,
            exit: async { Err(error) }.boxed(),
            shown,
        }
    }

    /// A program that is missing or cannot be executed ends like in a shell: with a word why, and 127 or 126.
    fn not_executed(error: Error, shown: Shown, is_tty: bool) -> Self {
        let code = match error.kind() {
            Kind::NotFound => 127,
            Kind::Forbidden => 126,
            _ => return Self::failed(error, shown),
        };
        let which = if shown.has_stderr { Which::Stderr } else { Which::Stdout };
        let end = if is_tty { "\r\n" } else { "\n" };
        let text = Bytes::from(format!("exec failed: {}{end}", error.chain()));
        let output = futures::stream::iter([Ok((which, text))]).boxed();
        Self { output, exit: async move { Ok(code) }.boxed(), ..Self::failed(error, shown) }
    }
}

/// Answers `/exec/{namespace}/{pod}/{container}`.
pub(super) async fn exec(
    context: &Context,
    pods: &Pods,
    path: [&str; 3],
    query: &Query,
    request: &mut Request<Incoming>,
) -> Result<Response<Body>> {
    let argv = query.all("command");
    if argv.is_empty() {
        return Err(Error::new(Kind::Invalid, "exec needs a command, give one as ?command=…"));
    }
    let (id, wanted) = target(context, pods, path, request).await?;
    let opens = opens(query);
    let (shown, is_tty) = (opens.shown, opens.is_tty);
    let id = match id {
        Ok(id) => id,
        Err(error) => return Ok(switch(request, wanted, opens, Streams::failed(error, shown))),
    };
    let spec = ExecSpec { argv, tty: is_tty, stdin: opens.has_stdin, ..ExecSpec::default() };
    let streams = match context.config.engine.exec(&id, spec).await {
        Ok(session) => Streams {
            stdin: session.stdin,
            output: session.output,
            resize: session.resize,
            exit: session.exit,
            shown,
        },
        Err(error) => Streams::not_executed(error, shown, is_tty),
    };
    Ok(switch(request, wanted, opens, streams))
}

/// What a client wants of a session. Programs on a terminal have one output only.
fn opens(query: &Query) -> Opens {
    let is_tty = query.is_set(&["tty"]);
    let shown = Shown {
        has_stdout: query.is_set(&["output", "stdout"]),
        has_stderr: query.is_set(&["error", "stderr"]) && !is_tty,
    };
    Opens { has_stdin: query.is_set(&["input", "stdin"]), shown, is_tty }
}

/// The container a session is for, and what the upgrade is answered with. A missing container is told after the
/// upgrade to a WebSocket, and before it to clients that see the reason there.
async fn target(
    context: &Context,
    pods: &Pods,
    path: [&str; 3],
    request: &Request<Incoming>,
) -> Result<(Result<ContainerId>, Wanted)> {
    let id = container(context, pods, path, false).await;
    match (Wanted::of(request.headers(), channels::ALL, SPDY), id) {
        (Ok(wanted @ Wanted::WebSocket { .. }), id) => Ok((id, wanted)),
        (_, Err(error)) | (Err(error), _) => Err(error),
        (Ok(wanted), id) => Ok((id, wanted)),
    }
}

/// Answers `/attach/{namespace}/{pod}/{container}`.
pub(super) async fn attach(
    context: &Context,
    pods: &Pods,
    path: [&str; 3],
    query: &Query,
    request: &mut Request<Incoming>,
) -> Result<Response<Body>> {
    let (id, wanted) = target(context, pods, path, request).await?;
    let opens = opens(query);
    let shown = opens.shown;
    let streams = match id {
        Ok(id) => attached(context, id, opens.has_stdin, shown).await,
        Err(error) => Err(error),
    };
    let streams = streams.unwrap_or_else(|error| Streams::failed(error, shown));
    Ok(switch(request, wanted, opens, streams))
}

async fn attached(context: &Context, id: ContainerId, stdin: bool, shown: Shown) -> Result<Streams> {
    let options = AttachOptions { stdin, stdout: shown.has_stdout, stderr: shown.has_stderr };
    let engine = std::sync::Arc::clone(&context.config.engine);
    let session = engine.attach(&id, options).await?;
    let resize: Option<Resize> = session.tty.then(|| {
        let resize: Resize = Box::new(move |size| {
            let (engine, id) = (std::sync::Arc::clone(&engine), id.clone());
            tokio::spawn(async move { engine.resize(&id, size).await });
            Ok(())
        });
        resize
    });
    Ok(Streams {
        stdin: session.stdin,
        output: session.output,
        resize,
        exit: async { Ok(0) }.boxed(),
        shown: Shown { has_stderr: shown.has_stderr && !session.tty, ..shown },
    })
}

fn switch(request: &mut Request<Incoming>, wanted: Wanted, opens: Opens, streams: Streams) -> Response<Body> {
    wanted.switch(request, move |switched| async move {
        match switched {
            Switched::WebSocket { protocol, socket } => {
                join(*socket, Protocol::named(protocol), streams).await
            }
            Switched::Spdy(session) => remote::join(session, opens, streams).await,
        }
    })
}

/// Joins socket and process until the process has ended or the client is gone.
async fn join<S>(socket: S, protocol: Protocol, streams: Streams)
where
    S: Stream<Item = Result<Message, WsError>> + Sink<Message, Error = WsError> + Send,
{
    let (mut to_client, from_client) = socket.split();
    let Streams { stdin, output, resize, exit, shown } = streams;
    let first = protocol.write(opened(shown.has_stdout, shown.has_stderr));
    if to_client.send(first).await.is_err() {
        return;
    }
    let reading = read_client(from_client, protocol, stdin, resize);
    tokio::pin!(reading);
    let is_client_gone = tokio::select! {
        () = &mut reading => true,
        result = write_client(&mut to_client, protocol, output, shown) => result.is_err(),
    };
    if is_client_gone {
        return;
    }
    let code = tokio::select! {
        code = exit => code,
        () = &mut reading => return,
    };
    if let Some(ended) = protocol.ended(code) {
        let _ = to_client.send(protocol.write(ended)).await;
    }
    // kubectl takes any other code, and none, for a broken connection.
    let normal = CloseFrame { code: CloseCode::Normal, reason: "".into() };
    let _ = to_client.send(Message::Close(Some(normal))).await;
    // The client closes in turn; what it still sends is of no use.
    let _ = tokio::time::timeout(Duration::from_secs(2), reading).await;
}

/// Returns when the client is gone.
async fn read_client(
    mut from_client: impl Stream<Item = Result<Message, WsError>> + Unpin,
    protocol: Protocol,
    mut stdin: Option<Input>,
    resize: Option<Resize>,
) {
    while let Some(Ok(message)) = from_client.next().await {
        if message.is_close() {
            return;
        }
        match protocol.take(message).and_then(|bytes| protocol.read(&bytes)) {
            Some(FromClient::Stdin(bytes)) => {
                let Some(writer) = &mut stdin else { continue };
                let written = async {
                    writer.write_all(&bytes).await?;
                    writer.flush().await
                };
                // A program that closed its input goes on without it.
                if written.await.is_err() {
                    stdin = None;
                }
            }
            Some(FromClient::CloseStdin) => stdin = None,
            Some(FromClient::Resize(size)) => {
                if let Some(resize) = &resize
                    && let Err(error) = resize(size)
                {
                    tracing::debug!(error = %error.chain(), "terminal not resized");
                }
            }
            None => {}
        }
    }
}

/// Copies output until it ends; an error means that the client is gone.
async fn write_client(
    to_client: &mut (impl Sink<Message, Error = WsError> + Unpin),
    protocol: Protocol,
    mut from_process: Output,
    shown: Shown,
) -> Result<(), WsError> {
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    loop {
        let piece = tokio::select! {
            piece = from_process.next() => piece,
            _ = ping.tick() => {
                to_client.send(Message::Ping(Bytes::new())).await?;
                continue;
            }
        };
        match piece {
            Some(Ok((which, bytes))) => {
                let is_wanted = match which {
                    Which::Stdout => shown.has_stdout,
                    Which::Stderr => shown.has_stderr,
                };
                if is_wanted && !bytes.is_empty() {
                    to_client.send(protocol.write(output(which, &bytes))).await?;
                }
            }
            Some(Err(error)) => {
                tracing::debug!(error = %error.chain(), "output of exec broke off");
                return Ok(());
            }
            None => return Ok(()),
        }
    }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
