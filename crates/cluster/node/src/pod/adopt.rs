//! Going on with what an earlier process of ours left: the engine's objects first, the status for what they lack.

use super::action::{Action, Run};
use super::backoff::BackOff;
use super::labels;
use super::machine::{Machine, SandboxState, Stage, later};
use super::resize::Resizing;
use super::slot::{Ended, Live, Role, Slot, SlotState};
use hako_container::{Container, ContainerState, Exit, Sandbox, SandboxState as EngineSandbox};
use hako_names::ContainerId;
use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod, PodStatus};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

/// What the engine has of a pod.
#[derive(Clone, Debug, Default)]
pub(crate) struct Leftovers {
    /// Its sandboxes, oldest first.
    pub(crate) sandboxes: Vec<Sandbox>,
    /// Its containers, oldest first.
    pub(crate) containers: Vec<Container>,
}

/// What of the leftovers is of no use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Useless {
    /// All sandboxes but the one adopted.
    pub(crate) sandboxes: Vec<hako_container::SandboxId>,
    /// Containers that were never started.
    pub(crate) containers: Vec<ContainerId>,
}

impl Machine {
    /// The machine of a pod of which something exists already, with what to do first.
    pub(crate) fn adopt(
        pod: Arc<Pod>,
        left: &Leftovers,
        host_ip: IpAddr,
        now: Timestamp,
    ) -> (Self, Vec<Action>, Useless) {
        let mut machine = Self::new(Arc::clone(&pod), now);
        let mut useless = Useless::default();
        let status = pod.status.clone().unwrap_or_default();
        machine.accepted_at = status.start_time.as_ref().map_or(now, |time| time.0);
        machine.adopt_sandbox(left, host_ip, &mut useless);
        machine.adopt_containers(left, &status, &mut useless);
        let is_over = matches!(status.phase.as_deref(), Some("Succeeded" | "Failed"));
        let mut out = Vec::new();
        if is_over {
            machine.adopt_finished(&mut out);
        } else {
            machine.start_over_without_sandbox();
            machine.go_on(&mut out);
        }
        machine.resume_deletion(now, &mut out);
        out.extend(machine.step(super::Input::Tick, now));
        (machine, out, useless)
    }

    fn adopt_sandbox(&mut self, left: &Leftovers, host_ip: IpAddr, useless: &mut Useless) {
        let is_host = self.spec().is_some_and(|spec| spec.host_network == Some(true));
        let is_ready = |sandbox: &&Sandbox| sandbox.state == EngineSandbox::Ready;
        let newest = left.sandboxes.iter().rev().find(is_ready).or(left.sandboxes.last());
        let Some(newest) = newest else { return };
        let id = newest.id.clone();
        let others = left.sandboxes.iter().filter(|sandbox| sandbox.id != id);
        useless.sandboxes.extend(others.map(|sandbox| sandbox.id.clone()));
        self.sandbox = match newest.state {
            EngineSandbox::Ready => SandboxState::Ready {
                id,
                ip: if is_host { Some(host_ip) } else { newest.ip.map(IpAddr::from) },
            },
            EngineSandbox::NotReady => SandboxState::Lost { id },
        };
    }

    fn adopt_containers(&mut self, left: &Leftovers, status: &PodStatus, useless: &mut Useless) {
        let known = |useless: &Useless, container: &Container| {
            !useless.sandboxes.contains(&container.sandbox) || container.state.exit().is_some()
        };
        let containers = left.containers.iter().filter(|container| known(useless, container));
        let containers: Vec<&Container> = containers.collect();
        let has_mains = |slot: &Slot| {
            let name = &slot.name;
            slot.role == Role::Main
                && containers.iter().any(|c| label(c, labels::CONTAINER_NAME) == name.as_str())
        };
        let said_so = condition(status, "Initialized");
        self.is_initialized = said_so || self.slots.iter().any(has_mains);
        let pod = Arc::clone(&self.pod);
        for slot in &mut self.slots {
            let mut runs: Vec<&Container> = containers
                .iter()
                .copied()
                .filter(|container| label(container, labels::CONTAINER_NAME) == slot.name)
                .collect();
            runs.sort_by_key(|container| number(container, labels::ATTEMPT));
            let told = told_about(status, slot);
            slot.adopt(&runs, told, useless);
            let defined = slot.container(&pod).and_then(|container| container.resources.clone());
            let applied = told.and_then(|told| told.resources.clone()).or(defined).unwrap_or_default();
            if let Some(granted) = self.granted.get_mut(&slot.name) {
                granted.clone_from(&applied);
            }
            slot.resizing = Resizing::running(applied);
            if slot.role == Role::Init && self.is_initialized && slot.state == SlotState::Waiting {
                slot.state = SlotState::Ended;
            }
        }
    }

    /// Of a pod that is over nothing starts again.
    fn adopt_finished(&mut self, out: &mut Vec<Action>) {
        self.stage = Stage::Finished;
        for slot in &mut self.slots {
            if slot.ended.is_some() {
                slot.state = SlotState::Ended;
            }
        }
        if let SandboxState::Ready { id, .. } = &self.sandbox {
            out.push(Action::StopSandbox(id.clone()));
            self.sandbox = SandboxState::Stopping;
        }
    }

    /// A sandbox that is gone took the work of the init containers with it.
    fn start_over_without_sandbox(&mut self) {
        if matches!(self.sandbox, SandboxState::Absent { .. }) {
            self.is_initialized = false;
            self.slots.iter_mut().for_each(Slot::reset);
        }
    }

