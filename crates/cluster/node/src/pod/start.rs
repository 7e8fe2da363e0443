//! Making a pod's sandbox and starting its containers on the engine.

use super::action::{Input, PodEvent, Run, StartFailure};
use super::labels;
use super::machine::{Machine, SandboxState};
use super::slot::Slot;
use super::spec::{self, Parts};
use crate::context::Context;
use crate::env::{self, PodFacts, service_environment};
use crate::seams::LocalImage;
use crate::volume::{self, PodDirs, Volumes};
use hako_container::{ContainerState, Removal, SandboxId, SandboxState as EngineSandbox};
use hako_error::{Error, Kind, Result};
use hako_names::{ContainerId, ImageRef};
use k8s_openapi::api::core::v1::{Container, Pod, ResourceRequirements};
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

/// One pod on this node.
#[derive(Clone)]
pub(crate) struct PodContext {
    /// What all pods share.
    pub(crate) node: Arc<Context>,
    /// The object as it was when the work began.
    pub(crate) pod: Arc<Pod>,
    /// Where its volumes are.
    pub(crate) dirs: PodDirs,
}

impl PodContext {
    /// The context of `pod`.
    pub(crate) fn new(node: Arc<Context>, pod: Arc<Pod>) -> Self {
        let uid = pod.metadata.uid.clone().unwrap_or_default();
        let dirs = PodDirs::new(&node.config.run_dir, &node.config.data_dir, &uid);
        Self { node, pod, dirs }
    }

    pub(crate) fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or("default")
    }

    pub(crate) fn emit(&self, event: &PodEvent) {
        self.node.emit(&self.pod, event);
    }

    fn is_host_network(&self) -> bool {
        self.pod.spec.as_ref().is_some_and(|spec| spec.host_network == Some(true))
    }
}

/// Makes the volumes; what is there already is kept.
pub(crate) async fn make_volumes(context: &PodContext) -> Result<Volumes> {
    let defined = volume::volumes_of(&context.pod);
    if defined.is_empty() {
        return Ok(Volumes::default());
    }
    let names = volume::references(defined);
    let referenced = context.node.referenced(&context.pod, &names).await;
    let context = context.clone();
    let work = move || {
        let facts = PodFacts {
            pod: &context.pod,
            pod_ip: None,
            host_ip: context.node.config.node_ip,
            allocatable: &context.node.allocatable,
        };
        context.dirs.prepare(&facts, &referenced)
    };
    let made = tokio::task::spawn_blocking(work).await;
    let made = made.map_err(|error| Error::new(Kind::Internal, "volume task ended").with_source(error))?;
    Ok(made?)
}

/// Makes volumes and sandbox.
pub(crate) async fn make_sandbox(context: PodContext) -> (Input, Option<Volumes>) {
    let failed = |reason, message| (Input::SandboxFailed { reason, message }, None);
    let refused = spec::refusals(&context.pod);
    if !refused.is_empty() {
        let message = format!("not supported by this node: {}; remove it from the pod", refused.join(", "));
        return failed("FailedCreatePodSandBox", message);
    }
    let volumes = match make_volumes(&context).await {
        Ok(volumes) => volumes,
        Err(error) => return failed("FailedMount", error.chain()),
    };
    let wanted = spec::sandbox(&context.pod, &context.node.config.dns, &volumes);
    let sandbox = match context.node.config.engine.create_sandbox(wanted).await {
        Ok(sandbox) => sandbox,
        Err(error) => {
            let message = format!("Failed to create pod sandbox: {}", error.chain());
            return failed("FailedCreatePodSandBox", message);
        }
    };
    let ip = match context.is_host_network() {
        true => Some(context.node.config.node_ip),
        false => sandbox.ip.map(IpAddr::from),
    };
    if let (Some(ip), false) = (ip, context.is_host_network())
        && let Err(error) = context.node.config.drain.readmit(ip).await
    {
        tracing::warn!(%ip, error = %error.chain(), "address of a new pod not readmitted");
    }
    (Input::SandboxMade { id: sandbox.id, ip }, Some(volumes))
}

