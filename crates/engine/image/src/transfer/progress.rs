//! What a transfer tells while it runs, and what it is told: to stop.

use hako_names::{Digest, ImageRef};
use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The name was resolved.
    Resolved {
        /// What was asked for.
        name: ImageRef,
        /// The digest that the registry has under that name: of the index, where it is one.
        digest: Digest,
    },
    /// A layer or configuration is in another state, or further in it.
    Layer {
        /// The blob's digest.
        digest: Digest,
        /// The state.
        state: LayerState,
    },
    /// All is done.
    Finished {
        /// The digest that the registry has under the name.
        digest: Digest,
        /// Whether nothing had to be moved.
        is_up_to_date: bool,
        /// Bytes that went over the network.
        moved: u64,
        /// Bytes of the image's layers that did not have to: already here, or chunks that are.
        saved: u64,
    },
}

/// Where a layer is on its way. Bytes are those of the blob as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LayerState {
    /// Others come first.
    Waiting,
    /// Bytes come.
    Downloading {
        /// How many came.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// The connection broke; it continues.
    Resuming {
        /// From this byte.
        at: u64,
    },
    /// All bytes came; digests are compared.
    Verifying,
    /// It is unpacked.
    Extracting {
        /// How many bytes were decompressed and applied.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// It is here, or there, already.
    Exists,
    /// The registry takes it from another of its repositories.
    Mounted {
        /// That repository.
        from: String,
    },
    /// Bytes go.
    Uploading {
        /// How many went.
        done: u64,
        /// Of how many.
        total: u64,
    },
    /// Done.
    Done {
        /// Bytes that were not moved because chunks with the same content are here.
        saved: u64,
    },
}

/// The wish that work on other threads ends early: its user has gone, or another part of it has failed. Clones are the
/// same wish.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    is_wanted: Arc<AtomicBool>,
    /// The wish of those for whom this is only a part.
    above: Option<Arc<AtomicBool>>,
}

impl Stop {
    /// Wishes it.
    pub fn stop(&self) {
        self.is_wanted.store(true, Ordering::Relaxed);
    }

    /// Whether it is wished.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        let above = self.above.as_ref().is_some_and(|above| above.load(Ordering::Relaxed));
        above || self.is_wanted.load(Ordering::Relaxed)
    }

    /// Wishes it when the guard is dropped, as that of a request is whose client has gone.
    pub fn on_drop(&self) -> StopOnDrop {
        StopOnDrop(self.clone())
    }

    /// What reads as `reader` does until it is wished, and fails from then on.
    pub fn reader<R: Read>(&self, reader: R) -> Stoppable<R> {
        Stoppable { reader, stop: self.clone() }
    }

    /// A wish for a part of the work, which ends with the whole.
    pub(crate) fn of_a_part(&self) -> Self {
        Self { is_wanted: Arc::default(), above: Some(self.is_wanted.clone()) }
    }

    /// An error that ends whatever reads or writes.
    pub(crate) fn check(&self) -> io::Result<()> {
        if self.is_wanted() {
            return Err(io::Error::new(io::ErrorKind::ConnectionAborted, "it was stopped"));
        }
        Ok(())
    }
}

/// See [`Stop::on_drop`].
#[derive(Debug)]
#[must_use = "dropped at once, it stops at once"]
pub struct StopOnDrop(Stop);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.stop();
    }
}

/// See [`Stop::reader`].
#[derive(Debug)]
pub struct Stoppable<R> {
    reader: R,
    stop: Stop,
}

impl<R: Read> Read for Stoppable<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stop.check()?;
        self.reader.read(buffer)
    }
}

/// Who is told. Calls come from several threads and should return at once.
#[derive(Clone, Default)]
pub struct Progress {
    listener: Option<Arc<dyn Fn(Event) + Send + Sync>>,
    stop: Stop,
}

impl Progress {
    /// Tells `listener`.
    pub fn new(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self { listener: Some(Arc::new(listener)), stop: Stop::default() }
    }

    /// Tells nobody.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// Ends [`ImageStore::load`] early when `stop` says so: what is being unpacked then goes.
    ///
    /// [`ImageStore::load`]: crate::ImageStore::load
    #[must_use]
    pub fn until(self, stop: &Stop) -> Self {
        Self { stop: stop.clone(), ..self }
    }

    pub(crate) fn stop(&self) -> &Stop {
        &self.stop
    }

    pub(crate) fn tell(&self, event: Event) {
        if let Some(listener) = &self.listener {
            listener(event);
        }
    }

    pub(crate) fn layer(&self, digest: Digest, state: LayerState) {
        self.tell(Event::Layer { digest, state });
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.listener.is_some() { "Progress(told)" } else { "Progress(none)" })
    }
}
