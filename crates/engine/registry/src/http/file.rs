//! A file's bytes as a stream of pieces: read into buffers, or as segments that the kernel sends.
//!
//! Owns: the buffers, and reading ahead. Does not own: the connection. Invariant: at most [`BUFFERS`] are in memory for
//! one response; of segments, nothing is.

use super::sendfile::{Piece, Queue, SEGMENT_BYTES};
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt as _};
use hako_error::{Error, Kind, Result};
use rustix::fs::Advice;
use rustix::io::ReadWriteFlags;
use std::collections::VecDeque;
use std::fs::File;
use std::io::IoSliceMut;
use std::num::NonZeroU64;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// How much is read at once: enough that a system call costs little beside it, and it stays in the processor's cache
/// until it is sent.
const PIECE_BYTES: usize = 128 << 10;
/// What is read, not sent by the kernel.
const READ_BYTES: u64 = 4 << 20;
/// What the connection holds unsent, and the one that is filled.
const BUFFERS: usize = 4;

/// The bytes of `range`, read when they are asked for.
pub(super) fn pieces(file: File, range: Range<u64>) -> BoxStream<'static, Result<Piece>> {
    let pieces = Pieces { file: Arc::new(file), range, sent: VecDeque::with_capacity(BUFFERS) };
    stream::try_unfold(pieces, |mut pieces| async move {
        Ok(pieces.next().await?.map(|piece| (Piece::Bytes(piece), pieces)))
    })
    .boxed()
}

/// Whether sending segments is cheaper than reading: measured, in docs/decisions/0009-sendfile.md.
pub(super) fn is_worth_segments(range: &Range<u64>) -> bool {
    range.end.saturating_sub(range.start) > READ_BYTES
}

/// The bytes of `range` as segments of a connection's queue.
pub(super) fn segments(file: File, range: Range<u64>, queue: Queue) -> BoxStream<'static, Result<Piece>> {
    let segments = Segments { file: Arc::new(file), range, queue };
    stream::try_unfold(segments, |mut segments| async move {
        Ok(segments.next().await?.map(|piece| (piece, segments)))
    })
    .boxed()
}

struct Segments {
    file: Arc<File>,
    range: Range<u64>,
    queue: Queue,
}

impl Segments {
    async fn next(&mut self) -> Result<Option<Piece>> {
        let (start, left) = (self.range.start, self.range.end.saturating_sub(self.range.start));
        let length = usize::try_from(left).map_or(SEGMENT_BYTES, |left| left.min(SEGMENT_BYTES));
        if length == 0 {
            return Ok(None);
        }
        let last = start + length as u64 - 1;
        if !(is_cached(&self.file, start) && is_cached(&self.file, last)) {
            self.read_ahead(last).await?;
        }
        self.range.start = last + 1;
        Ok(Some(Piece::Segment(self.queue.push(Arc::clone(&self.file), start, length))))
    }

    /// Waits until the disk has given the bytes up to `last`, as sendfile(2) would, but holds up no other request; the
    /// next segment is asked for too.
    async fn read_ahead(&self, last: u64) -> Result<()> {
        let (file, start) = (Arc::clone(&self.file), self.range.start);
        let read = tokio::task::spawn_blocking(move || {
            let window = NonZeroU64::new(2 * SEGMENT_BYTES as u64);
            // Where the file system knows no such advice, the pages are read one by one as they are sent.
            let _ = rustix::fs::fadvise(&*file, start, window, Advice::WillNeed);
            file.read_exact_at(&mut [0], last)
        });
        match read.await {
            Ok(read) => read.map_err(|error| failed().with_source(error)),
            Err(error) => Err(failed().with_source(error)),
        }
    }
}

/// Whether the page cache has the byte at `offset`.
fn is_cached(file: &File, offset: u64) -> bool {
    let mut byte = [0];
    let mut parts = [IoSliceMut::new(&mut byte)];
    rustix::io::preadv2(file, &mut parts, offset, ReadWriteFlags::NOWAIT) == Ok(1)
}

struct Pieces {
    file: Arc<File>,
    range: Range<u64>,
    /// Buffers that the connection may have sent already, the oldest first.
    sent: VecDeque<Bytes>,
}

