//! Waiting for the end of a container that was killed.
//!
//! It takes a millisecond, and where hundreds end at once while compilers run, minutes: to die takes a processor, and the
//! kernel lets go of namespaces and mounts one after the other. Who gave up on one of them for the time alone would leave it,
//! so what counts is time in which it could have ended: none of its processes wants a processor, and no other container that
//! was killed has ended either.

use crate::container::{ContainerObject, Life};
use crate::core::Core;
use crate::error::{EngineError, blocking};
use hako_error::Result;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often one that has not ended is looked at.
const LOOK: Duration = Duration::from_secs(2);
/// How many looks may find that it could have ended.
const LOOKS: u32 = 5;

/// What is left of a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Left {
    /// A process of it wants a processor.
    Running,
    /// Its processes wait for something else.
    Waiting,
    /// No process: its shim has told, or is to tell.
    Nothing,
}

/// Counts the looks.
#[derive(Debug, Default)]
struct Patience {
    missed: u32,
    /// How many others had ended at the last look.
    ended: u64,
}

impl Patience {
    /// Whether it is to be waited for any longer.
    fn is_left(&mut self, found: Left, ended: u64) -> bool {
        let have_others = std::mem::replace(&mut self.ended, ended) != ended;
        if found != Left::Running && !have_others {
            self.missed += 1;
        }
        self.missed < LOOKS
    }
}

impl Core {
    /// Returns when a container that was killed is at rest.
    pub(crate) async fn await_killed(
        self: &Arc<Self>,
        container: &Arc<ContainerObject>,
        life: &mut watch::Receiver<Life>,
    ) -> Result<()> {
        let mut patience = Patience { missed: 0, ended: self.killed.load(Ordering::Relaxed) };
        let mut asking: Option<JoinHandle<()>> = None;
        while tokio::time::timeout(LOOK, life.wait_for(Life::is_at_rest)).await.is_err() {
            let found = self.left_of(container).await;
            if found == Left::Nothing && asking.as_ref().is_none_or(JoinHandle::is_finished) {
                asking = self.ask_after(container);
            }
            if !patience.is_left(found, self.killed.load(Ordering::Relaxed)) {
                let seconds = (LOOK * LOOKS).as_secs();
                return Err(EngineError::Unkillable { id: container.short(), seconds }.into());
            }
        }
        self.killed.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn left_of(&self, container: &ContainerObject) -> Left {
        let (groups, path) =
            (self.config.cgroups.clone(), self.cgroup(&container.sandbox.id, Some(&container.id)));
        let processes = blocking(move || {
            let pids = groups.open(&path)?.processes()?;
            Ok((pids.is_empty(), pids.into_iter().any(hako_runtime::is_running)))
        });
        match processes.await {
            Ok((false, true)) => Left::Running,
            Ok((false, false)) => Left::Waiting,
            // The group goes last.
            Ok((true, _)) | Err(_) => Left::Nothing,
        }
    }

    /// Its shim may have been stopped, or stuck: asked, it is woken, or ended.
    fn ask_after(self: &Arc<Self>, container: &Arc<ContainerObject>) -> Option<JoinHandle<()>> {
        let shim = container.sandbox.live()?.shim;
        let (core, sandbox) = (Arc::clone(self), Arc::clone(&container.sandbox));
        Some(tokio::spawn(async move { core.catch_up(&sandbox, &shim).await }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many looks it takes to give up, of at most a hundred.
    fn looks(found: impl Fn(u32) -> (Left, u64)) -> Option<u32> {
        let mut patience = Patience::default();
        (1..=100).find(|look| {
            let (found, ended) = found(*look);
            !patience.is_left(found, ended)
        })
    }

    #[test]
    fn who_could_have_ended_is_given_up() {
        assert_eq!(looks(|_| (Left::Waiting, 0)), Some(5));
        assert_eq!(looks(|_| (Left::Nothing, 0)), Some(5));
    }

    #[test]
    fn who_waits_for_a_processor_is_waited_for() {
        assert_eq!(looks(|_| (Left::Running, 0)), None);
        let late = |look| if look <= 20 { Left::Running } else { Left::Waiting };
        assert_eq!(looks(|look| (late(look), 0)), Some(25));
    }

    #[test]
    fn while_others_end_it_is_waited_for() {
        assert_eq!(looks(|look| (Left::Waiting, u64::from(look))), None);
        assert_eq!(looks(|look| (Left::Waiting, u64::from(look.min(20)))), Some(25));
    }
}
