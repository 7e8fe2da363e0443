//! Bodies that can be sent again when a connection breaks.

use super::growth::Growth;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// How much is read from a file at once; four pieces wait at most.
const PIECE: usize = 256 << 10;

pub(super) type SendBody = UnsyncBoxBody<Bytes, io::Error>;

/// What a request carries.
#[derive(Clone, Default)]
pub enum Payload {
    /// Nothing.
    #[default]
    Empty,
    /// Bytes in memory.
    Bytes(Bytes),
    /// A part of a file, read while it is sent.
    File {
        /// The file.
        path: PathBuf,
        /// Where the part begins.
        offset: u64,
        /// How many bytes it has.
        length: u64,
        /// Told the number of bytes of each piece that was handed to the connection.
        sent: Option<Sent>,
    },
    /// A file that is still being written, from a byte on.
    Growing {
        /// The file.
        growth: Arc<Growth>,
        /// Where it begins.
        offset: u64,
        /// How many bytes of it are meant at most.
        most: u64,
        /// Told the number of bytes of each piece that was handed to the connection.
        sent: Option<Sent>,
    },
}

/// Is told of bytes on their way.
pub type Sent = Arc<dyn Fn(u64) + Send + Sync>;

impl fmt::Debug for Payload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("Empty"),
            Self::Bytes(bytes) => write!(f, "Bytes({})", bytes.len()),
            Self::File { path, offset, length, .. } => write!(f, "File({path:?}, {offset}+{length})"),
            Self::Growing { offset, .. } => write!(f, "Growing({offset}+)"),
        }
    }
}

impl Payload {
    /// How many bytes it has; of one that grows, so far.
    #[must_use]
    pub fn len(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { length, .. } => *length,
            Self::Growing { growth, offset, most, .. } => growth.written().saturating_sub(*offset).min(*most),
        }
    }

    /// Whether it has no bytes and gets none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.length() == Some(0)
    }

    /// How many bytes it has, if that is known.
    fn length(&self) -> Option<u64> {
        match self {
            Self::Growing { growth, .. } if !growth.is_over() => None,
            _ => Some(self.len()),
        }
    }

    /// A number that changes while something happens to it.
    pub(super) fn life(&self) -> u64 {
        match self {
            Self::Growing { growth, .. } => growth.life(),
            _ => 0,
        }
    }

    /// The part that begins `from` bytes into it.
    #[must_use]
    pub fn tail(&self, from: u64) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Bytes(bytes) => {
                let from = usize::try_from(from).unwrap_or(usize::MAX).min(bytes.len());
                Self::Bytes(bytes.slice(from..))
            }
            Self::File { path, offset, length, sent } => Self::File {
                path: path.clone(),
                offset: offset + from,
                length: length.saturating_sub(from),
                sent: sent.clone(),
            },
            Self::Growing { growth, offset, most, sent } => Self::Growing {
                growth: growth.clone(),
                offset: offset + from,
                most: most.saturating_sub(from),
                sent: sent.clone(),
            },
        }
    }

    /// Its first `length` bytes.
    #[must_use]
    pub fn head(&self, length: u64) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Bytes(bytes) => {
                let length = usize::try_from(length).unwrap_or(usize::MAX).min(bytes.len());
                Self::Bytes(bytes.slice(..length))
            }
            Self::File { path, offset, length: whole, sent } => Self::File {
                path: path.clone(),
                offset: *offset,
                length: length.min(*whole),
                sent: sent.clone(),
            },
            Self::Growing { growth, offset, most, sent } => Self::Growing {
                growth: growth.clone(),
                offset: *offset,
                most: length.min(*most),
                sent: sent.clone(),
            },
        }
    }

    pub(super) fn body(&self) -> SendBody {
        match self {
            Self::Empty => Empty::new().map_err(|never| match never {}).boxed_unsync(),
            Self::Bytes(bytes) => Full::new(bytes.clone()).map_err(|never| match never {}).boxed_unsync(),
            Self::File { path, offset, length, sent } => {
                let (sender, pieces) = mpsc::channel(4);
                let (path, offset, length) = (path.clone(), *offset, *length);
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = read_pieces(&path, offset, length, &sender) {
                        let _ = sender.blocking_send(Err(error));
                    }
                });
                FileBody { pieces, left: Some(length), sent: sent.clone() }.boxed_unsync()
            }
            Self::Growing { growth, offset, most, sent } => {
                let (sender, pieces) = mpsc::channel(4);
                let (growth, offset, most) = (growth.clone(), *offset, *most);
                tokio::task::spawn_blocking(move || {
                    if let Err(error) = follow(&growth, offset, most, &sender) {
                        let _ = sender.blocking_send(Err(error));
                    }
                });
                FileBody { pieces, left: self.length(), sent: sent.clone() }.boxed_unsync()
            }
        }
    }
}

fn read_pieces(
    path: &std::path::Path,
    offset: u64,
    length: u64,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let mut file = File::open(path)?;
    file.seek(SeekFrom::Start(offset))?;
    let mut left = length;
    while left > 0 {
        let mut piece = vec![0; PIECE.min(usize::try_from(left).unwrap_or(PIECE))];
        file.read_exact(&mut piece)?;
        left -= piece.len() as u64;
        if sender.blocking_send(Ok(piece.into())).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// Reads what is there, and waits for what comes.
fn follow(
    growth: &Growth,
    offset: u64,
    most: u64,
    sender: &mpsc::Sender<io::Result<Bytes>>,
) -> io::Result<()> {
    let (mut at, end) = (offset, offset.saturating_add(most));
    while at < end {
        let there = growth.beyond(at)?.min(end);
        if there <= at {
            break;
        }
        let mut piece = vec![0; PIECE.min(usize::try_from(there - at).unwrap_or(PIECE))];
        growth.read_at(&mut piece, at)?;
        at += piece.len() as u64;
        if sender.blocking_send(Ok(piece.into())).is_err() {
            break;
        }
    }
    Ok(())
}

struct FileBody {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// `None` where nobody knows.
    left: Option<u64>,
    sent: Option<Sent>,
}

impl Body for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let piece = match self.pieces.poll_recv(context) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(None) if self.left.is_some_and(|left| left > 0) => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Poll::Ready(None) => return Poll::Ready(None),
            Poll::Ready(Some(piece)) => piece,
        };
        Poll::Ready(Some(piece.map(|piece| {
            self.left = self.left.map(|left| left.saturating_sub(piece.len() as u64));
            if let Some(sent) = &self.sent {
                sent(piece.len() as u64);
            }
            Frame::data(piece)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
