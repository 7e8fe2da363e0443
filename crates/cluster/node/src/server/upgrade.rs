//! From a request to a connection of another protocol: WebSocket or SPDY.

use super::spdy::Session;
use super::{Body, text, tunnel};
use hako_error::{Error, Kind, Result};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::Role;

const STREAM_PROTOCOL: HeaderName = HeaderName::from_static("x-stream-protocol-version");
const SPDY: &str = "SPDY/3.1";
/// Before a protocol's name: SPDY inside a WebSocket.
const TUNNEL: &str = "SPDY/3.1+";

/// What the client asked for and is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    /// A WebSocket with this subprotocol, empty for none; `accept` proves that its key was read.
    WebSocket { protocol: &'static str, accept: String },
    /// SPDY/3.1 with this protocol on its streams.
    Spdy { protocol: &'static str },
}

/// What the connection has become.
pub(super) enum Switched {
    WebSocket { protocol: &'static str, socket: Box<WebSocketStream<TokioIo<Upgraded>>> },
    Spdy(Session),
}

impl Wanted {
    /// Checks the client's half of the handshake; of each list the first that the client offers, too, is taken.
    pub(super) fn of(
        headers: &HeaderMap,
        web_socket: &[&'static str],
        spdy: &[&'static str],
    ) -> Result<Self> {
        let text_of = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let invalid = |text: String| Err(Error::new(Kind::Invalid, text));
        let upgrade = text_of(header::UPGRADE);
        if upgrade.eq_ignore_ascii_case(SPDY) {
            return match choose(headers, &STREAM_PROTOCOL, spdy) {
                Some(protocol) => Ok(Self::Spdy { protocol }),
                None => invalid(format!("no known stream protocol offered, expected {}", spdy.join(" or "))),
            };
        }
        if !upgrade.eq_ignore_ascii_case("websocket") {
            return invalid(format!("Upgrade request required: a WebSocket or {SPDY}"));
        }
        let key = text_of(header::SEC_WEBSOCKET_KEY);
        if key.is_empty() || text_of(header::SEC_WEBSOCKET_VERSION) != "13" {
            return invalid("not a WebSocket handshake of version 13".to_owned());
        }
        let accept = derive_accept_key(key.as_bytes());
        match choose(headers, &header::SEC_WEBSOCKET_PROTOCOL, web_socket) {
            Some(protocol) => Ok(Self::WebSocket { protocol, accept }),
            None => {
                let known: Vec<&str> = web_socket.iter().copied().filter(|name| !name.is_empty()).collect();
                invalid(format!("no known subprotocol offered, expected {}", known.join(" or ")))
            }
        }
    }

    /// Answers, and calls `serve` with what the connection has become.
    pub(super) fn switch<F: Future<Output = ()> + Send + 'static>(
        self,
        request: &mut Request<Incoming>,
        serve: impl FnOnce(Switched) -> F + Send + 'static,
    ) -> Response<Body> {
        let upgraded = hyper::upgrade::on(request);
        let response = self.answer();
        tokio::spawn(async move {
            match upgraded.await {
                Ok(upgraded) => serve(self.become_of(upgraded).await).await,
                Err(error) => tracing::debug!(%error, "connection was not upgraded"),
            }
        });
        response
    }

    async fn become_of(self, upgraded: Upgraded) -> Switched {
        let io = TokioIo::new(upgraded);
        match self {
            Self::Spdy { .. } => Switched::Spdy(Session::start(io)),
            Self::WebSocket { protocol, .. } => {
                let socket = WebSocketStream::from_raw_socket(io, Role::Server, None).await;
                if protocol.starts_with(TUNNEL) {
                    return Switched::Spdy(Session::start(tunnel::inside(socket)));
                }
                Switched::WebSocket { protocol, socket: Box::new(socket) }
            }
        }
    }

    fn answer(&self) -> Response<Body> {
        let mut response = text(StatusCode::SWITCHING_PROTOCOLS, "");
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_TYPE);
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        match self {
            Self::Spdy { protocol } => {
                headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
                headers.insert(STREAM_PROTOCOL, HeaderValue::from_static(protocol));
            }
            Self::WebSocket { protocol, accept } => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                if !protocol.is_empty() {
                    headers.insert(header::SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(protocol));
                }
                if let Ok(accept) = HeaderValue::from_str(accept) {
                    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
                }
            }
        }
        response
    }
}

/// The first of `known` that the client offers; where it offers none, the one without a name.
fn choose(headers: &HeaderMap, name: &HeaderName, known: &[&'static str]) -> Option<&'static str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let offered: Vec<&str> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    known.iter().copied().find(|name| offered.contains(name) || (name.is_empty() && offered.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(pairs: &[(&str, &str)]) -> Result<Wanted> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        }
        Wanted::of(&headers, &["v5", "v4"], &["one", "two"])
    }

    #[test]
    fn the_best_protocol_both_know_is_chosen() {
        let socket = [("upgrade", "WebSocket"), ("sec-websocket-key", "k"), ("sec-websocket-version", "13")];
        let with = |offered: &str| wanted(&[&socket[..], &[("sec-websocket-protocol", offered)]].concat());
        assert!(matches!(with("v4, v5").unwrap(), Wanted::WebSocket { protocol: "v5", .. }));
        assert!(matches!(with("v3,v4").unwrap(), Wanted::WebSocket { protocol: "v4", .. }));
        assert_eq!(with("v3").unwrap_err().kind(), Kind::Invalid);
        let spdy = [("upgrade", "SPDY/3.1"), ("x-stream-protocol-version", "two")];
        assert_eq!(wanted(&spdy).unwrap(), Wanted::Spdy { protocol: "two" });
        let both = [&spdy[..], &[("x-stream-protocol-version", "one")]].concat();
        assert_eq!(wanted(&both).unwrap(), Wanted::Spdy { protocol: "one" });
    }

    #[test]
    fn what_is_no_handshake_is_refused() {
        for pairs in [
            &[][..],
            &[("upgrade", "h2c")],
            &[("upgrade", "SPDY/3.1")],
            &[("upgrade", "websocket"), ("sec-websocket-key", "k"), ("sec-websocket-version", "8")],
        ] {
            assert_eq!(wanted(pairs).unwrap_err().kind(), Kind::Invalid, "{pairs:?}");
        }
    }
}
