//! The task of one pod: carries out what the machine says and tells it what came of it.

use super::action::{Action, Input, PodEvent};
use super::machine::{Machine, SandboxState, Stage};
use super::report::{Reporter, write};
use super::slot::SlotState;
use super::start::{PodContext, Start, make_sandbox, make_volumes, remove_old_runs};
use super::stop::{Stop, clean_up, delete_object, end_sandbox, hook, watch};
use super::{Leftovers, Useless, resize, spec};
use crate::context::Context;
use crate::probe::{self, Asker, Endpoint, ProbeKind, Schedule};
use crate::volume::{Volumes, volumes_of};
use crate::{ContainerReport, PodReport};
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use hako_error::Result;
use hako_names::ContainerId;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch as watch_channel};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep_until};

/// What a worker is told.
#[derive(Debug)]
pub(crate) enum Message {
    /// Something happened to the pod.
    Input(Input),
    /// A ConfigMap or Secret of the pod's changed.
    Objects,
}

/// What others may look at while the worker runs.
#[derive(Clone, Debug)]
pub(crate) struct Shared {
    machine: Arc<Mutex<Machine>>,
    probe_failures: Arc<Mutex<HashMap<usize, String>>>,
}

/// What came of a piece of work.
enum Done {
    Inputs(Vec<Input>),
    Volumes(Arc<Volumes>, Option<Input>),
    Reported(Result<()>),
    Nothing,
}

/// Old tokens are looked at no more often than that.
const RENEWAL_RETRY: Duration = Duration::from_secs(10);

type Work = BoxFuture<'static, Done>;

/// The task of one pod.
pub(crate) struct Worker {
    node: Arc<Context>,
    shared: Shared,
    messages: mpsc::UnboundedReceiver<Message>,
    sender: mpsc::UnboundedSender<Message>,
    work: FuturesUnordered<Work>,
    volumes: Option<Arc<Volumes>>,
    /// One writes files at a time.
    refresh_turn: Arc<tokio::sync::Mutex<()>>,
    /// When a token in the volumes is old.
    renew_at: Option<Timestamp>,
    probes: HashMap<usize, Vec<AbortHandle>>,
    hastened: watch_channel::Sender<Option<Timestamp>>,
    reporter: Reporter,
    first: Vec<Action>,
    useless: Useless,
    freed: watch_channel::Receiver<u64>,
}

impl Worker {
    /// The worker of `pod`, going on with what is `left` of it.
    pub(crate) fn new(
        node: Arc<Context>,
        pod: Arc<Pod>,
        left: &Leftovers,
    ) -> (Self, Shared, mpsc::UnboundedSender<Message>) {
        let (sender, messages) = mpsc::unbounded_channel();
        let reporter = Reporter::new(&pod);
        let (machine, first, useless) = Machine::adopt(pod, left, node.config.node_ip, node.clock.now());
        node.room.hold(&machine.pod, machine.granted.clone());
        let freed = node.room.freed();
        let shared = Shared { machine: Arc::new(Mutex::new(machine)), probe_failures: Arc::default() };
        let worker = Self {
            node,
            shared: shared.clone(),
            messages,
            sender: sender.clone(),
            work: FuturesUnordered::new(),
            volumes: None,
            refresh_turn: Arc::default(),
            renew_at: None,
            probes: HashMap::new(),
            hastened: watch_channel::Sender::new(None),
            reporter,
            first,
            useless,
            freed,
        };
        (worker, shared, sender)
    }

    /// Runs until nothing of the pod is left.
    pub(crate) async fn run(mut self) {
        self.begin().await;
        loop {
            self.report();
            if self.shared.stage() == Stage::Gone {
                break;
            }
            let wake = self.wake_at();
            let is_deferred = self.shared.machine.lock().is_deferred();
            let inputs = tokio::select! {
                biased;
                message = self.messages.recv() => match message {
                    Some(message) => self.received(message),
                    None => break,
                },
                Some(done) = self.work.next(), if !self.work.is_empty() => self.done(done),
                Ok(()) = self.freed.changed(), if is_deferred => vec![Input::Freed],
                () = sleep_until(wake.unwrap_or_else(Instant::now)), if wake.is_some() => vec![Input::Tick],
            };
            self.renew();
            for input in inputs {
                self.step(input);
            }
        }
        self.stop_all_probes();
    }

