//! What the fuzz targets run, on a corpus and on damaged copies of it: the same each time.

#[path = "../fuzz/harness/channels.rs"]
mod channels;
#[path = "../../../../tests/damaged.rs"]
mod damaged;
#[path = "../fuzz/harness/frames.rs"]
mod frames;

use frames::block_on;
use hako_node::wire::{Frame, Headers, Writer};

fn open(stream: u32, pairs: &[(&str, &str)]) -> Frame {
    let headers = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    Frame::Open { stream, headers: Headers(headers.collect()), is_last: false }
}

fn data(stream: u32, text: &str, is_last: bool) -> Frame {
    Frame::Data { stream, bytes: text.to_owned().into(), is_last }
}

/// What kubectl sends, in the order in which it does.
fn connections() -> Vec<Vec<u8>> {
    let command = vec![
        open(1, &[("streamtype", "error")]),
        open(3, &[("streamtype", "stdin")]),
        open(5, &[("streamtype", "stdout")]),
        Frame::Ping { id: 1 },
        data(3, "echo hi\n", false),
        data(3, "", true),
        Frame::Reset { stream: 5 },
    ];
    let forward = vec![
        open(1, &[("streamtype", "error"), ("port", "80"), ("requestid", "0")]),
        open(3, &[("streamtype", "data"), ("port", "80"), ("requestid", "0")]),
        Frame::Reply { stream: 3 },
        data(3, "GET / HTTP/1.1\r\nHost: a\r\n\r\n", true),
        open(5, &[("a", &"b".repeat(3000)), ("", "")]),
    ];
    let written = |frames: Vec<Frame>| {
        let mut writer = Writer::new(Vec::new());
        frames.iter().for_each(|frame| block_on(writer.write(frame)).expect("written to memory"));
        writer.io
    };
    let mut all: Vec<Vec<u8>> = [command, forward].map(written).into();
    // Settings, a version that is none, a frame that is too long, and one that is cut.
    all.push(vec![0x80, 3, 0, 4, 0, 0, 0, 4, 0, 0, 0, 0]);
    all.push(vec![0x80, 2, 0, 1, 0, 0, 0, 0]);
    all.push(vec![0, 0, 0, 1, 0, 0xff, 0xff, 0xff]);
    all.push(vec![0x80, 3, 0, 1, 0, 0, 0, 9, 0]);
    all
}

#[test]
fn frames_are_the_same_however_they_come_and_hold_no_more_than_was_sent() {
    damaged::run(connections(), 4000, frames::run);
}

#[test]
fn messages_of_remote_commands_mean_the_same_in_every_protocol() {
    let mut all = Vec::new();
    for protocol in 0..5 {
        for (is_text, message) in [
            (0, &b"\0echo hi\n"[..]),
            (0, b"\x04{\"Width\":80,\"Height\":24}"),
            (0, b"\xff\0"),
            (0, b"\xff\x01"),
            (0, b"\x03x"),
            (0, b""),
            (1, b"0ZWNobyBoaQo="),
            (1, b"4eyJXaWR0aCI6ODAsIkhlaWdodCI6MjR9"),
            (1, b"9"),
            (1, "\u{e9}=".as_bytes()),
        ] {
            all.push([&[protocol, is_text], message].concat());
        }
    }
    damaged::run(all, 4000, channels::run);
}
