//! Bodies of responses.

use crate::blobs::BlobBody;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http_body::{Body as HttpBody, Frame, SizeHint};
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// How much of a file is read at once: enough that asking a thread costs little beside it.
const PIECE_BYTES: u64 = 256 << 10;

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
            BlobBody::File { file, range } => file_stream(file, range),
            BlobBody::Stream(stream) => stream,
        };
        Self { left: length, source: Source::Stream(source) }
    }
}

/// Reads a file piece by piece; the next piece is read while one is sent, so two are in memory.
fn file_stream(file: File, range: Range<u64>) -> BoxStream<'static, hako_error::Result<Bytes>> {
    let file = Arc::new(file);
    let starts = (range.start..range.end).step_by(usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX));
    stream::iter(starts)
        .map(move |start| {
            let (file, length) = (Arc::clone(&file), PIECE_BYTES.min(range.end - start));
            let read = tokio::task::spawn_blocking(move || {
                let mut piece = vec![0; usize::try_from(length).unwrap_or_default()];
                file.read_exact_at(&mut piece, start).map(|()| Bytes::from(piece))
            });
            async move {
                let failed = |source: Box<dyn std::error::Error + Send + Sync>| {
                    hako_error::Error::new(hako_error::Kind::Internal, "read a blob").with_source(source)
                };
                match read.await {
                    Ok(piece) => piece.map_err(|error| failed(error.into())),
                    Err(error) => Err(failed(error.into())),
                }
            }
        })
        .buffered(2)
        .boxed()
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
