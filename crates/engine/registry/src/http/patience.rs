//! How long a connection is waited for: places for them are few, and whoever takes one without using it keeps others out.
//!
//! ```text
//! accepted ── first request within 30 s ──► busy ◄──► idle for at most 120 s ──► told to end
//!                                            └── takes nothing of an answer for 60 s ──► cut off
//! ```
//! What a request itself brings is waited for in `request`.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::Sleep;

const FIRST_LIMIT: Duration = Duration::from_secs(30);
const IDLE_LIMIT: Duration = Duration::from_secs(120);
const STALL_LIMIT: Duration = Duration::from_secs(60);

/// The requests of a connection.
#[derive(Debug, Default)]
pub(super) struct Activity(watch::Sender<Requests>);

#[derive(Clone, Copy, Debug, Default)]
struct Requests {
    running: usize,
    ended: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Running<'a>(&'a Activity);

impl Activity {
    /// A request that runs until this is dropped.
    pub(super) fn begin(&self) -> Running<'_> {
        self.0.send_modify(|requests| requests.running += 1);
        Running(self)
    }

    /// Waits until nobody has asked for anything for too long.
    pub(super) async fn idle(&self) {
        let mut requests = self.0.subscribe();
        loop {
            let Requests { running, ended } = *requests.borrow_and_update();
            let limit = if ended == 0 { FIRST_LIMIT } else { IDLE_LIMIT };
            tokio::select! {
                // The sender is ours: it does not go.
                _ = requests.changed() => {}
                () = tokio::time::sleep(limit), if running == 0 => return,
            }
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|requests| {
            requests.running -= 1;
            requests.ended += 1;
        });
    }
}

/// A connection whose other side has to take what it is sent.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    /// Since nothing was taken.
    stalled: Option<Pin<Box<Sleep>>>,
}

impl<S> Patient<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, stalled: None }
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(STALL_LIMIT)));
        let is_over = stalled.as_mut().poll(context).is_ready();
        if is_over { Poll::Ready(Err(io::ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Patient<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Patient<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.watch(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.watch(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        self.watch(context, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_shutdown(context);
        self.watch(context, polled)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_of_what_is_sent_is_cut_off_and_who_is_slow_is_not() {
        let (mut client, server) = tokio::io::duplex(16);
        let mut server = Patient::new(server);
        let sending = tokio::spawn(async move {
            let sent = server.write_all(&[0; 1024]).await;
            (sent, Instant::now())
        });
        for _ in 0..10 {
            tokio::time::sleep(STALL_LIMIT / 2).await;
            client.read_exact(&mut [0; 16]).await.unwrap();
        }
        let last = Instant::now();
        let (sent, ended) = sending.await.unwrap();
        assert_eq!(sent.unwrap_err().kind(), io::ErrorKind::TimedOut);
        // Timers count whole milliseconds.
        assert_eq!((ended - last).as_secs(), STALL_LIMIT.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_without_a_first_request_and_long_after_the_last_and_never_during_one() {
        let activity = Activity::default();
        let began = Instant::now();
        activity.idle().await;
        assert_eq!(began.elapsed().as_secs(), FIRST_LIMIT.as_secs());
        let long = async {
            let running = activity.begin();
            tokio::time::sleep(10 * IDLE_LIMIT).await;
            drop(running);
            Instant::now()
        };
        let (ended, idle) = tokio::join!(long, async {
            activity.idle().await;
            Instant::now()
        });
        assert_eq!((idle - ended).as_secs(), IDLE_LIMIT.as_secs());
    }
}
