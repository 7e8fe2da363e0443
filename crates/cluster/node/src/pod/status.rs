//! What the API shows of a pod.

use super::adopt::container_url;
use super::machine::{Machine, SandboxState, Stage, identity};
use super::slot::{Ended, Role, Slot, SlotState};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting,
    ContainerStatus, HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::net::IpAddr;

impl Machine {
    /// The status now; `before` is the one shown so far, for what others write and for the times of changes.
    pub(crate) fn status(&self, before: &PodStatus, host_ip: IpAddr, now: Timestamp) -> PodStatus {
        let phase = self.phase();
        let statuses = |is_meant: fn(Role) -> bool| -> Vec<ContainerStatus> {
            let slots = self.slots.iter().filter(|slot| is_meant(slot.role));
            slots.map(|slot| self.container_status(slot)).collect()
        };
        let ip = self.ip().map(|ip| ip.to_string());
        let init = statuses(Role::is_init);
        let ephemeral = statuses(|role| role == Role::Ephemeral);
        PodStatus {
            phase: Some(phase.to_owned()),
            conditions: Some(self.conditions(phase, before, now)),
            reason: self.sentence.map(|sentence| sentence.reason.to_owned()),
            message: self.sentence.map(|sentence| sentence.message.to_owned()),
            host_ip: Some(host_ip.to_string()),
            host_ips: Some(vec![HostIP { ip: host_ip.to_string() }]),
            pod_ips: ip.clone().map(|ip| vec![PodIP { ip }]),
            pod_ip: ip,
            start_time: Some(Time(self.accepted_at)),
            init_container_statuses: Some(init).filter(|init| !init.is_empty()),
            container_statuses: Some(statuses(|role| role == Role::Main)),
            ephemeral_container_statuses: Some(ephemeral).filter(|all| !all.is_empty()),
            qos_class: before.qos_class.clone().or_else(|| Some(qos_class(&self.pod).to_owned())),
            observed_generation: self.pod.metadata.generation,
            ..before.clone()
        }
    }

