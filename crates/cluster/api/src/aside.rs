//! Work that takes its time on the processor and is asked for where nothing can be awaited.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Does `work` while the thread's other tasks go on elsewhere, where the runtime has more than one thread.
pub(crate) fn aside<R>(work: impl FnOnce() -> R) -> R {
    // Any other runtime has nowhere to go on with them, and would panic.
    let has_threads =
        Handle::try_current().is_ok_and(|handle| handle.runtime_flavor() == RuntimeFlavor::MultiThread);
    if has_threads { tokio::task::block_in_place(work) } else { work() }
}

#[cfg(test)]
mod tests {
    use super::aside;
    use std::sync::mpsc::channel;
    use std::time::Duration;

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