/// One start of a container.
pub(crate) struct Start {
    pub(crate) context: PodContext,
    pub(crate) slot: Slot,
    pub(crate) index: usize,
    pub(crate) attempt: u32,
    pub(crate) restarts: u32,
    pub(crate) sandbox: SandboxId,
    pub(crate) ip: Option<IpAddr>,
    pub(crate) volumes: Arc<Volumes>,
    /// What it may use, whatever the pod wishes by now.
    pub(crate) resources: ResourceRequirements,
}

impl Start {
    /// The start of a container of `machine`, whose sandbox is up.
    pub(crate) fn new(
        context: PodContext,
        machine: &Machine,
        index: usize,
        attempt: u32,
        restarts: u32,
        volumes: Arc<Volumes>,
    ) -> Option<Self> {
        let SandboxState::Ready { id, ip } = &machine.sandbox else {
            return None;
        };
        Some(Self {
            resources: machine.granted_to(&machine.slots[index]),
            slot: machine.slots[index].clone(),
            sandbox: id.clone(),
            ip: *ip,
            context,
            index,
            attempt,
            restarts,
            volumes,
        })
    }

    /// Creates and starts it.
    pub(crate) async fn run(self) -> Vec<Input> {
        let failure = match self.attempt_it().await {
            Ok(run) => {
                return vec![Input::Started { container: self.index, run }];
            }
            Err(failure) => failure,
        };
        let mut inputs = Vec::new();
        if is_lost(&self.context.node, &self.sandbox).await {
            inputs.push(Input::SandboxLost);
        }
        inputs.push(Input::StartFailed { container: self.index, attempt: self.attempt, failure });
        inputs
    }

    async fn attempt_it(&self) -> Result<Run, StartFailure> {
        let container = self.slot.container(&self.context.pod);
        let container = container
            .ok_or_else(|| start_error("CreateContainerConfigError", "container is not in the pod"))?;
        let container = Container { resources: Some(self.resources.clone()), ..container.clone() };
        let (name, image) = self.image(&container).await?;
        let wanted = self.spec(&container, name, &image).await?;
        let engine = &self.context.node.config.engine;
        let created = engine.create_container(&self.sandbox, wanted).await;
        let id = created.map_err(|error| start_error("CreateContainerError", error.chain()))?;
        let field = self.slot.field();
        let text = format!("Created container: {}", self.slot.name);
        self.context.emit(&PodEvent::normal("Created", text).about(field.clone()));
        if let Err(error) = engine.start(&id).await {
            return Err(self.start_failed(&id, &image, &error).await);
        }
        let text = format!("Started container {}", self.slot.name);
        self.context.emit(&PodEvent::normal("Started", text).about(field));
        Ok(self.started(id, &image).await)
    }

    async fn started(&self, id: ContainerId, image: &LocalImage) -> Run {
        let found = self.context.node.config.engine.container(&id).await.ok();
        let started_at = found.as_ref().and_then(|found| match &found.state {
            ContainerState::Running { started_at, .. } => Some(*started_at),
            ContainerState::Exited(exit) => exit.started_at,
            ContainerState::Created => None,
        });
        let image_id = found.map(|found| found.resolved.image_id.clone()).filter(|id| !id.is_empty());
        Run {
            attempt: self.attempt,
            id,
            started_at: started_at.unwrap_or_else(|| self.context.node.clock.now()),
            image_id: image_id.unwrap_or_else(|| image.id.clone()),
        }
    }

    /// A program that cannot be executed is a run that failed; anything else leaves nothing and is tried again.
    async fn start_failed(&self, id: &ContainerId, image: &LocalImage, error: &Error) -> StartFailure {
        let engine = &self.context.node.config.engine;
        let found = engine.container(id).await.ok();
        let exit = found.as_ref().and_then(|found| found.state.exit().cloned());
        if let Some(exit) = exit {
            return StartFailure::Run {
                id: id.clone(),
                image_id: image.id.clone(),
                exit,
                message: error.chain(),
            };
        }
        if let Err(error) = engine.remove(id, Removal { force: true, volumes: true }).await {
            tracing::warn!(container = %id, error = %error.chain(), "container that did not start not removed");
        }
        start_error("RunContainerError", error.chain())
    }

