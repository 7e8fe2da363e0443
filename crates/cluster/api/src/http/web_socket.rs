//! A long answer as the messages of a WebSocket: that is how pages in a browser follow a log or a watch.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use hako_client::Body;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt as _;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::{Answer, Failure, Outcome, Request, answer, until_sent};

/// Nobody has more to say who only listens.
const HEARD_MAX: usize = 4 << 10;
const CLOSING_LIMIT: Duration = Duration::from_secs(2);

/// What each piece of an answer's body is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pieces {
    /// Bytes, wherever they are cut: the subprotocol says how they are written.
    Bytes,
    /// A whole event.
    Events,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    Binary,
    Base64,
    Text,
}

const FORMS: [(&str, Form); 2] = [("binary.k8s.io", Form::Binary), ("base64.binary.k8s.io", Form::Base64)];

/// Sends an answer over a WebSocket where the client asks for one, else as it is.
///
/// # Errors
/// 400 where the client knows no subprotocol that is known here.
pub(crate) fn carry(request: &mut Request, answer: Answer, pieces: Pieces) -> Outcome {
    let Some(upgrade) = request.upgrade.take() else { return Ok(answer) };
    let slot = request.slot.take();
    let Some(accept) = accept(&request.headers) else {
        return Ok(answer.map(|body| until_sent(body, slot)));
    };
    let (protocol, form) = form(&request.headers, pieces)?;
    tokio::spawn(async move {
        let _slot = slot;
        match upgrade.await {
            Ok(upgraded) => send(upgraded, answer.into_body(), form).await,
            Err(error) => tracing::debug!(%error, "connection was not upgraded"),
        }
    });
    let mut switched = answer::respond(StatusCode::SWITCHING_PROTOCOLS, "text/plain", Bytes::new());
    let headers = switched.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    if let Some(protocol) = protocol {
        headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
    }
    Ok(switched)
}

/// What proves that the key of a handshake was read (RFC 6455, 4.2.2); none if it is no such handshake.
fn accept(headers: &HeaderMap) -> Option<HeaderValue> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let is_meant = text(header::UPGRADE)?.eq_ignore_ascii_case("websocket")
        && text(header::SEC_WEBSOCKET_VERSION)? == "13";
    let key = text(header::SEC_WEBSOCKET_KEY).filter(|key| is_meant && !key.is_empty())?;
    HeaderValue::from_str(&derive_accept_key(key.as_bytes())).ok()
}

fn form(headers: &HeaderMap, pieces: Pieces) -> Outcome<(Option<&'static str>, Form)> {
    let values =
        headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let known = offered.iter().find_map(|name| FORMS.iter().find(|(known, _)| known == name));
    match (pieces, known) {
        (Pieces::Events, known) => Ok((known.map(|(name, _)| *name), Form::Text)),
        (Pieces::Bytes, Some((name, form))) => Ok((Some(name), *form)),
        (Pieces::Bytes, None) if offered.is_empty() => Ok((None, Form::Binary)),
        (Pieces::Bytes, None) => {
            let known = FORMS.map(|(name, _)| name).join(" or ");
            Err(Failure::bad_request(format!("no known subprotocol offered, expected {known}")))
        }
    }
}

fn message(form: Form, piece: Bytes) -> Message {
    match form {
        Form::Base64 => Message::text(STANDARD.encode(&piece)),
        Form::Text => match Utf8Bytes::try_from(piece.clone()) {
            Ok(text) => Message::Text(text),
            Err(_) => Message::Binary(piece),
        },
        Form::Binary => Message::Binary(piece),
    }
}

/// Sends the pieces until there are no more, or the client has gone.
async fn send(upgraded: Upgraded, mut body: Body, form: Form) {
    let config = WebSocketConfig::default().max_message_size(Some(HEARD_MAX)).max_frame_size(Some(HEARD_MAX));
    let socket = WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
    let (mut sink, mut heard) = socket.split();
    let sending = async {
        while let Some(Ok(frame)) = body.frame().await {
            let Ok(piece) = frame.into_data() else { continue };
            if sink.send(message(form, piece)).await.is_err() {
                return;
            }
        }
        let _ = sink.close().await;
    };
    // What it still says is of no use.
    let leaving = async { while heard.next().await.is_some_and(|it| it.is_ok_and(|it| !it.is_close())) {} };
    both(sending, leaving).await;
    // The connection below has an end of its own.
    if let Ok(mut socket) = sink.reunite(heard) {
        let _ = socket.get_mut().shutdown().await;
    }
}

/// Sends to the end, which the client answers, or until the client has left.
async fn both(sending: impl Future<Output = ()>, leaving: impl Future<Output = ()>) {
    tokio::pin!(leaving);
    tokio::select! {
        () = sending => drop(tokio::time::timeout(CLOSING_LIMIT, leaving).await),
        () = &mut leaving => {}
    }
}
