//! The channels of remote commands inside one WebSocket.
//!
//! ```text
//! binary message = channel, payload
//!   0 stdin   client -> node        3 error   node -> client, one Status as JSON, then the socket is closed
//!   1 stdout  node -> client        4 resize  client -> node, {"Width":80,"Height":24}
//!   2 stderr  node -> client      255 close   client -> node, payload is the channel to close (v5 only)
//! ```

use bytes::{BufMut, Bytes, BytesMut};
use hako_container::{Stream, TerminalSize};
use hako_error::Result;
use serde::Deserialize;
use serde_json::json;

const STDIN: u8 = 0;
const STDOUT: u8 = 1;
const STDERR: u8 = 2;
const ERROR: u8 = 3;
const RESIZE: u8 = 4;
const CLOSE: u8 = 255;

/// Which of the protocols is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// `v5.channel.k8s.io`: standard input can be closed.
    V5,
    /// `v4.channel.k8s.io`.
    V4,
}

pub(super) const V5: &str = "v5.channel.k8s.io";
pub(super) const V4: &str = "v4.channel.k8s.io";

impl Protocol {
    /// By its name; only names of this module are asked for.
    pub(super) fn named(name: &str) -> Self {
        if name == V5 { Self::V5 } else { Self::V4 }
    }

    /// What a message of the client means; `None` for what means nothing here.
    pub(super) fn read(self, message: &Bytes) -> Option<FromClient> {
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
pub(super) enum FromClient {
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

/// How it ended.
pub(super) fn ended(result: Result<i32>) -> Bytes {
    on_channel(ERROR, status(result).to_string().as_bytes())
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
        let status = |result| -> serde_json::Value { serde_json::from_slice(&ended(result)[1..]).unwrap() };
        assert_eq!(status(Ok(0))["status"], "Success");
        let failed = status(Ok(7));
        assert_eq!(failed["reason"], "NonZeroExitCode");
        assert_eq!(failed["details"]["causes"][0], json!({"reason": "ExitCode", "message": "7"}));
        let gone = status(Err(Error::new(Kind::Invalid, "gone")));
        assert_eq!((&gone["message"], &gone["reason"]), (&json!("gone"), &json!("BadRequest")));
    }
}
