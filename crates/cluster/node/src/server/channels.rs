//! The channels of remote commands inside one WebSocket.
//!
//! ```text
//! binary message = channel, payload
//!   0 stdin   client -> node        3 error   node -> client, one Status as JSON, then the socket is closed
//!   1 stdout  node -> client        4 resize  client -> node, {"Width":80,"Height":24}
//!   2 stderr  node -> client      255 close   client -> node, payload is the channel to close (v5 only)
//! ```
//!
//! The oldest protocol, `channel.k8s.io`, which is also spoken with who names none, has no Status on the error channel but
//! what went wrong, as text. With `base64` in the name messages are text: the channel as a digit, and the payload in base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{BufMut, Bytes, BytesMut};
use hako_container::{Stream, TerminalSize};
use hako_error::Result;
use serde::Deserialize;
use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Which of the protocols is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `v5.channel.k8s.io`: standard input can be closed.
    V5,
    /// `v4.channel.k8s.io`.
    V4,
    /// `v4.base64.channel.k8s.io`.
    V4Base64,
    /// `channel.k8s.io`.
    V1,
    /// `base64.channel.k8s.io`.
    V1Base64,
}

pub(super) const V5: &str = "v5.channel.k8s.io";
pub(super) const V4: &str = "v4.channel.k8s.io";
const V4_BASE64: &str = "v4.base64.channel.k8s.io";
const V1: &str = "channel.k8s.io";
const V1_BASE64: &str = "base64.channel.k8s.io";
/// Those of remote commands, the best first. The last is that of who names none.
pub(super) const ALL: &[&str] = &[V5, V4, V4_BASE64, V1, V1_BASE64, ""];

impl Protocol {
    /// By its name; only names of this module are asked for.
    #[must_use]
    pub fn named(name: &str) -> Self {
        match name {
            V5 => Self::V5,
            V4 => Self::V4,
            V4_BASE64 => Self::V4Base64,
            V1_BASE64 => Self::V1Base64,
            _ => Self::V1,
        }
    }

    const fn is_base64(self) -> bool {
        matches!(self, Self::V4Base64 | Self::V1Base64)
    }

    /// What is on a channel as the client is sent it.
    #[must_use]
    pub fn write(self, bytes: Bytes) -> Message {
        match bytes.split_first() {
            Some((channel, payload)) if self.is_base64() => {
                Message::text(format!("{}{}", char::from(b'0' + channel), STANDARD.encode(payload)))
            }
            _ => Message::Binary(bytes),
        }
    }

    /// What a client sent on a channel; none for what is no such thing.
    #[must_use]
    pub fn take(self, message: Message) -> Option<Bytes> {
        match message {
            Message::Binary(bytes) if !self.is_base64() => Some(bytes),
            Message::Text(text) if self.is_base64() => {
                let (channel, payload) = text.as_str().split_at_checked(1)?;
                let channel: u8 = channel.parse().ok()?;
                Some(on_channel(channel, &STANDARD.decode(payload).ok()?))
            }
            _ => None,
        }
    }

    /// How it ended; nothing where all went well and the protocol has no word for that.
    pub(super) fn ended(self, result: Result<i32>) -> Option<Bytes> {
        let status = status(result);
        let text = match self {
            Self::V1 | Self::V1Base64 => status["message"].as_str()?.to_owned(),
            Self::V5 | Self::V4 | Self::V4Base64 => status.to_string(),
        };
        Some(on_channel(ERROR, text.as_bytes()))
    }

    /// What a message of the client means; `None` for what means nothing here.
    #[must_use]
    pub fn read(self, message: &Bytes) -> Option<FromClient> {
        let (channel, payload) = (*message.first()?, message.slice(1..));
        match channel {
            STDIN => Some(FromClient::Stdin(payload)),
            RESIZE => size(&payload).map(FromClient::Resize),
            CLOSE if self == Self::V5 && payload.first() == Some(&STDIN) => Some(FromClient::CloseStdin),
            _ => None,
        }
    }
}

/// What a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FromClient {
    /// Bytes for the program.
    Stdin(Bytes),
    /// No more will come.
    CloseStdin,
    /// The terminal has another size.
    Resize(TerminalSize),
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Size {
    width: u16,
    height: u16,
}

