//! Bodies of responses.

use crate::blobs::BlobBody;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};

/// What a response carries.
pub(crate) struct Body {
    /// Bytes still to come, so that `Content-Length` is right.
    left: u64,
    source: Source,
}

enum Source {
    Full(Option<Bytes>),
    Stream(BoxStream<'static, hako_error::Result<Bytes>>),
}

impl Body {
    pub(crate) fn empty() -> Self {
        Self { left: 0, source: Source::Full(None) }
    }

    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self { left: bytes.len() as u64, source: Source::Full(Some(bytes)) }
    }

    /// A part of a blob that has `length` bytes.
    pub(crate) fn blob(body: BlobBody, length: u64) -> Self {
        let source = match body {
            BlobBody::File { file, range } => super::file::pieces(file, range),
            BlobBody::Stream(stream) => stream,
        };
        Self { left: length, source: Source::Stream(source) }
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = hako_error::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let next = match &mut self.source {
            Source::Full(bytes) => Poll::Ready(bytes.take().map(Ok)),
            Source::Stream(stream) => stream.poll_next_unpin(context),
        };
        if let Poll::Ready(Some(Ok(bytes))) = &next {
            self.left = self.left.saturating_sub(bytes.len() as u64);
        }
        next.map(|next| next.map(|bytes| bytes.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}
