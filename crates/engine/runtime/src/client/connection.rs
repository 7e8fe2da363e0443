//! Requests and answers over a shim's socket.

use std::collections::HashMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use hako_error::{Error, Kind, Result};
use parking_lot::Mutex;
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::sync::{Mutex as AsyncMutex, broadcast, oneshot};

use crate::types::ShimEvent;
use crate::wire::{Answer, Assembler, FromShim, Request, ToShim, frame};

/// Events kept for a receiver that is slow; beyond them it is told that it lagged.
const EVENTS: usize = 256;

type Reply = Result<(Answer, Vec<OwnedFd>)>;

#[derive(Debug)]
struct Shared {
    socket: UnixStream,
    /// `None` once the connection ended.
    waiting: Mutex<Option<HashMap<u64, oneshot::Sender<Reply>>>>,
    events: broadcast::Sender<ShimEvent>,
}

#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    number: AtomicU64,
    writing: AsyncMutex<()>,
    reader: tokio::task::JoinHandle<()>,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

fn gone() -> Error {
    Error::new(Kind::Unavailable, "the sandbox's shim is gone; its containers ended with it")
}

impl Connection {
    pub fn new(socket: OwnedFd) -> Result<Self> {
        let failed =
            |error: io::Error| Error::new(Kind::Internal, "cannot use a shim's socket").with_source(error);
        let socket = std::os::unix::net::UnixStream::from(socket);
        socket.set_nonblocking(true).map_err(failed)?;
        let shared = Arc::new(Shared {
            socket: UnixStream::from_std(socket).map_err(failed)?,
            waiting: Mutex::new(Some(HashMap::new())),
            events: broadcast::channel(EVENTS).0,
        });
        let reader = tokio::spawn(read(shared.clone()));
        Ok(Self { shared, number: AtomicU64::new(1), writing: AsyncMutex::new(()), reader })
    }

    pub fn events(&self) -> broadcast::Receiver<ShimEvent> {
        self.shared.events.subscribe()
    }

    pub async fn call(&self, request: Request, fds: &[OwnedFd]) -> Reply {
        let number = self.number.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = oneshot::channel();
        match self.shared.waiting.lock().as_mut() {
            Some(waiting) => waiting.insert(number, sender),
            None => return Err(gone()),
        };
        let failed = |error: io::Error| {
            Error::new(Kind::Unavailable, "cannot write to the sandbox's shim").with_source(error)
        };
        let bytes = frame(&ToShim { number, request }, fds.len()).map_err(failed)?;
        {
            // Frames must not mix.
            let _turn = self.writing.lock().await;
            self.write(&bytes, fds).await.map_err(failed)?;
        }
        receiver.await.unwrap_or_else(|_| Err(gone()))
    }

    async fn write(&self, bytes: &[u8], fds: &[OwnedFd]) -> io::Result<()> {
        let mut sent = 0;
        while sent < bytes.len() {
            let with: Vec<BorrowedFd<'_>> =
                if sent == 0 { fds.iter().map(AsFd::as_fd).collect() } else { Vec::new() };
            let socket = &self.shared.socket;
            sent += socket
                .async_io(Interest::WRITABLE, || hako_sys::send(socket.as_fd(), &bytes[sent..], &with))
                .await?;
        }
        Ok(())
    }
}

async fn read(shared: Arc<Shared>) {
    let mut assembler = Assembler::default();
    let mut data = vec![0; 16 << 10];
    loop {
        let mut fds = Vec::new();
        let receive = || hako_sys::receive_nonblocking(shared.socket.as_fd(), &mut data, &mut fds);
        let count = match shared.socket.async_io(Interest::READABLE, receive).await {
            Ok(0) | Err(_) => break,
            Ok(count) => count,
        };
        assembler.push(&data[..count], fds);
        loop {
            match assembler.next::<FromShim>() {
                Ok(Some((message, fds))) => shared.deliver(message, fds),
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "a shim sent what is no frame");
                    return shared.end();
                }
            }
        }
    }
    shared.end();
}

impl Shared {
    fn deliver(&self, message: FromShim, fds: Vec<OwnedFd>) {
        let (to, reply) = match message {
            FromShim::Event(event) => {
                // Nobody listening is fine.
                let _nobody = self.events.send(event);
                return;
            }
            FromShim::Reply { to, answer } => (to, Ok((answer, fds))),
            FromShim::Failed { to, kind, message } => (to, Err(Error::new(kind.into(), message))),
        };
        let waiting = self.waiting.lock().as_mut().and_then(|waiting| waiting.remove(&to));
        if let Some(waiting) = waiting {
            // The caller may have withdrawn.
            let _withdrawn = waiting.send(reply);
        }
    }

    fn end(&self) {
        drop(self.waiting.lock().take());
        let _nobody = self.events.send(ShimEvent::Gone);
    }
}
