//! Bodies of responses.

use super::file;
use super::sendfile::{Piece, Queue};
use crate::blobs::BlobBody;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a response carries.
pub(crate) struct Body {
    length: u64,
    source: Source,
}

enum Source {
    Full(Option<Bytes>),
    Blob(BlobBody),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self { length: 0, source: Source::Full(None) }
    }

    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { length: bytes.len() as u64, source: Source::Full(Some(bytes)) }
    }

    /// A part of a blob that has `length` bytes.
    pub(crate) fn blob(body: BlobBody, length: u64) -> Self {
        Self { length, source: Source::Blob(body) }
    }

    /// How many bytes it has.
    pub(crate) fn length(&self) -> u64 {
        self.length
    }

    /// The body on its way: with a queue, large parts of files are sent by the kernel.
    pub(crate) fn outgoing(self, queue: Option<Queue>) -> Outgoing {
        let pieces = match self.source {
            Source::Full(bytes) => Pieces::Full(bytes),
            Source::Blob(BlobBody::Stream(stream)) => {
                Pieces::Stream(stream.map(|bytes| bytes.map(Piece::Bytes)).boxed())
            }
            Source::Blob(BlobBody::File { file, range }) => match queue {
                Some(queue) if file::is_worth_segments(&range) => {
                    Pieces::Stream(file::segments(file, range, queue))
                }
                _ => Pieces::Stream(file::pieces(file, range)),
            },
        };
        Outgoing { left: self.length, pieces }
    }
}

/// A body that a connection sends.
pub(crate) struct Outgoing {
    /// Bytes still to come, so that `Content-Length` is right.
    left: u64,
    pieces: Pieces,
}

enum Pieces {
    Full(Option<Bytes>),
    Stream(BoxStream<'static, hako_error::Result<Piece>>),
}

impl HttpBody for Outgoing {
    type Data = Piece;
    type Error = hako_error::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Piece>, Self::Error>>> {
        let next = match &mut self.pieces {
            Pieces::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Piece::Bytes(bytes)))),
            Pieces::Stream(stream) => stream.poll_next_unpin(context),
        };
        if let Poll::Ready(Some(Ok(piece))) = &next {
            self.left = self.left.saturating_sub(bytes::Buf::remaining(piece) as u64);
        }
        next.map(|next| next.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
