//! Writing that waits until there is no more to write.
//!
//! hyper's HTTP/2 hands each answer to the transport and flushes it before it looks at the next one. Of 32 answers
//! that are ready at once, each would be a TLS record and a system call of its own, and would wake the client once.
//! Here a flush only counts once the connection's task has nothing more to do, and where that is little, once the
//! other tasks that are ready have had their turn: of writes that one commit made durable, each answers from a task of
//! its own.
//!
//! INVARIANT: bytes that are written while a connection is polled go to the transport before that poll ends, or before
//! one that is due as soon as the worker's ready tasks have run; unless it takes no more, then its waker is the
//! connection's. Whoever has the transport otherwise, after an upgrade, flushes as usual.

use std::future::poll_fn;
use std::io::{Error, ErrorKind, IoSlice, Result, Write as _};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker, ready};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// Less than this waits for what other tasks are about to add.
const LITTLE_BYTES: usize = 8 << 10;
/// How much is gathered before it is sent in any case: three TLS records, which are one packet of the loopback interface, where
/// four are two of half the length.
const FULL_BYTES: usize = 3 * RECORD_BYTES;
/// What a TLS record holds at most (RFC 8446, section 5.1).
pub(super) const RECORD_BYTES: usize = 16 << 10;
/// From this length on, what is written alone is not copied together with what follows.
const LARGE_BYTES: usize = 4 << 10;

