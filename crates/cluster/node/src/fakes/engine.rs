//! Containers that run until a test says otherwise.

use super::Diary;
use async_trait::async_trait;
use futures::{FutureExt, StreamExt};
use hako_container::*;
use hako_error::{Error, Kind, Result};
use hako_names::ContainerId;
use jiff::Timestamp;
use parking_lot::Mutex;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{broadcast, watch};

/// An engine without processes.
#[derive(Debug)]
pub(crate) struct FakeEngine {
    diary: Diary,
    state: Mutex<State>,
    changed: watch::Sender<u64>,
    /// Whether SIGTERM is ignored.
    pub(crate) is_stubborn: bool,
}

#[derive(Debug, Default)]
struct State {
    next: u32,
    sandboxes: Vec<Sandbox>,
    containers: Vec<Container>,
}

fn not_found(what: &str) -> Error {
    Error::new(Kind::NotFound, format!("no such {what}"))
}

fn matches(filter: &Filter, labels: &std::collections::BTreeMap<String, String>) -> bool {
    let is_equal =
        |(name, value): (&String, &String)| labels.get(name).is_some_and(|v| value.is_empty() || v == value);
    filter.labels.iter().all(is_equal)
}

impl FakeEngine {
    pub(crate) fn new(diary: Diary, is_stubborn: bool) -> Self {
        Self { diary, state: Mutex::default(), changed: watch::Sender::new(0), is_stubborn }
    }

    fn name(&self, id: &ContainerId) -> String {
        let state = self.state.lock();
        state.containers.iter().find(|c| c.id == *id).map_or_else(String::new, |c| c.spec.name.clone())
    }

    /// Ends the running container of that name.
    pub(crate) fn exit(&self, name: &str, code: i32) {
        self.end(|container| container.spec.name == name, code);
    }

    fn end(&self, is_meant: impl Fn(&Container) -> bool, code: i32) {
        let mut state = self.state.lock();
        for container in state.containers.iter_mut().filter(|c| is_meant(c)) {
            if let ContainerState::Running { started_at, .. } = container.state {
                container.state = ContainerState::Exited(Exit {
                    code,
                    signal: None,
                    oom_killed: false,
                    error: None,
                    started_at: Some(started_at),
                    finished_at: Timestamp::now(),
                });
            }
        }
        drop(state);
        self.changed.send_modify(|n| *n += 1);
    }

    /// Kills the shims of all sandboxes.
    pub(crate) fn lose_sandboxes(&self) {
        for sandbox in &mut self.state.lock().sandboxes {
            sandbox.state = SandboxState::NotReady;
        }
        self.end(|_| true, 137);
    }

    /// The specifications of all containers there are, oldest first.
    pub(crate) fn specs(&self) -> Vec<Arc<ContainerSpec>> {
        self.state.lock().containers.iter().map(|c| Arc::clone(&c.spec)).collect()
    }

    pub(crate) fn running(&self) -> Vec<ContainerId> {
        let state = self.state.lock();
        state.containers.iter().filter(|c| c.state.is_running()).map(|c| c.id.clone()).collect()
    }

    pub(crate) fn sandbox_count(&self) -> usize {
        self.state.lock().sandboxes.len()
    }
}

#[async_trait]
impl ContainerEngine for FakeEngine {
    async fn create_sandbox(&self, spec: SandboxSpec) -> Result<Sandbox> {
        self.diary.note("create sandbox");
        let mut state = self.state.lock();
        state.next += 1;
        let sandbox = Sandbox {
            id: SandboxId(format!("{:064x}", state.next).parse()?),
            ip: Some(Ipv4Addr::new(10, 244, 0, u8::try_from(state.next % 250).unwrap_or(0))),
            spec: Arc::new(spec),
            state: SandboxState::Ready,
            places: Vec::new(),
            ports: Vec::new(),
            shim_pid: None,
            netns: Some("/proc/self/ns/net".into()),
            created_at: Timestamp::now(),
            standalone: false,
        };
        state.sandboxes.push(sandbox.clone());
        Ok(sandbox)
    }