    async fn begin(&mut self) {
        let context = self.context();
        for notice in spec::notices(&context.pod) {
            context.emit(&PodEvent::warning("NotEnforced", notice));
        }
        let useless = std::mem::take(&mut self.useless);
        let engine = &self.node.config.engine;
        for id in useless.containers {
            if let Err(error) =
                engine.remove(&id, hako_container::Removal { force: true, volumes: true }).await
            {
                tracing::warn!(container = %id, error = %error.chain(), "useless container not removed");
            }
        }
        for id in useless.sandboxes {
            if let Err(error) = engine.remove_sandbox(&id).await {
                tracing::warn!(sandbox = %id, error = %error.chain(), "useless sandbox not removed");
            }
        }
        if self.shared.has_sandbox() {
            // Adopted: the paths are known again and files made of objects are brought up to date.
            match make_volumes(&context).await {
                Ok(volumes) => self.has_volumes(Arc::new(volumes)),
                Err(error) => context.emit(&PodEvent::warning("FailedMount", error.chain())),
            }
        }
        let first = std::mem::take(&mut self.first);
        self.perform_all(first);
    }

    fn context(&self) -> PodContext {
        PodContext::new(Arc::clone(&self.node), self.shared.pod())
    }

    fn wake_at(&self) -> Option<Instant> {
        let machine = self.shared.machine.lock().wake_at();
        let machine = machine.map(|at| self.node.clock.instant(at));
        let renewal = self.renew_at.map(|at| self.node.clock.instant(at));
        machine.into_iter().chain(self.reporter.due()).chain(renewal).min()
    }

    fn received(&mut self, message: Message) -> Vec<Input> {
        match message {
            Message::Input(Input::Pod(pod)) => {
                self.reporter.observed(&pod);
                let shows_fields =
                    volumes_of(&pod).iter().any(|v| v.downward_api.is_some() || v.projected.is_some());
                let is_active = self.shared.stage() == Stage::Active;
                let inputs = vec![Input::Pod(pod)];
                if shows_fields && is_active {
                    self.refresh_volumes(None);
                }
                inputs
            }
            Message::Input(input) => vec![input],
            Message::Objects => {
                self.refresh_volumes(Some(Input::Objects));
                Vec::new()
            }
        }
    }

    /// Goes on with volumes, whose tokens are renewed in time, not at once if that failed a moment ago.
    fn has_volumes(&mut self, volumes: Arc<Volumes>) {
        let soonest = self.node.clock.now().saturating_add(RENEWAL_RETRY).ok();
        self.renew_at = volumes.renew_at.max(soonest.filter(|_| volumes.renew_at.is_some()));
        self.volumes = Some(volumes);
    }

    /// Writes volumes anew when a token in them is old.
    fn renew(&mut self) {
        if self.renew_at.is_some_and(|at| at <= self.node.clock.now()) {
            self.renew_at = None;
            if self.shared.stage() == Stage::Active {
                self.refresh_volumes(None);
            }
        }
    }

    /// Brings files made of objects up to date; `then` follows.
    fn refresh_volumes(&mut self, then: Option<Input>) {
        let Some(before) = self.volumes.clone() else {
            self.work.push(Box::pin(async { Done::Inputs(then.into_iter().collect()) }));
            return;
        };
        let (node, shared) = (Arc::clone(&self.node), self.shared.clone());
        let turn = Arc::clone(&self.refresh_turn);
        self.work.push(Box::pin(async move {
            let _turn = turn.lock().await;
            // The pod of now: what is asked for is that of the message which is just being read, and whoever comes last
            // writes the newest.
            let context = PodContext::new(node, shared.pod());
            match make_volumes(&context).await {
                Ok(volumes) => Done::Volumes(Arc::new(volumes), then),
                Err(error) => {
                    context.emit(&PodEvent::warning("FailedMount", error.chain()));
                    Done::Volumes(before, then)
                }
            }
        }));
    }

