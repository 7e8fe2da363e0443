//! Exec and attach: a WebSocket joined to the streams of a process.
//!
//! Back-pressure goes both ways: a client that does not read stops the reading of the program's output, a program
//! that does not read stops the reading from the client. Nothing is buffered beyond one message each way.

use super::channels::{FromClient, Protocol, ended, opened, output};
use super::logs::container;
use super::query::Query;
use super::{Body, text};
use crate::context::Context;
use crate::node::Pods;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use hako_container::{AttachOptions, ExecSpec, Input, Output, Resize, Stream as Which};
use hako_error::{Error, Kind, Result};
use hako_names::ContainerId;
use http::{HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{MissedTickBehavior, interval};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role};
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

const PING: Duration = Duration::from_secs(20);

/// The streams of a process.
struct Streams {
    stdin: Option<Input>,
    output: Output,
    resize: Option<Resize>,
    exit: BoxFuture<'static, Result<i32>>,
    shown: Shown,
}

/// Which outputs the client wants to see.
#[derive(Clone, Copy, Debug)]
struct Shown {
    has_stdout: bool,
    has_stderr: bool,
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
    let (id, protocol, accept) = target(context, pods, path, request).await?;
    let is_tty = query.is_set(&["tty"]);
    let shown = Shown {
        has_stdout: query.is_set(&["output", "stdout"]),
        has_stderr: query.is_set(&["error", "stderr"]) && !is_tty,
    };
    let id = match id {
        Ok(id) => id,
        Err(error) => return Ok(upgrade(request, protocol, &accept, Streams::failed(error, shown))),
    };
    let wanted =
        ExecSpec { argv, tty: is_tty, stdin: query.is_set(&["input", "stdin"]), ..ExecSpec::default() };
    let streams = match context.config.engine.exec(&id, wanted).await {
        Ok(session) => Streams {
            stdin: session.stdin,
            output: session.output,
            resize: session.resize,
            exit: session.exit,
            shown,
        },
        Err(error) => Streams::not_executed(error, shown, is_tty),
    };
    Ok(upgrade(request, protocol, &accept, streams))
}

/// The container a session is for, and what the upgrade is answered with. A missing container is told after the
/// upgrade, and before it only to clients whose handshake is no good as well.
async fn target(
    context: &Context,
    pods: &Pods,
    path: [&str; 3],
    request: &Request<Incoming>,
) -> Result<(Result<ContainerId>, Protocol, String)> {
    let id = container(context, pods, path, false).await;
    match handshake(request) {
        Ok((protocol, accept)) => Ok((id, protocol, accept)),
        Err(refused) => Err(id.err().unwrap_or(refused)),
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
    let (id, protocol, accept) = target(context, pods, path, request).await?;
    let shown = Shown {
        has_stdout: query.is_set(&["output", "stdout"]),
        has_stderr: query.is_set(&["error", "stderr"]),
    };
    let streams = match id {
        Ok(id) => attached(context, id, query.is_set(&["input", "stdin"]), shown).await,
        Err(error) => Err(error),
    };
    let streams = streams.unwrap_or_else(|error| Streams::failed(error, shown));
    Ok(upgrade(request, protocol, &accept, streams))
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

/// Checks the client's half of RFC 6455 and answers with the protocol and `Sec-WebSocket-Accept`.
fn handshake(request: &Request<Incoming>) -> Result<(Protocol, String)> {
    let headers = request.headers();
    let text_of = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or("");
    let invalid = |text: &str| Err(Error::new(Kind::Invalid, text));
    if !text_of(header::UPGRADE).eq_ignore_ascii_case("websocket") {
        let text = "only WebSocket is supported for exec and attach, SPDY is not; use kubectl 1.31 or later";
        return Err(Error::new(Kind::Unimplemented, text));
    }
    let key = text_of(header::SEC_WEBSOCKET_KEY);
    if key.is_empty() || text_of(header::SEC_WEBSOCKET_VERSION) != "13" {
        return invalid("not a WebSocket handshake of version 13");
    }
    let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    match Protocol::choose(offered.filter_map(|value| value.to_str().ok())) {
        Some(protocol) => Ok((protocol, derive_accept_key(key.as_bytes()))),
        None => invalid("no known subprotocol offered, expected v5.channel.k8s.io or v4.channel.k8s.io"),
    }
}

fn upgrade(
    request: &mut Request<Incoming>,
    protocol: Protocol,
    accept: &str,
    streams: Streams,
) -> Response<Body> {
    let upgraded = hyper::upgrade::on(request);
    tokio::spawn(async move {
        match upgraded.await {
            Ok(upgraded) => {
                let socket =
                    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, None).await;
                join(socket, protocol, streams).await;
            }
            Err(error) => tracing::debug!(%error, "exec was not upgraded"),
        }
    });
    let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol.name()));
    if let Ok(accept) = HeaderValue::from_str(accept) {
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    }
    response
}

/// Joins socket and process until the process has ended or the client is gone.
async fn join<S>(socket: S, protocol: Protocol, streams: Streams)
where
    S: Stream<Item = Result<Message, WsError>> + Sink<Message, Error = WsError> + Send,
{
    let (mut to_client, from_client) = socket.split();
    let Streams { stdin, output, resize, exit, shown } = streams;
    let first = Message::Binary(opened(shown.has_stdout, shown.has_stderr));
    if to_client.send(first).await.is_err() {
        return;
    }
    let reading = read_client(from_client, protocol, stdin, resize);
    tokio::pin!(reading);
    let is_client_gone = tokio::select! {
        () = &mut reading => true,
        result = write_client(&mut to_client, output, shown) => result.is_err(),
    };
    if is_client_gone {
        return;
    }
    let code = tokio::select! {
        code = exit => code,
        () = &mut reading => return,
    };
    let _ = to_client.send(Message::Binary(ended(code))).await;
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
        let bytes = match message {
            Message::Binary(bytes) => bytes,
            Message::Close(_) => return,
            _ => continue,
        };
        match protocol.read(&bytes) {
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
                    to_client.send(Message::Binary(output(which, &bytes))).await?;
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
