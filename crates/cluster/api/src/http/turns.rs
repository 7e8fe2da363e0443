//! Of the long answers on one connection, two are sent at a time.
//!
//! HTTP/2 would take a frame of each in turn, and a client that asks for 32 lists at once would hold 32 halves, of which
//! none is ready. Of a list of 7.4 MB, 32 at once, that cost kload 13.5 ms of CPU, four at a time 8.8, two 7.5 and one 7.3
//! (a server like the bench's `floor`). With two, one is made while the other is sent.
//!
//! They are handed on in frames of HTTP/2 that fill a TLS record each: where a frame ends in the next record, a client
//! waits for two, and copies what it has. For the last see [`Held`].
//!
//! INVARIANT: no answer waits for one that its client does not take: whose turn it is and who is not asked for more
//! within [`PAUSE`] loses it to whoever waits.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use hako_client::Body;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;
use parking_lot::Mutex;
use tokio::time::{Instant, Sleep, sleep_until};

use super::gathered::RECORD_BYTES;

/// Far more than a client that goes on reading takes for what is buffered.
const PAUSE: Duration = Duration::from_millis(50);

/// What one TLS record holds besides the head of its frame (RFC 9113, section 4.1).
const FRAME_BYTES: usize = RECORD_BYTES - 9;
/// What fills half a record.
const HALF_BYTES: usize = RECORD_BYTES / 2 - 9;

/// How many answers have their turn.
const AT_ONCE: usize = 2;

/// In the extensions of an answer: its body is long, and made as fast as it is taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Long;

/// Whose turn it is on a connection.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<Queue>);

#[derive(Debug, Default)]
struct Queue {
    last: u64,
    /// Whose turn it is, and when each was last asked for more.
    turns: Vec<(u64, Instant)>,
    waiting: VecDeque<(u64, Waker)>,
}

impl Turns {
    /// The same body, which waits for its turn.
    pub(super) fn body(self: &Arc<Self>, body: Body) -> Body {
        let number = {
            let mut queue = self.0.lock();
            queue.last += 1;
            queue.last
        };
        InTurn { body, held: Held::default(), turns: Arc::clone(self), number, pause: None }.boxed_unsync()
    }
}

impl Queue {
    /// Whether it is the turn of a body; if not, when that is to be asked again at the latest.
    fn ask(&mut self, number: u64, context: &Context<'_>) -> Result<(), Instant> {
        let now = Instant::now();
        if let Some((_, asked)) = self.turns.iter_mut().find(|(holder, _)| *holder == number) {
            *asked = now;
            return Ok(());
        }
        if self.turns.len() >= AT_ONCE {
            let longest = self.turns.iter().enumerate().min_by_key(|(_, (_, asked))| *asked);
            if let Some((at, due)) = longest.map(|(at, (_, asked))| (at, *asked + PAUSE)) {
                if now < due {
                    self.wait(number, context.waker().clone());
                    return Err(due);
                }
                self.turns.swap_remove(at);
            }
        }
        self.waiting.retain(|(waiting, _)| *waiting != number);
        self.turns.push((number, now));
        Ok(())
    }

    fn wait(&mut self, number: u64, waker: Waker) {
        match self.waiting.iter_mut().find(|(waiting, _)| *waiting == number) {
            Some((_, before)) => *before = waker,
            None => self.waiting.push_back((number, waker)),
        }
    }

    /// A body is done with its turn, or waits for none any more.
    fn leave(&mut self, number: u64) {
        self.waiting.retain(|(waiting, _)| *waiting != number);
        self.turns.retain(|(holder, _)| *holder != number);
        if self.turns.len() < AT_ONCE
            && let Some((next, waker)) = self.waiting.pop_front()
        {
            self.turns.push((next, Instant::now()));
            waker.wake();
        }
    }
}

/// A body that waits for its turn.
struct InTurn {
    body: Body,
    held: Held,
    turns: Arc<Turns>,
    number: u64,
    pause: Option<Pin<Box<Sleep>>>,
}

/// What a body has made and nobody has taken.
///
/// Its last frame is longer than half a record. Clients of hyper, as those in Rust are, read into room for half a record,
/// which they make room for a whole one where a frame does not fit; in what the last frame leaves of it they read what comes
/// next, so that it stays. They hold all frames of an answer until they put them together. Frames and whole together are a few
/// KiB more than twice the whole, from which length on glibc gives what is free back to the kernel, and takes it anew for the
/// next list, page by page: 15 MB of a list of 7.6. Without the room of one frame it is less.
#[derive(Default)]
struct Held {
    parts: VecDeque<Bytes>,
    bytes: usize,
    /// What follows it and is no data.
    last: Option<Result<Frame<Bytes>, hako_error::Error>>,
    is_ended: bool,
}