    async fn image(&self, container: &Container) -> Result<(ImageRef, LocalImage), StartFailure> {
        let written = container.image.as_deref().unwrap_or("");
        let name: ImageRef = written.parse().map_err(|error: hako_names::ParseImageRefError| {
            start_error("InvalidImageName", error.to_string())
        })?;
        let images = &self.context.node.config.images;
        let found =
            images.find(&name).await.map_err(|error| start_error("ImageInspectError", error.chain()))?;
        // `Always` with the image here uses it too: what was built on this machine is in no registry.
        if let Some(image) = found {
            let text = format!("Container image \"{written}\" already present on machine");
            self.context.emit(&PodEvent::normal("Pulled", text).about(self.slot.field()));
            return Ok((name, image));
        }
        if container.image_pull_policy.as_deref() == Some("Never") {
            let text = format!("Container image \"{written}\" is not present with pull policy of Never");
            return Err(start_error("ErrImageNeverPull", text));
        }
        let text = format!("Pulling image \"{written}\"");
        self.context.emit(&PodEvent::normal("Pulling", text).about(self.slot.field()));
        let pulled = images.pull(&name).await;
        let image = pulled.map_err(|error| {
            start_error("ErrImagePull", format!("failed to pull image \"{written}\": {}", error.chain()))
        })?;
        let text = format!("Successfully pulled image \"{written}\"");
        self.context.emit(&PodEvent::normal("Pulled", text).about(self.slot.field()));
        Ok((name, image))
    }

    async fn spec(
        &self,
        container: &Container,
        image_name: ImageRef,
        image: &LocalImage,
    ) -> Result<hako_container::ContainerSpec, StartFailure> {
        let config = |message: String| start_error("CreateContainerConfigError", message);
        let node = &self.context.node;
        let names = env::references(container);
        let referenced = node.referenced(&self.context.pod, &names).await;
        let services = node.services(self.context.namespace()).await;
        let spec = self.context.pod.spec.as_ref();
        let has_links = spec.is_none_or(|spec| spec.enable_service_links != Some(false));
        let services =
            service_environment(&services, self.context.namespace(), has_links, node.config.api_server);
        let facts = PodFacts {
            pod: &self.context.pod,
            pod_ip: self.ip,
            host_ip: node.config.node_ip,
            allocatable: &node.allocatable,
        };
        let environment = env::build(container, &facts, &services, &referenced)
            .map_err(|error| config(error.to_string()))?;
        let message_file = self.termination_message().map_err(|error| config(error.to_string()))?;
        let parts = Parts {
            pod: &self.context.pod,
            container,
            image_name,
            image,
            environment: &environment,
            volumes: &self.volumes,
            termination_message: Some(message_file),
            attempt: self.attempt,
            restarts: self.restarts,
            memory_capacity: node.memory_capacity(),
        };
        spec::container(&parts).map_err(|error| config(Error::from(error).chain()))
    }

    fn termination_message(&self) -> std::io::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.context.dirs.termination_message(&self.slot.name, self.attempt);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::write(&path, b"")?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666))?;
        Ok(path)
    }
}

fn start_error(reason: &'static str, message: impl Into<String>) -> StartFailure {
    StartFailure::Retry { reason, message: message.into() }
}

/// Whether the sandbox lives no more.
pub(crate) async fn is_lost(node: &Context, id: &SandboxId) -> bool {
    match node.config.engine.sandbox(id).await {
        Ok(sandbox) => sandbox.state == EngineSandbox::NotReady,
        Err(error) => error.is_not_found(),
    }
}

/// Removes the runs of a container before the last one, whose log `--previous` shows.
pub(crate) async fn remove_old_runs(context: PodContext, name: String, attempt: u32) {
    let mut filter = labels::filter(context.pod.metadata.uid.as_deref());
    filter.labels.insert(labels::CONTAINER_NAME.to_owned(), name.clone());
    let engine = &context.node.config.engine;
    for old in engine.containers(&filter).await.unwrap_or_default() {
        let number = old.spec.labels.get(labels::ATTEMPT).and_then(|text| text.parse::<u32>().ok());
        let Some(number) = number.filter(|number| number + 1 < attempt && !old.state.is_running()) else {
            continue;
        };
        if let Err(error) = engine.remove(&old.id, Removal { force: false, volumes: true }).await {
            tracing::warn!(container = %old.id, error = %error.chain(), "old run not removed");
        }
        let _ = std::fs::remove_file(context.dirs.termination_message(&name, number));
    }
}
