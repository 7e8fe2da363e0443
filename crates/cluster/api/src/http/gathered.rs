//! Writing that waits until there is no more to write.
//!
//! hyper's HTTP/2 hands each answer to the transport and flushes it before it looks at the next one. Of 32 answers
//! that are ready at once, each would be a TLS record and a system call of its own, and would wake the client once.
//! Here a flush only counts once the connection's task has nothing more to do.
//!
//! INVARIANT: bytes that are written while a connection is polled go to the transport before that poll ends, unless it
//! takes no more; then its waker is the connection's. Whoever has the transport otherwise, after an upgrade, flushes
//! as usual.

use std::future::poll_fn;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is gathered before it is sent in any case: four TLS records.
const FULL_BYTES: usize = 64 << 10;
/// A buffer that is larger becomes this small once it is empty: most connections write little.
const KEPT_BYTES: usize = 32 << 10;

/// A transport's reading and writing side.
pub(super) struct Gathered<S>(Arc<Mutex<Gather<S>>>);

/// Who says when to send.
pub(super) struct Sender<S>(Arc<Mutex<Gather<S>>>);

struct Gather<S> {
    transport: S,
    out: Vec<u8>,
    /// Of `out`: how much the transport has taken.
    sent: usize,
    is_polled: bool,
}

/// Both sides of a transport.
pub(super) fn gathered<S>(transport: S) -> (Gathered<S>, Sender<S>) {
    let gather = Gather { transport, out: Vec::new(), sent: 0, is_polled: false };
    let gather = Arc::new(Mutex::new(gather));
    (Gathered(Arc::clone(&gather)), Sender(gather))
}

impl<S: AsyncWrite + Unpin> Sender<S> {
    /// Runs a connection on the other side, and sends what it writes.
    pub(super) async fn run<T>(&self, mut connection: Pin<&mut impl Future<Output = T>>) -> T {
        let mut outcome = None;
        poll_fn(|context| {
            if outcome.is_none() {
                self.0.lock().is_polled = true;
                if let Poll::Ready(end) = connection.as_mut().poll(context) {
                    outcome = Some(end);
                }
            }
            let mut gather = self.0.lock();
            gather.is_polled = false;
            // A fault shows itself to the connection with its next read or write.
            let sent = gather.poll_send(context);
            match outcome.take_if(|_| sent.is_ready()) {
                Some(end) => Poll::Ready(end),
                None => Poll::Pending,
            }
        })
        .await
    }
}

impl<S: AsyncWrite + Unpin> Gather<S> {
    fn poll_drain(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        while self.sent < self.out.len() {
            match ready!(Pin::new(&mut self.transport).poll_write(context, &self.out[self.sent..]))? {
                0 => return Poll::Ready(Err(Error::from(ErrorKind::WriteZero))),
                sent => self.sent += sent,
            }
        }
        self.sent = 0;
        self.out.clear();
        self.out.shrink_to(KEPT_BYTES);
        Poll::Ready(Ok(()))
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        ready!(self.poll_drain(context))?;
        Pin::new(&mut self.transport).poll_flush(context)
    }

    /// Makes room for what is to be written, if there is none.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.out.len() < FULL_BYTES { Poll::Ready(Ok(())) } else { self.poll_drain(context) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0.lock().transport).poll_read(context, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        let mut gather = self.0.lock();
        ready!(gather.poll_room(context))?;
        gather.out.extend_from_slice(buf);
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let mut gather = self.0.lock();
        ready!(gather.poll_room(context))?;
        bufs.iter().for_each(|buf| gather.out.extend_from_slice(buf));
        Poll::Ready(Ok(bufs.iter().map(|buf| buf.len()).sum()))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let mut gather = self.0.lock();
        if gather.is_polled { Poll::Ready(Ok(())) } else { gather.poll_send(context) }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        let mut gather = self.0.lock();
        ready!(gather.poll_drain(context))?;
        Pin::new(&mut gather.transport).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Notes how much each write brings.
    struct Noting<S> {
        stream: S,
        writes: Arc<Mutex<Vec<usize>>>,
    }

    impl<S: AsyncWrite + Unpin> AsyncWrite for Noting<S> {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<Result<usize>> {
            let written = ready!(Pin::new(&mut self.stream).poll_write(context, buf))?;
            self.writes.lock().push(written);
            Poll::Ready(Ok(written))
        }

        fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.stream).poll_flush(context)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(context)
        }
    }

    #[tokio::test]
    async fn what_a_connection_writes_in_one_go_is_sent_in_one_go() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let writes = Arc::new(Mutex::new(Vec::new()));
        let (mut side, sender) = gathered(Noting { stream: ours, writes: Arc::clone(&writes) });
        let connection = pin!(async move {
            for _ in 0..32 {
                side.write_all(b"0123456789").await.unwrap();
                side.flush().await.unwrap();
            }
            side
        });
        let mut side = sender.run(connection).await;
        assert_eq!(*writes.lock(), [320]);
        let mut read = [0; 320];
        theirs.read_exact(&mut read).await.unwrap();
        // Outside of the connection, a flush is one.
        side.write_all(b"upgraded").await.unwrap();
        side.flush().await.unwrap();
        assert_eq!(*writes.lock(), [320, 8]);
    }

    #[tokio::test]
    async fn a_transport_that_takes_little_gets_everything_in_order() {
        let (ours, mut theirs) = tokio::io::duplex(100);
        let (mut side, sender) = gathered(ours);
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            theirs.read_to_end(&mut all).await.unwrap();
            all
        });
        let text: Vec<u8> = (0..300_000_u32).map(|at| (at % 251) as u8).collect();
        let sent = text.clone();
        let connection = pin!(async move {
            for chunk in sent.chunks(1000) {
                side.write_all(chunk).await.unwrap();
                side.flush().await.unwrap();
            }
        });
        sender.run(connection).await;
        drop(sender);
        assert!(reading.await.unwrap() == text);
    }
}