impl Held {
    /// Whether the next frame can be told: how long the last but one is depends on the last.
    fn is_enough(&self) -> bool {
        self.is_ended || self.last.is_some() || self.bytes >= 2 * FRAME_BYTES
    }

    fn add(&mut self, frame: Option<Result<Frame<Bytes>, hako_error::Error>>) {
        match frame.map(|frame| frame.map(Frame::into_data)) {
            None => self.is_ended = true,
            Some(Ok(Ok(data))) => {
                self.bytes += data.len();
                if !data.is_empty() {
                    self.parts.push_back(data);
                }
            }
            Some(Ok(Err(other))) => self.last = Some(Ok(other)),
            Some(Err(error)) => self.last = Some(Err(error)),
        }
    }

    /// The next frame.
    fn take(&mut self) -> Option<Result<Frame<Bytes>, hako_error::Error>> {
        if self.bytes == 0 {
            return self.last.take();
        }
        let is_all = self.is_ended || self.last.is_some();
        let length = match self.bytes {
            bytes if bytes <= FRAME_BYTES => bytes,
            bytes if is_all && bytes <= FRAME_BYTES + HALF_BYTES => HALF_BYTES,
            _ => FRAME_BYTES,
        };
        self.bytes -= length;
        Some(Ok(Frame::data(self.split(length))))
    }

    /// The first bytes, copied together only where they are of several parts.
    fn split(&mut self, length: usize) -> Bytes {
        if let Some(first) = self.parts.front_mut().filter(|first| first.len() > length) {
            return first.split_to(length);
        }
        if self.parts.front().is_some_and(|first| first.len() == length) {
            return self.parts.pop_front().unwrap_or_default();
        }
        let mut whole = Vec::with_capacity(length);
        while let Some(first) = self.parts.front_mut()
            && whole.len() < length
        {
            let some = first.split_to(first.len().min(length - whole.len()));
            whole.extend_from_slice(&some);
            if first.is_empty() {
                self.parts.pop_front();
            }
        }
        Bytes::from(whole)
    }
}

impl InTurn {
    fn leave(&self) {
        self.turns.0.lock().leave(self.number);
    }
}

impl http_body::Body for InTurn {
    type Data = Bytes;
    type Error = hako_error::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            let asked = self.turns.0.lock().ask(self.number, context);
            let Err(until) = asked else { break };
            let pause = self.pause.get_or_insert_with(|| Box::pin(sleep_until(until)));
            pause.as_mut().reset(until);
            ready!(pause.as_mut().poll(context));
        }
        let this = &mut *self;
        while !this.held.is_enough() {
            this.held.is_ended = this.body.is_end_stream();
            if this.held.is_ended {
                break;
            }
            match Pin::new(&mut this.body).poll_frame(context) {
                Poll::Ready(frame) => this.held.add(frame),
                Poll::Pending if this.held.bytes == 0 => {
                    this.leave();
                    return Poll::Pending;
                }
                // What is there does not wait for what is not.
                Poll::Pending => break,
            }
        }
        let frame = this.held.take();
        let goes_on = matches!(&frame, Some(Ok(_))) && !self.is_end_stream();
        if !goes_on {
            self.leave();
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.held.bytes == 0 && self.held.last.is_none() && (self.held.is_ended || self.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, held) = (self.body.size_hint(), self.held.bytes as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + held);
        }
        hint.set_lower(hint.lower() + held);
        hint
    }
}

impl Drop for InTurn {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt as _;

    /// As many bodies as have their turn at once, and one more, of as many frames, on one connection.
    fn bodies(frames: usize) -> [Body; AT_ONCE + 1] {
        let turns = Arc::new(Turns::default());
        std::array::from_fn(|_| {
            let frames = (0..frames).map(|_| Ok(Frame::data(Bytes::from_static(&[b'x'; FRAME_BYTES]))));
            turns.body(http_body_util::StreamBody::new(futures::stream::iter(frames)).boxed_unsync())
        })
    }

