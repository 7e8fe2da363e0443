//! The life of a pod as a state machine without I/O.
//!
//! ```text
//!            bound                      all containers ended for good
//!   (none) ────────▶ Active ──────────────────────────────────────────▶ Finished
//!                      │ deleted, deadline exceeded, node taken down       │ deleted
//!                      ▼                                                   │
//!                   Draining ──▶ Stopping ──(deadline exceeded)──▶ Finished│
//!                                   │                                      │
//!                                   ▼                                      ▼
//!                               CleaningUp ◀───────────────────────────────┘
//!                                   │ object still there
//!                                   ▼
//!                               Deleting ──▶ Gone
//! ```
//! [`Machine::step`] is the only way anything changes: what happened goes in, what is to be done comes out. Time is
//! an argument; [`Machine::wake_at`] says when it wants to be asked again.

use super::action::{Action, Input, PodEvent};
use super::backoff::delay;
use super::resize::{Resizing, Wish};
use super::room::Granted;
use super::slot::{Role, Slot, SlotState};
use hako_container::SandboxId;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Pod, PodSpec};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

const DEFAULT_GRACE_SECONDS: i64 = 30;
const SANDBOX_RETRY_FIRST: Duration = Duration::from_millis(500);
const SANDBOX_RETRY_MAX: Duration = Duration::from_secs(60);

/// Where a pod is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It runs or is on its way to.
    Active,
    /// No new connection is to reach it, open ones may end.
    Draining { deadline: Timestamp },
    /// Its containers are asked to end.
    Stopping { deadline: Timestamp },
    /// Its containers ended for good; it waits to be deleted.
    Finished,
    /// Nothing lives in it; sandbox and files are being removed.
    CleaningUp,
    /// Nothing is left on the node; the API's object is being deleted.
    Deleting,
    /// Nothing is left at all.
    Gone,
}

/// Where its sandbox is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum SandboxState {
    /// There is none; one is made at `retry_at`.
    Absent { retry_at: Timestamp },
    /// Volumes and sandbox are being made.
    Making,
    /// It holds the namespaces.
    Ready { id: SandboxId, ip: Option<IpAddr> },
    /// Its shim is gone; removed as soon as its containers are known to have ended.
    Lost { id: SandboxId },
    /// It is being stopped or removed.
    Stopping,
}

/// Why a pod fails whatever its containers did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sentence {
    /// As in `status.reason`.
    pub(crate) reason: &'static str,
    /// For people.
    pub(crate) message: &'static str,
}

const DEADLINE_EXCEEDED: Sentence = Sentence {
    reason: "DeadlineExceeded",
    message: "Pod was active on the node longer than the specified deadline",
};

/// A pod.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    /// The API's object as last seen.
    pub(crate) pod: Arc<Pod>,
    /// Where it is in its life.
    pub(crate) stage: Stage,
    /// Where its sandbox is.
    pub(crate) sandbox: SandboxState,
    /// Why sandbox or volumes could not be made last time.
    pub(crate) sandbox_error: Option<String>,
    pub(super) sandbox_failures: u32,
    /// Its containers: init containers in their order, then the others.
    pub(crate) slots: Vec<Slot>,
    /// Since when this node has it.
    pub(crate) accepted_at: Timestamp,
    /// All init containers are done.
    pub(crate) is_initialized: bool,
    /// Why it fails, if not by its containers.
    pub(crate) sentence: Option<Sentence>,
    /// Nothing is to be written to the API any more.
    pub(super) is_object_gone: bool,
    /// It ends, and its object stays for the next start.
    pub(super) is_shutdown: bool,
    pub(super) grace_seen: Option<i64>,
    /// What its containers may use; what they say beyond that is a wish.
    pub(super) granted: Granted,
    pub(super) wish: Option<Wish>,
}

