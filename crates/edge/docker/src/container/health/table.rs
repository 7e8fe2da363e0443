//! What is known of the health of containers.

use super::Check;
use hako_container::Container;
use hako_names::ContainerId;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// Results that are kept.
const KEPT: usize = 5;

/// Docker's words for a container's health.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Status {
    /// It has no check.
    #[default]
    None,
    /// No check has said anything yet.
    Starting,
    /// The last check succeeded, or not enough have failed since.
    Healthy,
    /// Too many checks failed one after the other, or it does not run.
    Unhealthy,
}

impl Status {
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Starting => "starting",
            Self::Healthy => "healthy",
            Self::Unhealthy => "unhealthy",
        }
    }

    /// What `docker ps` puts behind the state of a container that runs.
    pub(crate) const fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Starting => " (health: starting)",
            Self::Healthy => " (healthy)",
            Self::Unhealthy => " (unhealthy)",
        }
    }
}

/// What one run of the check came to.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) code: i32,
    pub(super) output: String,
}

#[derive(Clone, Debug, Default)]
struct Health {
    status: Status,
    failing_streak: u32,
    log: VecDeque<Outcome>,
}

/// The health of all containers that were started since the engine was.
#[derive(Debug, Default)]
pub(crate) struct Table(Mutex<HashMap<ContainerId, Health>>);

impl Table {
    pub(crate) fn status(&self, container: &Container) -> Status {
        if Check::of(container).is_none() {
            return Status::None;
        }
        let known = self.0.lock().get(&container.id).map(|health| health.status);
        known.unwrap_or(if container.state.is_running() { Status::Starting } else { Status::None })
    }

    /// `State.Health`; `None` for a container without a check, or one that never ran.
    pub(crate) fn inspect(&self, container: &Container) -> Option<Value> {
        let status = self.status(container);
        if status == Status::None {
            return None;
        }
        let health = self.0.lock().get(&container.id).cloned().unwrap_or_default();
        let show = |one: &Outcome| json!({ "Start": one.start.to_string(), "End": one.end.to_string(), "ExitCode": one.code, "Output": one.output });
        let log: Vec<Value> = health.log.iter().map(show).collect();
        Some(json!({ "Status": status.as_str(), "FailingStreak": health.failing_streak, "Log": log }))
    }

    pub(super) fn started(&self, id: &ContainerId) {
        let mut table = self.0.lock();
        let health = table.entry(id.clone()).or_default();
        (health.status, health.failing_streak) = (Status::Starting, 0);
    }

    pub(super) fn is_starting(&self, id: &ContainerId) -> bool {
        self.0.lock().get(id).is_some_and(|health| health.status == Status::Starting)
    }

    /// What does not run is not healthy.
    pub(super) fn stopped(&self, id: &ContainerId) {
        if let Some(health) = self.0.lock().get_mut(id) {
            health.status = Status::Unhealthy;
        }
    }

    pub(super) fn forget(&self, id: &ContainerId) {
        self.0.lock().remove(id);
    }

    /// Takes a result, of a container that ran for `age` when it began; returns the status if that changed.
    pub(super) fn take(
        &self,
        id: &ContainerId,
        check: &Check,
        outcome: Outcome,
        age: Duration,
    ) -> Option<Status> {
        let mut table = self.0.lock();
        let health = table.get_mut(id)?;
        let before = health.status;
        if outcome.code == 0 {
            (health.status, health.failing_streak) = (Status::Healthy, 0);
        } else if before != Status::Starting || age >= check.start_period() {
            health.failing_streak += 1;
            if health.failing_streak >= check.retries() {
                health.status = Status::Unhealthy;
            }
        }
        if health.log.len() == KEPT {
            health.log.pop_front();
        }
        health.log.push_back(outcome);
        (health.status != before).then_some(health.status)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_count_after_the_start_period_and_five_results_are_kept() {
        let (table, id): (Table, ContainerId) = (Table::default(), "a".repeat(64).parse().unwrap());
        let check: Check = serde_json::from_value(
            json!({ "Test": ["CMD", "x"], "Retries": 2, "StartPeriod": 10_000_000_000_i64 }),
        )
        .unwrap();
        let now = Timestamp::now();
        let take = |code, seconds| {
            let outcome = Outcome { start: now, end: now, code, output: String::new() };
            table.take(&id, &check, outcome, Duration::from_secs(seconds))
        };
        assert_eq!(take(0, 1), None, "nothing is kept of what never started");
        table.started(&id);
        assert_eq!([take(1, 1), take(1, 2), take(1, 3)], [None, None, None]);
        assert_eq!([take(1, 10), take(1, 11)], [None, Some(Status::Unhealthy)]);
        assert_eq!([take(0, 12), take(0, 13)], [Some(Status::Healthy), None]);
        assert_eq!([take(1, 2), take(1, 3)], [None, Some(Status::Unhealthy)], "it is not starting any more");
        assert_eq!(table.0.lock()[&id].log.len(), 5);
    }
}
