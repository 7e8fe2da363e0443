//! How long a container that keeps ending waits before it is started again.

use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

const FIRST: Duration = Duration::from_secs(10);
const MAX: Duration = Duration::from_secs(300);
/// A container that ran this long after its last start is not crashing.
const RESET_AFTER: SignedDuration = SignedDuration::from_secs(600);

/// The back-off of one container: the first restart is immediate, then 10 s, doubling to 5 min.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BackOff {
    restarts: u32,
    restarted_at: Option<Timestamp>,
}

impl BackOff {
    /// What an adopted container goes on with: `restarts` in a row, the last one at `restarted_at`.
    pub(crate) fn adopt(restarts: u32, restarted_at: Option<Timestamp>) -> Self {
        Self { restarts, restarted_at }
    }

    /// Restarts in a row without a reset in between; kept in a label of the container.
    pub(crate) fn restarts(&self) -> u32 {
        self.restarts
    }

    /// When a container that ended at `finished_at` may start again, and the delay that means.
    pub(crate) fn next(&mut self, finished_at: Timestamp) -> (Timestamp, Duration) {
        let ran = self.restarted_at.map(|at| finished_at.duration_since(at));
        if ran.is_some_and(|ran| ran > RESET_AFTER) {
            self.restarts = 0;
        }
        let delay = delay(self.restarts, FIRST, MAX);
        let until = finished_at.saturating_add(delay).unwrap_or(finished_at);
        self.restarts += 1;
        self.restarted_at = Some(until);
        (until, delay)
    }
}

/// Nothing for the first failure, then `first`, doubling to `max`.
pub(crate) fn delay(failures_before: u32, first: Duration, max: Duration) -> Duration {
    match failures_before {
        0 => Duration::ZERO,
        n => first.saturating_mul(1 << (n - 1).min(16)).min(max),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    #[test]
    fn the_first_restart_is_immediate_then_the_delay_doubles_to_five_minutes() {
        let mut backoff = BackOff::default();
        let mut now = at(0);
        let mut delays = Vec::new();
        for _ in 0..8 {
            let (until, delay) = backoff.next(now);
            delays.push(delay.as_secs());
            now = until;
        }
        assert_eq!(delays, [0, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn ten_good_minutes_forget_the_past() {
        let mut backoff = BackOff::default();
        let (until, _) = backoff.next(at(0));
        let (until, delay) = backoff.next(until + SignedDuration::from_secs(599));
        assert_eq!(delay.as_secs(), 10);
        let (_, delay) = backoff.next(until + SignedDuration::from_secs(601));
        assert_eq!(delay.as_secs(), 0);
    }

    #[test]
    fn an_adopted_container_goes_on_where_it_was() {
        let mut backoff = BackOff::adopt(3, Some(at(0)));
        assert_eq!(backoff.next(at(5)).1.as_secs(), 40);
    }
}
