//! A message of a client of a remote command: two bytes say in which protocol and whether it is text. It means what it
//! means in the protocol of octets too, and standard input is what was sent.

use hako_node::wire::{FromClient, Protocol};
use tokio_tungstenite::tungstenite::Message;

const PROTOCOLS: [Protocol; 5] =
    [Protocol::V5, Protocol::V4, Protocol::V4Base64, Protocol::V1, Protocol::V1Base64];

pub fn run(data: &[u8]) {
    let [protocol, is_text, message @ ..] = data else { return };
    let protocol = PROTOCOLS[usize::from(*protocol) % PROTOCOLS.len()];
    let message = match (is_text % 2, std::str::from_utf8(message)) {
        (1, Ok(text)) => Message::text(text),
        _ => Message::binary(message.to_vec()),
    };
    let length = message.len();
    let Some(taken) = protocol.take(message) else { return };
    assert!(taken.len() <= length.max(1), "{protocol:?}: {length}, {taken:?}");
    let meant = protocol.read(&taken);
    if let Some(FromClient::Stdin(bytes)) = &meant {
        assert_eq!((taken[0], &taken[1..]), (0, &bytes[..]), "{protocol:?}");
    }
    // Only the newest one has a word for the end of standard input.
    let as_newest = Protocol::V5.read(&taken);
    assert!(meant == as_newest || as_newest == Some(FromClient::CloseStdin), "{protocol:?}: {taken:?}");
    // What was taken is taken again from what it would be written as.
    if taken.first().is_some_and(|channel| *channel < 10) {
        assert_eq!(protocol.take(protocol.write(taken.clone())), Some(taken), "{protocol:?}");
    }
}
