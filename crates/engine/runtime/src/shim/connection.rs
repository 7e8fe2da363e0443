//! One connection of the engine.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::wire::{Assembler, FromShim, frame};

/// Bytes waiting for an engine that does not read; beyond them it is disconnected and has to catch up by `State`.
const MAX_WAITING: usize = 1 << 20;

#[derive(Debug)]
pub(super) struct Connection {
    pub socket: OwnedFd,
    pub assembler: Assembler,
    waiting: Vec<u8>,
}

impl Connection {
    pub fn new(socket: OwnedFd) -> Self {
        Self { socket, assembler: Assembler::default(), waiting: Vec::new() }
    }

    /// Sends a message, or keeps what does not fit; an error means the connection is to be dropped.
    pub fn send(&mut self, message: &FromShim, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let bytes = frame(message, fds.len())?;
        if !fds.is_empty() && !self.waiting.is_empty() {
            // Descriptors must go with their frame's first byte, so what waits goes first.
            rustix::io::ioctl_fionbio(&self.socket, false)?;
            let result =
                self.flush().and_then(|()| crate::wire::send_blocking(self.socket.as_fd(), message, fds));
            rustix::io::ioctl_fionbio(&self.socket, true)?;
            return result;
        }
        if !fds.is_empty() {
            let sent = hako_sys::send(self.socket.as_fd(), &bytes, fds)?;
            self.waiting.extend_from_slice(&bytes[sent..]);
            return Ok(());
        }
        self.waiting.extend_from_slice(&bytes);
        if self.waiting.len() > MAX_WAITING {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.flush()
    }

    pub fn flush(&mut self) -> io::Result<()> {
        while !self.waiting.is_empty() {
            match hako_sys::send(self.socket.as_fd(), &self.waiting, &[]) {
                Ok(sent) => drop(self.waiting.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        self.waiting = Vec::new();
        Ok(())
    }

    pub fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }
}
