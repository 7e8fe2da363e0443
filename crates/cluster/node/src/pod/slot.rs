//! One container of a pod across its runs.

use super::action::{Run, StartFailure};
use super::backoff::{BackOff, delay};
use super::resize::Resizing;
use crate::probe::ProbeKind;
use hako_container::Exit;
use hako_names::ContainerId;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, EphemeralContainer, Pod, Probe};
use std::sync::Arc;
use std::time::Duration;

/// What a container is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Runs to its end before the next one starts.
    Init,
    /// An init container that keeps running beside the others.
    Sidecar,
    /// What the pod is for.
    Main,
    /// Added to a pod that runs, to look into it: nothing depends on it, and it runs once.
    Ephemeral,
}

impl Role {
    /// Whether it has its turn before what the pod is for.
    pub(crate) fn is_init(self) -> bool {
        matches!(self, Self::Init | Self::Sidecar)
    }
}

/// Where a container is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum SlotState {
    /// Its turn has not come.
    Waiting,
    /// The worker creates and starts it.
    Starting,
    /// It could not be configured; tried again at `retry_at`.
    Failed { reason: &'static str, message: String, retry_at: Timestamp },
    /// Its process lives.
    Running(Live),
    /// It ended and starts again at `until`.
    BackOff { until: Timestamp, delay: Duration },
    /// It ended for good.
    Ended,
}

/// A living process.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Live {
    /// Which run.
    pub(crate) run: Run,
    /// The startup probe has succeeded, or there is none.
    pub(crate) is_started: bool,
    /// What the readiness probe says; true without one.
    pub(crate) passes_readiness: bool,
    /// The postStart hook has succeeded, or there is none.
    pub(crate) is_set_up: bool,
    /// It has been asked to end.
    pub(crate) is_stopping: bool,
}

/// A run that is over.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Ended {
    /// The engine's id.
    pub(crate) id: Option<ContainerId>,
    /// How it ended.
    pub(crate) exit: Exit,
    /// Whether it never ran.
    pub(crate) failed_to_start: bool,
    /// For people.
    pub(crate) message: Option<String>,
}

/// One container of a pod.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Its name in the pod.
    pub(crate) name: String,
    /// What it is for.
    pub(crate) role: Role,
    /// Its place in `spec.containers` or `spec.initContainers`.
    pub(crate) place: usize,
    /// Of an ephemeral container what it is, in the words of the others.
    own: Option<Arc<Container>>,
    /// Where it is.
    pub(crate) state: SlotState,
    /// The run that is over and not yet followed by another.
    pub(crate) ended: Option<Ended>,
    /// The run before the present one.
    pub(crate) last: Option<Ended>,
    /// The run that is under way or comes next.
    pub(crate) attempt: u32,
    /// What the status shows: the number of the last run that started.
    pub(crate) restart_count: u32,
    /// When it may run again.
    pub(crate) backoff: BackOff,
    /// Failures to configure it in a row.
    pub(crate) failures: u32,
    /// The image's id of the last run.
    pub(crate) image_id: String,
    /// It ends to run again with another image, whatever the restart policy says.
    pub(crate) is_replaced: bool,
    /// What its process may use.
    pub(crate) resizing: Resizing,
}

impl Slot {
    fn new(container: &Container, role: Role, place: usize) -> Self {
        Self {
            name: container.name.clone(),
            role,
            place,
            own: (role == Role::Ephemeral).then(|| Arc::new(container.clone())),
            state: SlotState::Waiting,
            ended: None,
            last: None,
            attempt: 0,
            restart_count: 0,
            backoff: BackOff::default(),
            failures: 0,
            image_id: String::new(),
            is_replaced: false,
            resizing: Resizing::default(),
        }
    }

