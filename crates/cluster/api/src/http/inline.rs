//! Answers that are ready at once take no task of their own.

use std::task::{Context, Waker};

use hyper::rt::Executor;

/// Polls once where a future is handed over, and has the runtime go on with it only if it was not done.
///
/// A read of one object never waits: as a task it would cost an allocation, the waking of another thread and the
/// contention of both for the connection's state. What takes its time yields first and so becomes a task, because
/// meanwhile the connection could do nothing else.
#[derive(Clone, Copy, Debug)]
pub(super) struct Inline;

impl<F> Executor<F> for Inline
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    fn execute(&self, future: F) {
        let mut future = Box::pin(future);
        // Whoever it waits for need wake nobody: the runtime polls a new task in any case.
        let mut context = Context::from_waker(Waker::noop());
        if future.as_mut().poll(&mut context).is_pending() {
            tokio::spawn(future);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio::sync::Notify;

    #[tokio::test]
    async fn what_is_ready_is_done_at_once_and_what_waits_is_done_later() {
        let done = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&done);
        Inline.execute(async move { mark.store(true, Ordering::Release) });
        assert!(done.load(Ordering::Acquire));

        let (asked, answered) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (waits, tells) = (Arc::clone(&asked), Arc::clone(&answered));
        Inline.execute(async move {
            waits.notified().await;
            tells.notify_one();
        });
        asked.notify_one();
        answered.notified().await;
    }
}
