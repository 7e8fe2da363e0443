//! Runs the checks of the containers that run.

use super::check::Check;
use super::table::Outcome;
use crate::DockerState;
use crate::exec::Told;
use futures::StreamExt;
use hako_container::{
    Action, Container, ContainerEngine, ContainerState, ExecSession, ExecSpec, Filter, Subject,
};
use hako_names::ContainerId;
use jiff::Timestamp;
use std::collections::HashMap;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;
use tokio::task::{AbortHandle, JoinSet};

/// Bytes of a check's output that are kept.
const OUTPUT: usize = 4096;

/// The checks that go on; they end with this.
#[derive(Default)]
struct Monitors {
    tasks: JoinSet<()>,
    by_id: HashMap<ContainerId, AbortHandle>,
}

/// Follows the lives of containers for as long as the engine lives.
pub(crate) async fn follow(state: DockerState) {
    let mut receiver = state.engine.events();
    let mut monitors = Monitors::default();
    monitors.all(&state).await;
    loop {
        let event = match receiver.recv().await {
            Ok(event) => event,
            Err(RecvError::Lagged(_)) => {
                monitors.all(&state).await;
                continue;
            }
            Err(RecvError::Closed) => return,
        };
        let Subject::Container { id, .. } = &event.subject else { continue };
        match event.action {
            Action::Start => {
                if let Ok(container) = state.engine.container(id).await {
                    monitors.begin(&state, container);
                }
            }
            Action::Die { .. } => {
                monitors.end(id);
                state.health.stopped(id);
            }
            Action::Destroy => {
                monitors.end(id);
                state.health.forget(id);
            }
            _ => {}
        }
    }
}

impl Monitors {
    /// Begins with those that run unobserved.
    async fn all(&mut self, state: &DockerState) {
        let wanted = Filter { standalone: Some(true), ..Filter::default() };
        for container in state.engine.containers(&wanted).await.unwrap_or_default() {
            match (container.state.is_running(), self.by_id.contains_key(&container.id)) {
                (true, false) => self.begin(state, container),
                (false, true) => {
                    self.end(&container.id);
                    state.health.stopped(&container.id);
                }
                _ => {}
            }
        }
    }

    fn begin(&mut self, state: &DockerState, container: Container) {
        while self.tasks.try_join_next().is_some() {}
        let ContainerState::Running { started_at, .. } = container.state else { return };
        let Some(check) = Check::of(&container) else { return };
        self.end(&container.id);
        state.health.started(&container.id);
        let task = monitor(state.clone(), container.clone(), check, started_at);
        self.by_id.insert(container.id, self.tasks.spawn(task));
    }

    fn end(&mut self, id: &ContainerId) {
        if let Some(task) = self.by_id.remove(id) {
            task.abort();
        }
    }
}

fn since(then: Timestamp) -> Duration {
    Duration::try_from(Timestamp::now().duration_since(then)).unwrap_or_default()
}

async fn monitor(state: DockerState, container: Container, check: Check, started_at: Timestamp) {
    let id = &container.id;
    loop {
        let is_early = since(started_at) < check.start_period() && state.health.is_starting(id);
        tokio::time::sleep(if is_early { check.start_interval() } else { check.interval() }).await;
        if state.engine.container(id).await.is_ok_and(|container| container.paused) {
            continue;
        }
        let (start, age) = (Timestamp::now(), since(started_at));
        let (code, output) = run(&state, &container, &check).await;
        let outcome = Outcome { start, end: Timestamp::now(), code, output };
        if let Some(status) = state.health.take(id, &check, outcome, age) {
            state.events.container(&format!("health_status: {}", status.as_str()), &container);
        }
    }
}

/// Runs the check once: its exit code, -1 where there is none, and the beginning of its output.
async fn run(state: &DockerState, container: &Container, check: &Check) -> (i32, String) {
    let spec = ExecSpec { argv: check.argv().unwrap_or_default(), ..ExecSpec::default() };
    let told = Told::new(state, container, &spec.argv);
    let session = match state.engine.exec(&container.id, spec).await {
        Ok(session) => session,
        Err(error) => return (-1, error.chain()),
    };
    told.started();
    let (timeout, pid) = (check.timeout(), session.pid);
    match tokio::time::timeout(timeout, collect(session)).await {
        Ok(result) => {
            told.ended(result.0);
            result
        }
        Err(_) => {
            kill(pid);
            told.ended(KILLED);
            (-1, format!("Health check exceeded timeout ({timeout:?})"))
        }
    }
}

/// What a shell says of a process that was killed.
const KILLED: i32 = 137;

/// It has not been waited for, so the number is still its own.
fn kill(pid: u32) {
    let pid = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw);
    if let Some(pid) = pid {
        // One that has just ended is ended.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

async fn collect(mut session: ExecSession) -> (i32, String) {
    let mut output = Vec::new();
    while let Some(piece) = session.output.next().await {
        let Ok((_, bytes)) = piece else { break };
        let left = OUTPUT.saturating_sub(output.len());
        output.extend_from_slice(&bytes[..bytes.len().min(left)]);
    }
    let code = session.exit.await.unwrap_or(-1);
    (code, String::from_utf8_lossy(&output).into_owned())
}
