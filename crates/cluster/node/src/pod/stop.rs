//! Ending containers and pods: hooks, signals, clean-up, deletion of the object.

use super::action::{Input, PodEvent};
use super::start::{PodContext, is_lost};
use crate::context::Context;
use crate::probe::{Endpoint, HttpRequest, exec, get, port_of};
use futures::StreamExt;
use hako_client::DeleteOptions;
use hako_container::{Exit, LogOptions, Removal, SandboxId, WaitCondition};
use hako_error::{Kind, Result};
use hako_names::ContainerId;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::sleep;

/// What a container has after a preStop hook that used up the grace period, as the kubelet gives it.
const LEAST_GRACE: Duration = Duration::from_secs(2);
const RETRY: Duration = Duration::from_secs(1);
const SIGKILL: i32 = 9;
const MAX_MESSAGE: usize = 4096;
const FALLBACK_LINES: u64 = 80;
const FALLBACK_BYTES: usize = 2048;

/// Waits for the end of one run.
pub(crate) async fn watch(
    context: PodContext,
    container: Option<Container>,
    index: usize,
    attempt: u32,
    id: ContainerId,
    sandbox: Option<SandboxId>,
) -> Vec<Input> {
    let engine = &context.node.config.engine;
    let mut exit = loop {
        match engine.wait(&id, WaitCondition::NotRunning).await {
            Ok(exit) => break exit,
            Err(error) if error.is_not_found() => break vanished(context.node.clock.now()),
            Err(error) => {
                tracing::warn!(container = %id, error = %error.chain(), "wait for container failed, trying again");
                sleep(RETRY).await;
            }
        }
    };
    if let Some(container) = container {
        let path = context.dirs.termination_message(&container.name, attempt);
        let words = last_words(&context.node, &container, &path, &id, exit.code).await;
        exit.error = words.or(exit.error);
    }
    let mut inputs = Vec::new();
    if let Some(sandbox) = sandbox
        && is_lost(&context.node, &sandbox).await
    {
        inputs.push(Input::SandboxLost);
    }
    inputs.push(Input::Exited { container: index, attempt, exit });
    inputs
}

fn vanished(now: Timestamp) -> Exit {
    Exit {
        code: 137,
        signal: None,
        oom_killed: false,
        error: Some("container was removed behind the node's back".into()),
        started_at: None,
        finished_at: now,
    }
}

/// What the container left in its message file, or the end of its log where the pod asks for that.
async fn last_words(
    node: &Context,
    container: &Container,
    path: &Path,
    id: &ContainerId,
    code: i32,
) -> Option<String> {
    let written = std::fs::read(path).unwrap_or_default();
    let written = &written[..written.len().min(MAX_MESSAGE)];
    if !written.is_empty() {
        return Some(String::from_utf8_lossy(written).into_owned());
    }
    let falls_back = container.termination_message_policy.as_deref() == Some("FallbackToLogsOnError");
    if !falls_back || code == 0 {
        return None;
    }
    let options = LogOptions { tail: Some(FALLBACK_LINES), ..LogOptions::default() };
    let mut lines = node.config.engine.logs(id, options).await.ok()?;
    let mut text = Vec::new();
    while let Some(Ok(line)) = lines.next().await {
        text.extend_from_slice(&line.bytes);
    }
    let from = text.len().saturating_sub(FALLBACK_BYTES);
    Some(String::from_utf8_lossy(&text[from..]).into_owned()).filter(|text| !text.is_empty())
}

/// Runs one hook.
pub(crate) async fn hook(
    endpoint: &Endpoint,
    container: &Container,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        return exec(endpoint, action.command.as_deref().unwrap_or(&[])).await;
    }
    if let Some(action) = &handler.http_get {
        return get(&HttpRequest::of_action(action, container, endpoint.ip)?).await;
    }
    if let Some(action) = &handler.sleep {
        sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
        return Ok(());
    }
    if let Some(action) = &handler.tcp_socket {
        let port = port_of(&action.port, container)?;
        return Err(format!(
            "tcpSocket to port {port} is not supported in a hook, use exec, httpGet or sleep"
        ));
    }
    Err("hook has no handler, set one of exec, httpGet or sleep".into())
}

/// One container that is to end.
pub(crate) struct Stop {
    pub(crate) context: PodContext,
    pub(crate) endpoint: Endpoint,
    pub(crate) container: Option<Container>,
    pub(crate) field: String,
    /// When this container is killed at the latest.
    pub(crate) deadline: Timestamp,
    /// When all containers of the pod are killed at the latest, if that comes sooner.
    pub(crate) pod_deadline: watch::Receiver<Option<Timestamp>>,
}

impl Stop {
    fn remaining(&self) -> Duration {
        let sooner = *self.pod_deadline.borrow();
        let deadline = sooner.map_or(self.deadline, |sooner| sooner.min(self.deadline));
        self.context.node.clock.until(deadline)
    }

