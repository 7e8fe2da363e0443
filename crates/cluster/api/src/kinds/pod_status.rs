//! A pod's containers summed up in words, as `kubectl get pods` shows them.

use super::columns::since;
use super::value::{at, items, number, text};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::HashSet;

/// The cells READY, STATUS and RESTARTS.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Summary {
    pub(super) ready: String,
    pub(super) status: String,
    pub(super) restarts: String,
}

/// What the loops over containers gather.
struct Count<'a> {
    reason: String,
    restarts: i64,
    restarted_at: Option<&'a str>,
    ready: usize,
}

/// Sums up a pod.
pub(super) fn summarize(pod: &Value, now: Timestamp) -> Summary {
    let phase = text(pod, &["status", "phase"]);
    let reason = text(pod, &["status", "reason"]);
    let mut count = Count {
        reason: if reason.is_empty() { phase } else { reason }.to_owned(),
        restarts: 0,
        restarted_at: None,
        ready: 0,
    };
    let gated = items(pod, &["status", "conditions"])
        .iter()
        .any(|it| text(it, &["type"]) == "PodScheduled" && text(it, &["reason"]) == "SchedulingGated");
    if gated {
        "SchedulingGated".clone_into(&mut count.reason);
    }
    let sidecars = Sidecars::of(pod);
    let is_initializing = count.init_containers(pod, &sidecars);
    if !is_initializing || is_condition_true(pod, "Initialized") {
        count.containers(pod, &sidecars);
    }
    if at(pod, &["metadata", "deletionTimestamp"]).is_some() {
        if text(pod, &["status", "reason"]) == "NodeLost" {
            "Unknown".clone_into(&mut count.reason);
        } else if !matches!(phase, "Succeeded" | "Failed") {
            "Terminating".clone_into(&mut count.reason);
        }
    }
    let total = items(pod, &["spec", "containers"]).len() + sidecars.names.len();
    let restarts = match count.restarted_at {
        Some(at) if count.restarts != 0 => {
            format!("{} ({} ago)", count.restarts, since(Some(&at.into()), now))
        }
        _ => count.restarts.to_string(),
    };
    Summary { ready: format!("{}/{total}", count.ready), status: count.reason, restarts }
}

/// Whether a condition of a pod is `True`.
pub(super) fn is_condition_true(pod: &Value, kind: &str) -> bool {
    items(pod, &["status", "conditions"])
        .iter()
        .any(|it| text(it, &["type"]) == kind && text(it, &["status"]) == "True")
}

/// Init containers that go on running.
struct Sidecars<'a> {
    names: HashSet<&'a str>,
}

impl<'a> Sidecars<'a> {
    fn of(pod: &'a Value) -> Self {
        let names = items(pod, &["spec", "initContainers"])
            .iter()
            .filter(|it| text(it, &["restartPolicy"]) == "Always")
            .map(|it| text(it, &["name"]))
            .collect();
        Self { names }
    }

    fn contains(&self, status: &Value) -> bool {
        self.names.contains(text(status, &["name"]))
    }
}

impl<'a> Count<'a> {
    fn add_restarts(&mut self, status: &'a Value) {
        self.restarts += number(status, &["restartCount"]).unwrap_or(0);
        let at = text(status, &["lastState", "terminated", "finishedAt"]);
        if !at.is_empty() && self.restarted_at.is_none_or(|last| last < at) {
            self.restarted_at = Some(at);
        }
    }

    /// Whether initialization is still going on.
    fn init_containers(&mut self, pod: &'a Value, sidecars: &Sidecars<'_>) -> bool {
        let total = items(pod, &["spec", "initContainers"]).len();
        for (index, status) in items(pod, &["status", "initContainerStatuses"]).iter().enumerate() {
            self.add_restarts(status);
            let is_ended = at(status, &["state", "terminated"]).is_some();
            if is_ended && number(status, &["state", "terminated", "exitCode"]) == Some(0) {
                continue;
            }
            if sidecars.contains(status) && status.get("started") == Some(&Value::Bool(true)) {
                self.ready += usize::from(status.get("ready") == Some(&Value::Bool(true)));
                continue;
            }
            let waiting = text(status, &["state", "waiting", "reason"]);
            self.reason = if is_ended {
                format!("Init:{}", ended(status))
            } else if !waiting.is_empty() && waiting != "PodInitializing" {
                format!("Init:{waiting}")
            } else {
                format!("Init:{index}/{total}")
            };
            return true;
        }
        false
    }

    fn containers(&mut self, pod: &'a Value, sidecars: &Sidecars<'_>) {
        (self.restarts, self.restarted_at) = (0, None);
        for status in items(pod, &["status", "initContainerStatuses"]) {
            if sidecars.contains(status) {
                self.add_restarts(status);
            }
        }
        let mut has_running = false;
        for status in items(pod, &["status", "containerStatuses"]).iter().rev() {
            self.add_restarts(status);
            let waiting = text(status, &["state", "waiting", "reason"]);
            if !waiting.is_empty() {
                waiting.clone_into(&mut self.reason);
            } else if at(status, &["state", "terminated"]).is_some() {
                self.reason = ended(status);
            } else if status.get("ready") == Some(&Value::Bool(true))
                && at(status, &["state", "running"]).is_some()
            {
                has_running = true;
                self.ready += 1;
            }
        }
        if self.reason == "Completed" && has_running {
            let is_ready = is_condition_true(pod, "Ready");
            if is_ready { "Running" } else { "NotReady" }.clone_into(&mut self.reason);
        }
    }
}

fn ended(status: &Value) -> String {
    let reason = text(status, &["state", "terminated", "reason"]);
    let signal = number(status, &["state", "terminated", "signal"]).unwrap_or(0);
    match (reason, signal) {
        ("", 0) => {
            let code = number(status, &["state", "terminated", "exitCode"]).unwrap_or(0);
            format!("ExitCode:{code}")
        }
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}