    fn done(&mut self, done: Done) -> Vec<Input> {
        match done {
            Done::Inputs(inputs) => inputs,
            Done::Volumes(volumes, input) => {
                self.has_volumes(volumes);
                input.into_iter().collect()
            }
            Done::Reported(result) => {
                let name = super::identity(&self.shared.pod());
                self.reporter.done(result, &name);
                Vec::new()
            }
            Done::Nothing => Vec::new(),
        }
    }

    fn step(&mut self, input: Input) {
        if let Input::Probed {
            container,
            verdict: super::Verdict::Failing(why) | super::Verdict::Failure(why),
            ..
        } = &input
        {
            self.shared.probe_failures.lock().insert(*container, why.clone());
        }
        let mut machine = self.shared.machine.lock();
        let actions = machine.step(input, self.node.clock.now());
        if !matches!(machine.stage, Stage::Active | Stage::Draining { .. } | Stage::Stopping { .. }) {
            self.node.room.leave(&machine.pod);
        }
        drop(machine);
        self.perform_all(actions);
    }

    fn report(&mut self) {
        let machine = self.shared.machine.lock();
        if matches!(machine.stage, Stage::Deleting | Stage::Gone) || machine.is_silent() {
            return;
        }
        if let Some(patch) = self.reporter.next(&machine, &self.node) {
            let writing = write(Arc::clone(&self.node), Arc::clone(&machine.pod), patch);
            self.work.push(Box::pin(async { Done::Reported(writing.await) }));
        }
    }

    fn perform_all(&mut self, actions: Vec<Action>) {
        for action in actions {
            self.perform(action);
        }
    }

    fn perform(&mut self, action: Action) {
        let context = self.context();
        match action {
            Action::MakeSandbox => self.work.push(Box::pin(async {
                match make_sandbox(context).await {
                    (input, Some(volumes)) => Done::Volumes(Arc::new(volumes), Some(input)),
                    (input, None) => Done::Inputs(vec![input]),
                }
            })),
            Action::RemoveSandbox(id) => self.input(end_sandbox(context, id, true)),
            Action::StopSandbox(id) => self.input(end_sandbox(context, id, false)),
            Action::Start { container, attempt, restarts } => {
                self.start(context, container, attempt, restarts)
            }
            Action::Watch { container, attempt, id } => self.watch(context, container, attempt, id),
            Action::PostStart { container, attempt } => self.post_start(container, attempt),
            Action::Probe { container, attempt, kind } => self.probe(container, attempt, kind),
            Action::StopProbes { container } => {
                self.shared.probe_failures.lock().remove(&container);
                for probe in self.probes.remove(&container).into_iter().flatten() {
                    probe.abort();
                }
            }
            Action::AskRoom { wanted } => {
                let answer = self.node.room.ask(&context.pod, wanted);
                self.step(Input::Room(answer));
            }
            Action::Resize { container, attempt, id, resources } => {
                self.input(resize::apply(Arc::clone(&self.node), container, attempt, id, *resources));
            }
            Action::Stop { container, id, deadline } => self.stop(context, container, id, deadline),
            Action::Hasten { deadline } => drop(self.hastened.send_replace(Some(deadline))),
            Action::Drain { ip, deadline } => self.drain(ip, deadline),
            Action::CleanUp => self.input(clean_up(context)),
            Action::DeleteObject => self.delete_object(context),
            Action::Emit(event) => context.emit(&event),
        }
    }

    fn input(&self, work: impl Future<Output = Input> + Send + 'static) {
        self.work.push(Box::pin(async { Done::Inputs(vec![work.await]) }));
    }

