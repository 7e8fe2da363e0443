//! A container's streams over a WebSocket, RFC 6455.

use crate::error::{Failure, invalid};
use crate::frame::{self, Talk};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use futures::{SinkExt, StreamExt};
use http::{StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

/// Bytes of one message of a client.
const MAX_MESSAGE: usize = 1 << 20;

/// The server's half of the handshake.
pub(crate) fn accept(request: &mut Request) -> Result<(OnUpgrade, Response), Failure> {
    let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
    let is_websocket = header(header::UPGRADE).is_some_and(|value| value.eq_ignore_ascii_case("websocket"));
    let key = header(header::SEC_WEBSOCKET_KEY).filter(|_| is_websocket);
    let key =
        key.ok_or_else(|| invalid("not a WebSocket handshake: Upgrade and Sec-WebSocket-Key are missing"))?;
    let response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "Upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, derive_accept_key(key.as_bytes()))
        .body(Body::empty());
    let response = response.map_err(|error| invalid(format!("WebSocket handshake: {error}")))?;
    let connection = request.extensions_mut().remove::<OnUpgrade>();
    Ok((connection.ok_or_else(|| invalid("the connection cannot be upgraded"))?, response))
}

/// Both directions, until the output ends or the client is gone. Whether the user left by the keys.
pub(crate) async fn pump(connection: OnUpgrade, talk: Talk) -> bool {
    let Ok(connection) = connection.await else { return false };
    let Talk { tty, stdin, mut output, keys } = talk;
    let limits =
        WebSocketConfig::default().max_message_size(Some(MAX_MESSAGE)).max_frame_size(Some(MAX_MESSAGE));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(connection), Role::Server, Some(limits)).await;
    let (mut sender, mut receiver) = socket.split();
    let mut input = tokio::spawn(async move {
        let (mut stdin, mut keys) = (stdin, tty.then_some(keys));
        while let Some(Ok(message)) = receiver.next().await {
            let bytes = match message {
                Message::Binary(bytes) => bytes,
                Message::Text(text) => Bytes::from(text),
                Message::Close(_) => break,
                _ => continue,
            };
            let Some(stdin_of) = &mut stdin else { continue };
            match frame::typed(stdin_of, &bytes, keys.as_mut()).await {
                Ok(true) => return stdin,
                Ok(false) => {}
                Err(_) => break,
            }
        }
        if let Some(mut stdin) = stdin {
            let _ = stdin.shutdown().await;
        }
        None
    });
    loop {
        let piece = tokio::select! {
            piece = output.next() => piece,
            // The client is gone, though the container says nothing.
            ended = &mut input => {
                let _ = sender.close().await;
                return matches!(ended, Ok(Some(_)));
            }
        };
        let bytes = match piece {
            Some(Ok((_, bytes))) => bytes,
            Some(Err(error)) => Bytes::from(format!("{}\n", error.chain())),
            None => break,
        };
        if sender.send(Message::Binary(bytes)).await.is_err() {
            break;
        }
    }
    let _ = sender.close().await;
    input.abort();
    false
}
