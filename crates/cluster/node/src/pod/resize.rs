//! Resources of containers that run: granted by the node while it has room, then changed in place, or with a restart
//! where the container says so.
//!
//! ```text
//!   the pod says otherwise ──▶ Asked ──▶ granted ──▶ each container: InProgress ──▶ Settled
//!                               ▲  │                                  └──▶ Failed ──(later)──▶ InProgress
//!            room, or 3 minutes │  ├──▶ Deferred
//!                               └──┘  Infeasible, until the pod says otherwise
//! ```

use super::action::{Action, Input, PodEvent, ResizeOutcome};
use super::machine::{Machine, Stage, later};
use super::room::{Answer, Granted};
use super::slot::{Role, Slot};
use super::spec;
use crate::context::Context;
use hako_container::Update;
use hako_names::ContainerId;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use std::sync::Arc;

/// Conditions that are there only while they are true.
pub(super) const PENDING: &str = "PodResizePending";
pub(super) const IN_PROGRESS: &str = "PodResizeInProgress";

/// What is deferred is asked for anew after so long, should nobody say before that there is room.
const DEFERRED_RETRY: SignedDuration = SignedDuration::from_mins(3);
const FAILED_RETRY: SignedDuration = SignedDuration::from_secs(10);

/// The resources of a living container.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resizing {
    /// What it runs with.
    pub(super) applied: Option<ResourceRequirements>,
    /// What the engine was asked for last.
    wanted: Option<ResourceRequirements>,
    /// What became of that.
    pub(super) state: ResizeState,
}

/// What becomes of a change that was granted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ResizeState {
    /// It runs with what was granted.
    #[default]
    Settled,
    /// The engine is at it.
    InProgress,
    /// The engine could not; it is tried again.
    Failed { message: String, retry_at: Timestamp },
}

/// What the pod wants other than was granted.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Wish {
    wanted: Granted,
    state: WishState,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum WishState {
    /// The answer is on its way.
    Asked,
    /// There is no room now.
    Deferred { message: String, retry_at: Timestamp },
    /// There never is.
    Infeasible(String),
}

impl Resizing {
    /// Of a container that runs with these.
    pub(crate) fn running(applied: ResourceRequirements) -> Self {
        Self { applied: Some(applied), ..Self::default() }
    }

    fn retry_at(&self) -> Option<Timestamp> {
        match &self.state {
            ResizeState::Failed { retry_at, .. } => Some(*retry_at),
            _ => None,
        }
    }
}

impl Wish {
    fn retry_at(&self) -> Option<Timestamp> {
        match &self.state {
            WishState::Deferred { retry_at, .. } => Some(*retry_at),
            _ => None,
        }
    }
}

impl Slot {
    fn is_resizable(&self) -> bool {
        matches!(self.role, Role::Main | Role::Sidecar)
    }
}

impl Machine {
    /// What a container is to start with, or to run with in the end.
    pub(crate) fn granted_to(&self, slot: &Slot) -> ResourceRequirements {
        let granted = self.granted.get(&slot.name).cloned();
        let defined = || slot.container(&self.pod).and_then(|container| container.resources.clone());
        granted.or_else(defined).unwrap_or_default()
    }

    /// What the pod says of the containers that can be resized.
    pub(super) fn said(&self) -> Granted {
        let slots = self.slots.iter().filter(|slot| slot.is_resizable());
        let resources = |slot: &Slot| slot.container(&self.pod)?.resources.clone();
        slots.map(|slot| (slot.name.clone(), resources(slot).unwrap_or_default())).collect()
    }

    /// Whether it waits for room.
    pub(crate) fn is_deferred(&self) -> bool {
        self.wish.as_ref().is_some_and(|wish| wish.retry_at().is_some())
    }

    /// When something about resources is tried again.
    pub(super) fn resize_at(&self) -> Option<Timestamp> {
        let slots = self.slots.iter().filter(|slot| slot.live().is_some());
        let slots = slots.filter_map(|slot| slot.resizing.retry_at());
        slots.chain(self.wish.as_ref().and_then(Wish::retry_at)).min()
    }

    /// Asks for what the pod wants, and has what was granted done.
    pub(super) fn resize_changed(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if self.stage != Stage::Active {
            return;
        }
        let said = self.said();
        if said == self.granted {
            self.wish = None;
        } else if self.wish.as_ref().is_none_or(|wish| wish.is_due(&said, now)) {
            self.wish = Some(Wish { wanted: said.clone(), state: WishState::Asked });
            out.push(Action::AskRoom { wanted: said });
        }
        for index in 0..self.slots.len() {
            self.settle(index, now, out);
        }
    }

    /// Has a living container run with what was granted.
    fn settle(&mut self, index: usize, now: Timestamp, out: &mut Vec<Action>) {
        let slot = &self.slots[index];
        let Some(live) = slot.live().filter(|_| slot.is_resizable()) else { return };
        let (attempt, id) = (live.run.attempt, live.run.id.clone());
        let Some(container) = slot.container(&self.pod) else { return };
        let wanted = self.granted_to(slot);
        if slot.resizing.applied.as_ref() == Some(&wanted) {
            self.slots[index].resizing = Resizing::running(wanted);
            return;
        }
        let is_tried = slot.resizing.wanted.as_ref() == Some(&wanted);
        if is_tried && slot.resizing.retry_at().is_none_or(|at| at > now) {
            return;
        }
        let restarts = needs_restart(container, slot.resizing.applied.as_ref(), &wanted);
        let resizing = &mut self.slots[index].resizing;
        (resizing.wanted, resizing.state) = (Some(wanted.clone()), ResizeState::InProgress);
        if restarts {
            self.slots[index].is_replaced = true;
            let message = format!("Container {} resize requires restart", self.slots[index].name);
            self.kill(index, message, later(now, self.grace()), out);
        } else {
            out.push(Action::Resize { container: index, attempt, id, resources: Box::new(wanted) });
        }
    }