impl Machine {
    /// A pod that this node sees for the first time.
    pub(crate) fn new(pod: Arc<Pod>, now: Timestamp) -> Self {
        let slots = Slot::all(&pod);
        let mut machine = Self {
            pod,
            stage: Stage::Active,
            sandbox: SandboxState::Absent { retry_at: now },
            sandbox_error: None,
            sandbox_failures: 0,
            slots,
            accepted_at: now,
            is_initialized: false,
            sentence: None,
            is_object_gone: false,
            is_shutdown: false,
            grace_seen: None,
            granted: Granted::new(),
            wish: None,
        };
        machine.granted = machine.said();
        machine
    }

    /// Takes in what happened and says what to do.
    pub(crate) fn step(&mut self, input: Input, now: Timestamp) -> Vec<Action> {
        let mut out = Vec::new();
        self.take(input, now, &mut out);
        self.advance(now, &mut out);
        out
    }

    /// When time alone makes a difference.
    pub(crate) fn wake_at(&self) -> Option<Timestamp> {
        if self.stage != Stage::Active {
            return None;
        }
        let sandbox = match &self.sandbox {
            SandboxState::Absent { retry_at } => Some(*retry_at),
            _ => None,
        };
        let slots = self.slots.iter().filter_map(Slot::due_at);
        let slots = slots.filter(|_| matches!(self.sandbox, SandboxState::Ready { .. }));
        slots.chain(sandbox).chain(self.active_deadline()).chain(self.resize_at()).min()
    }

    pub(crate) fn spec(&self) -> Option<&PodSpec> {
        self.pod.spec.as_ref()
    }