    /// The containers of `pod`: init containers in their order, then the others, then what was added to them.
    pub(crate) fn all(pod: &Pod) -> Vec<Self> {
        let Some(spec) = &pod.spec else { return Vec::new() };
        let role = |container: &Container| match container.restart_policy.as_deref() {
            Some("Always") => Role::Sidecar,
            _ => Role::Init,
        };
        let init = spec.init_containers.iter().flatten().enumerate();
        let init = init.map(|(place, container)| Self::new(container, role(container), place));
        let main = spec.containers.iter().enumerate();
        let main = main.map(|(place, container)| Self::new(container, Role::Main, place));
        init.chain(main).chain(Self::ephemeral(pod)).collect()
    }

    /// The containers that were added to `pod`.
    pub(crate) fn ephemeral(pod: &Pod) -> Vec<Self> {
        let all = pod.spec.iter().flat_map(|spec| spec.ephemeral_containers.iter().flatten());
        let slot = |(place, one)| Some(Self::new(&as_container(one)?, Role::Ephemeral, place));
        all.enumerate().filter_map(slot).collect()
    }

    /// Its definition in `pod`.
    pub(crate) fn container<'p>(&'p self, pod: &'p Pod) -> Option<&'p Container> {
        let spec = pod.spec.as_ref()?;
        match self.role {
            Role::Ephemeral => self.own.as_deref(),
            Role::Main => spec.containers.get(self.place),
            Role::Init | Role::Sidecar => spec.init_containers.as_ref()?.get(self.place),
        }
    }

    /// Its path in the pod, as events name it.
    pub(crate) fn field(&self) -> String {
        let list = match self.role {
            Role::Main => "containers",
            Role::Ephemeral => "ephemeralContainers",
            Role::Init | Role::Sidecar => "initContainers",
        };
        format!("spec.{list}{{{}}}", self.name)
    }

    /// The living process, if there is one.
    pub(crate) fn live(&self) -> Option<&Live> {
        match &self.state {
            SlotState::Running(live) => Some(live),
            _ => None,
        }
    }

    /// The living process of run `attempt`: anything about another run is late news.
    pub(crate) fn live_mut(&mut self, attempt: u32) -> Option<&mut Live> {
        match &mut self.state {
            SlotState::Running(live) if live.run.attempt == attempt => Some(live),
            _ => None,
        }
    }

    /// Whether a process lives or is about to.
    pub(crate) fn is_alive(&self) -> bool {
        matches!(self.state, SlotState::Running(_) | SlotState::Starting)
    }

    /// Whether it counts as ready.
    pub(crate) fn is_ready(&self) -> bool {
        match self.role {
            Role::Init => matches!(&self.ended, Some(ended) if ended.exit.code == 0),
            Role::Sidecar | Role::Main => self.live().is_some_and(Live::is_ready),
            Role::Ephemeral => false,
        }
    }

    /// Whether the init container after this one may start.
    pub(crate) fn lets_next_start(&self) -> bool {
        match self.role {
            Role::Init => self.state == SlotState::Ended && self.is_ready(),
            Role::Sidecar => self.live().is_some_and(|live| live.is_started && live.is_set_up),
            Role::Main | Role::Ephemeral => true,
        }
    }

