//! Writing a pod's status: only what changed, one write at a time, the latest state last.

use super::machine::Machine;
use crate::context::Context;
use hako_client::Patch;
use hako_error::{Kind, Result};
use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition, PodStatus};
use serde_json::{Map, Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// How long news that nobody waits for are held back, as something better often follows at once.
const HOLD: Duration = Duration::from_millis(150);
const RETRY: Duration = Duration::from_millis(500);
const OWN_CONDITIONS: [&str; 5] =
    ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"];

/// What was told so far.
#[derive(Debug)]
pub(crate) struct Reporter {
    /// As computed last.
    shown: PodStatus,
    /// As the API has it.
    written: PodStatus,
    /// As it is being written.
    writing: Option<PodStatus>,
    due: Option<Instant>,
    is_unknown: bool,
}

impl Reporter {
    /// A reporter that goes on from what `pod` shows.
    pub(crate) fn new(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        Self { shown: status.clone(), written: status, writing: None, due: None, is_unknown: false }
    }

    /// When [`next`](Self::next) has to be asked though nothing happens.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due.filter(|_| self.writing.is_none())
    }

    /// Others may have set conditions of theirs.
    pub(crate) fn observed(&mut self, pod: &Pod) {
        self.is_unknown = false;
        let is_own = |condition: &PodCondition| OWN_CONDITIONS.contains(&condition.type_.as_str());
        let theirs = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let theirs: Vec<PodCondition> = theirs.filter(|condition| !is_own(condition)).cloned().collect();
        for status in [&mut self.shown, &mut self.written] {
            let conditions = status.conditions.get_or_insert_default();
            conditions.retain(is_own);
            conditions.extend(theirs.iter().cloned());
        }
    }

    /// The status of `machine` now.
    pub(crate) fn compute(&mut self, machine: &Machine, context: &Context) -> PodStatus {
        let status = machine.status(&self.shown, context.config.node_ip, context.clock.now());
        self.shown.clone_from(&status);
        status
    }

    /// What to write now, if anything.
    pub(crate) fn next(&mut self, machine: &Machine, context: &Context) -> Option<Value> {
        let status = self.compute(machine, context);
        if self.writing.is_some() || self.is_unknown {
            return None;
        }
        if status == self.written {
            self.due = None;
            return None;
        }
        let is_due = match self.due {
            Some(due) => due <= Instant::now(),
            None => false,
        };
        if !is_due && !is_urgent(&self.written, &status) {
            self.due.get_or_insert_with(|| Instant::now() + HOLD);
            return None;
        }
        if !is_due && self.due.is_some_and(|due| due > Instant::now() + HOLD) {
            return None;
        }
        self.due = None;
        let patch = patch(&self.written, &status, machine.pod.metadata.uid.as_deref());
        self.writing = Some(status);
        Some(patch)
    }

    /// The last thing to write, if anything.
    pub(crate) fn last(&mut self, machine: &Machine, context: &Context) -> Option<Value> {
        let status = self.compute(machine, context);
        let is_told = status == self.written || self.is_unknown;
        (!is_told).then(|| patch(&self.written, &status, machine.pod.metadata.uid.as_deref()))
    }

    /// The write is over.
    pub(crate) fn done(&mut self, result: Result<()>, name: &str) {
        let status = self.writing.take();
        match (result, status) {
            (Ok(()), Some(status)) => self.written = status,
            (Ok(()), None) => {}
            (Err(error), _) if error.kind() == Kind::NotFound => {
                // The object is gone; the watch will say so, or show it again.
                self.is_unknown = true;
            }
            (Err(error), _) => {
                tracing::warn!(pod = name, error = %error.chain(), "status not written, trying again");
                self.due = Some(Instant::now() + RETRY);
            }
        }
    }
}

/// Writes one patch.
pub(crate) async fn write(context: Arc<Context>, pod: Arc<Pod>, patch: Value) -> Result<()> {
    let meta = &pod.metadata;
    let namespace = meta.namespace.as_deref().unwrap_or("default");
    let api = context.config.client.namespaced::<Pod>(namespace);
    let name = meta.name.as_deref().unwrap_or_default();
    api.patch_status(name, &Patch::Strategic(patch)).await.map(drop)
}

/// Whether someone may be waiting for the news: anything but steps on the way to the first start.
fn is_urgent(before: &PodStatus, now: &PodStatus) -> bool {
    let key = |status: &PodStatus| {
        let conditions = status.conditions.iter().flatten();
        let ready: Vec<(String, String)> = conditions
            .filter(|condition| matches!(condition.type_.as_str(), "Ready" | "ContainersReady"))
            .filter(|condition| condition.status == "True")
            .map(|condition| (condition.type_.clone(), condition.status.clone()))
            .collect();
        let statuses = status.init_container_statuses.iter().chain(&status.container_statuses);
        let containers: Vec<_> = statuses.flatten().map(news).collect();
        (status.phase.clone(), status.reason.clone(), ready, containers)
    };
    let (before, now) = (key(before), key(now));
    let is_first = before.3.is_empty();
    let is_quiet = now.3.iter().all(|container| *container == Default::default());
    before != now && !(is_first && is_quiet && before.0 == now.0)
}

type News = (bool, i32, bool, Option<i32>, Option<String>);

fn news(status: &ContainerStatus) -> News {
    let state = status.state.as_ref();
    let code = state.and_then(|state| state.terminated.as_ref()).map(|t| t.exit_code);
    let waiting = state.and_then(|state| state.waiting.as_ref()).and_then(|w| w.reason.clone());
    let waiting =
        waiting.filter(|reason| !matches!(reason.as_str(), "ContainerCreating" | "PodInitializing"));
    let is_running = state.is_some_and(|state| state.running.is_some());
    (status.ready, status.restart_count, is_running, code, waiting)
}

/// A strategic merge patch from `before` to `now`: our conditions only, `null` for what is no more.
pub(crate) fn patch(before: &PodStatus, now: &PodStatus, uid: Option<&str>) -> Value {
    let as_map = |status: &PodStatus| match serde_json::to_value(status) {
        Ok(Value::Object(map)) => map,
        _ => Map::new(),
    };
    let (old, mut new) = (as_map(before), as_map(now));
    if let Some(Value::Array(conditions)) = new.get_mut("conditions") {
        conditions.retain(|c| c["type"].as_str().is_some_and(|kind| OWN_CONDITIONS.contains(&kind)));
        for condition in conditions {
            for field in ["reason", "message"] {
                if condition.get(field).is_none() {
                    condition[field] = Value::Null;
                }
            }
        }
    }
    if before.pod_ips.is_some()
        && before.pod_ips != now.pod_ips
        && let Some(Value::Array(ips)) = new.get_mut("podIPs")
    {
        // Addresses are merged by value; one that is no more would stay.
        ips.insert(0, json!({"$patch": "replace"}));
    }
    for key in old.keys().filter(|key| !new.contains_key(*key)).cloned().collect::<Vec<_>>() {
        new.insert(key, Value::Null);
    }
    json!({"metadata": {"uid": uid}, "status": new})
}
