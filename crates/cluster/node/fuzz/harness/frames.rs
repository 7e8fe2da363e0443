//! What a client of SPDY sends. Its frames are the same however it comes in pieces and when they are written again, and
//! hold no more than was sent and than blocks of headers may.

use std::sync::OnceLock;

use hako_node::wire::{Frame, Headers, Reader, Writer};
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::runtime::{Builder, Runtime};

/// Bytes of one block of headers.
const BLOCK: usize = 64 << 10;
/// A byte that is no text is three when it is written again.
const GROWTH: usize = 3;

pub fn run(data: &[u8]) {
    let (first, second) = data.split_at(data.len() / 2);
    let whole = block_on(read(data));
    assert_eq!(block_on(read(first.chain(second))), whole, "{data:?}");
    let frames = whole.0;
    let sent: usize = frames.iter().map(bytes).sum();
    assert!(sent <= data.len(), "{sent} bytes of {}", data.len());
    let blocks: Vec<usize> = frames.iter().filter_map(headers).map(length).collect();
    assert!(blocks.iter().all(|block| *block <= BLOCK * GROWTH), "{blocks:?}");
    if blocks.iter().all(|block| *block < BLOCK / GROWTH) {
        again(frames);
    }
}

pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| Builder::new_current_thread().build().expect("a runtime")).block_on(work)
}

/// The frames, and what is wrong with what follows them.
async fn read(io: impl AsyncRead + Unpin) -> (Vec<Frame>, Option<String>) {
    let (mut reader, mut frames) = (Reader::new(io), Vec::new());
    loop {
        match reader.next().await {
            Ok(Some(frame)) => frames.push(frame),
            Ok(None) => return (frames, None),
            Err(error) => return (frames, Some(error.to_string())),
        }
    }
}

/// Frames that mean something are the same when they are written and read.
fn again(mut frames: Vec<Frame>) {
    frames.retain(|frame| *frame != Frame::Other);
    let mut writer = Writer::new(Vec::new());
    for frame in &frames {
        block_on(writer.write(frame)).expect("memory takes it");
    }
    assert_eq!(block_on(read(writer.io.as_slice())), (frames, None));
}

fn bytes(frame: &Frame) -> usize {
    match frame {
        Frame::Data { bytes, .. } => bytes.len(),
        _ => 0,
    }
}

fn headers(frame: &Frame) -> Option<&Headers> {
    match frame {
        Frame::Open { headers, .. } => Some(headers),
        _ => None,
    }
}

fn length(headers: &Headers) -> usize {
    headers.0.iter().map(|(name, value)| name.len() + value.len()).sum()
}
