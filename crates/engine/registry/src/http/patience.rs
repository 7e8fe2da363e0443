//! How long a connection is waited for: places for them are few, and whoever takes one without using it keeps others out.
//!
//! ```text
//! accepted ── first request within 30 s ──► busy ◄──► idle for at most 120 s ──► told to end ── 120 s ──► cut off
//!                                            └── takes nothing of an answer for 60 s ──► cut off
//! ```
//! By HTTP/1.1 the socket tells who takes nothing. By HTTP/2 it does not: a client that opens no window leaves nothing to be
//! written, and goes on to answer pings; so it is looked at whether any answer goes on.
//!
//! What a request itself brings is waited for in `request`.

use http_body::{Body, Frame, SizeHint};
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::os::fd::AsFd as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Sleep;

const FIRST_LIMIT: Duration = Duration::from_secs(30);
pub(super) const IDLE_LIMIT: Duration = Duration::from_secs(120);
pub(super) const STALL_LIMIT: Duration = Duration::from_secs(60);

/// The requests of a connection.
#[derive(Debug, Default)]
pub(super) struct Activity(watch::Sender<Requests>);

#[derive(Clone, Copy, Debug, Default)]
struct Requests {
    running: usize,
    /// Those of them that wait for the client to take a part of the answer.
    offered: usize,
    ended: u64,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Running {
    activity: Arc<Activity>,
    is_offered: bool,
}

impl Activity {
    /// A request that runs until this is dropped.
    pub(super) fn begin(self: &Arc<Self>) -> Running {
        self.0.send_modify(|requests| requests.running += 1);
        Running { activity: Arc::clone(self), is_offered: false }
    }

    /// Waits until nobody has asked for anything for too long.
    pub(super) async fn idle(&self) {
        let first = |ended| if ended == 0 { FIRST_LIMIT } else { IDLE_LIMIT };
        self.unchanged(|requests| (requests.running == 0).then(|| first(requests.ended))).await;
    }

    /// Waits until nothing of any answer was taken for too long.
    pub(super) async fn stalled(&self) {
        self.unchanged(|requests| (requests.offered > 0).then_some(STALL_LIMIT)).await;
    }

    /// Waits until the requests have stayed as they are for as long as `limit` makes of them.
    async fn unchanged(&self, limit: impl Fn(Requests) -> Option<Duration>) {
        let mut requests = self.0.subscribe();
        loop {
            let limit = limit(*requests.borrow_and_update());
            tokio::select! {
                biased;
                // The sender is ours: it does not go.
                _ = requests.changed() => {}
                () = tokio::time::sleep(limit.unwrap_or_default()), if limit.is_some() => return,
            }
        }
    }
}

impl Running {
    /// Says that the answer goes on, and whether it is for the client now to take what there is of it.
    fn goes_on(&mut self, is_offered: bool) {
        let was_offered = std::mem::replace(&mut self.is_offered, is_offered);
        self.activity.0.send_modify(|requests| {
            requests.offered = requests.offered + usize::from(is_offered) - usize::from(was_offered);
        });
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.activity.0.send_modify(|requests| {
            requests.running -= 1;
            requests.offered -= usize::from(self.is_offered);
            requests.ended += 1;
        });
    }
}

/// What is sent of an answer: as long as it is, its request runs.
#[derive(Debug)]
pub(super) struct Answer<B> {
    pub(super) body: B,
    pub(super) running: Running,
    /// Whether the socket does not tell that nothing is taken.
    pub(super) is_watched: bool,
}

impl<B: Body + Unpin> Body for Answer<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if self.is_watched {
            // Where there is nothing yet, the client is not to blame.
            self.running.goes_on(polled.is_ready());
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// What tells how much of what was written the other side has not taken.
pub(super) trait Backlog {
    /// In bytes.
    fn backlog(&self) -> usize;
}

impl Backlog for TcpStream {
    fn backlog(&self) -> usize {
        // It does not fail on a socket; if it did, nothing would be taken.
        hako_sys::unread_by_peer(self.as_fd()).unwrap_or(usize::MAX)
    }
}

/// A connection whose other side has to take what it is sent.
#[derive(Debug)]
pub(super) struct Patient<S> {
    stream: S,
    stalled: Option<Stalled>,
}

/// Nothing could be written since.
#[derive(Debug)]
struct Stalled {
    limit: Pin<Box<Sleep>>,
    /// When the limit began.
    backlog: usize,
}

impl<S: Backlog> Patient<S> {
    pub(super) fn new(stream: S) -> Self {
        Self { stream, stalled: None }
    }

    fn watch<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        let Self { stream, stalled } = self;
        let stalled = stalled.get_or_insert_with(|| Stalled {
            limit: Box::pin(tokio::time::sleep(STALL_LIMIT)),
            backlog: stream.backlog(),
        });
        while stalled.limit.as_mut().poll(context).is_ready() {
            // The kernel says that there is room only once a third of its buffer, up to 4 MiB, is free.
            let backlog = stream.backlog();
            if backlog >= stalled.backlog {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            stalled.backlog = backlog;
            stalled.limit.as_mut().reset(tokio::time::Instant::now() + STALL_LIMIT);
        }
        Poll::Pending
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

impl<S: AsyncWrite + Backlog + Unpin> AsyncWrite for Patient<S> {
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
    use std::io::Read as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
    use tokio::time::Instant;

    impl Backlog for DuplexStream {
        fn backlog(&self) -> usize {
            // It is written as soon as there is any room.
            0
        }
    }

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

    /// Whether a little more is written, if that is known at once.
    async fn write(stream: &mut Patient<TcpStream>) -> Poll<io::Result<usize>> {
        // What one turn may do is bounded.
        tokio::task::yield_now().await;
        std::future::poll_fn(|context| Poll::Ready(Pin::new(&mut *stream).poll_write(context, &[0; 1 << 14])))
            .await
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_less_than_the_kernel_needs_to_say_so_is_not_cut_off() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = tokio::net::TcpSocket::new_v4().unwrap();
        // Otherwise the kernel takes more than the client reads.
        client.set_recv_buffer_size(128 << 10).unwrap();
        let client = client.connect(listener.local_addr().unwrap()).await.unwrap();
        let mut client = client.into_std().unwrap();
        client.set_nonblocking(false).unwrap();
        let mut server = Patient::new(listener.accept().await.unwrap().0);
        while write(&mut server).await.is_ready() {}
        let over = STALL_LIMIT + Duration::from_millis(1);
        for _ in 0..2 {
            let before = server.stream.backlog();
            client.read_exact(&mut [0; 128 << 10]).unwrap();
            while server.stream.backlog() >= before {
                tokio::task::yield_now().await;
            }
            tokio::time::advance(over).await;
            assert!(write(&mut server).await.is_pending());
        }
        let cut = loop {
            // The last that was read may be acknowledged late.
            tokio::time::advance(over).await;
            if let Poll::Ready(cut) = write(&mut server).await {
                break cut;
            }
        };
        assert_eq!(cut.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_is_idle_without_a_first_request_and_long_after_the_last_and_never_during_one() {
        let activity = Arc::new(Activity::default());
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
