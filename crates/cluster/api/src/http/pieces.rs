//! Bodies that are made while they are sent.
//!
//! INVARIANT: a body in the making holds its source and what [`CHUNK_BYTES`] and [`WHOLE_BYTES`] say, however large it
//! becomes; the next chunk is made when the client has room for it.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hako_error::{Error, Kind};
use http::{HeaderValue, Response, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;

use super::turns::Long;
use super::{Outcome, answer};

/// A body up to this size is made whole, so that it has a length and a failure an answer of its own.
pub(crate) const WHOLE_BYTES: usize = 128 << 10;
/// How much is made at a time. Each chunk wakes the connection, which another thread then works for: with 56 KiB, a list of
/// 7.4 MB cost an eighth more.
const CHUNK_BYTES: usize = 224 << 10;
/// Bytes from this length on are sent from where they are instead of being copied together with others.
pub(crate) const SHARED_BYTES: usize = 8 << 10;

/// What a step of making a body came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    /// It is written.
    Written,
    /// It goes on with these, after what is written.
    Shared(Bytes),
    /// There is no more.
    End,
}

/// Makes a body, one item at a time.
pub(crate) trait Pieces: Send + Unpin + 'static {
    /// What comes next and is to be sent from where it is, where that is so.
    fn ready(&mut self) -> Option<Bytes> {
        None
    }

    /// Writes the next piece behind what is there.
    fn next(&mut self, out: &mut Vec<u8>) -> Outcome<Piece>;
}

/// JSON that pieces make.
pub(crate) fn json_pieces(pieces: impl Pieces) -> Outcome {
    answer_of(pieces, "application/json")
}

/// Protobuf that pieces make.
pub(crate) fn protobuf_pieces(pieces: impl Pieces) -> Outcome {
    let mut answer = answer_of(pieces, crate::protobuf::MEDIA_TYPE)?;
    answer.headers_mut().append(header::VARY, HeaderValue::from_static("Accept"));
    Ok(answer)
}

/// What pieces make: whole if it is short, else a stream.
fn answer_of(pieces: impl Pieces, content_type: &'static str) -> Outcome {
    let (ready, last) = (VecDeque::new(), Bytes::new());
    let mut body = Made { pieces, ready, ready_bytes: 0, last, is_ended: false };
    while !body.is_ended && body.ready_bytes <= WHOLE_BYTES {
        body.make()?;
    }
    if body.is_ended && body.ready_bytes <= WHOLE_BYTES {
        return Ok(answer::respond(StatusCode::OK, content_type, body.whole()));
    }
    let mut response = Response::new(body.boxed_unsync());
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.extensions_mut().insert(Long);
    Ok(response)
}

/// A body in the making.
struct Made<P> {
    pieces: P,
    /// Chunks that are made and not sent.
    ready: VecDeque<Bytes>,
    ready_bytes: usize,
    /// The newest chunk, whose buffer is used again once it is sent: each would be memory that is given back and taken
    /// anew, page by page.
    last: Bytes,
    is_ended: bool,
}

impl<P: Pieces> Made<P> {
    /// Room for a chunk.
    fn room(&mut self) -> Vec<u8> {
        let mut room = match std::mem::take(&mut self.last).try_into_mut() {
            Ok(mut sent) => {
                sent.clear();
                Vec::from(sent)
            }
            Err(_) => Vec::new(),
        };
        room.reserve(CHUNK_BYTES + SHARED_BYTES);
        room
    }

    /// Makes the next chunk, or two where the second is shared.
    fn make(&mut self) -> Outcome<()> {
        if let Some(ready) = self.pieces.ready() {
            self.push(ready);
            return Ok(());
        }
        let mut out = self.room();
        let mut shared = None;
        while shared.is_none() && !self.is_ended && out.len() < CHUNK_BYTES {
            match self.pieces.next(&mut out)? {
                Piece::Written => {}
                Piece::Shared(bytes) => shared = Some(bytes),
                Piece::End => self.is_ended = true,
            }
        }
        if out.len() < CHUNK_BYTES {
            // What is short would pin the whole buffer until it is sent.
            out.shrink_to_fit();
        }
        let made = Bytes::from(out);
        self.last = made.clone();
        [Some(made), shared].into_iter().flatten().for_each(|chunk| self.push(chunk));
        Ok(())
    }

