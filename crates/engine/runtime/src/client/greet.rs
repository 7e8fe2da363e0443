//! Words with a shim that may be stopped, stuck or without a processor: the first one, and those that end a container.

use std::fs;
use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use hako_cgroup::CgroupRoot;
use hako_error::{Error, Kind, Result};
use rustix::process::{Pid, Signal};

/// How often one that has not answered yet is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// How many looks in a row may find that it could have answered.
const LOOKS: u32 = 20;
/// Of a second between two looks, in ticks of 10 ms: who has run that long does something else than answer.
const OWN_TIME: u64 = 50;

/// What a shim does that owes an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// It runs, or waits for a processor or for a page of itself: its time is not over. With the time it has run.
    Working(u64),
    /// It waits for something else, or nobody can tell.
    Waiting,
    /// Somebody has stopped it: SIGSTOP, a debugger.
    Stopped,
    /// Somebody has stopped the group that it is in, or one above.
    Frozen,
}

/// What is asked of a shim, as far as that says what comes of one that is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Word {
    /// The first one: it is waited for, for whoever has stopped its containers wants them to go on some day.
    Hello,
    /// Others, of which some end a container: it is ended like any that does not answer.
    Request,
}

/// Asks a shim for an answer that takes it no time. It comes within a millisecond where there is nothing else to do; on a machine with more
/// to do than it can, it may take any time, and ending a shim for that would end its containers. So what counts is what the
/// shim does: one that is stopped is woken, one that could have answered twenty times is ended, as a sandbox that nobody can
/// reach must not keep all others from being adopted, or taken down.
pub(super) async fn insist<T>(
    word: Word,
    answer: impl Future<Output = Result<T>>,
    peer: Option<Pid>,
) -> Result<T> {
    let signal = |signal| {
        if let Some(pid) = peer {
            // One that is gone has closed the connection.
            let _gone = rustix::process::kill_process(pid, signal);
        }
    };
    ask((word, answer), || peer.and_then(doing).unwrap_or(Doing::Waiting), signal, peer).await
}

async fn ask<T>(
    (word, hello): (Word, impl Future<Output = Result<T>>),
    doing: impl Fn() -> Doing,
    signal: impl Fn(Signal),
    peer: Option<Pid>,
) -> Result<T> {
    let mut hello = pin!(hello);
    let (mut missed, mut ran_before, mut is_told) = (0, None, false);
    loop {
        if let Ok(answer) = tokio::time::timeout(LOOK, &mut hello).await {
            return answer;
        }
        let found = doing();
        let is_at_it = match found {
            Doing::Working(ran) => {
                ran_before.replace(ran).is_none_or(|before| ran.saturating_sub(before) < OWN_TIME)
            }
            Doing::Waiting => false,
            Doing::Frozen => {
                if !std::mem::replace(&mut is_told, true) {
                    let group = peer.and_then(groups).unwrap_or_default();
                    tracing::warn!(
                        ?peer,
                        group,
                        "a shim is frozen, and waited for: let its group, or the one above, go on"
                    );
                }
                word == Word::Hello
            }
            Doing::Stopped => {
                tracing::warn!(?peer, "a shim is stopped: wake it");
                signal(Signal::CONT);
                false
            }
        };
        missed = if is_at_it { missed } else { missed + 1 };
        if missed > LOOKS {
            tracing::error!(?peer, ?found, "a shim does not answer: end it");
            signal(Signal::KILL);
            return Err(Error::new(Kind::NotFound, "it did not answer and was ended"));
        }
    }
}

fn doing(pid: Pid) -> Option<Doing> {
    let (state, ran) = state(pid)?;
    if is_frozen(pid) {
        return Some(Doing::Frozen);
    }
    Some(match state {
        'R' | 'D' => Doing::Working(ran),
        'T' | 't' => Doing::Stopped,
        _ => Doing::Waiting,
    })
}

/// The group of a process, as far as it can be frozen: by proc_pid_cgroup(5).
fn groups(pid: Pid) -> Option<String> {
    let text = fs::read_to_string(format!("/proc/{}/cgroup", pid.as_raw_nonzero())).ok()?;
    let all = || text.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
    let freezer = all().find(|(controllers, _)| controllers.split(',').any(|one| one == "freezer"));
    freezer.or_else(|| all().find(|(controllers, _)| controllers.is_empty())).map(|(_, path)| path.to_owned())
}