    fn start(&mut self, context: PodContext, container: usize, attempt: u32, restarts: u32) {
        if attempt >= 2 {
            let name = self.shared.machine.lock().slots[container].name.clone();
            let context = context.clone();
            self.work.push(Box::pin(async move {
                remove_old_runs(context, name, attempt).await;
                Done::Nothing
            }));
        }
        let volumes = self.volumes.clone().unwrap_or_default();
        let machine = self.shared.machine.lock();
        let start = Start::new(context, &machine, container, attempt, restarts, volumes);
        drop(machine);
        if let Some(start) = start {
            self.work.push(Box::pin(async { Done::Inputs(start.run().await) }));
        }
    }

    fn watch(&self, context: PodContext, index: usize, attempt: u32, id: ContainerId) {
        let machine = self.shared.machine.lock();
        let container = machine.slots[index].container(&machine.pod).cloned();
        let sandbox = match &machine.sandbox {
            SandboxState::Ready { id, .. } | SandboxState::Lost { id } => Some(id.clone()),
            _ => None,
        };
        drop(machine);
        let watching = watch(context, container, index, attempt, id, sandbox);
        self.work.push(Box::pin(async { Done::Inputs(watching.await) }));
    }

    /// Whom hooks and probes of a living container speak to.
    fn endpoint(&self, index: usize) -> Option<Endpoint> {
        let machine = self.shared.machine.lock();
        let live = machine.slots[index].live()?;
        Some(Endpoint {
            engine: Arc::clone(&self.node.config.engine),
            id: live.run.id.clone(),
            ip: machine.ip().unwrap_or(self.node.config.node_ip),
        })
    }

    fn post_start(&self, index: usize, attempt: u32) {
        let machine = self.shared.machine.lock();
        let container = machine.slots[index].container(&machine.pod).cloned();
        drop(machine);
        let (Some(container), Some(endpoint)) = (container, self.endpoint(index)) else {
            return;
        };
        self.input(async move {
            let handler = container.lifecycle.as_ref().and_then(|lifecycle| lifecycle.post_start.as_ref());
            let result = match handler {
                Some(handler) => hook(&endpoint, &container, handler).await,
                None => Ok(()),
            };
            Input::PostStart { container: index, attempt, result }
        });
    }

    fn probe(&mut self, index: usize, attempt: u32, kind: ProbeKind) {
        let machine = self.shared.machine.lock();
        let container = machine.slots[index].container(&machine.pod).cloned();
        drop(machine);
        let (Some(container), Some(endpoint)) = (container, self.endpoint(index)) else {
            return;
        };
        let Some(wanted) = kind.of(&container) else { return };
        let schedule = Schedule::new(kind, wanted);
        let asker = Arc::new(Asker::new(endpoint, &container, wanted));
        let sender = self.sender.clone();
        let probing = tokio::spawn(async move {
            let tell = |verdict| {
                let input = Input::Probed { container: index, attempt, kind, verdict };
                sender.send(Message::Input(input)).is_ok()
            };
            let ask = || {
                let asker = Arc::clone(&asker);
                async move { asker.ask().await }
            };
            probe::run(schedule, ask, tell).await;
        });
        self.probes.entry(index).or_default().push(probing.abort_handle());
    }

    fn stop(&self, context: PodContext, index: usize, id: ContainerId, deadline: Timestamp) {
        let machine = self.shared.machine.lock();
        let slot = &machine.slots[index];
        let stop = Stop {
            endpoint: Endpoint {
                engine: Arc::clone(&self.node.config.engine),
                id,
                ip: machine.ip().unwrap_or(self.node.config.node_ip),
            },
            container: slot.container(&machine.pod).cloned(),
            field: slot.field(),
            deadline,
            pod_deadline: self.hastened.subscribe(),
            context,
        };
        drop(machine);
        self.work.push(Box::pin(async {
            stop.run().await;
            Done::Nothing
        }));
    }