    fn push(&mut self, chunk: Bytes) {
        if !chunk.is_empty() {
            self.ready_bytes += chunk.len();
            self.ready.push_back(chunk);
        }
    }

    fn whole(mut self) -> Bytes {
        if self.ready.len() == 1 {
            return self.ready.pop_front().unwrap_or_default();
        }
        let mut all = Vec::with_capacity(self.ready_bytes);
        self.ready.iter().for_each(|chunk| all.extend_from_slice(chunk));
        Bytes::from(all)
    }
}

impl<P: Pieces> Body for Made<P> {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if self.ready.is_empty()
            && !self.is_ended
            && let Err(failure) = self.make()
        {
            self.is_ended = true;
            // The status is sent: breaking off is the only way left to say that this is not all.
            let text = format!("an answer broke off: {}", failure.status().message);
            return Poll::Ready(Some(Err(Error::new(Kind::DataLoss, text))));
        }
        let chunk = self.ready.pop_front();
        self.ready_bytes -= chunk.as_ref().map_or(0, Bytes::len);
        Poll::Ready(chunk.map(|chunk| Ok(Frame::data(chunk))))
    }

    fn is_end_stream(&self) -> bool {
        self.is_ended && self.ready.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = SizeHint::new();
        hint.set_lower(self.ready_bytes as u64);
        hint
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::Failure;

    /// Items of the same bytes, the last of which may be damaged.
    struct Items {
        left: usize,
        item: Bytes,
        is_damaged: bool,
    }

    impl Pieces for Items {
        fn next(&mut self, out: &mut Vec<u8>) -> Outcome<Piece> {
            if self.left == 0 {
                return if self.is_damaged { Err(Failure::bad_request("damaged")) } else { Ok(Piece::End) };
            }
            self.left -= 1;
            if self.item.len() >= SHARED_BYTES {
                return Ok(Piece::Shared(self.item.clone()));
            }
            out.extend_from_slice(&self.item);
            Ok(Piece::Written)
        }
    }

    fn items(left: usize, bytes: usize) -> Items {
        Items { left, item: Bytes::from(vec![b'x'; bytes]), is_damaged: false }
    }

    #[tokio::test]
    async fn a_short_body_has_a_length_and_a_long_one_comes_in_chunks() {
        let short = json_pieces(items(100, 1000)).unwrap();
        assert_eq!(short.body().size_hint().exact(), Some(100_000));
        let mut long = json_pieces(items(10_000, 1000)).unwrap().into_body();
        assert_eq!(long.size_hint().exact(), None);
        let mut sum = 0;
        while let Some(frame) = long.frame().await {
            let data = frame.unwrap().into_data().unwrap();
            assert!(data.len() <= CHUNK_BYTES + SHARED_BYTES, "a chunk of {}", data.len());
            sum += data.len();
        }
        assert_eq!(sum, 10_000_000);
    }

    #[tokio::test]
    async fn a_chunk_is_made_where_one_was_that_is_sent_and_never_where_one_waits() {
        let mut long = json_pieces(items(10_000, 1000)).unwrap().into_body();
        let mut next = async || long.frame().await.unwrap().unwrap().into_data().unwrap();
        // What was made to find out whether it is short.
        for _ in 0..3 {
            next().await;
        }
        let first = next().await;
        let at = first.as_ptr();
        drop(first);
        let second = next().await;
        assert_eq!(second.as_ptr(), at);
        let third = next().await;
        assert_ne!(third.as_ptr(), at);
        assert!(second.iter().chain(&third).all(|byte| *byte == b'x'));
    }

    #[tokio::test]
    async fn what_is_large_is_sent_from_where_it_is() {
        let source = items(3, 100_000);
        let at = source.item.as_ptr();
        let mut body = json_pieces(source).unwrap().into_body();
        for _ in 0..3 {
            assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap().as_ptr(), at);
        }
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn what_cannot_be_made_is_a_failure_at_first_and_breaks_off_a_body_later() {
        let damaged = |left| json_pieces(Items { is_damaged: true, ..items(left, 1000) });
        assert!(damaged(10).is_err());
        let mut body = damaged(1000).unwrap().into_body();
        let mut last = None;
        while let Some(frame) = body.frame().await {
            last = Some(frame.is_ok());
        }
        assert_eq!(last, Some(false));
    }
}
