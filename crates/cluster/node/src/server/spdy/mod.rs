//! SPDY/3.1 from the server's side, as far as kubectl speaks it: streams that the client opens on one connection.
//!
//! Owns: frames, compressed headers, which bytes are whose. Does not own: what streams mean.
//! Invariant: what a client sends makes the server hold no more than [`QUEUED`] pieces a stream and [`STREAMS`]
//! streams; a stream that nobody reads holds the whole connection up, as it does with the client.
//!
//! ```text
//! client                         server
//!   SYN_STREAM 1 (headers)  ──►
//!                           ◄──  SYN_REPLY 1
//!   DATA 1 …                ──►
//!                           ◄──  DATA 1 …
//!   DATA 1 FIN              ──►              each half ends by itself
//!                           ◄──  DATA 1 FIN
//! ```
//!
//! Windows are not kept: the peers of this protocol, all of one library, neither keep nor ask for them.

mod frame;
mod headers;

use bytes::Bytes;
pub use frame::{Frame, Reader, Writer};
pub use headers::Headers;
use std::collections::HashMap;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;

/// Pieces of data that wait for the reader of a stream, or for the connection.
const QUEUED: usize = 8;
/// Streams that may be open at once.
const STREAMS: usize = 256;
/// Bytes in one frame of ours.
const PIECE: usize = 32 << 10;
/// How long a client may take to hang up after everything was said.
const LINGER: Duration = Duration::from_secs(2);

/// What can be wrong with what a client sends.
#[derive(Debug, thiserror::Error)]
pub enum SpdyError {
    #[error("connection")]
    Connection(#[from] std::io::Error),
    #[error("frame of {length} bytes is larger than {limit}")]
    TooLarge { length: usize, limit: usize },
    #[error("frame of type {kind} is cut short")]
    Short { kind: u16 },
    #[error("SPDY version {version}, expected 3")]
    Version { version: u16 },
    #[error("headers cannot be decompressed")]
    Compression,
    #[error("headers are malformed")]
    Headers,
}

/// The peer hung up or gave the stream up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gone;

/// A connection. Ends when this and all its streams are dropped.
pub(super) struct Session {
    opened: mpsc::Receiver<Stream>,
    _frames: mpsc::Sender<Frame>,
}

/// A stream that the client opened.
pub(super) struct Stream {
    /// What the client said of it.
    pub headers: Headers,
    /// What comes in, until the client's half ends.
    pub input: mpsc::Receiver<Bytes>,
    /// The way out.
    pub output: Output,
}

/// The server's half of a stream; ends when it is dropped.
pub(super) struct Output {
    stream: u32,
    frames: mpsc::Sender<Frame>,
}

impl Session {
    /// Speaks on a connection.
    pub(super) fn start(io: impl AsyncRead + AsyncWrite + Send + 'static) -> Self {
        let (frames, to_write) = mpsc::channel(QUEUED);
        let (sender, opened) = mpsc::channel(QUEUED);
        let (read, write) = tokio::io::split(io);
        let reading = Reading { opened: sender, frames: frames.downgrade(), inputs: HashMap::new() };
        tokio::spawn(async move {
            let reading = reading.run(Reader::new(read));
            tokio::pin!(reading);
            let ended = tokio::select! {
                ended = &mut reading => ended,
                ended = write_all(Writer::new(write), to_write) => match ended {
                    Ok(()) => tokio::time::timeout(LINGER, reading).await.unwrap_or(Ok(())),
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "SPDY connection ended");
            }
        });
        Self { opened, _frames: frames }
    }

    /// The next stream that the client opens; none once it hung up.
    pub(super) async fn accept(&mut self) -> Option<Stream> {
        self.opened.recv().await
    }
}

impl Output {
    /// Sends bytes in order; waits for the connection to take them.
    pub(super) async fn send(&self, bytes: Bytes) -> Result<(), Gone> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let bytes = rest.split_to(rest.len().min(PIECE));
            let frame = Frame::Data { stream: self.stream, bytes, is_last: false };
            self.frames.send(frame).await.map_err(|_| Gone)?;
        }
        Ok(())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        let frame = Frame::Data { stream: self.stream, bytes: Bytes::new(), is_last: true };
        if let Err(mpsc::error::TrySendError::Full(frame)) = self.frames.try_send(frame) {
            let frames = self.frames.clone();
            // Only a connection that is gone refuses it, and that has ended every stream.
            tokio::spawn(async move { frames.send(frame).await.is_ok() });
        }
    }
}

async fn write_all(
    mut writer: Writer<impl AsyncWrite + Unpin>,
    mut frames: mpsc::Receiver<Frame>,
) -> std::io::Result<()> {
    while let Some(frame) = frames.recv().await {
        writer.write(&frame).await?;
    }
    writer.io.shutdown().await
}

/// The reading side of a connection.
struct Reading {
    opened: mpsc::Sender<Stream>,
    /// Weak: what only reads keeps no connection open.
    frames: mpsc::WeakSender<Frame>,
    inputs: HashMap<u32, mpsc::Sender<Bytes>>,
}

impl Reading {
    /// Takes frames until the client hangs up or nobody listens any more.
    async fn run(mut self, mut reader: Reader<impl AsyncRead + Unpin>) -> Result<(), SpdyError> {
        while let Some(frame) = reader.next().await? {
            match frame {
                Frame::Open { stream, headers, is_last } => self.open(stream, headers, is_last).await,
                Frame::Data { stream, bytes, is_last } => self.deliver(stream, bytes, is_last).await,
                Frame::Reset { stream } => drop(self.inputs.remove(&stream)),
                Frame::Ping { .. } => self.answer(frame).await,
                Frame::Reply { .. } | Frame::Other => {}
            }
        }
        Ok(())
    }

    async fn open(&mut self, stream: u32, headers: Headers, is_last: bool) {
        self.inputs.retain(|_, input| !input.is_closed());
        let Some(frames) = self.frames.upgrade() else { return };
        if self.inputs.len() >= STREAMS {
            return self.answer(Frame::Reset { stream }).await;
        }
        self.answer(Frame::Reply { stream }).await;
        let (sender, input) = mpsc::channel(QUEUED);
        if !is_last {
            self.inputs.insert(stream, sender);
        }
        let opened = Stream { headers, input, output: Output { stream, frames } };
        // A session that takes no more streams lets this one end at once.
        let _ = self.opened.send(opened).await;
    }

    async fn deliver(&mut self, stream: u32, bytes: Bytes, is_last: bool) {
        let Some(input) = self.inputs.get(&stream) else { return };
        let is_gone = !bytes.is_empty() && input.send(bytes).await.is_err();
        if is_last || is_gone {
            self.inputs.remove(&stream);
        }
    }

    async fn answer(&self, frame: Frame) {
        if let Some(frames) = self.frames.upgrade() {
            // A writer that is gone ends the connection by itself.
            let _ = frames.send(frame).await;
        }
    }
}

#[cfg(test)]
pub(super) mod client;
#[cfg(test)]
mod tests;