fn is_frozen(pid: Pid) -> bool {
    let group = groups(pid).and_then(|path| CgroupRoot::detect().ok()?.open(&path).ok());
    group.is_some_and(|group| group.is_frozen().unwrap_or(false))
}

/// Whether a process runs or waits for a processor.
#[must_use]
pub fn is_running(pid: u32) -> bool {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    pid.and_then(state).is_some_and(|(state, _)| state == 'R')
}

/// What a process does, and the ticks that it has run, by proc_pid_stat(5).
fn state(pid: Pid) -> Option<(char, u64)> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    // Its name may hold anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let fields: Vec<&str> = rest.split(' ').collect();
    let time = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some((fields.first()?.chars().next()?, time(11)? + time(12)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use tokio::time::{Instant, sleep};

    /// What comes of a shim that answers after some seconds and does that meanwhile, when, and what it was sent.
    async fn outcome(answers_after: u64, does: impl Fn(u64) -> Doing) -> (bool, u64, Vec<Signal>) {
        told(Word::Hello, answers_after, does).await
    }

    async fn told(word: Word, answers_after: u64, does: impl Fn(u64) -> Doing) -> (bool, u64, Vec<Signal>) {
        let (start, sent) = (Instant::now(), RefCell::new(Vec::new()));
        let hello = async {
            sleep(Duration::from_secs(answers_after)).await;
            Ok(())
        };
        let doing = || does(start.elapsed().as_secs());
        let answered = ask((word, hello), doing, |signal| sent.borrow_mut().push(signal), None).await;
        (answered.is_ok(), start.elapsed().as_secs(), sent.into_inner())
    }

    #[tokio::test(start_paused = true)]
    async fn a_shim_that_waits_for_its_turn_is_waited_for() {
        let starved = |_| Doing::Working(3);
        assert_eq!(outcome(600, starved).await, (true, 600, vec![]));
        let slow = |second| Doing::Working(second * 10);
        assert_eq!(outcome(600, slow).await, (true, 600, vec![]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shim_that_could_have_answered_is_ended() {
        assert_eq!(outcome(600, |_| Doing::Waiting).await, (false, 21, vec![Signal::KILL]));
        let spins = |second| Doing::Working(second * 100);
        assert_eq!(outcome(600, spins).await, (false, 22, vec![Signal::KILL]));
        // What it had to wait for its turn is not counted.
        let late = |second| if second <= 100 { Doing::Working(3) } else { Doing::Waiting };
        assert_eq!(outcome(600, late).await, (false, 121, vec![Signal::KILL]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shim_that_is_stopped_is_woken() {
        let stopped = |second| if second < 2 { Doing::Stopped } else { Doing::Waiting };
        assert_eq!(outcome(5, stopped).await, (true, 5, vec![Signal::CONT]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_shim_that_is_frozen_is_waited_for_and_ended_only_with_its_containers() {
        let thawed = |second| if second < 100 { Doing::Frozen } else { Doing::Waiting };
        assert_eq!(told(Word::Hello, 105, thawed).await, (true, 105, vec![]));
        assert_eq!(told(Word::Request, 105, thawed).await, (false, 21, vec![Signal::KILL]));
    }

    #[test]
    fn a_process_of_a_group_that_was_stopped_is_frozen() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let path = format!("/hako-test-frozen-{}", std::process::id());
        let above = CgroupRoot::detect().unwrap().create(&path).unwrap();
        let group = CgroupRoot::detect().unwrap().create(&format!("{path}/below")).unwrap();
        group.add_process(child.id()).unwrap();
        assert_ne!(doing(pid), Some(Doing::Frozen));
        above.freeze(true).unwrap();
        let found = doing(pid);
        above.freeze(false).unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        above.delete().unwrap();
        assert_eq!(found, Some(Doing::Frozen));
    }

    #[test]
    fn what_a_process_does_is_read_of_it() {
        let own = rustix::process::getpid();
        assert!(matches!(doing(own), Some(Doing::Working(_) | Doing::Waiting)), "{:?}", doing(own));
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        rustix::process::kill_process(pid, Signal::STOP).unwrap();
        while doing(pid) != Some(Doing::Stopped) {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(doing(pid), None);
    }
}
