//! An attached client.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

/// Bytes waiting for a client, beyond which the container's output is held back.
const MAX_WAITING: usize = 64 << 10;

/// How long a client may hold a container's output back before it is detached.
const MAX_STALL: Duration = Duration::from_secs(10);

#[derive(Debug)]
pub(super) struct Attached {
    pub container: String,
    pub socket: OwnedFd,
    waiting: Vec<u8>,
    stalled: Option<Instant>,
    /// Whether it may still send input.
    pub has_input: bool,
    /// Whether it is let go when everything was sent.
    pub is_ending: bool,
}

impl Attached {
    pub fn new(container: String, socket: OwnedFd) -> Self {
        Self { container, socket, waiting: Vec::new(), stalled: None, has_input: true, is_ending: false }
    }

    /// Queues output of stream 1 or 2.
    pub fn push(&mut self, stream: u8, data: &[u8]) {
        self.waiting.push(stream);
        self.waiting.extend_from_slice(&(data.len() as u32).to_le_bytes());
        self.waiting.extend_from_slice(data);
    }

    pub fn flush(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match hako_sys::send(self.socket.as_fd(), &self.waiting, &[]) {
                Ok(sent) => {
                    self.waiting.drain(..sent);
                    self.stalled = None;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.stalled.get_or_insert_with(Instant::now);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.waiting = Vec::new();
        Ok(())
    }

    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Whether output is to wait for this client.
    pub fn is_full(&self) -> bool {
        self.waiting.len() > MAX_WAITING
    }

    /// Whether it has held output back for too long.
    pub fn is_stuck(&self) -> bool {
        self.is_full() && self.stalled.is_some_and(|since| since.elapsed() > MAX_STALL)
    }
}
