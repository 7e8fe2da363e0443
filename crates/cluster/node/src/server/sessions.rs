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
use futures::future::BoxFuture;
use futures::{FutureExt, Sink, SinkExt, Stream, StreamExt};
use hako_container::{AttachOptions, ExecSpec, Input, Output, Resize};
use hako_error::{Error, Kind, Result};
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
    has_stdout: bool,
    has_stderr: bool,
}

/// Answers `/exec/{namespace}/{pod}/{container}`.
pub(super) async fn exec(
    context: &Context,
    pods: &Pods,
    path: [&str; 3],
    query: &Query,
    request: &mut Request<Incoming>,
) -> Result<Response<Body>> {
    let (protocol, accept) = handshake(request)?;
    let argv = query.all("command");
    if argv.is_empty() {
        return Err(Error::new(Kind::Invalid, "exec needs a command, give one as ?command=…"));
    }
    let id = container(context, pods, path, false).await?;
    let is_tty = query.is_set(&["tty"]);
    let wanted =
        ExecSpec { argv, tty: is_tty, stdin: query.is_set(&["input", "stdin"]), ..ExecSpec::default() };
    let session = context.config.engine.exec(&id, wanted).await?;
    let streams = Streams {
        stdin: session.stdin,
        output: session.output,
        resize: session.resize,
        exit: session.exit,
        has_stdout: query.is_set(&["output", "stdout"]),
        has_stderr: query.is_set(&["error", "stderr"]) && !is_tty,
    };
    Ok(upgrade(request, protocol, &accept, streams))
}

/// Answers `/attach/{namespace}/{pod}/{container}`.
pub(super) async fn attach(
    context: &Context,
    pods: &Pods,
    path: [&str; 3],
    query: &Query,
    request: &mut Request<Incoming>,
) -> Result<Response<Body>> {
    let (protocol, accept) = handshake(request)?;
    let id = container(context, pods, path, false).await?;
    let (has_stdout, has_stderr) = (query.is_set(&["output", "stdout"]), query.is_set(&["error", "stderr"]));
    let options =
        AttachOptions { stdin: query.is_set(&["input", "stdin"]), stdout: has_stdout, stderr: has_stderr };
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
    let streams = Streams {
        stdin: session.stdin,
        output: session.output,
        resize,
        exit: async { Ok(0) }.boxed(),
        has_stdout,
        has_stderr: has_stderr && !session.tty,
    };
    Ok(upgrade(request, protocol, &accept, streams))
}

/// Checks the client's half of RFC 6455 and answers with the protocol and `Sec-WebSocket-Accept`.
fn handshake(request: &Request<Incoming>) -> Result<(Protocol, String)> {
    let headers = request.headers();
    let text_of = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or("");
    let invalid = |text: &str| Err(Error::new(Kind::Invalid, text));
    if !text_of(header::UPGRADE).eq_ignore_ascii_case("websocket") {
        return invalid("streams need a WebSocket, SPDY is not supported; use kubectl 1.30 or later");
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
    let Streams { stdin, output, resize, exit, has_stdout, has_stderr } = streams;
    let first = Message::Binary(opened(has_stdout, has_stderr));
    if to_client.send(first).await.is_err() {
        return;
    }
    let reading = read_client(from_client, protocol, stdin, resize);
    tokio::pin!(reading);
    let is_client_gone = tokio::select! {
        () = &mut reading => true,
        result = write_client(&mut to_client, output, has_stdout, has_stderr) => result.is_err(),
    };
    if is_client_gone {
        return;
    }
    let code = tokio::select! {
        code = exit => code.map_err(|error| error.chain()),
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
    has_stdout: bool,
    has_stderr: bool,
) -> Result<(), WsError> {
    use hako_container::Stream as Which;
    let mut ping = interval(PING);
    ping.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ping.reset();
    loop {
        let piece = tokio::select! {
            piece = from_process.next() => piece,
            _ = ping.tick() => {
                to_client.send(Message::Ping(bytes::Bytes::new())).await?;
                continue;
            }
        };
        match piece {
            Some(Ok((which, bytes))) => {
                let is_wanted = match which {
                    Which::Stdout => has_stdout,
                    Which::Stderr => has_stderr,
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