    fn drain(&self, ip: IpAddr, deadline: Timestamp) {
        let drain = Arc::clone(&self.node.config.drain);
        let until = self.node.clock.instant(deadline);
        self.input(async move {
            // A drain that does not keep to its deadline must not keep the pod from ending.
            let withdrawn = tokio::time::timeout_at(until + Duration::from_secs(1), drain.withdraw(ip, until)).await;
            match withdrawn {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::warn!(%ip, error = %error.chain(), "address not withdrawn"),
                Err(_) => tracing::warn!(%ip, "withdrawal of the address took longer than its share of the grace period"),
            }
            Input::Drained
        });
    }

    /// The last status goes first: a watcher sees how the containers ended.
    fn delete_object(&mut self, context: PodContext) {
        let machine = self.shared.machine.lock();
        let patch = self.reporter.last(&machine, &self.node);
        drop(machine);
        let node = Arc::clone(&self.node);
        self.input(async move {
            if let Some(patch) = patch
                && let Err(error) = write(node, Arc::clone(&context.pod), patch).await
                && !error.is_not_found()
            {
                tracing::warn!(pod = %super::identity(&context.pod), error = %error.chain(), "last status not written");
            }
            delete_object(context).await
        });
    }

    fn stop_all_probes(&mut self) {
        for probe in self.probes.drain().flat_map(|(_, probes)| probes) {
            probe.abort();
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.node.room.leave(&self.shared.pod());
        self.stop_all_probes();
    }
}

impl Shared {
    /// The pod as last seen.
    pub(crate) fn pod(&self) -> Arc<Pod> {
        Arc::clone(&self.machine.lock().pod)
    }

    /// Where the pod is in its life.
    pub(crate) fn stage(&self) -> Stage {
        self.machine.lock().stage
    }

    fn has_sandbox(&self) -> bool {
        matches!(self.machine.lock().sandbox, SandboxState::Ready { .. })
    }

    /// The engine's container of a container's present run, or of the one before.
    pub(crate) fn container_id(&self, name: &str, is_previous: bool) -> Option<ContainerId> {
        let machine = self.machine.lock();
        let slot = machine.slots.iter().find(|slot| slot.name == name)?;
        let live = slot.live().map(|live| live.run.id.clone());
        let ended = slot.ended.as_ref().and_then(|ended| ended.id.clone());
        let last = slot.last.as_ref().and_then(|last| last.id.clone());
        let mut runs = [live, ended, last].into_iter().flatten();
        if is_previous { runs.nth(1) } else { runs.next() }
    }

    /// The names of the pod's containers.
    pub(crate) fn container_names(&self) -> Vec<String> {
        self.machine.lock().slots.iter().map(|slot| slot.name.clone()).collect()
    }

    /// What is known beyond the status.
    pub(crate) fn report(&self) -> PodReport {
        let machine = self.machine.lock();
        let failures = self.probe_failures.lock();
        let text = |value: &Option<String>| value.clone().unwrap_or_default();
        let meta = &machine.pod.metadata;
        let containers = machine.slots.iter().enumerate().map(|(index, slot)| ContainerReport {
            name: slot.name.clone(),
            last_error: match &slot.state {
                SlotState::Failed { message, .. } => Some(message.clone()),
                _ => slot.ended.as_ref().or(slot.last.as_ref()).and_then(|ended| ended.message.clone()),
            },
            retry_at: slot.due_at(),
            last_probe_failure: failures.get(&index).cloned(),
        });
        PodReport {
            namespace: text(&meta.namespace),
            name: text(&meta.name),
            uid: text(&meta.uid),
            stage: stage_word(machine.stage).to_owned(),
            sandbox_error: machine.sandbox_error.clone(),
            containers: containers.collect(),
        }
    }
}

fn stage_word(stage: Stage) -> &'static str {
    match stage {
        Stage::Active => "active",
        Stage::Draining { .. } => "draining",
        Stage::Stopping { .. } => "stopping",
        Stage::Finished => "finished",
        Stage::CleaningUp => "cleaning up",
        Stage::Deleting => "deleting",
        Stage::Gone => "gone",
    }
}