    /// Runs preStop, then asks the process to end and kills it at the deadline. The exit itself is told by [`watch`].
    pub(crate) async fn run(mut self) {
        let had_hook = self.pre_stop().await;
        let floor = if had_hook { LEAST_GRACE } else { Duration::ZERO };
        let mut grace = self.remaining().max(floor);
        let mut signal = None;
        let mut can_hasten = true;
        loop {
            let engine = Arc::clone(&self.context.node.config.engine);
            let id = self.endpoint.id.clone();
            tokio::select! {
                stopped = engine.stop(&id, signal, grace) => match stopped {
                    Ok(()) => return,
                    Err(error) if error.is_not_found() => return,
                    Err(error) => {
                        let text = format!("error killing container: {}", error.chain());
                        self.context.emit(&PodEvent::warning("FailedKillPod", text).about(self.field.clone()));
                        sleep(RETRY).await;
                    }
                },
                changed = self.pod_deadline.changed(), if can_hasten => can_hasten = changed.is_ok(),
            }
            grace = self.remaining();
            signal = grace.is_zero().then_some(SIGKILL);
        }
    }

    async fn pre_stop(&mut self) -> bool {
        let Some(container) = self.container.take() else {
            return false;
        };
        let handler = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.pre_stop.as_ref());
        let Some(handler) = handler.filter(|_| !self.remaining().is_zero()) else {
            return false;
        };
        let running = hook(&self.endpoint, &container, handler);
        tokio::pin!(running);
        let mut can_hasten = true;
        let failure = loop {
            let remaining = self.remaining();
            tokio::select! {
                result = &mut running => break result.err(),
                () = sleep(remaining) => break Some("it used up the grace period".to_owned()),
                changed = self.pod_deadline.changed(), if can_hasten => can_hasten = changed.is_ok(),
            }
        };
        if let Some(why) = failure {
            let text = format!("PreStopHook failed: {why}");
            self.context.emit(&PodEvent::warning("FailedPreStopHook", text).about(self.field.clone()));
        }
        true
    }
}

/// Stops or removes a sandbox, however long it takes.
pub(crate) async fn end_sandbox(context: PodContext, id: SandboxId, is_removed: bool) -> Input {
    let engine = &context.node.config.engine;
    loop {
        let ended = match is_removed {
            true => engine.remove_sandbox(&id).await,
            false => engine.stop_sandbox(&id).await,
        };
        match ended {
            Ok(()) => return Input::SandboxStopped,
            Err(error) if error.is_not_found() => return Input::SandboxStopped,
            Err(error) => {
                let text = format!("error killing pod: {}", error.chain());
                context.emit(&PodEvent::warning("FailedKillPod", text));
                sleep(RETRY).await;
            }
        }
    }
}

/// Removes everything of the pod from this node, however long it takes.
pub(crate) async fn clean_up(context: PodContext) -> Input {
    let engine = &context.node.config.engine;
    let filter = super::labels::filter(context.pod.metadata.uid.as_deref());
    loop {
        match remove_all(engine.as_ref(), &filter).await {
            Ok(()) => break,
            Err(error) => {
                let text = format!("error killing pod: {}", error.chain());
                context.emit(&PodEvent::warning("FailedKillPod", text));
                sleep(RETRY).await;
            }
        }
    }
    context.node.tokens.forget(context.pod.metadata.uid.as_deref().unwrap_or_default());
    let dirs = context.dirs.clone();
    let removed = tokio::task::spawn_blocking(move || dirs.remove()).await;
    if let Ok(Err(error)) = removed {
        tracing::warn!(pod = %super::identity(&context.pod), %error, "volumes not removed, the next start tries again");
    }
    Input::CleanedUp
}

/// Removes all sandboxes that match, and the containers in them.
pub(crate) async fn remove_all(
    engine: &dyn hako_container::ContainerEngine,
    filter: &hako_container::Filter,
) -> Result<()> {
    for sandbox in engine.sandboxes(filter).await? {
        engine.remove_sandbox(&sandbox.id).await?;
    }
    for container in engine.containers(filter).await? {
        engine.remove(&container.id, Removal { force: true, volumes: true }).await?;
    }
    Ok(())
}

/// Deletes the API's object: nobody needs it any more.
pub(crate) async fn delete_object(context: PodContext) -> Input {
    let meta = &context.pod.metadata;
    let api = context.node.config.client.namespaced::<Pod>(context.namespace());
    let options = DeleteOptions { uid: meta.uid.clone(), ..DeleteOptions::now() };
    loop {
        match api.delete(meta.name.as_deref().unwrap_or_default(), &options).await {
            Ok(()) => return Input::Deleted,
            // Gone, or another pod has the name by now.
            Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Conflict) => return Input::Deleted,
            Err(error) => {
                tracing::warn!(pod = %super::identity(&context.pod), error = %error.chain(), "pod not deleted, trying again");
                sleep(RETRY).await;
            }
        }
    }
}
