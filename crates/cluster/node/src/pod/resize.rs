//! Resources of containers that run: changed in place, or with a restart where the container says so.

use super::action::{Action, Input, PodEvent, ResizeOutcome};
use super::machine::{Machine, Stage, later};
use super::slot::Role;
use super::spec;
use crate::context::Context;
use hako_container::Update;
use hako_names::{ContainerId, Quantity};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, ResourceRequirements};
use std::sync::Arc;

/// Conditions that are there only while they are true.
pub(super) const PENDING: &str = "PodResizePending";
pub(super) const IN_PROGRESS: &str = "PodResizeInProgress";

/// The resources of a living container.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Resizing {
    /// What it runs with.
    pub(super) applied: Option<ResourceRequirements>,
    /// What was asked for last.
    wanted: Option<ResourceRequirements>,
    /// What became of that.
    pub(super) state: ResizeState,
}

/// What becomes of a change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ResizeState {
    /// It runs with what the pod says.
    #[default]
    Settled,
    /// The engine is at it.
    InProgress,
    /// The node has not that much.
    Infeasible(String),
    /// The engine could not.
    Failed(String),
}

impl Resizing {
    /// Of a container that starts with what it is defined to have.
    pub(crate) fn starting(container: Option<&Container>) -> Self {
        Self::running(container.and_then(|container| container.resources.clone()).unwrap_or_default())
    }

    /// Of a container that runs with these.
    pub(crate) fn running(applied: ResourceRequirements) -> Self {
        Self { applied: Some(applied), ..Self::default() }
    }

    /// The requests of what it runs with.
    pub(super) fn allocated(
        &self,
    ) -> Option<std::collections::BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>
    {
        self.applied.as_ref()?.requests.clone()
    }
}

impl Machine {
    /// Begins to change what runs with other resources than its pod says.
    pub(super) fn resize_changed(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        if self.stage != Stage::Active {
            return;
        }
        for index in 0..self.slots.len() {
            let slot = &self.slots[index];
            let Some(live) = slot.live().filter(|_| matches!(slot.role, Role::Main | Role::Sidecar)) else {
                continue;
            };
            let (attempt, id) = (live.run.attempt, live.run.id.clone());
            let Some(container) = slot.container(&self.pod) else { continue };
            let wanted = container.resources.clone().unwrap_or_default();
            if slot.resizing.applied.as_ref() == Some(&wanted) {
                self.slots[index].resizing = Resizing::running(wanted);
                continue;
            }
            if slot.resizing.wanted.as_ref() == Some(&wanted) {
                continue;
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
    }

    pub(super) fn resized(
        &mut self,
        index: usize,
        attempt: u32,
        outcome: ResizeOutcome,
        out: &mut Vec<Action>,
    ) {
        if self.slots[index].live_mut(attempt).is_none() {
            return;
        }
        let field = self.slots[index].field();
        let resizing = &mut self.slots[index].resizing;
        resizing.state = match outcome {
            ResizeOutcome::Done => {
                resizing.applied = resizing.wanted.take();
                ResizeState::Settled
            }
            ResizeOutcome::Infeasible(message) => ResizeState::Infeasible(message),
            ResizeOutcome::Failed(message) => {
                out.push(Action::Emit(PodEvent::warning("ResizeError", message.clone()).about(field)));
                ResizeState::Failed(message)
            }
        };
    }

    /// Reason and message of the conditions about resizes, each where it holds.
    pub(super) fn resize_conditions(&self) -> [(&'static str, Option<(&'static str, String)>); 2] {
        let states = || self.slots.iter().map(|slot| &slot.resizing.state);
        let pending = states().find_map(|state| match state {
            ResizeState::Infeasible(message) => Some(("Infeasible", message.clone())),
            _ => None,
        });
        let failed = states().find_map(|state| match state {
            ResizeState::Failed(message) => Some(("Error", message.clone())),
            _ => None,
        });
        let is_under_way = states().any(|state| *state == ResizeState::InProgress);
        [(PENDING, pending), (IN_PROGRESS, failed.or_else(|| is_under_way.then(|| ("", String::new()))))]
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
    let outcome = match lacking(&node, &resources) {
        Some(message) => ResizeOutcome::Infeasible(message),
        None => {
            let update = Update { resources: spec::resources(Some(&resources), true), ..Update::default() };
            match node.config.engine.update(&id, update).await {
                Ok(()) => ResizeOutcome::Done,
                Err(error) => ResizeOutcome::Failed(error.chain().to_string()),
            }
        }
    };
    Input::Resized { container, attempt, outcome }
}

/// What the node has too little of, whatever else runs on it.
fn lacking(node: &Context, resources: &ResourceRequirements) -> Option<String> {
    let requests = resources.requests.iter().flatten();
    let too_much = |(name, asked): (&String, &k8s_openapi::apimachinery::pkg::api::resource::Quantity)| {
        let (asked, has): (Quantity, _) = (asked.0.parse().ok()?, node.allocatable.get(name)?);
        (asked > *has)
            .then(|| format!("Node didn't have enough capacity: {name}, requested: {asked}, capacity: {has}"))
    };
    requests.into_iter().find_map(too_much)
}
