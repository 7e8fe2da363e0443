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

use super::action::{Action, Input, PodEvent, Run, StartFailure, Verdict};
use super::backoff::delay;
use super::slot::{Role, Slot, SlotState};
use crate::probe::ProbeKind;
use hako_container::{Exit, SandboxId};
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
}

impl Machine {
    /// A pod that this node sees for the first time.
    pub(crate) fn new(pod: Arc<Pod>, now: Timestamp) -> Self {
        let slots = Slot::all(&pod);
        Self {
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
        }
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
        slots.chain(sandbox).chain(self.active_deadline()).min()
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

    fn grace(&self) -> SignedDuration {
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
            Stage::Active => self.advance_active(now, out),
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
        }
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

    // ---- containers

    fn started(&mut self, index: usize, run: Run, out: &mut Vec<Action>) {
        let (id, attempt) = (run.id.clone(), run.attempt);
        self.slots[index].started(run, &self.pod);
        out.push(Action::Watch { container: index, attempt, id });
        if self.stage != Stage::Active {
            return;
        }
        if self.slots[index].live().is_some_and(|live| !live.is_set_up) {
            out.push(Action::PostStart { container: index, attempt });
        }
        self.probe(index, out);
    }

    /// Starts the probes whose turn it is.
    pub(super) fn probe(&self, index: usize, out: &mut Vec<Action>) {
        let slot = &self.slots[index];
        let Some(live) = slot.live() else { return };
        let kinds = match live.is_started {
            true => slot.probes(&self.pod),
            false => vec![ProbeKind::Startup],
        };
        let attempt = live.run.attempt;
        out.extend(kinds.into_iter().map(|kind| Action::Probe { container: index, attempt, kind }));
    }

    fn start_failed(
        &mut self,
        index: usize,
        attempt: u32,
        failure: StartFailure,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let slot = &mut self.slots[index];
        if slot.attempt != attempt || slot.state != SlotState::Starting {
            return;
        }
        let field = slot.field();
        match failure {
            StartFailure::Retry { reason, message } => {
                let text = format!("Error: {message}");
                slot.failed(reason, message, now);
                out.push(Action::Emit(PodEvent::warning("Failed", text).about(field)));
            }
            StartFailure::Run { ref message, .. } => {
                let text = format!("Error: {message}");
                slot.failed_to_run(failure);
                out.push(Action::Emit(PodEvent::warning("Failed", text).about(field)));
                self.decide(index, out);
            }
        }
    }

    fn post_start_done(
        &mut self,
        index: usize,
        attempt: u32,
        result: Result<(), String>,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let Some(live) = self.slots[index].live_mut(attempt) else {
            return;
        };
        match result {
            Ok(()) => live.is_set_up = true,
            Err(why) => {
                let text = format!("PostStartHook failed: {why}");
                let event = PodEvent::warning("FailedPostStartHook", text).about(self.slots[index].field());
                out.push(Action::Emit(event));
                let message = format!("Container {} failed its postStart hook", self.slots[index].name);
                self.kill(index, message, later(now, self.grace()), out);
            }
        }
    }

    fn exited(&mut self, index: usize, attempt: u32, exit: Exit, out: &mut Vec<Action>) {
        let Some(live) = self.slots[index].live_mut(attempt) else {
            return;
        };
        let id = live.run.id.clone();
        out.push(Action::StopProbes { container: index });
        self.slots[index].exited(Some(id), exit);
        self.decide(index, out);
    }

    /// Whether a container that ended runs again, and when.
    pub(super) fn decide(&mut self, index: usize, out: &mut Vec<Action>) {
        if self.stage != Stage::Active {
            return;
        }
        let policy = self.restart_policy().to_owned();
        let are_mains_over = self.are_mains_over();
        let slot = &mut self.slots[index];
        let failed = slot.ended.as_ref().is_some_and(|ended| ended.exit.code != 0);
        let runs_again = slot.is_replaced
            || match slot.role {
                Role::Main => policy == "Always" || (policy == "OnFailure" && failed),
                Role::Init => failed && policy != "Never",
                Role::Sidecar => !are_mains_over,
            };
        if !runs_again {
            return;
        }
        if !slot.back_off().is_zero() {
            let text =
                format!("Back-off restarting failed container {} in pod {}", slot.name, identity(&self.pod));
            out.push(Action::Emit(PodEvent::warning("BackOff", text).about(slot.field())));
        }
    }

    fn probed(
        &mut self,
        index: usize,
        attempt: u32,
        kind: ProbeKind,
        verdict: Verdict,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        let Some(live) = self.slots[index].live_mut(attempt) else {
            return;
        };
        if live.is_stopping {
            return;
        }
        match (kind, &verdict) {
            (ProbeKind::Startup, Verdict::Success) => {
                live.is_started = true;
                self.probe(index, out);
            }
            (ProbeKind::Readiness, Verdict::Success) => live.passes_readiness = true,
            (ProbeKind::Readiness, Verdict::Failure(_)) => live.passes_readiness = false,
            _ => {}
        }
        if let Verdict::Failing(message) | Verdict::Failure(message) = &verdict {
            let text = format!("{} probe failed: {message}", kind.title());
            let event = PodEvent::warning("Unhealthy", text).about(self.slots[index].field());
            out.push(Action::Emit(event));
        }
        if matches!(verdict, Verdict::Failure(_)) && kind != ProbeKind::Readiness {
            self.unhealthy(index, kind, now, out);
        }
    }

    fn unhealthy(&mut self, index: usize, kind: ProbeKind, now: Timestamp, out: &mut Vec<Action>) {
        let slot = &self.slots[index];
        let container = slot.container(&self.pod);
        let own = container.and_then(|c| kind.of(c)).and_then(|p| p.termination_grace_period_seconds);
        let grace = own.map_or(self.grace(), SignedDuration::from_secs);
        let probe = kind.title().to_lowercase();
        let message = format!("Container {} failed {probe} probe, will be restarted", slot.name);
        self.kill(index, message, later(now, grace), out);
    }

    /// Asks a living container to end.
    fn kill(&mut self, index: usize, message: String, deadline: Timestamp, out: &mut Vec<Action>) {
        let slot = &mut self.slots[index];
        let field = slot.field();
        let SlotState::Running(live) = &mut slot.state else {
            return;
        };
        if std::mem::replace(&mut live.is_stopping, true) {
            return;
        }
        let id = live.run.id.clone();
        out.push(Action::StopProbes { container: index });
        out.push(Action::Emit(PodEvent::normal("Killing", message).about(field)));
        out.push(Action::Stop { container: index, id, deadline });
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
        let slot = &mut self.slots[index];
        slot.state = SlotState::Starting;
        out.push(Action::Start {
            container: index,
            attempt: slot.attempt,
            restarts: slot.backoff.restarts(),
        });
    }

    fn are_mains_over(&self) -> bool {
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

    fn finish(&mut self, out: &mut Vec<Action>) {
        self.stage = Stage::Finished;
        if let SandboxState::Ready { id, .. } | SandboxState::Lost { id } = &self.sandbox {
            out.push(Action::StopSandbox(id.clone()));
            self.sandbox = SandboxState::Stopping;
        }
    }

    // ---- ending

    /// Begins to end by `deadline`, or ends sooner than planned.
    pub(super) fn begin_stop(&mut self, deadline: Timestamp, now: Timestamp, out: &mut Vec<Action>) {
        match self.stage {
            Stage::Active => {
                let running = self.slots.iter().enumerate().filter(|(_, slot)| slot.live().is_some());
                out.extend(running.map(|(container, _)| Action::StopProbes { container }));
                self.stage = match self.ip().filter(|_| self.can_be_reached()) {
                    Some(ip) => {
                        let share = deadline.duration_since(now) / 2;
                        let until = later(now, share.max(SignedDuration::ZERO));
                        out.push(Action::Drain { ip, deadline: until });
                        Stage::Draining { deadline }
                    }
                    None => Stage::Stopping { deadline },
                };
            }
            Stage::Draining { deadline: before } if deadline < before => {
                // What is left of the time belongs to the containers.
                self.stage = Stage::Stopping { deadline };
            }
            Stage::Stopping { deadline: before } if deadline < before => {
                self.stage = Stage::Stopping { deadline };
                out.push(Action::Hasten { deadline });
            }
            Stage::Finished => self.clean_up(out),
            _ => {}
        }
    }

    /// An address of the host is not the pod's to withdraw.
    fn can_be_reached(&self) -> bool {
        let is_host = self.spec().is_some_and(|spec| spec.host_network == Some(true));
        !is_host && self.slots.iter().any(|slot| slot.live().is_some())
    }

    fn advance_stopping(&mut self, deadline: Timestamp, out: &mut Vec<Action>) {
        for index in 0..self.slots.len() {
            if self.slots[index].role != Role::Sidecar {
                let message = format!("Stopping container {}", self.slots[index].name);
                self.kill(index, message, deadline, out);
            }
        }
        let is_alive = |slot: &Slot| slot.role != Role::Sidecar && slot.is_alive();
        if self.slots.iter().any(is_alive) || !self.stop_sidecars(deadline, out) {
            return;
        }
        for slot in &mut self.slots {
            if slot.ended.is_some() {
                slot.state = SlotState::Ended;
            }
        }
        match self.sandbox {
            SandboxState::Making | SandboxState::Stopping => {}
            _ if self.is_to_vanish() => self.clean_up(out),
            _ => self.finish(out),
        }
    }

    fn is_to_vanish(&self) -> bool {
        self.is_object_gone || self.is_shutdown || self.pod.metadata.deletion_timestamp.is_some()
    }

    /// Stops sidecars one after the other, the last one first; says whether all have ended.
    fn stop_sidecars(&mut self, deadline: Timestamp, out: &mut Vec<Action>) -> bool {
        let is_alive = |slot: &Slot| slot.role == Role::Sidecar && slot.is_alive();
        let Some(index) = self.slots.iter().rposition(is_alive) else {
            return true;
        };
        let message = format!("Stopping container {}", self.slots[index].name);
        self.kill(index, message, deadline, out);
        false
    }

    fn clean_up(&mut self, out: &mut Vec<Action>) {
        self.stage = Stage::CleaningUp;
        out.push(Action::CleanUp);
    }

    fn cleaned_up(&mut self, out: &mut Vec<Action>) {
        let is_deleted = self.pod.metadata.deletion_timestamp.is_some();
        if self.is_object_gone || !is_deleted {
            self.stage = Stage::Gone;
            return;
        }
        self.stage = Stage::Deleting;
        out.push(Action::DeleteObject);
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
