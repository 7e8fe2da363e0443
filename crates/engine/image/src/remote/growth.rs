//! A file that one thread writes while another one reads what is there.

use parking_lot::{Condvar, Mutex};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What is known of such a file. Who writes it has to say how it ends, else its readers wait for ever.
#[derive(Debug)]
pub struct Growth {
    file: File,
    state: Mutex<State>,
    changed: Condvar,
    /// Counts whatever happens.
    life: AtomicU64,
}

#[derive(Debug)]
struct State {
    written: u64,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// More may come.
    Open,
    /// It is whole.
    Whole,
    /// It was given up.
    Cut,
}

impl Growth {
    /// An empty file, open for reading.
    #[must_use]
    pub fn new(file: File) -> Self {
        let state = Mutex::new(State { written: 0, end: End::Open });
        Self { file, state, changed: Condvar::new(), life: AtomicU64::new(0) }
    }

    /// Says that so many bytes more are in the file.
    pub fn grew(&self, count: u64) {
        self.state.lock().written += count;
        self.life.fetch_add(1, Ordering::Relaxed);
        self.changed.notify_all();
    }

    /// Says that no more comes, and whether it is whole. Only the first word counts.
    pub fn end(&self, is_whole: bool) {
        let mut state = self.state.lock();
        if state.end == End::Open {
            state.end = if is_whole { End::Whole } else { End::Cut };
        }
        drop(state);
        self.changed.notify_all();
    }

    pub(super) fn written(&self) -> u64 {
        self.state.lock().written
    }

    pub(super) fn is_over(&self) -> bool {
        self.state.lock().end != End::Open
    }

    pub(super) fn life(&self) -> u64 {
        self.life.load(Ordering::Relaxed)
    }

    /// Waits until there is something beyond `at`; returns how far it goes, which is `at` at the end.
    pub(super) fn beyond(&self, at: u64) -> io::Result<u64> {
        let mut state = self.state.lock();
        self.changed.wait_while(&mut state, |state| state.written <= at && state.end == End::Open);
        match state.end {
            End::Cut => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "what is sent was not made")),
            End::Open | End::Whole => Ok(state.written),
        }
    }

    pub(super) fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        self.life.fetch_add(1, Ordering::Relaxed);
        self.file.read_exact_at(buffer, at)
    }
}
