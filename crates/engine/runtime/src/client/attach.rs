//! A container's live streams.

use hako_error::{Error, Kind, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};

/// Which stream output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Standard output, and all output of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A container's live streams.
#[derive(Debug)]
pub struct AttachIo {
    /// What the container writes from now on.
    pub output: AttachOutput,
    /// What the container reads.
    pub input: AttachInput,
    /// Whether the container has a terminal.
    pub tty: bool,
}

/// The container's output from the moment of attaching.
#[derive(Debug)]
pub struct AttachOutput(OwnedReadHalf);

/// The container's input.
#[derive(Debug)]
pub struct AttachInput(OwnedWriteHalf);

fn broken(error: std::io::Error) -> Error {
    Error::new(Kind::Unavailable, "the stream to the container broke").with_source(error)
}

impl AttachIo {
    pub(super) fn new(socket: std::os::unix::net::UnixStream, tty: bool) -> Result<Self> {
        socket.set_nonblocking(true).map_err(broken)?;
        let (read, write) = UnixStream::from_std(socket).map_err(broken)?.into_split();
        Ok(Self { output: AttachOutput(read), input: AttachInput(write), tty })
    }
}

impl AttachOutput {
    /// The next piece; `None` when the container ended.
    pub async fn next(&mut self) -> Result<Option<(OutputStream, Vec<u8>)>> {
        let mut header = [0; 5];
        match self.0.read_exact(&mut header).await {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(None),
            Err(error) => return Err(broken(error)),
        }
        let [stream, length @ ..] = header;
        let mut data = vec![0; u32::from_le_bytes(length) as usize];
        self.0.read_exact(&mut data).await.map_err(broken)?;
        let stream = if stream == 2 { OutputStream::Stderr } else { OutputStream::Stdout };
        Ok(Some((stream, data)))
    }
}

impl AttachInput {
    /// Writes all of `data` to the container's stdin or terminal; waits while the container does not read.
    pub async fn write(&mut self, data: &[u8]) -> Result<()> {
        self.0.write_all(data).await.map_err(broken)
    }

    /// Ends this client's input; with `stdin_once` the container sees the end of its stdin.
    pub async fn close(&mut self) -> Result<()> {
        self.0.shutdown().await.map_err(broken)
    }
}