    /// The phase, from the states of the containers.
    pub(crate) fn phase(&self) -> &'static str {
        if self.sentence.is_some() && !self.slots.iter().any(Slot::is_alive) {
            return "Failed";
        }
        let is_over = !matches!(self.stage, Stage::Active | Stage::Draining { .. } | Stage::Stopping { .. });
        let of_role = |role: Role| self.slots.iter().filter(move |slot| slot.role == role);
        let has_failed_init =
            of_role(Role::Init).any(|slot| slot.state == SlotState::Ended && !slot.is_ready());
        if has_failed_init && !self.is_initialized {
            return if self.restart_policy() == "Never" || is_over { "Failed" } else { "Pending" };
        }
        if !self.is_initialized {
            return "Pending";
        }
        let is_waiting = |slot: &Slot| slot.live().is_none() && slot.ended.is_none();
        if of_role(Role::Main).any(is_waiting) && !is_over {
            return "Pending";
        }
        if of_role(Role::Main).any(|slot| slot.live().is_some()) {
            return "Running";
        }
        let has_succeeded = |slot: &Slot| slot.ended.as_ref().is_some_and(|ended| ended.exit.code == 0);
        let will_run_again = of_role(Role::Main).any(|slot| slot.state != SlotState::Ended);
        match of_role(Role::Main).all(has_succeeded) {
            _ if will_run_again && !is_over => "Running",
            true => "Succeeded",
            false => "Failed",
        }
    }

    fn conditions(&self, phase: &str, before: &PodStatus, now: Timestamp) -> Vec<PodCondition> {
        let mut out: Vec<PodCondition> = before.conditions.clone().unwrap_or_default();
        let has_network = matches!(self.sandbox, SandboxState::Ready { .. });
        let unready =
            self.unready(|slot| matches!(slot.role, Role::Main | Role::Sidecar) && !slot.is_ready());
        let incomplete = self.unready(|slot| slot.role.is_init() && !slot.lets_next_start());
        let is_completed = phase == "Succeeded";
        let containers = match (&unready, phase) {
            (_, "Succeeded") => Verdict::no("PodCompleted", String::new()),
            (_, "Failed") => Verdict::no("PodFailed", String::new()),
            (None, _) => Verdict::yes(),
            (Some(names), _) => {
                Verdict::no("ContainersNotReady", format!("containers with unready status: [{names}]"))
            }
        };
        let initialized = match (&incomplete, self.is_initialized || is_completed) {
            (_, true) if is_completed => Verdict { reason: Some("PodCompleted"), ..Verdict::yes() },
            (_, true) | (None, _) => Verdict::yes(),
            (Some(names), false) => Verdict::no(
                "ContainersNotInitialized",
                format!("containers with incomplete status: [{names}]"),
            ),
        };
        let ready = match self.closed_gates(before) {
            Some(message) if containers.is_true => Verdict::no("ReadinessGatesNotReady", message),
            _ => containers.clone(),
        };
        let network = match has_network {
            true => Verdict::yes(),
            false => Verdict { is_true: false, ..Verdict::yes() },
        };
        let generation = self.pod.metadata.generation;
        for (kind, verdict) in [
            ("PodReadyToStartContainers", network),
            ("Initialized", initialized),
            ("Ready", ready),
            ("ContainersReady", containers),
            ("PodScheduled", Verdict::yes()),
        ] {
            set(&mut out, kind, verdict, generation, now);
        }
        for (kind, holds) in self.resize_conditions() {
            match holds {
                Some((reason, message)) => {
                    let reason = Some(reason).filter(|reason| !reason.is_empty());
                    let message = Some(message).filter(|message| !message.is_empty());
                    set(&mut out, kind, Verdict { is_true: true, reason, message }, generation, now);
                }
                None => out.retain(|condition| condition.type_ != kind),
            }
        }
        out
    }

    fn unready(&self, is_unready: impl Fn(&Slot) -> bool) -> Option<String> {
        let slots = self.slots.iter().filter(|slot| is_unready(slot));
        let names: Vec<&str> = slots.map(|slot| slot.name.as_str()).collect();
        (!names.is_empty()).then(|| names.join(" "))
    }

    /// Conditions that others have to make true before the pod is ready.
    fn closed_gates(&self, before: &PodStatus) -> Option<String> {
        let is_true = |kind: &str| {
            let mut conditions = before.conditions.iter().flatten();
            conditions.any(|condition| condition.type_ == kind && condition.status == "True")
        };
        let gates = self.spec()?.readiness_gates.iter().flatten();
        let mut closed = gates.filter(|gate| !is_true(&gate.condition_type));
        let gate = closed.next()?;
        let kind = &gate.condition_type;
        Some(format!("corresponding condition of pod readiness gate \"{kind}\" does not exist."))
    }

    fn container_status(&self, slot: &Slot) -> ContainerStatus {
        let live = slot.live();
        let id = live.map(|live| &live.run.id);
        let id = id.or_else(|| slot.ended.as_ref().and_then(|ended| ended.id.as_ref()));
        ContainerStatus {
            name: slot.name.clone(),
            image: slot.container(&self.pod).and_then(|c| c.image.clone()).unwrap_or_default(),
            image_id: slot.image_id.clone(),
            container_id: id.map(container_url),
            ready: slot.is_ready(),
            started: Some(live.is_some_and(|live| live.is_started && live.is_set_up)),
            restart_count: i32::try_from(slot.restart_count).unwrap_or(i32::MAX),
            state: Some(self.state(slot)),
            last_state: last_state(slot),
            resources: slot.resizing.applied.clone(),
            allocated_resources: self.granted_to(slot).requests,
            ..ContainerStatus::default()
        }
    }

    fn state(&self, slot: &Slot) -> ContainerState {
        match (&slot.state, &slot.ended) {
            (SlotState::Running(live), _) => ContainerState {
                running: Some(ContainerStateRunning { started_at: Some(Time(live.run.started_at)) }),
                ..ContainerState::default()
            },
            (SlotState::Failed { reason, message, .. }, _) => waiting(shown(slot, reason), message.clone()),
            (SlotState::BackOff { delay, .. }, _) => {
                let message = format!(
                    "back-off {} restarting failed container={} pod={}",
                    go_duration(delay.as_secs()),
                    slot.name,
                    identity(&self.pod)
                );
                waiting("CrashLoopBackOff", message)
            }
            (SlotState::Ended | SlotState::Starting, Some(ended)) => terminated(ended),
            (SlotState::Waiting | SlotState::Starting | SlotState::Ended, _) => {
                let has_init = self.slots.iter().any(|slot| slot.role.is_init());
                let reason = if has_init && slot.role != Role::Ephemeral {
                    "PodInitializing"
                } else {
                    "ContainerCreating"
                };
                waiting(reason, self.sandbox_error.clone().unwrap_or_default())
            }
        }
    }
}