    async fn next(body: &mut Body) -> Option<Bytes> {
        body.frame().await.map(|frame| frame.unwrap().into_data().unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn one_more_begins_when_another_is_done() {
        let [mut first, mut second, mut third] = bodies(3);
        let began = Instant::now();
        next(&mut first).await.unwrap();
        next(&mut second).await.unwrap();
        let mut rest = tokio::spawn(async move {
            next(&mut third).await.unwrap();
            Instant::now()
        });
        for _ in 0..2 {
            tokio::time::advance(PAUSE / 2).await;
            assert!((&mut rest).now_or_never().is_none());
            next(&mut first).await.unwrap();
            next(&mut second).await.unwrap();
        }
        assert!(next(&mut first).await.is_none());
        assert_eq!(rest.await.unwrap() - began, PAUSE, "at once, and not after one more pause");
    }

    #[tokio::test(start_paused = true)]
    async fn those_that_are_not_taken_hold_up_nobody_for_long_and_go_on_later() {
        let [mut first, mut second, mut third] = bodies(2);
        next(&mut first).await.unwrap();
        next(&mut second).await.unwrap();
        let began = Instant::now();
        while next(&mut third).await.is_some() {}
        assert_eq!(began.elapsed().as_millis(), PAUSE.as_millis());
        for mut held in [first, second] {
            assert!(next(&mut held).await.is_some());
            assert!(next(&mut held).await.is_none());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_is_given_up_holds_up_nobody() {
        let [mut first, mut second, mut third] = bodies(2);
        next(&mut first).await.unwrap();
        next(&mut second).await.unwrap();
        assert!(next(&mut third).now_or_never().is_none());
        drop(first);
        assert!(next(&mut third).now_or_never().is_some());
    }

    /// The sizes of the frames in which a body of such parts comes, which has to be whole.
    async fn frames(parts: &[usize]) -> Vec<usize> {
        let text: Bytes = (0..parts.iter().sum()).map(|at| (at % 251) as u8).collect();
        let mut rest = text.clone();
        let parts: Vec<_> = parts.iter().map(|part| Ok(Frame::data(rest.split_to(*part)))).collect();
        let body = http_body_util::StreamBody::new(futures::stream::iter(parts)).boxed_unsync();
        let mut body = Arc::new(Turns::default()).body(body);
        let (mut sizes, mut whole) = (Vec::new(), Vec::new());
        while let Some(data) = next(&mut body).await {
            sizes.push(data.len());
            whole.extend_from_slice(&data);
        }
        assert!(whole == text);
        sizes
    }

    #[tokio::test]
    async fn frames_fill_a_record_each_and_the_last_is_longer_than_half_a_record() {
        assert_eq!(
            frames(&[3, 2 * FRAME_BYTES + 5, FRAME_BYTES, 0, 7]).await,
            [FRAME_BYTES, FRAME_BYTES, HALF_BYTES, FRAME_BYTES + 15 - HALF_BYTES]
        );
        assert_eq!(frames(&[FRAME_BYTES, HALF_BYTES]).await, [HALF_BYTES, FRAME_BYTES]);
        assert_eq!(frames(&[FRAME_BYTES, HALF_BYTES, 1]).await, [FRAME_BYTES, HALF_BYTES + 1]);
        assert_eq!(frames(&[FRAME_BYTES, FRAME_BYTES, FRAME_BYTES]).await, [FRAME_BYTES; 3]);
        assert_eq!(frames(&[5, 6]).await, [11]);
        assert!(frames(&[]).await.is_empty());
    }

    #[tokio::test]
    async fn what_is_there_does_not_wait_for_what_is_not() {
        let (mut parts, stream) = futures::channel::mpsc::unbounded();
        let body = http_body_util::StreamBody::new(stream).boxed_unsync();
        let mut body = Arc::new(Turns::default()).body(body);
        assert!(next(&mut body).now_or_never().is_none());
        for text in ["first", "second"] {
            parts.start_send(Ok(Frame::data(Bytes::from_static(text.as_bytes())))).unwrap();
            assert_eq!(next(&mut body).now_or_never().unwrap().unwrap(), text);
        }
        let fault = hako_error::Error::new(hako_error::Kind::DataLoss, "it broke off");
        parts.start_send(Ok(Frame::data(Bytes::from_static(b"third")))).unwrap();
        parts.start_send(Err(fault)).unwrap();
        assert_eq!(next(&mut body).await.unwrap(), "third");
        assert!(body.frame().await.unwrap().is_err());
    }
}
