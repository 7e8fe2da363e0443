//! Files that the kernel sends: sendfile(2) beneath hyper, for HTTP/1.1 without TLS.
//!
//! ```text
//!   body ──► segment of a file ──► Queue ─────────────────────────┐
//!     └────► StandIn, as long as the segment ──► hyper ──► Direct ┴► sendfile
//! ```
//!
//! hyper hides the socket: it asks a body for buffers and hands them on to the connection. A [`StandIn`] is such a
//! buffer. What it shows lies in memory that nobody writes and nobody reads; by its address the connection knows that
//! the next segment of its queue is meant, and has the kernel send that.
//!
//! Owns: the queue of a connection, and the socket. Does not own: when a segment is read ahead (`file`). Invariant:
//! HTTP/1.1 sends buffers in the order in which bodies gave them, so the first stand-in is of the first segment; a body
//! that is given up ends its connection.

use super::patience::Backlog;
use bytes::{Buf, Bytes};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// The longest segment.
pub(super) const SEGMENT_BYTES: usize = 512 << 10;

/// What stand-ins show: zeroed by the kernel, and never touched.
static SHOWN: LazyLock<Box<[u8]>> = LazyLock::new(|| vec![0; SEGMENT_BYTES].into());

/// A part of a file that is to be sent.
#[derive(Debug)]
struct Segment {
    file: Arc<File>,
    offset: u64,
    left: usize,
}

/// The segments of a connection that are not sent yet, in order.
#[derive(Clone, Debug, Default)]
pub(super) struct Queue(Arc<Mutex<VecDeque<Segment>>>);

impl Queue {
    /// Queues at most [`SEGMENT_BYTES`] of a file; what it returns has to be the next buffer of the connection.
    pub(super) fn push(&self, file: Arc<File>, offset: u64, length: usize) -> StandIn {
        debug_assert!(length <= SEGMENT_BYTES);
        self.0.lock().push_back(Segment { file, offset, left: length });
        StandIn { left: length }
    }

    /// Sends of the first segment what the socket takes at once; fails with `WouldBlock` if that is nothing.
    fn send(&self, stream: &TcpStream) -> io::Result<usize> {
        let mut segments = self.0.lock();
        let Some(segment) = segments.front_mut() else {
            return Err(io::Error::other("a stand-in without a segment"));
        };
        let sent = rustix::fs::sendfile(stream, &*segment.file, Some(&mut segment.offset), segment.left)?;
        if sent == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is too short"));
        }
        segment.left -= sent;
        if segment.left == 0 {
            segments.pop_front();
        }
        Ok(sent)
    }
}

/// As many bytes as a segment has.
#[derive(Debug)]
pub(crate) struct StandIn {
    left: usize,
}

/// What hyper is given to send.
#[derive(Debug)]
pub(crate) enum Piece {
    /// These bytes.
    Bytes(Bytes),
    /// The next segment of the connection's queue.
    Segment(StandIn),
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        match self {
            Self::Bytes(bytes) => bytes.len(),
            Self::Segment(stand_in) => stand_in.left,
        }
    }

    fn chunk(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Segment(stand_in) => &SHOWN[..stand_in.left],
        }
    }

    fn advance(&mut self, count: usize) {
        match self {
            Self::Bytes(bytes) => bytes.advance(count),
            Self::Segment(stand_in) => stand_in.left -= count,
        }
    }
}

fn is_stand_in(slice: &[u8]) -> bool {
    !slice.is_empty() && SHOWN.as_ptr_range().contains(&slice.as_ptr())
}

/// A connection that knows stand-ins.
#[derive(Debug)]
pub(super) struct Direct {
    stream: TcpStream,
    queue: Queue,
}

impl Direct {
    pub(super) fn new(stream: TcpStream, queue: Queue) -> Self {
        Self { stream, queue }
    }

    fn poll_send(&self, context: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.stream.poll_write_ready(context))?;
            match self.stream.try_io(Interest::WRITABLE, || self.queue.send(&self.stream)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                done => return Poll::Ready(done),
            }
        }
    }
}

impl Backlog for Direct {
    fn backlog(&self) -> usize {
        self.stream.backlog()
    }
}

impl AsyncRead for Direct {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Direct {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let is_empty = |slice: &&IoSlice<'_>| slice.is_empty();
        let slices = &slices[slices.iter().take_while(is_empty).count()..];
        let real = slices.iter().take_while(|slice| !is_stand_in(slice)).count();
        if real == 0 && !slices.is_empty() {
            return self.poll_send(context);
        }
        Pin::new(&mut self.stream).poll_write_vectored(context, &slices[..real])
    }

    fn is_write_vectored(&self) -> bool {
        // Without it hyper would copy what stand-ins show.
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    async fn pair() -> (TcpStream, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (client, listener.accept().await.unwrap().0)
    }

    fn file(bytes: &[u8]) -> Arc<File> {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(bytes).unwrap();
        Arc::new(file)
    }

    #[tokio::test]
    async fn stand_ins_become_their_segments_between_the_bytes_around_them() {
        let (mut client, server) = pair().await;
        let queue = Queue::default();
        let mut direct = Direct::new(server, queue.clone());
        let large: Vec<u8> = (0..SEGMENT_BYTES + 9).map(|at| (at % 253) as u8).collect();
        let file = file(&large);
        let expected = [b"head".as_slice(), &large[9..], &large[..5], b"tail"].concat();
        let reader = tokio::spawn(async move {
            let mut got = vec![0; expected.len()];
            client.read_exact(&mut got).await.unwrap();
            assert!(got == expected);
        });
        let mut pieces = [
            Piece::Bytes(Bytes::from_static(b"head")),
            Piece::Segment(queue.push(Arc::clone(&file), 9, SEGMENT_BYTES)),
            Piece::Segment(queue.push(file, 0, 5)),
            Piece::Bytes(Bytes::from_static(b"tail")),
        ];
        while let Some(first) = pieces.iter().position(Buf::has_remaining) {
            let slices: Vec<IoSlice<'_>> =
                pieces[first..].iter().map(|piece| IoSlice::new(piece.chunk())).collect();
            let mut sent = direct.write_vectored(&slices).await.unwrap();
            for piece in &mut pieces[first..] {
                let part = sent.min(piece.remaining());
                piece.advance(part);
                sent -= part;
            }
        }
        reader.await.unwrap();
        assert!(queue.0.lock().is_empty());
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_ends_the_connection_with_an_error() {
        let (_client, server) = pair().await;
        let queue = Queue::default();
        let mut direct = Direct::new(server, queue.clone());
        let mut piece = Piece::Segment(queue.push(file(b"abc"), 0, 10));
        piece.advance(direct.write(piece.chunk()).await.unwrap());
        assert_eq!(piece.remaining(), 7);
        let error = direct.write(piece.chunk()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
