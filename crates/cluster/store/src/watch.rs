//! The stream that a watch is.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use futures::{Stream, StreamExt};

use crate::error::Result;
use crate::types::{Event, Revision};

/// Some events in order, and how far the watch has come. A revision is never split over two batches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Events below the prefix; empty if the batch only reports progress.
    pub events: Vec<Arc<Event>>,
    /// Everything below the prefix up to and including this revision has been delivered.
    pub revision: Revision,
}

/// A stream of [`Batch`]es. Ends after its first error.
pub struct Watch(BoxStream<'static, Result<Batch>>);

impl Watch {
    /// A watch over a stream of batches.
    pub fn new(stream: impl Stream<Item = Result<Batch>> + Send + 'static) -> Self {
        Self(stream.boxed())
    }

    /// The next batch; `None` once the store is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Batch>> {
        self.0.next().await
    }
}

impl Stream for Watch {
    type Item = Result<Batch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