    /// When it starts next, if it waits for a time to come.
    pub(crate) fn due_at(&self) -> Option<Timestamp> {
        match &self.state {
            SlotState::Failed { retry_at, .. } => Some(*retry_at),
            SlotState::BackOff { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// Whether it may be started now, were it its turn.
    pub(crate) fn is_due(&self, now: Timestamp) -> bool {
        self.state == SlotState::Waiting || self.due_at().is_some_and(|at| at <= now)
    }

    /// The process lives.
    pub(crate) fn started(&mut self, run: Run, pod: &Pod) {
        let container = self.container(pod);
        let has = |probe: Option<&Probe>| probe.is_some();
        let has_startup = has(container.and_then(|c| c.startup_probe.as_ref()));
        let has_readiness = has(container.and_then(|c| c.readiness_probe.as_ref()));
        let has_hook = container
            .and_then(|c| c.lifecycle.as_ref())
            .is_some_and(|lifecycle| lifecycle.post_start.is_some());
        if let Some(ended) = self.ended.take() {
            self.last = Some(ended);
        }
        self.failures = 0;
        self.is_replaced = false;
        self.attempt = run.attempt;
        self.restart_count = run.attempt;
        self.image_id.clone_from(&run.image_id);
        self.state = SlotState::Running(Live {
            run,
            is_started: !has_startup,
            passes_readiness: !has_readiness,
            is_set_up: !has_hook,
            is_stopping: false,
        });
    }

    /// It could not be configured: tried again after 1 s, doubling to 1 min (to 5 min where an image is missing).
    pub(crate) fn failed(&mut self, reason: &'static str, message: String, now: Timestamp) {
        let is_image = matches!(reason, "ErrImagePull" | "ErrImageNeverPull" | "InvalidImageName");
        let (first, max) = match is_image {
            true => (Duration::from_secs(10), Duration::from_secs(300)),
            false => (Duration::from_secs(1), Duration::from_secs(60)),
        };
        self.failures += 1;
        let retry_at = now.saturating_add(delay(self.failures, first, max)).unwrap_or(now);
        self.state = SlotState::Failed { reason, message, retry_at };
    }

    /// The program could not be executed, which counts as a run.
    pub(crate) fn failed_to_run(&mut self, failure: StartFailure) {
        if let StartFailure::Run { id, image_id, exit, message } = failure {
            self.image_id = image_id;
            self.restart_count = self.attempt;
            self.over(Ended { id: Some(id), exit, failed_to_start: true, message: Some(message) });
        }
    }

    /// The process ended.
    pub(crate) fn exited(&mut self, id: Option<ContainerId>, exit: Exit) {
        let message = exit.error.clone();
        self.over(Ended { id, exit, failed_to_start: false, message });
    }

    fn over(&mut self, ended: Ended) {
        if let Some(before) = self.ended.replace(ended) {
            self.last = Some(before);
        }
        self.state = SlotState::Ended;
    }

    /// It is to run again: says after which delay.
    pub(crate) fn back_off(&mut self) -> Duration {
        let finished_at = self.ended.as_ref().map(|ended| ended.exit.finished_at);
        let Some(finished_at) = finished_at else {
            return Duration::ZERO;
        };
        let (until, delay) = self.backoff.next(finished_at);
        self.attempt += 1;
        self.state = SlotState::BackOff { until, delay };
        delay
    }

    /// It starts over in another sandbox: init containers run once more, others go on where they are.
    pub(crate) fn reset(&mut self) {
        match (&self.state, self.role) {
            (SlotState::Starting | SlotState::Failed { .. }, _) => self.state = SlotState::Waiting,
            (SlotState::Ended, Role::Init | Role::Sidecar) => {
                self.attempt += 1;
                self.state = SlotState::Waiting;
            }
            _ => {}
        }
    }

    /// The probes it has once its process lives.
    pub(crate) fn probes(&self, pod: &Pod) -> Vec<ProbeKind> {
        let Some(container) = self.container(pod) else {
            return Vec::new();
        };
        [
            (ProbeKind::Readiness, container.readiness_probe.is_some()),
            (ProbeKind::Liveness, container.liveness_probe.is_some()),
        ]
        .into_iter()
        .filter_map(|(kind, is_set)| is_set.then_some(kind))
        .collect()
    }
}

/// An ephemeral container as one of the others: it has all that they have, and a target.
fn as_container(ephemeral: &EphemeralContainer) -> Option<Container> {
    let mut value = serde_json::to_value(ephemeral).ok()?;
    value.as_object_mut()?.remove("targetContainerName");
    serde_json::from_value(value).ok()
}

impl Live {
    /// Whether it may receive requests.
    pub(crate) fn is_ready(&self) -> bool {
        self.is_started && self.is_set_up && self.passes_readiness
    }
}
