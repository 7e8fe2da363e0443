//! What a transfer tells while it runs.

use hako_names::{Digest, ImageRef};
use std::fmt;
use std::sync::Arc;

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

/// Who is told. Calls come from several threads and should return at once.
#[derive(Clone, Default)]
pub struct Progress(Option<Arc<dyn Fn(Event) + Send + Sync>>);

impl Progress {
    /// Tells `listener`.
    pub fn new(listener: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(listener)))
    }

    /// Tells nobody.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    pub(crate) fn tell(&self, event: Event) {
        if let Some(listener) = &self.0 {
            listener(event);
        }
    }

    pub(crate) fn layer(&self, digest: Digest, state: LayerState) {
        self.tell(Event::Layer { digest, state });
    }
}

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Progress(told)" } else { "Progress(none)" })
    }
}