/// A transport that makes records of what it is given and keeps them until it is flushed.
pub(super) trait Records: AsyncRead + AsyncWrite + Unpin {
    /// Takes what is given, as one record where one holds it. Returns how much it took, which is not nothing.
    fn seal(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize>;
}

impl Records for TlsStream<TcpStream> {
    fn seal(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        let mut writer = self.get_mut().1.writer();
        // It takes nothing where its keys had to be renewed first.
        for _ in 0..2 {
            let taken = writer.write_vectored(bufs)?;
            if taken > 0 {
                return Ok(taken);
            }
        }
        Err(Error::from(ErrorKind::WriteZero))
    }
}

/// A transport's reading and writing side.
pub(super) struct Gathered<S>(Arc<Mutex<Gather<S>>>);

/// Who says when to send.
pub(super) struct Sender<S>(Arc<Mutex<Gather<S>>>);

struct Gather<S> {
    transport: S,
    /// What is in no record yet; less than one holds.
    out: Vec<u8>,
    /// How much is in records that are not sent.
    sealed: usize,
    is_polled: bool,
}

/// Both sides of a connection with TLS.
pub(super) fn gathered_tls(
    mut stream: TlsStream<TcpStream>,
) -> (Gathered<TlsStream<TcpStream>>, Sender<TlsStream<TcpStream>>) {
    // How much is held is bounded here, where it is known what belongs together.
    stream.get_mut().1.set_buffer_limit(None);
    gathered(stream)
}

/// Both sides of a transport.
fn gathered<S>(transport: S) -> (Gathered<S>, Sender<S>) {
    let gather = Gather { transport, out: Vec::new(), sealed: 0, is_polled: false };
    let gather = Arc::new(Mutex::new(gather));
    (Gathered(Arc::clone(&gather)), Sender(gather))
}

impl<S: Records> Sender<S> {
    /// Runs a connection on the other side, and sends what it writes.
    pub(super) async fn run<T>(&self, mut connection: Pin<&mut impl Future<Output = T>>) -> T {
        let (mut outcome, turn) = (None, Turn::default());
        poll_fn(|context| {
            if outcome.is_none() {
                self.0.lock().is_polled = true;
                if let Poll::Ready(end) = connection.as_mut().poll(context) {
                    outcome = Some(end);
                }
            }
            let mut gather = self.0.lock();
            gather.is_polled = false;
            if outcome.is_none() && gather.has_little() && !turn.is_over(context) {
                return Poll::Pending;
            }
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

/// A turn of the other tasks that are ready on this worker.
#[derive(Default)]
struct Turn(Arc<Others>);

#[derive(Default)]
struct Others {
    is_awaited: AtomicBool,
    had_theirs: AtomicBool,
    connection: AtomicWaker,
}

impl Turn {
    /// Whether one is over since this was first asked; if not, its end wakes the task.
    fn is_over(&self, context: &mut Context<'_>) -> bool {
        let others = &self.0;
        others.connection.register(context.waker());
        if others.had_theirs.swap(false, Ordering::AcqRel) {
            others.is_awaited.store(false, Ordering::Release);
            return true;
        }
        if !others.is_awaited.swap(true, Ordering::AcqRel) {
            // The runtime wakes who yields once it has nothing else to do, or has done much else.
            let waker = Waker::from(Arc::clone(others));
            let _ = pin!(tokio::task::yield_now()).poll(&mut Context::from_waker(&waker));
        }
        false
    }
}

impl Wake for Others {
    fn wake(self: Arc<Self>) {
        self.had_theirs.store(true, Ordering::Release);
        self.connection.wake();
    }
}

impl<S: Records> Gather<S> {
    fn has_little(&self) -> bool {
        // What the transport did not take waits for the transport.
        self.sealed == 0 && !self.out.is_empty() && self.out.len() < LITTLE_BYTES
    }

    /// Makes records of all that is in none.
    fn seal_out(&mut self) -> Result<()> {
        let mut taken = 0;
        while taken < self.out.len() {
            taken += self.transport.seal(&[IoSlice::new(&self.out[taken..])])?;
        }
        self.sealed += taken;
        self.out.clear();
        Ok(())
    }

    fn poll_send(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        self.seal_out()?;
        ready!(Pin::new(&mut self.transport).poll_flush(context))?;
        self.sealed = 0;
        Poll::Ready(Ok(()))
    }

    /// Makes room for what is to be written, if there is none.
    fn poll_room(&mut self, context: &mut Context<'_>) -> Poll<Result<()>> {
        if self.out.len() + self.sealed < FULL_BYTES { Poll::Ready(Ok(())) } else { self.poll_send(context) }
    }

    /// What is little is copied together; what is not is sealed from where it is, and begins a record.
    fn take(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize> {
        let length: usize = bufs.iter().map(|buf| buf.len()).sum();
        let is_alone = self.out.is_empty() && length >= LARGE_BYTES;
        if !is_alone && self.out.len() + length <= RECORD_BYTES {
            bufs.iter().for_each(|buf| self.out.extend_from_slice(buf));
            return Ok(length);
        }
        self.seal_out()?;
        let taken = if length > FULL_BYTES {
            let first = bufs.iter().find(|buf| !buf.is_empty()).map_or(&[][..], |buf| buf);
            self.transport.seal(&[IoSlice::new(&first[..first.len().min(FULL_BYTES)])])?
        } else {
            self.transport.seal(bufs)?
        };
        self.sealed += taken;
        Ok(taken)
    }
}

impl<S: Records> AsyncRead for Gathered<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.0.lock().transport).poll_read(context, buf)
    }
}

impl<S: Records> AsyncWrite for Gathered<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &[u8]) -> Poll<Result<usize>> {
        self.poll_write_vectored(context, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let mut gather = self.0.lock();
        ready!(gather.poll_room(context))?;
        Poll::Ready(gather.take(bufs))
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
        ready!(gather.poll_send(context))?;
        Pin::new(&mut gather.transport).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

    /// Notes how much each record holds.
    struct Noting {
        stream: DuplexStream,
        held: Vec<u8>,
        records: Arc<Mutex<Vec<usize>>>,
    }

    impl Noting {
        fn new(stream: DuplexStream) -> (Self, Arc<Mutex<Vec<usize>>>) {
            let records = Arc::new(Mutex::new(Vec::new()));
            (Self { stream, held: Vec::new(), records: Arc::clone(&records) }, records)
        }
    }

    impl Records for Noting {
        fn seal(&mut self, bufs: &[IoSlice<'_>]) -> Result<usize> {
            let before = self.held.len();
            bufs.iter().for_each(|buf| self.held.extend_from_slice(buf));
            self.records.lock().push(self.held.len() - before);
            Ok(self.held.len() - before)
        }
    }

    impl AsyncRead for Noting {
        fn poll_read(
            mut self: Pin<&mut Self>,
            context: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<Result<()>> {
            Pin::new(&mut self.stream).poll_read(context, buf)
        }
    }

    impl AsyncWrite for Noting {
        fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<Result<usize>> {
            unreachable!("all of it goes into records")
        }

        fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
            let Self { stream, held, .. } = self.get_mut();
            while !held.is_empty() {
                let written = ready!(Pin::new(&mut *stream).poll_write(context, held))?;
                held.drain(..written);
            }
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
            Pin::new(&mut self.stream).poll_shutdown(context)
        }
    }

    #[tokio::test]
    async fn what_a_connection_writes_in_one_go_is_sent_in_one_go() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let (transport, records) = Noting::new(ours);
        let (mut side, sender) = gathered(transport);
        let connection = pin!(async move {
            for _ in 0..32 {
                side.write_all(b"0123456789").await.unwrap();
                side.flush().await.unwrap();
            }
            side
        });
        let mut side = sender.run(connection).await;
        assert_eq!(*records.lock(), [320]);
        let mut read = [0; 320];
        theirs.read_exact(&mut read).await.unwrap();
        // Outside of the connection, a flush is one.
        side.write_all(b"upgraded").await.unwrap();
        side.flush().await.unwrap();
        assert_eq!(*records.lock(), [320, 8]);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn what_other_tasks_are_about_to_add_is_sent_with_what_is_there() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let (transport, records) = Noting::new(ours);
        let (mut side, sender) = gathered(transport);
        let (tell, mut told) = tokio::sync::mpsc::unbounded_channel::<[u8; 10]>();
        let told_by = tell.clone();
        let (started, running) = tokio::sync::oneshot::channel();
        // On the worker, which runs the connection after each of those that tell it something.
        let all = tokio::spawn(async move {
            let running = tokio::spawn(async move {
                let connection = pin!(async move {
                    while let Some(bytes) = told.recv().await {
                        side.write_all(&bytes).await.unwrap();
                        side.flush().await.unwrap();
                    }
                });
                sender.run(connection).await;
            });
            for _ in 0..32 {
                let tell = told_by.clone();
                tokio::spawn(async move { tell.send(*b"0123456789").unwrap() });
            }
            let _ = started.send(running);
        });
        let mut read = [0; 320];
        theirs.read_exact(&mut read).await.unwrap();
        drop(tell);
        all.await.unwrap();
        running.await.unwrap().await.unwrap();
        assert_eq!(*records.lock(), [320]);
    }

    #[tokio::test]
    async fn a_transport_that_takes_little_gets_everything_in_order() {
        let (ours, mut theirs) = tokio::io::duplex(100);
        let (mut side, sender) = gathered(Noting::new(ours).0);
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

    #[tokio::test]
    async fn what_is_large_begins_a_record_and_is_not_held_beyond_what_is_full() {
        let (ours, mut theirs) = tokio::io::duplex(1 << 20);
        let (transport, records) = Noting::new(ours);
        let (mut side, sender) = gathered(transport);
        let (head, body) = ([b'h'; 9], vec![b'x'; RECORD_BYTES - 9]);
        let frame = [IoSlice::new(&head), IoSlice::new(&body)];
        let connection = pin!(async move {
            side.write_all(b"little").await.unwrap();
            for _ in 0..6 {
                assert_eq!(side.write_vectored(&frame).await.unwrap(), RECORD_BYTES);
            }
            side.write_all(b"little").await.unwrap();
            side.write_all(b" and little").await.unwrap();
            assert_eq!(side.write(&vec![b'x'; 1 << 20]).await.unwrap(), FULL_BYTES);
        });
        sender.run(connection).await;
        let of_frames = [RECORD_BYTES; 6];
        assert_eq!(*records.lock(), [&[6], &of_frames[..], &[17, FULL_BYTES]].concat());
        let mut read = vec![0; 6 + 6 * RECORD_BYTES + 17 + FULL_BYTES];
        theirs.read_exact(&mut read).await.unwrap();
        assert_eq!(read[..6 + 9 + 1], *b"littlehhhhhhhhhx");
    }
}
