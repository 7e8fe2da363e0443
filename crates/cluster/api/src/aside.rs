//! Work that takes its time on the processor and is asked for where nothing can be awaited.

use std::future::{pending, poll_fn};

use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::task::JoinSet;

/// Does `work` while the thread's other tasks go on elsewhere, where the runtime has more than one thread.
pub(crate) fn aside<R>(work: impl FnOnce() -> R) -> R {
    // Any other runtime has nowhere to go on with them, and would panic.
    let has_threads =
        Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if has_threads { tokio::task::block_in_place(work) } else { work() }
}

/// Does work that waits now and then, each stretch of it like [`aside`]. Whoever waits for it may give up in the middle
/// of a stretch; the work ends with that stretch.
pub(crate) async fn aside_between_waits<F>(work: F) -> F::Output
where
    F: Future<Output: Send> + Send + 'static,
{
    let mut work = Box::pin(work);
    let mut tasks = JoinSet::new();
    tasks.spawn(poll_fn(move |context| aside(|| work.as_mut().poll(context))));
    match tasks.join_next().await {
        Some(Ok(done)) => done,
        Some(Err(error)) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // The runtime ends, and this with it.
        _ => pending().await,
    }
}

#[cfg(test)]
mod tests {
    use super::{aside, aside_between_waits};
    use std::sync::mpsc::channel;
    use std::time::Duration;

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn who_waits_may_give_up_while_the_work_is_in_the_middle_of_something() {
        let (tell, told) = channel();
        let (ended, mut end) = tokio::sync::mpsc::channel::<()>(1);
        let work = aside_between_waits(async move {
            let _ended = ended;
            let _ = told.recv_timeout(Duration::from_secs(60));
            std::future::pending::<()>().await;
        });
        assert!(tokio::time::timeout(Duration::from_millis(1), work).await.is_err());
        tell.send(()).unwrap();
        assert_eq!(end.recv().await, None, "the work has been dropped");
        assert_eq!(aside_between_waits(async { 7 }).await, 7);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn other_tasks_go_on_meanwhile() {
        let (tell, told) = channel();
        let working = tokio::spawn(async move {
            tokio::spawn(async move { tell.send("went on") });
            aside(|| told.recv_timeout(Duration::from_secs(60)))
        });
        assert_eq!(working.await.unwrap(), Ok("went on"));
    }

    #[tokio::test]
    async fn on_one_thread_and_on_none_it_is_done_at_once() {
        assert_eq!(aside(|| 7), 7);
        let done = tokio::task::spawn_blocking(|| aside(|| 8)).await.unwrap();
        assert_eq!((done, std::thread::spawn(|| aside(|| 9)).join().unwrap()), (8, 9));
    }
}