    /// Watches and probes what runs, and decides about what ended meanwhile.
    fn go_on(&mut self, out: &mut Vec<Action>) {
        for index in 0..self.slots.len() {
            match &self.slots[index].state {
                SlotState::Running(live) => {
                    out.push(Action::Watch {
                        container: index,
                        attempt: live.run.attempt,
                        id: live.run.id.clone(),
                    });
                    self.probe(index, out);
                }
                SlotState::Ended if self.slots[index].ended.is_some() => self.decide(index, out),
                _ => {}
            }
        }
    }

    /// A deletion that was under way keeps its end; the timestamp's fraction of a second is the pod's.
    fn resume_deletion(&mut self, now: Timestamp, out: &mut Vec<Action>) {
        let Some(until) = self.pod.metadata.deletion_timestamp.as_ref().map(|time| time.0) else {
            return;
        };
        self.grace_seen = self.pod.metadata.deletion_grace_period_seconds;
        let until = later(until, SignedDuration::from_secs(1));
        self.begin_stop(until.max(now), now, out);
    }
}

fn condition(status: &PodStatus, kind: &str) -> bool {
    let mut conditions = status.conditions.iter().flatten();
    conditions.any(|condition| condition.type_ == kind && condition.status == "True")
}

fn told_about<'s>(status: &'s PodStatus, slot: &Slot) -> Option<&'s ContainerStatus> {
    let list = match slot.role {
        Role::Main => &status.container_statuses,
        Role::Ephemeral => &status.ephemeral_container_statuses,
        Role::Init | Role::Sidecar => &status.init_container_statuses,
    };
    list.iter().flatten().find(|told| told.name == slot.name)
}

fn label<'c>(container: &'c Container, name: &str) -> &'c str {
    let labels: &BTreeMap<String, String> = &container.spec.labels;
    labels.get(name).map_or("", String::as_str)
}

fn number(container: &Container, name: &str) -> u32 {
    label(container, name).parse().unwrap_or(0)
}

impl Slot {
    fn adopt(&mut self, runs: &[&Container], told: Option<&ContainerStatus>, useless: &mut Useless) {
        if let Some(told) = told {
            self.adopt_status(told);
        }
        for container in runs {
            let attempt = number(container, labels::ATTEMPT);
            let restarts = number(container, labels::RESTARTS);
            self.attempt = attempt;
            match &container.state {
                ContainerState::Created => {
                    useless.containers.push(container.id.clone());
                    self.backoff = BackOff::adopt(restarts, None);
                    self.state = SlotState::Waiting;
                }
                ContainerState::Running { started_at, .. } => {
                    self.backoff = BackOff::adopt(restarts, Some(*started_at));
                    self.adopt_running(container, attempt, *started_at, told);
                }
                ContainerState::Exited(exit) => {
                    self.backoff = BackOff::adopt(restarts, exit.started_at);
                    self.adopt_exited(container, attempt, exit);
                }
            }
        }
    }

    /// What the status says is all there is when the engine has nothing of the container any more.
    fn adopt_status(&mut self, told: &ContainerStatus) {
        self.restart_count = u32::try_from(told.restart_count).unwrap_or(0);
        self.image_id.clone_from(&told.image_id);
        let state = |state: &Option<k8s_openapi::api::core::v1::ContainerState>| {
            state.as_ref().and_then(|state| state.terminated.as_ref()).map(ended_of)
        };
        self.ended = state(&told.state);
        self.last = state(&told.last_state);
        let was_running = told.container_id.is_some() && self.ended.is_none();
        self.attempt = self.restart_count + u32::from(was_running);
        if self.ended.is_some() {
            self.state = SlotState::Ended;
        }
    }

    fn adopt_running(
        &mut self,
        container: &Container,
        attempt: u32,
        started_at: Timestamp,
        told: Option<&ContainerStatus>,
    ) {
        let url = container_url(&container.id);
        let told = told.filter(|told| told.container_id.as_deref() == Some(&url));
        let run = Run {
            attempt,
            id: container.id.clone(),
            started_at,
            image_id: container.resolved.image_id.clone(),
        };
        if let Some(ended) = self.ended.take() {
            self.last = Some(ended);
        }
        self.restart_count = attempt;
        self.image_id.clone_from(&run.image_id);
        // Ready as the status said: a restart of the agent is no reason to lose a single request.
        self.state = SlotState::Running(Live {
            run,
            is_started: told.is_some_and(|told| told.started == Some(true)),
            passes_readiness: told.is_some_and(|told| told.ready),
            is_set_up: true,
            is_stopping: false,
        });
    }

    fn adopt_exited(&mut self, container: &Container, attempt: u32, exit: &Exit) {
        let id = Some(container.id.clone());
        if self.ended.as_ref().is_some_and(|ended| ended.id != id) {
            self.last = self.ended.take();
        }
        self.restart_count = attempt;
        self.image_id.clone_from(&container.resolved.image_id);
        self.ended = Some(Ended {
            id,
            exit: exit.clone(),
            failed_to_start: exit.started_at.is_none(),
            message: exit.error.clone(),
        });
        self.state = SlotState::Ended;
    }
}

/// How the status names a container.
pub(crate) fn container_url(id: &ContainerId) -> String {
    format!("hako://{id}")
}

fn ended_of(terminated: &ContainerStateTerminated) -> Ended {
    let id = terminated.container_id.as_deref().and_then(|url| url.strip_prefix("hako://"));
    let finished_at = terminated.finished_at.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0);
    Ended {
        id: id.and_then(|id| id.parse().ok()),
        exit: Exit {
            code: terminated.exit_code,
            signal: terminated.signal,
            oom_killed: terminated.reason.as_deref() == Some("OOMKilled"),
            error: None,
            started_at: terminated.started_at.as_ref().map(|time| time.0),
            finished_at,
        },
        failed_to_start: terminated.reason.as_deref() == Some("StartError"),
        message: terminated.message.clone(),
    }
}
