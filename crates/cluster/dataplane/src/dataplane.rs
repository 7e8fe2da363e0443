//! The services of one node: start, withdrawal, teardown.

use crate::dns;
use crate::drain::Drain;
use crate::index::Index;
use crate::kernel::Kernel;
use crate::programmer::{Done, Event, Parts, Programmer};
use hako_client::{Change, Changes, Client, Informers, Object, Recorder};
use hako_error::{Error, Kind, Result};
use hako_netlink::{Ipv4Net, Links, Route, Scope};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::RwLock;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

/// What a [`Dataplane`] is started with.
#[derive(Clone, Debug)]
pub struct DataplaneConfig {
    /// The API, for events on services that cannot be programmed.
    pub client: Client,
    /// Caches of Services and `EndpointSlices`.
    pub informers: Informers,
    /// This node's name, for traffic policies.
    pub node_name: String,
    /// Six hex digits that tell instances on one machine apart.
    pub instance: String,
    /// The pods' addresses.
    pub pod_subnet: Ipv4Net,
    /// The bridge's address, where DNS listens.
    pub gateway: Ipv4Addr,
    /// The services' addresses.
    pub service_subnet: Ipv4Net,
    /// The DNS suffix, usually `cluster.local`.
    pub cluster_domain: String,
    /// Where names outside the cluster are looked up; empty answers them with SERVFAIL.
    pub upstream_dns: Vec<SocketAddr>,
}

/// How a withdrawal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// Connections through the dataplane still open when the wait ended; 0 unless the deadline passed.
    pub open_connections: usize,
}

/// The services of one node.
#[derive(Debug)]
pub struct Dataplane {
    events: mpsc::UnboundedSender<Event>,
    drain: Drain,
    gateway: Ipv4Addr,
    service_route: Route,
    /// The caches end with the last handle on them.
    _informers: Informers,
    /// Aborted on drop.
    tasks: parking_lot::Mutex<JoinSet<()>>,
}

impl Dataplane {
    /// Adopts or makes the table, waits for the caches to fill and keeps both in step until [`Self::teardown`]
    /// or drop; dropping leaves the table serving. The network (its bridge) has to be open already.
    ///
    /// # Errors
    /// When the kernel refuses the table or DNS cannot listen on the gateway.
    pub async fn start(config: DataplaneConfig) -> Result<Arc<Self>> {
        let service_route = add_service_route(config.gateway, config.service_subnet)?;
        let index = Arc::new(RwLock::new(Index::default()));
        let dns = dns::server(&config, Arc::clone(&index))?;
        let sockets = hako_dns::bind(config.gateway).await?;
        let (events, receiver) = mpsc::unbounded_channel();
        let (ready, is_ready) = oneshot::channel();
        let (services, slices) = (config.informers.get::<Service>(), config.informers.get::<EndpointSlice>());
        let mut tasks = JoinSet::new();
        tasks.spawn(pump(services.changes(), events.clone(), Event::Services));
        tasks.spawn(pump(slices.changes(), events.clone(), Event::Slices));
        tasks.spawn(tick(events.downgrade()));
        spawn_programmer(&config, Arc::clone(&index), services, slices, ready, receiver)?;
        answered(is_ready).await?;
        dns.serve(sockets, &mut tasks);
        Ok(Arc::new(Self {
            events,
            drain: Drain::default(),
            gateway: config.gateway,
            service_route,
            _informers: config.informers,
            tasks: parking_lot::Mutex::new(tasks),
        }))
    }

    /// Lets no new connection reach `ip` from now on, whatever the API says, until [`Self::readmit`] or until no
    /// `EndpointSlice` names it; then waits until connections through the dataplane to it have ended or `deadline`.
    ///
    /// # Errors
    /// When the kernel refuses; then nothing is withdrawn.
    pub async fn withdraw(&self, ip: Ipv4Addr, deadline: Instant) -> Result<Withdrawn> {
        self.tell(|done| Event::Withdraw { ip, done }).await?;
        let open_connections = self.drain.wait(ip, deadline).await?;
        Ok(Withdrawn { open_connections })
    }

    /// Ends a withdrawal.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn readmit(&self, ip: Ipv4Addr) -> Result<()> {
        self.tell(|done| Event::Readmit { ip, done }).await
    }

    /// Where pods look up names.
    #[must_use]
    pub fn nameserver(&self) -> Ipv4Addr {
        self.gateway
    }

    /// Stops and takes the table away.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn teardown(&self) -> Result<()> {
        self.tasks.lock().abort_all();
        self.tell(|done| Event::Teardown { done }).await?;
        match Links::open()?.delete_route(&self.service_route) {
            Err(error) if error.is_not_found() => Ok(()),
            other => Ok(other?),
        }
    }

    async fn tell(&self, event: impl FnOnce(Done) -> Event) -> Result<()> {
        let (done, answer) = oneshot::channel();
        self.events.send(event(done)).map_err(|_| stopped())?;
        answered(answer).await
    }
}

async fn answered(answer: oneshot::Receiver<Result<()>>) -> Result<()> {
    answer.await.unwrap_or_else(|_| Err(stopped()))
}

fn stopped() -> Error {
    Error::new(Kind::Cancelled, "the dataplane has stopped")
}

/// Runs on a thread of its own, because transactions block.
fn spawn_programmer(
    config: &DataplaneConfig,
    index: Arc<RwLock<Index>>,
    services: hako_client::Informer<Service>,
    slices: hako_client::Informer<EndpointSlice>,
    ready: Done,
    events: mpsc::UnboundedReceiver<Event>,
) -> Result<()> {
    let kernel = Kernel::open(format!("hako-{}-svc", config.instance), config.service_subnet)?;
    let recorder = Recorder::new(config.client.clone(), "dataplane", Some(&config.node_name));
    let node = config.node_name.clone();
    let programmer = Programmer::new(Parts { index, kernel, node, services, slices, recorder, ready });
    std::thread::Builder::new()
        .name("dataplane".to_owned())
        .spawn(move || programmer.run(events))
        .map_err(|source| Error::new(Kind::Exhausted, "start the dataplane's thread").with_source(source))?;
    Ok(())
}

async fn pump<K: Object>(
    mut changes: Changes<K>,
    events: mpsc::UnboundedSender<Event>,
    wrap: impl Fn(Change<K>) -> Event,
) {
    while let Some(change) = changes.next().await {
        if events.send(wrap(change)).is_err() {
            return;
        }
    }
}

async fn tick(events: mpsc::WeakUnboundedSender<Event>) {
    let mut interval = tokio::time::interval(Programmer::TICK);
    loop {
        interval.tick().await;
        let Some(events) = events.upgrade() else { return };
        if events.send(Event::Tick).is_err() {
            return;
        }
    }
}

/// Service addresses are reached by the bridge: the host then has a route for them even without a default one, and
/// what no service answers never leaves the machine.
fn add_service_route(gateway: Ipv4Addr, services: Ipv4Net) -> Result<Route> {
    let mut links = Links::open()?;
    let address = links.addresses()?.into_iter().find(|address| address.ip == gateway).ok_or_else(|| {
        let message = format!("the gateway {gateway} is no address of this machine, open the network first");
        Error::new(Kind::FailedPrecondition, message)
    })?;
    let route = Route {
        destination: services,
        link: address.link,
        gateway: None,
        source: Some(gateway),
        scope: Scope::Link,
    };
    links.add_route(&route)?;
    Ok(route)
}
