//! Docker's framing of two streams in one connection, and the hijacked connection itself.

use crate::api::ApiVersion;
use crate::client::Hijack;
use crate::detach::Keys;
use crate::error::{Answer, Failure};
use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{BufMut, Bytes, BytesMut};
use futures::StreamExt;
use hako_container::{Input, Output, Stream};
use http::{HeaderMap, StatusCode, header};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;

/// Content type of an unframed stream, and of a framed one before API 1.42.
pub(crate) const RAW: &str = "application/vnd.docker.raw-stream";
/// Content type of a framed stream.
pub(crate) const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";

/// One frame: stream (1 byte), three zero bytes, length (4 bytes, big-endian), payload.
pub(crate) fn frame(stream: Stream, payload: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(8 + payload.len());
    frame.put_u8(match stream {
        Stream::Stdout => 1,
        Stream::Stderr => 2,
    });
    frame.put_slice(&[0; 3]);
    frame.put_u32(u32::try_from(payload.len()).unwrap_or(u32::MAX));
    frame.put_slice(payload);
    frame.freeze()
}

/// The bytes of a piece of output on the wire.
pub(crate) fn wire(tty: bool, stream: Stream, payload: Bytes) -> Bytes {
    if tty { payload } else { frame(stream, &payload) }
}

pub(crate) fn content_type(tty: bool, version: ApiVersion) -> &'static str {
    if tty || !version.has(42) { RAW } else { MULTIPLEXED }
}

/// Whether the client asked for a raw connection.
pub(crate) fn wants_upgrade(headers: &HeaderMap) -> bool {
    headers.get(header::UPGRADE).is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"tcp"))
}

/// Whether the client sends a body, which then is the process's standard input.
pub(crate) fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok());
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

pub(crate) fn needs_upgrade() -> Failure {
    crate::error::invalid(
        "standard input needs a connection upgrade (Connection: Upgrade and Upgrade: tcp) or a body",
    )
}

/// The request's body as standard input.
pub(crate) async fn pump_body(body: Body, stdin: Option<Input>) {
    let Some(mut stdin) = stdin else { return };
    let mut pieces = body.into_data_stream();
    while let Some(Ok(piece)) = pieces.next().await {
        if stdin.write_all(&piece).await.is_err() {
            return;
        }
    }
    let _ = stdin.shutdown().await;
}

/// The answer after which the connection carries raw bytes.
pub(crate) fn upgraded(tty: bool, version: ApiVersion) -> Answer {
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONTENT_TYPE, content_type(tty, version))
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "tcp")
        .body(Body::empty());
    response.map_err(|error| {
        Failure(hako_error::Error::new(hako_error::Kind::Internal, "build a response").with_source(error))
    })
}

/// Output as the body of an ordinary answer, for clients that do not upgrade.
pub(crate) fn streamed(tty: bool, version: ApiVersion, output: Output) -> Response {
    let pieces = output.map(move |piece| piece.map(|(stream, payload)| wire(tty, stream, payload)));
    ([(header::CONTENT_TYPE, content_type(tty, version))], Body::from_stream(pieces)).into_response()
}

/// What a client and a process have to say to each other.
pub(crate) struct Talk {
    pub(crate) tty: bool,
    pub(crate) stdin: Option<Input>,
    pub(crate) output: Output,
    /// By which the user of a terminal leaves.
    pub(crate) keys: Keys,
}

/// What a user who left by the keys leaves behind.
pub(crate) struct Left {
    stdin: Input,
    output: Output,
    /// It counts as a session for as long as it is held.
    _place: OwnedSemaphorePermit,
}

impl Left {
    /// Holds the terminal of a process that has no other for as long as it runs: its end would be told to the process. A
    /// container's own is held by its shim.
    pub(crate) fn linger(mut self) {
        tokio::spawn(async move {
            while self.output.next().await.is_some() {}
            drop(self.stdin);
        });
    }
}

/// Both directions of a hijacked connection, until the output ends or the client is gone. What is left if the user left
/// by the keys: then the process goes on.
pub(crate) async fn pump(hijack: Hijack, talk: Talk) -> Option<Left> {
    // Its place is free when this ends.
    let Hijack { connection, client, place } = hijack;
    let connection = match connection.await {
        Ok(connection) => TokioIo::new(connection),
        Err(error) => {
            tracing::debug!(%error, "a client did not take its upgraded connection");
            return None;
        }
    };
    let Talk { tty, stdin, mut output, keys } = talk;
    let (reader, mut writer) = tokio::io::split(connection);
    let keys = tty.then_some(keys);
    let mut input = tokio::spawn(pump_input(reader, stdin, keys));
    tokio::select! {
        () = async {
            client.has_read().await;
            pump_output(&mut writer, tty, &mut output).await;
        } => {}
        Some(stdin) = left(&mut input) => {
            let _ = writer.shutdown().await;
            return Some(Left { stdin, output, _place: place });
        }
        // Though the container says nothing.
        () = client.clone().gone() => {}
    }
    input.abort();
    None
}

/// The process's input, once the user has left by the keys; never, if the input came to its end.
pub(crate) async fn left(input: &mut JoinHandle<Option<Input>>) -> Option<Input> {
    match input.await {
        Ok(Some(stdin)) => Some(stdin),
        _ => std::future::pending().await,
    }
}

/// The client's end of sending is an end of file for the process. Gives the input back when the user leaves.
async fn pump_input(
    mut reader: ReadHalf<TokioIo<Upgraded>>,
    stdin: Option<Input>,
    mut keys: Option<Keys>,
) -> Option<Input> {
    let mut stdin = stdin?;
    let mut chunk = vec![0; 16 << 10];
    while let Ok(read @ 1..) = reader.read(&mut chunk).await {
        let leaves = typed(&mut stdin, &chunk[..read], keys.as_mut()).await.ok()?;
        if leaves {
            return Some(stdin);
        }
    }
    let _ = stdin.shutdown().await;
    None
}

/// Gives the process what a client typed; whether the user leaves.
pub(crate) async fn typed(stdin: &mut Input, bytes: &[u8], keys: Option<&mut Keys>) -> std::io::Result<bool> {
    let Some(keys) = keys else {
        stdin.write_all(bytes).await?;
        return Ok(false);
    };
    let (passed, leaves) = keys.feed(bytes);
    stdin.write_all(&passed).await?;
    Ok(leaves)
}

async fn pump_output(writer: &mut WriteHalf<TokioIo<Upgraded>>, tty: bool, output: &mut Output) {
    while let Some(piece) = output.next().await {
        let bytes = match piece {
            Ok((stream, payload)) => wire(tty, stream, payload),
            Err(error) => wire(tty, Stream::Stderr, Bytes::from(format!("{}\n", error.chain()))),
        };
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = writer.shutdown().await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_stream_length_payload() {
        assert_eq!(frame(Stream::Stderr, b"hi")[..], [2, 0, 0, 0, 0, 0, 0, 2, b'h', b'i']);
        assert_eq!(content_type(false, ApiVersion(1, 41)), RAW);
        assert_eq!(content_type(false, ApiVersion(1, 42)), MULTIPLEXED);
        assert_eq!(wire(true, Stream::Stdout, Bytes::from_static(b"x"))[..], *b"x");
    }
}