    /// The pod's address while its sandbox is up.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match &self.sandbox {
            SandboxState::Ready { ip, .. } => *ip,
            _ => None,
        }
    }

    /// Whether nothing about it is to be written: its object is gone, or will be run again by the next start.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_object_gone || self.is_shutdown
    }

    pub(super) fn restart_policy(&self) -> &str {
        self.spec().and_then(|spec| spec.restart_policy.as_deref()).unwrap_or("Always")
    }

    pub(super) fn grace(&self) -> SignedDuration {
        let seconds = self.spec().and_then(|spec| spec.termination_grace_period_seconds);
        SignedDuration::from_secs(seconds.unwrap_or(DEFAULT_GRACE_SECONDS).max(0))
    }

    fn active_deadline(&self) -> Option<Timestamp> {
        let seconds = self.spec()?.active_deadline_seconds?;
        self.accepted_at.saturating_add(SignedDuration::from_secs(seconds)).ok()
    }

    fn take(&mut self, input: Input, now: Timestamp, out: &mut Vec<Action>) {
        match input {
            Input::Pod(pod) => self.updated(pod, now, out),
            Input::Gone => self.gone(now, out),
            Input::Objects => self.objects_changed(now),
            Input::Shutdown { deadline } => {
                self.is_shutdown = true;
                self.begin_stop(deadline, now, out);
            }
            Input::SandboxMade { id, ip } => {
                self.sandbox_failures = 0;
                self.sandbox_error = None;
                self.sandbox = SandboxState::Ready { id, ip };
            }
            Input::SandboxFailed { reason, message } => self.sandbox_failed(reason, message, now, out),
            Input::SandboxLost => self.sandbox_lost(out),
            Input::SandboxStopped => self.sandbox = SandboxState::Absent { retry_at: now },
            Input::Started { container, run } => self.started(container, run, out),
            Input::StartFailed { container, attempt, failure } => {
                self.start_failed(container, attempt, failure, now, out)
            }
            Input::PostStart { container, attempt, result } => {
                self.post_start_done(container, attempt, result, now, out)
            }
            Input::Exited { container, attempt, exit } => self.exited(container, attempt, exit, out),
            Input::Probed { container, attempt, kind, verdict } => {
                self.probed(container, attempt, kind, verdict, now, out)
            }
            Input::Resized { container, attempt, outcome } => {
                self.resized(container, attempt, outcome, now, out)
            }
            Input::Room(answer) => self.answered(answer, now, out),
            Input::Freed => self.room_freed(now),
            Input::Drained => {
                if let Stage::Draining { deadline } = self.stage {
                    self.stage = Stage::Stopping { deadline };
                }
            }
            Input::CleanedUp => self.cleaned_up(out),
            Input::Deleted => self.stage = Stage::Gone,
            Input::Tick => {}
        }
    }

    fn advance(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        match self.stage {
            Stage::Active => {
                self.advance_active(now, out);
                self.resize_changed(now, out);
            }
            Stage::Stopping { deadline } => self.advance_stopping(deadline, out),
            Stage::Draining { .. } | Stage::Finished | Stage::CleaningUp | Stage::Deleting | Stage::Gone => {}
        }
    }

    // ---- the object

    fn updated(&mut self, pod: Arc<Pod>, now: Timestamp, out: &mut Vec<Action>) {
        let before = std::mem::replace(&mut self.pod, pod);
        if self.pod.metadata.deletion_timestamp.is_some() {
            let grace = self.pod.metadata.deletion_grace_period_seconds.unwrap_or(DEFAULT_GRACE_SECONDS);
            if self.grace_seen != Some(grace) {
                self.grace_seen = Some(grace);
                self.begin_stop(later(now, SignedDuration::from_secs(grace)), now, out);
            }
        } else if self.stage == Stage::Active {
            self.replace_changed(&before, now, out);
            self.add_ephemeral();
        }
    }

    /// Containers are only ever added to a pod that runs.
    fn add_ephemeral(&mut self) {
        let added = Slot::ephemeral(&self.pod);
        let is_new = |slot: &Slot| !self.slots.iter().any(|known| known.name == slot.name);
        let added: Vec<Slot> = added.into_iter().filter(is_new).collect();
        self.slots.extend(added);
    }

    /// The image of a container is the one thing of it that may change; the container then starts anew.
    fn replace_changed(&mut self, before: &Pod, now: Timestamp, out: &mut Vec<Action>) {
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let image = |pod| slot.container(pod).and_then(|c| c.image.clone());
            let is_changed = slot.role != Role::Init && image(before) != image(&self.pod);
            if is_changed && slot.live().is_some() {
                self.slots[index].is_replaced = true;
                let message =
                    format!("Container {} definition changed, will be restarted", self.slots[index].name);
                self.kill(index, message, later(now, self.grace()), out);
            } else if is_changed && slot.due_at().is_some() {
                self.slots[index].state = SlotState::Waiting;
            }
        }
    }

    fn gone(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        self.is_object_gone = true;
        match self.stage {
            Stage::Deleting => self.stage = Stage::Gone,
            _ => self.begin_stop(now, now, out),
        }
    }

    fn objects_changed(&mut self, now: Timestamp) {
        for slot in &mut self.slots {
            if let SlotState::Failed { retry_at, reason, .. } = &mut slot.state
                && *reason == "CreateContainerConfigError"
            {
                *retry_at = now;
            }
        }
        if let SandboxState::Absent { retry_at } = &mut self.sandbox {
            *retry_at = now;
        }
    }

    // ---- the sandbox

    fn sandbox_failed(
        &mut self,
        reason: &'static str,
        message: String,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        out.push(Action::Emit(PodEvent::warning(reason, message.clone())));
        self.sandbox_error = Some(message);
        self.sandbox_failures += 1;
        let pause = delay(self.sandbox_failures, SANDBOX_RETRY_FIRST, SANDBOX_RETRY_MAX);
        let retry_at = now.saturating_add(pause).unwrap_or(now);
        self.sandbox = SandboxState::Absent { retry_at };
    }

    fn sandbox_lost(&mut self, out: &mut Vec<Action>) {
        if let SandboxState::Ready { id, .. } = &self.sandbox {
            self.sandbox = SandboxState::Lost { id: id.clone() };
            let message = "Pod sandbox changed, it will be killed and re-created.";
            if self.stage == Stage::Active {
                out.push(Action::Emit(PodEvent::normal("SandboxChanged", message)));
            }
        }
    }

    // ---- running

    fn advance_active(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if self.active_deadline().is_some_and(|deadline| deadline <= now) {
            self.sentence = Some(DEADLINE_EXCEEDED);
            let event = PodEvent::normal(DEADLINE_EXCEEDED.reason, DEADLINE_EXCEEDED.message);
            out.push(Action::Emit(event));
            self.begin_stop(later(now, self.grace()), now, out);
            return self.advance(now, out);
        }
        if self.is_over() {
            if self.stop_sidecars(later(now, self.grace()), out) {
                self.finish(out);
            }
            return;
        }
        match &self.sandbox {
            SandboxState::Absent { retry_at } if *retry_at <= now => {
                self.sandbox = SandboxState::Making;
                out.push(Action::MakeSandbox);
            }
            SandboxState::Ready { .. } => self.start_due(now, out),
            SandboxState::Lost { id } if !self.slots.iter().any(Slot::is_alive) => {
                let id = id.clone();
                self.sandbox = SandboxState::Stopping;
                self.is_initialized = false;
                self.slots.iter_mut().for_each(Slot::reset);
                out.push(Action::RemoveSandbox(id));
            }
            _ => {}
        }
    }

    fn start_due(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let mut may_start = true;
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let has_turn = match slot.role {
                Role::Main => may_start,
                Role::Sidecar => may_start || self.is_initialized,
                Role::Init => may_start && !self.is_initialized,
                Role::Ephemeral => self.is_initialized,
            };
            if has_turn && slot.is_due(now) {
                self.start(index, out);
            }
            let slot = &self.slots[index];
            may_start &= self.is_initialized || slot.lets_next_start();
        }
        self.is_initialized |= may_start;
    }

    fn start(&mut self, index: usize, out: &mut Vec<Action>) {
        let resizing = Resizing::running(self.granted_to(&self.slots[index]));
        let slot = &mut self.slots[index];
        slot.resizing = resizing;
        slot.state = SlotState::Starting;
        out.push(Action::Start {
            container: index,
            attempt: slot.attempt,
            restarts: slot.backoff.restarts(),
        });
    }

    pub(super) fn are_mains_over(&self) -> bool {
        let mut mains = self.slots.iter().filter(|slot| slot.role == Role::Main);
        mains.all(|slot| slot.state == SlotState::Ended)
    }

    /// Whether nothing will run any more: all ended for good, or an init container failed for good.
    fn is_over(&self) -> bool {
        let has_failed_init = self.slots.iter().any(|slot| {
            slot.role == Role::Init
                && slot.state == SlotState::Ended
                && !slot.is_ready()
                && !self.is_initialized
        });
        has_failed_init || (!self.slots.is_empty() && self.are_mains_over())
    }

    pub(super) fn finish(&mut self, out: &mut Vec<Action>) {
        self.stage = Stage::Finished;
        if let SandboxState::Ready { id, .. } | SandboxState::Lost { id } = &self.sandbox {
            out.push(Action::StopSandbox(id.clone()));
            self.sandbox = SandboxState::Stopping;
        }
    }
}

/// `at` plus `by`, bounded by the end of time.
pub(super) fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.saturating_add(by).unwrap_or(at)
}

/// `name_namespace(uid)`, as the kubelet writes it.
pub(crate) fn identity(pod: &Pod) -> String {
    let text = |value: &Option<String>| value.clone().unwrap_or_default();
    let meta = &pod.metadata;
    format!("{}_{}({})", text(&meta.name), text(&meta.namespace), text(&meta.uid))
}

#[cfg(test)]
#[path = "machine_tests.rs"]
mod tests;
