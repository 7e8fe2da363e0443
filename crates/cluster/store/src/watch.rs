//! The stream that a watch is.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use futures::stream::BoxStream;
use futures::{FutureExt as _, Stream, StreamExt};
use tokio::sync::Notify;

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
pub struct Watch {
    batches: BoxStream<'static, Result<Batch>>,
    question: Arc<Question>,
}

/// Whether somebody wants to know how far a watch has come, although nothing happens below its prefix.
#[derive(Debug, Default)]
pub(crate) struct Question {
    is_asked: AtomicBool,
    asked: Notify,
}

impl Question {
    /// Whether it was asked since this was last called.
    pub(crate) fn take(&self) -> bool {
        self.is_asked.swap(false, Ordering::AcqRel)
    }

    /// Returns when it is asked.
    pub(crate) async fn asked(&self) {
        self.asked.notified().await;
    }
}

impl Watch {
    /// A watch over a stream of batches, which answers the question with one.
    pub(crate) fn new(
        stream: impl Stream<Item = Result<Batch>> + Send + 'static,
        question: Arc<Question>,
    ) -> Self {
        Self { batches: stream.boxed(), question }
    }

    /// The same with other batches.
    pub(crate) fn map<S: Stream<Item = Result<Batch>> + Send + 'static>(
        self,
        map: impl FnOnce(BoxStream<'static, Result<Batch>>) -> S,
    ) -> Self {
        Self { batches: map(self.batches).boxed(), question: self.question }
    }

    /// The next batch; `None` once the store is closed. Cancel-safe.
    pub async fn next(&mut self) -> Option<Result<Batch>> {
        self.batches.next().await
    }

    /// The next batch if there is one, else one without events that says how far the watch has come. Nothing if that
    /// is not known at once: the watch is behind, or the store is closed.
    pub fn progress(&mut self) -> Option<Result<Batch>> {
        self.question.is_asked.store(true, Ordering::Release);
        self.question.asked.notify_one();
        let batch = self.next().now_or_never().flatten();
        self.question.take();
        batch
    }
}

impl Stream for Watch {
    type Item = Result<Batch>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.batches.poll_next_unpin(cx)
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").finish_non_exhaustive()
    }
}