    /// The node answers.
    pub(super) fn answered(&mut self, answer: Answer, now: Timestamp, out: &mut Vec<Action>) {
        let Some(wish) = self.wish.as_mut().filter(|wish| wish.state == WishState::Asked) else { return };
        let generation = self.pod.metadata.generation.unwrap_or(0);
        let event = match answer {
            Answer::Granted => {
                self.granted = std::mem::take(&mut wish.wanted);
                self.wish = None;
                PodEvent::normal("ResizeStarted", format!("Pod resize started: generation {generation}"))
            }
            Answer::Deferred(message) => {
                let text = format!("Pod resize Deferred: generation {generation}: {message}");
                wish.state = WishState::Deferred { message, retry_at: later(now, DEFERRED_RETRY) };
                PodEvent::warning("ResizeDeferred", text)
            }
            Answer::Infeasible(message) => {
                let text = format!("Pod resize Infeasible: generation {generation}: {message}");
                wish.state = WishState::Infeasible(message);
                PodEvent::warning("ResizeInfeasible", text)
            }
        };
        out.push(Action::Emit(event));
    }

    /// There may be room now.
    pub(super) fn room_freed(&mut self, now: Timestamp) {
        if let Some(Wish { state: WishState::Deferred { retry_at, .. }, .. }) = &mut self.wish {
            *retry_at = now;
        }
    }

    pub(super) fn resized(
        &mut self,
        index: usize,
        attempt: u32,
        outcome: ResizeOutcome,
        now: Timestamp,
        out: &mut Vec<Action>,
    ) {
        if self.slots[index].live_mut(attempt).is_none() {
            return;
        }
        let field = self.slots[index].field();
        let resizing = &mut self.slots[index].resizing;
        match outcome {
            ResizeOutcome::Done => {
                resizing.applied = resizing.wanted.take();
                resizing.state = ResizeState::Settled;
                let text = format!("Container {} resize completed", self.slots[index].name);
                out.push(Action::Emit(PodEvent::normal("ResizeCompleted", text).about(field)));
            }
            ResizeOutcome::Failed(message) => {
                out.push(Action::Emit(PodEvent::warning("ResizeError", message.clone()).about(field)));
                resizing.state = ResizeState::Failed { message, retry_at: later(now, FAILED_RETRY) };
            }
        }
    }

    /// Reason and message of the conditions about resizes, each where it holds.
    pub(super) fn resize_conditions(&self) -> [(&'static str, Option<(&'static str, String)>); 2] {
        let pending = self.wish.as_ref().and_then(|wish| match &wish.state {
            WishState::Deferred { message, .. } => Some(("Deferred", message.clone())),
            WishState::Infeasible(message) => Some(("Infeasible", message.clone())),
            WishState::Asked => None,
        });
        let states = || self.slots.iter().map(|slot| &slot.resizing.state);
        let failed = states().find_map(|state| match state {
            ResizeState::Failed { message, .. } => Some(("Error", message.clone())),
            _ => None,
        });
        let is_under_way = states().any(|state| *state == ResizeState::InProgress);
        [(PENDING, pending), (IN_PROGRESS, failed.or_else(|| is_under_way.then(|| ("", String::new()))))]
    }
}

impl Wish {
    /// Whether the node is to be asked: for something else, or again.
    fn is_due(&self, said: &Granted, now: Timestamp) -> bool {
        self.wanted != *said || self.retry_at().is_some_and(|at| at <= now)
    }
}

/// Whether the container is to start anew when one of the resources that differ changes.
fn needs_restart(
    container: &Container,
    applied: Option<&ResourceRequirements>,
    wanted: &ResourceRequirements,
) -> bool {
    let of = |resources: &ResourceRequirements, name: &str| {
        [&resources.requests, &resources.limits].map(|list| list.as_ref()?.get(name).cloned())
    };
    let policies = container.resize_policy.iter().flatten();
    let mut restarting = policies.filter(|policy| policy.restart_policy == "RestartContainer");
    restarting.any(|policy| {
        let name = &policy.resource_name;
        applied.is_none_or(|applied| of(applied, name) != of(wanted, name))
    })
}

/// Has the engine change what a container may use.
pub(super) async fn apply(
    node: Arc<Context>,
    container: usize,
    attempt: u32,
    id: ContainerId,
    resources: ResourceRequirements,
) -> Input {
    let update = Update { resources: spec::resources(Some(&resources), true), ..Update::default() };
    let outcome = match node.config.engine.update(&id, update).await {
        Ok(()) => ResizeOutcome::Done,
        Err(error) => ResizeOutcome::Failed(error.chain().to_string()),
    };
    Input::Resized { container, attempt, outcome }
}