impl Pieces {
    async fn next(&mut self) -> Result<Option<Bytes>> {
        let left = self.range.end.saturating_sub(self.range.start);
        let length = usize::try_from(left).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        if length == 0 {
            return Ok(None);
        }
        let mut buffer = self.buffer();
        let count = match self.read_cached(&mut buffer[..length]) {
            Some(count) => count,
            None => {
                buffer = self.read_from_disk(buffer, length).await?;
                length
            }
        };
        self.range.start += count as u64;
        let buffer = buffer.freeze();
        let piece = buffer.slice(..count);
        self.sent.push_back(buffer);
        Ok(Some(piece))
    }

    /// The oldest buffer if it was sent, else a new one; it is neither allocated nor zeroed again for each piece.
    fn buffer(&mut self) -> BytesMut {
        let fresh = || BytesMut::zeroed(PIECE_BYTES);
        match self.sent.pop_front().map(Bytes::try_into_mut) {
            Some(Ok(sent)) => sent,
            Some(Err(unsent)) if self.sent.len() + 1 < BUFFERS => {
                self.sent.push_front(unsent);
                fresh()
            }
            _ => fresh(),
        }
    }

    /// Reads what the page cache has, without waiting: handing that to a thread costs more than the copy. `None`
    /// where the disk, or a file system that cannot tell, has to be asked.
    fn read_cached(&self, buffer: &mut [u8]) -> Option<usize> {
        let mut parts = [IoSliceMut::new(buffer)];
        let read = rustix::io::preadv2(&*self.file, &mut parts, self.range.start, ReadWriteFlags::NOWAIT);
        read.ok().filter(|count| *count > 0)
    }

    async fn read_from_disk(&self, mut buffer: BytesMut, length: usize) -> Result<BytesMut> {
        let (file, start) = (Arc::clone(&self.file), self.range.start);
        let read = tokio::task::spawn_blocking(move || {
            file.read_exact_at(&mut buffer[..length], start).map(|()| buffer)
        });
        match read.await {
            Ok(read) => read.map_err(|error| failed().with_source(error)),
            Err(error) => Err(failed().with_source(error)),
        }
    }
}

fn failed() -> Error {
    Error::new(Kind::Internal, "read a blob")
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Buf as _;

    fn file(bytes: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        file
    }

    fn numbers(count: usize) -> Vec<u8> {
        (0..count).map(|at| u8::try_from(at % 251).unwrap_or_default()).collect()
    }

    #[tokio::test]
    async fn a_range_is_read_whole_and_in_order_also_while_earlier_pieces_are_held() {
        let bytes = numbers(PIECE_BYTES * 9 + 77);
        let range = 5..bytes.len() as u64 - 3;
        let held: Vec<Piece> =
            pieces(file(&bytes), range.clone()).map(|piece| piece.unwrap()).collect().await;
        let held: Vec<&[u8]> = held.iter().map(|piece| piece.chunk()).collect();
        assert_eq!(held.concat(), bytes[5..bytes.len() - 3]);
        let mut stream = pieces(file(&bytes), range);
        let mut at = 5;
        while let Some(piece) = stream.next().await {
            let piece = piece.unwrap();
            assert_eq!(piece.chunk(), &bytes[at..at + piece.remaining()]);
            at += piece.remaining();
        }
        assert_eq!(at, bytes.len() - 3);
    }

    #[tokio::test]
    async fn segments_cover_a_range_and_hold_none_of_it() {
        let bytes = numbers(SEGMENT_BYTES * 2 + 77);
        let range = 5..bytes.len() as u64;
        let all: Vec<Piece> =
            segments(file(&bytes), range, Queue::default()).map(|piece| piece.unwrap()).collect().await;
        let lengths: Vec<usize> = all.iter().map(|piece| piece.remaining()).collect();
        assert_eq!(lengths, [SEGMENT_BYTES, SEGMENT_BYTES, 72]);
        assert!(all.iter().all(|piece| matches!(piece, Piece::Segment(_))));
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error() {
        let mut stream = pieces(file(b"abc"), 0..10);
        assert_eq!(stream.next().await.unwrap().unwrap().chunk(), b"abc");
        assert!(stream.next().await.unwrap().is_err());
        assert!(segments(file(b"abc"), 0..10, Queue::default()).next().await.unwrap().is_err());
    }
}