/// The size that a client tells.
pub(super) fn size(text: &[u8]) -> Option<TerminalSize> {
    let size: Size = serde_json::from_slice(text).ok()?;
    Some(TerminalSize { rows: size.height, columns: size.width })
}

/// Output of the program as a message.
pub(super) fn output(stream: Stream, bytes: &[u8]) -> Bytes {
    let channel = match stream {
        Stream::Stdout => STDOUT,
        Stream::Stderr => STDERR,
    };
    on_channel(channel, bytes)
}

/// The empty message that tells a client that the streams are open.
pub(super) fn opened(has_stdout: bool, has_stderr: bool) -> Bytes {
    let channel = match (has_stdout, has_stderr) {
        (true, _) => STDOUT,
        (false, true) => STDERR,
        (false, false) => ERROR,
    };
    on_channel(channel, &[])
}

/// How it ended, as a Status.
pub(super) fn status(result: Result<i32>) -> serde_json::Value {
    match result {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {}, "status": "Failure", "reason": "NonZeroExitCode",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => super::status_of(&error).1,
    }
}

/// A message on a channel.
pub(super) fn on_channel(channel: u8, payload: &[u8]) -> Bytes {
    let mut message = BytesMut::with_capacity(payload.len() + 1);
    message.put_u8(channel);
    message.put_slice(payload);
    message.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use hako_error::{Error, Kind};

    #[test]
    fn messages_of_the_client_are_understood() {
        let read = |protocol: Protocol, bytes: &'static [u8]| protocol.read(&Bytes::from_static(bytes));
        assert_eq!(read(Protocol::V4, b"\0hi"), Some(FromClient::Stdin(Bytes::from_static(b"hi"))));
        assert_eq!(
            read(Protocol::V5, b"\x04{\"Width\":80,\"Height\":24}"),
            Some(FromClient::Resize(TerminalSize { rows: 24, columns: 80 }))
        );
        assert_eq!(read(Protocol::V5, &[255, 0]), Some(FromClient::CloseStdin));
        for nonsense in [&b""[..], b"\x09x", b"\x04{}", &[255, 1]] {
            assert_eq!(Protocol::V5.read(&Bytes::copy_from_slice(nonsense)), None);
        }
        assert_eq!(read(Protocol::V4, &[255, 0]), None, "version 4 cannot close a channel");
    }

    #[test]
    fn exit_codes_travel_as_a_status() {
        assert_eq!(&output(Stream::Stderr, b"x")[..], b"\x02x");
        let status = |result| -> serde_json::Value {
            serde_json::from_slice(&Protocol::V4.ended(result).unwrap()[1..]).unwrap()
        };
        assert_eq!(status(Ok(0))["status"], "Success");
        let failed = status(Ok(7));
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"][0], json!({"reason": "ExitCode", "message": "7"}));
        let gone = status(Err(Error::new(Kind::Invalid, "gone")));
        assert_eq!((&gone["message"], &gone["reason"]), (&json!("gone"), &json!("BadRequest")));
    }

    #[test]
    fn the_oldest_protocol_says_nothing_of_success_and_tells_faults_as_text() {
        assert_eq!(Protocol::named(""), Protocol::V1);
        assert_eq!(Protocol::V1.ended(Ok(0)), None);
        let failed = Protocol::V1.ended(Ok(7)).unwrap();
        assert_eq!(&failed[..], b"\x03command terminated with non-zero exit code: exit status 7");
    }

    #[test]
    fn text_messages_carry_the_channel_as_a_digit_and_the_rest_in_base64() {
        let protocol = Protocol::named("v4.base64.channel.k8s.io");
        assert_eq!(protocol.write(output(Stream::Stdout, b"hi")), Message::text("1aGk="));
        assert_eq!(protocol.take(Message::text("0aGk=")), Some(Bytes::from_static(b"\0hi")));
        for nonsense in ["", "0?", "xaGk=", "\u{e9}"] {
            assert_eq!(protocol.take(Message::text(nonsense)), None, "{nonsense}");
        }
        assert_eq!(protocol.take(Message::binary(&b"\0hi"[..])), None);
        assert_eq!(Protocol::V4.take(Message::text("0aGk=")), None);
    }
}