/// After the first failure to get an image the container is said to back off.
fn shown(slot: &Slot, reason: &'static str) -> &'static str {
    match reason {
        "ErrImagePull" if slot.failures > 1 => "ImagePullBackOff",
        other => other,
    }
}

fn waiting(reason: &str, message: String) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting {
            reason: Some(reason.to_owned()),
            message: Some(message).filter(|message| !message.is_empty()),
        }),
        ..ContainerState::default()
    }
}

fn terminated(ended: &Ended) -> ContainerState {
    let exit = &ended.exit;
    let reason = match exit.code {
        _ if exit.oom_killed => "OOMKilled",
        _ if ended.failed_to_start => "StartError",
        0 => "Completed",
        _ => "Error",
    };
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: ended.id.as_ref().map(container_url),
            exit_code: exit.code,
            signal: None,
            reason: Some(reason.to_owned()),
            message: ended.message.clone(),
            started_at: Some(Time(exit.started_at.unwrap_or(exit.finished_at))),
            finished_at: Some(Time(exit.finished_at)),
        }),
        ..ContainerState::default()
    }
}

/// The run before the one that `state` shows.
fn last_state(slot: &Slot) -> Option<ContainerState> {
    let shows_ended = matches!(slot.state, SlotState::Ended | SlotState::Starting);
    let last = match shows_ended {
        true => slot.last.as_ref(),
        false => slot.ended.as_ref().or(slot.last.as_ref()),
    };
    last.map(terminated)
}

/// `1m20s`, as Go prints it.
fn go_duration(seconds: u64) -> String {
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[derive(Clone)]
struct Verdict {
    is_true: bool,
    reason: Option<&'static str>,
    message: Option<String>,
}

impl Verdict {
    fn yes() -> Self {
        Self { is_true: true, reason: None, message: None }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self {
            is_true: false,
            reason: Some(reason),
            message: Some(message).filter(|message| !message.is_empty()),
        }
    }
}

/// Sets a condition; its time changes only with its status.
fn set(
    conditions: &mut Vec<PodCondition>,
    kind: &str,
    verdict: Verdict,
    generation: Option<i64>,
    now: Timestamp,
) {
    let status = if verdict.is_true { "True" } else { "False" };
    let before = conditions.iter().position(|condition| condition.type_ == kind);
    let since = before.map(|at| &conditions[at]).filter(|condition| condition.status == status);
    let since = since.and_then(|condition| condition.last_transition_time.clone());
    let condition = PodCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: verdict.reason.map(str::to_owned),
        message: verdict.message,
        last_transition_time: Some(since.unwrap_or(Time(now))),
        last_probe_time: None,
        observed_generation: generation,
    };
    match before {
        Some(at) => conditions[at] = condition,
        None => conditions.push(condition),
    }
}

/// Guaranteed when every container limits cpu and memory and asks for just that, `BestEffort` when none says anything.
pub(crate) fn qos_class(pod: &Pod) -> &'static str {
    let Some(spec) = &pod.spec else { return "BestEffort" };
    let containers = || spec.init_containers.iter().flatten().chain(&spec.containers);
    let says_nothing = |container: &Container| {
        let resources = container.resources.as_ref();
        let is_empty = |list: Option<&std::collections::BTreeMap<String, _>>| {
            list.is_none_or(|list| !list.keys().any(|name| matches!(name.as_str(), "cpu" | "memory")))
        };
        resources.is_none_or(|r| is_empty(r.limits.as_ref()) && is_empty(r.requests.as_ref()))
    };
    let is_exact = |container: &Container| {
        let Some(resources) = &container.resources else { return false };
        ["cpu", "memory"].iter().all(|name| {
            let limit = resources.limits.as_ref().and_then(|limits| limits.get(*name));
            let request = resources.requests.as_ref().and_then(|requests| requests.get(*name));
            limit.is_some() && request.is_none_or(|request| Some(request) == limit)
        })
    };
    if containers().all(says_nothing) {
        return "BestEffort";
    }
    if containers().all(is_exact) { "Guaranteed" } else { "Burstable" }
}
