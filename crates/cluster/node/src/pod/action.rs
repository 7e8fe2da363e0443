//! What goes into a pod's state machine and what comes out.

use super::room::{Answer, Granted};
use crate::probe::ProbeKind;
use hako_container::{Exit, SandboxId};
use hako_names::ContainerId;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Pod, ResourceRequirements};
use std::net::IpAddr;
use std::sync::Arc;

/// Something that happened to a pod.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The API's object is now this.
    Pod(Arc<Pod>),
    /// The API's object is gone: nothing of the pod is to remain, and nobody waits.
    Gone,
    /// A ConfigMap or Secret that the pod names changed.
    Objects,
    /// The node is taken down: the pod is to end by `deadline`, its object stays (`hako down`).
    Shutdown { deadline: Timestamp },
    /// The sandbox is up.
    SandboxMade { id: SandboxId, ip: Option<IpAddr> },
    /// Volumes or sandbox could not be made.
    SandboxFailed { reason: &'static str, message: String },
    /// The sandbox's shim is gone and all in it.
    SandboxLost,
    /// The sandbox was stopped or removed as asked.
    SandboxStopped,
    /// A container's process started.
    Started { container: usize, run: Run },
    /// A container could not be started.
    StartFailed { container: usize, attempt: u32, failure: StartFailure },
    /// The postStart hook is over.
    PostStart { container: usize, attempt: u32, result: Result<(), String> },
    /// A container's process ended.
    Exited { container: usize, attempt: u32, exit: Exit },
    /// A probe has an answer.
    Probed { container: usize, attempt: u32, kind: ProbeKind, verdict: Verdict },
    /// The node says whether the pod may have the resources it asked for.
    Room(Answer),
    /// Another pod holds less than before.
    Freed,
    /// A change of a running container's resources is over.
    Resized { container: usize, attempt: u32, outcome: ResizeOutcome },
    /// No connection reaches the pod any more, or its share of the grace period is used up.
    Drained,
    /// Sandbox and files are gone.
    CleanedUp,
    /// The API's object is deleted.
    Deleted,
    /// Nothing happened, time has passed.
    Tick,
}

/// One run of a container.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// Which run it is, from 0.
    pub(crate) attempt: u32,
    /// The engine's id.
    pub(crate) id: ContainerId,
    /// Since when.
    pub(crate) started_at: Timestamp,
    /// The image's id, as `sha256:…`.
    pub(crate) image_id: String,
}

/// Why a container could not be started.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum StartFailure {
    /// Its configuration cannot be made now, it is tried again: `CreateContainerConfigError`, `ErrImagePull` and
    /// their kind.
    Retry { reason: &'static str, message: String },
    /// The program could not be executed: this counts as an exit.
    Run { id: ContainerId, image_id: String, exit: Exit, message: String },
}

/// What became of a change of resources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ResizeOutcome {
    /// It holds.
    Done,
    /// The engine could not.
    Failed(String),
}

/// A probe's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As often in a row as asked for.
    Success,
    /// Once, and the threshold is not reached.
    Failing(String),
    /// As often in a row as allowed.
    Failure(String),
}

/// What the worker is to do.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Make volumes and sandbox.
    MakeSandbox,
    /// Remove a sandbox that is lost, with its containers, so that another can be made.
    RemoveSandbox(SandboxId),
    /// Stop the sandbox of a finished pod.
    StopSandbox(SandboxId),
    /// Create and start run `attempt` of a container.
    Start {
        container: usize,
        attempt: u32,
        /// Restarts in a row, for the label that keeps the back-off.
        restarts: u32,
    },
    /// Wait for the end of a run; [`Input::Exited`] follows.
    Watch { container: usize, attempt: u32, id: ContainerId },
    /// Run the postStart hook.
    PostStart { container: usize, attempt: u32 },
    /// Start probing.
    Probe { container: usize, attempt: u32, kind: ProbeKind },
    /// Stop all probes of a container.
    StopProbes { container: usize },
    /// Ask whether the pod may have these resources; [`Input::Room`] follows.
    AskRoom { wanted: Granted },
    /// Change the resources of a running container; [`Input::Resized`] follows.
    Resize { container: usize, attempt: u32, id: ContainerId, resources: Box<ResourceRequirements> },
    /// Run preStop, ask the process to end and kill it when the time is up.
    Stop { container: usize, id: ContainerId, deadline: Timestamp },
    /// The time that stops already under way have is shorter now.
    Hasten { deadline: Timestamp },
    /// Withdraw the pod's address; [`Input::Drained`] follows by `deadline`.
    Drain { ip: IpAddr, deadline: Timestamp },
    /// Remove sandbox and files.
    CleanUp,
    /// Delete the API's object, which nobody needs any more.
    DeleteObject,
    /// Tell the API's users.
    Emit(PodEvent),
}

/// An event about a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PodEvent {
    /// Whether something is wrong.
    pub(crate) is_warning: bool,
    /// The kubelet's word.
    pub(crate) reason: &'static str,
    /// For people.
    pub(crate) message: String,
    /// The container it is about, as a field path.
    pub(crate) field: Option<String>,
}

impl PodEvent {
    /// All is well.
    pub(crate) fn normal(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_warning: false, reason, message: message.into(), field: None }
    }

    /// Something is wrong.
    pub(crate) fn warning(reason: &'static str, message: impl Into<String>) -> Self {
        Self { is_warning: true, ..Self::normal(reason, message) }
    }

    /// About this container.
    pub(crate) fn about(mut self, field: impl Into<String>) -> Self {
        self.field = Some(field.into());
        self
    }
}