    async fn stop_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.diary.note("stop sandbox");
        for sandbox in self.state.lock().sandboxes.iter_mut().filter(|s| s.id == *id) {
            sandbox.state = SandboxState::NotReady;
        }
        self.end(|c| c.sandbox == *id, 137);
        Ok(())
    }

    async fn remove_sandbox(&self, id: &SandboxId) -> Result<()> {
        self.diary.note("remove sandbox");
        self.end(|c| c.sandbox == *id, 137);
        let mut state = self.state.lock();
        state.sandboxes.retain(|s| s.id != *id);
        state.containers.retain(|c| c.sandbox != *id);
        Ok(())
    }

    async fn sandbox(&self, id: &SandboxId) -> Result<Sandbox> {
        let state = self.state.lock();
        state.sandboxes.iter().find(|s| s.id == *id).cloned().ok_or_else(|| not_found("sandbox"))
    }

    async fn sandboxes(&self, filter: &Filter) -> Result<Vec<Sandbox>> {
        let state = self.state.lock();
        Ok(state.sandboxes.iter().filter(|s| matches(filter, &s.spec.labels)).cloned().collect())
    }

    async fn create_container(&self, sandbox: &SandboxId, spec: ContainerSpec) -> Result<ContainerId> {
        self.sandbox(sandbox).await?;
        let mut state = self.state.lock();
        state.next += 1;
        let id: ContainerId = format!("{:064x}", state.next).parse()?;
        state.containers.push(Container {
            id: id.clone(),
            sandbox: sandbox.clone(),
            standalone: false,
            spec: Arc::new(spec),
            resolved: Arc::new(Resolved { image_id: "sha256:1".into(), ..Resolved::default() }),
            state: ContainerState::Created,
            created_at: Timestamp::now(),
            restart_count: 0,
            ended_at: None,
            restarting: false,
            paused: false,
            log_path: None,
        });
        Ok(id)
    }

    async fn create_standalone(
        &self,
        _sandbox: SandboxSpec,
        _container: ContainerSpec,
    ) -> Result<ContainerId> {
        Err(Error::new(Kind::Unimplemented, "fake"))
    }

    async fn start(&self, id: &ContainerId) -> Result<()> {
        let mut state = self.state.lock();
        let container =
            state.containers.iter_mut().find(|c| c.id == *id).ok_or_else(|| not_found("container"))?;
        container.state = ContainerState::Running { pid: 1, started_at: Timestamp::now() };
        self.diary.note(format!("start {}", container.spec.name));
        Ok(())
    }

    async fn stop(&self, id: &ContainerId, signal: Option<i32>, grace: Duration) -> Result<()> {
        let name = self.name(id);
        self.diary.note(format!("stop {name} signal {signal:?} grace {}s", grace.as_secs()));
        if self.is_stubborn && signal.is_none() {
            tokio::time::sleep(grace).await;
            self.diary.note(format!("kill {name}"));
        }
        self.end(|c| c.id == *id, 143);
        Ok(())
    }

    async fn restart(&self, id: &ContainerId, signal: Option<i32>, grace: Duration) -> Result<()> {
        self.stop(id, signal, grace).await?;
        self.start(id).await
    }

    async fn kill(&self, id: &ContainerId, _signal: i32) -> Result<()> {
        self.end(|c| c.id == *id, 137);
        Ok(())
    }

    async fn wait(&self, id: &ContainerId, _condition: WaitCondition) -> Result<Exit> {
        let mut changed = self.changed.subscribe();
        loop {
            if let Some(exit) = self.container(id).await?.state.exit() {
                return Ok(exit.clone());
            }
            let _ = changed.changed().await;
        }
    }

    async fn remove(&self, id: &ContainerId, _removal: Removal) -> Result<()> {
        self.state.lock().containers.retain(|c| c.id != *id);
        Ok(())
    }

    async fn container(&self, id: &ContainerId) -> Result<Container> {
        let state = self.state.lock();
        state.containers.iter().find(|c| c.id == *id).cloned().ok_or_else(|| not_found("container"))
    }

    async fn containers(&self, filter: &Filter) -> Result<Vec<Container>> {
        let state = self.state.lock();
        Ok(state.containers.iter().filter(|c| matches(filter, &c.spec.labels)).cloned().collect())
    }

    async fn resolve(&self, _name: &str) -> Result<ContainerId> {
        Err(not_found("container"))
    }

    async fn rename(&self, _id: &ContainerId, _name: &str) -> Result<()> {
        Ok(())
    }

    async fn exec(&self, id: &ContainerId, spec: ExecSpec) -> Result<ExecSession> {
        self.diary.note(format!("exec {} {}", self.name(id), spec.argv.join(" ")));
        let seconds = spec
            .argv
            .iter()
            .position(|word| word == "sleep")
            .and_then(|at| spec.argv.get(at + 1)?.parse().ok());
        let code = i32::from(spec.argv.first().is_some_and(|word| word == "false"));
        let exit = async move {
            tokio::time::sleep(Duration::from_secs(seconds.unwrap_or(0))).await;
            Ok(code)
        };
        Ok(ExecSession {
            id: "1".into(),
            pid: 0,
            stdin: None,
            output: futures::stream::empty().boxed(),
            resize: None,
            exit: exit.boxed(),
        })
    }

    async fn attach(&self, _id: &ContainerId, _options: AttachOptions) -> Result<AttachSession> {
        Err(Error::new(Kind::Unimplemented, "fake"))
    }

    async fn resize(&self, _id: &ContainerId, _size: TerminalSize) -> Result<()> {
        Ok(())
    }

    async fn logs(&self, _id: &ContainerId, _options: LogOptions) -> Result<LogStream> {
        Ok(futures::stream::empty().boxed())
    }

    async fn pause(&self, _: &ContainerId) -> Result<()> {
        Ok(())
    }

    async fn unpause(&self, _: &ContainerId) -> Result<()> {
        Ok(())
    }

    async fn processes(&self, _: &ContainerId) -> Result<Vec<u32>> {
        Ok(Vec::new())
    }

    async fn stats(&self, _id: &ContainerId) -> Result<Stats> {
        Ok(Stats::default())
    }

    async fn update(&self, _id: &ContainerId, _update: Update) -> Result<()> {
        Ok(())
    }

    async fn execs(&self, _id: &ContainerId) -> Result<Vec<ExecInfo>> {
        Ok(Vec::new())
    }

    fn events(&self) -> broadcast::Receiver<Arc<Event>> {
        broadcast::channel(1).1
    }
}
