//! The thread that turns changes into transactions.
//!
//! Whatever has arrived while a transaction was under way goes into the next one: prompt when it is quiet, few
//! transactions when it is busy.

use crate::endpoints::Target;
use crate::index::{Index, ServiceKey};
use crate::kernel::Kernel;
use crate::programme::{Backends, Context, NodePort, Programme, TCP, UDP, node_ports, programme};
use hako_client::{Change, Informer, Recorder};
use hako_error::{Error, Kind};
use hako_netlink::{Conntrack, Filter, NetlinkError};
use hako_network::{Protocol, PublishedPort, Reservation};
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::RwLock;
use std::collections::{BTreeSet, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How long a withdrawal of an address that no slice ever named is kept.
const FORGET_UNSEEN: Duration = Duration::from_secs(60);
/// How often it is said again that a node port is in use: events are kept for an hour.
const REMIND: Duration = Duration::from_secs(600);
/// How often what failed is tried again.
const TRY_AGAIN: Duration = Duration::from_secs(1);

pub(crate) type Done = oneshot::Sender<hako_error::Result<()>>;

/// What the thread is told.
#[derive(Debug)]
pub(crate) enum Event {
    Services(Change<Service>),
    Slices(Change<EndpointSlice>),
    Withdraw {
        ip: Ipv4Addr,
        done: Done,
    },
    Readmit {
        ip: Ipv4Addr,
        done: Done,
    },
    Teardown {
        done: Done,
    },
    /// Something may succeed now that failed before.
    Tick,
}

#[derive(Debug)]
struct Claim {
    owner: ServiceKey,
    /// None while somebody else has the port.
    reservation: Option<Reservation>,
    /// When people were last told that somebody else has it.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Withdrawal {
    since: Instant,
    /// Whether a slice has named the address meanwhile.
    is_seen: bool,
}

pub(crate) struct Programmer {
    index: Arc<RwLock<Index>>,
    kernel: Kernel,
    node: String,
    services: Informer<Service>,
    slices: Informer<EndpointSlice>,
    recorder: Recorder,
    backends: Backends,
    claims: HashMap<NodePort, Claim>,
    withdrawals: HashMap<Ipv4Addr, Withdrawal>,
    /// Caches that have not been read yet: until then the table of an earlier process goes on serving untouched.
    unread: usize,
    ready: Option<Done>,
    is_behind: bool,
}

/// What the programmer is made of.
pub(crate) struct Parts {
    pub(crate) index: Arc<RwLock<Index>>,
    pub(crate) kernel: Kernel,
    pub(crate) node: String,
    pub(crate) services: Informer<Service>,
    pub(crate) slices: Informer<EndpointSlice>,
    pub(crate) recorder: Recorder,
    /// Told when the table is complete for the first time.
    pub(crate) ready: Done,
}

impl Programmer {
    pub(crate) fn new(parts: Parts) -> Self {
        let Parts { index, kernel, node, services, slices, recorder, ready } = parts;
        Self {
            index,
            kernel,
            node,
            services,
            slices,
            recorder,
            backends: Backends::default(),
            claims: HashMap::new(),
            withdrawals: HashMap::new(),
            unread: 2,
            ready: Some(ready),
            is_behind: false,
        }
    }

    /// Runs until the senders are gone or a teardown.
    pub(crate) fn run(mut self, mut events: mpsc::UnboundedReceiver<Event>) {
        while let Some(event) = events.blocking_recv() {
            let mut round = Round::default();
            let mut next = Some(event);
            while let Some(event) = next {
                if let Event::Teardown { done } = event {
                    let _ = done.send(self.kernel.delete().map_err(Error::from));
                    return;
                }
                self.take(event, &mut round);
                next = events.try_recv().ok();
            }
            self.turn(round);
        }
    }

    /// Puts an event into the index, and notes which services it touches.
    fn take(&mut self, event: Event, round: &mut Round) {
        let mut index = self.index.write();
        match event {
            Event::Services(Change::Applied { new, .. }) => {
                round.touched.insert(index.put_service(new));
            }
            Event::Services(Change::Deleted(old)) => {
                let meta = &old.metadata;
                let key = (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default());
                index.remove_service(&key);
                round.touched.insert(key);
            }
            Event::Slices(Change::Applied { old, new }) => {
                // The slice may have changed its service.
                round.touched.extend(old.and_then(|old| index.remove_slice(&old)));
                round.touched.extend(index.put_slice(new));
            }
            Event::Slices(Change::Deleted(old)) => round.touched.extend(index.remove_slice(&old)),
            Event::Services(Change::Resync) => {
                index.clear_services();
                for service in self.services.list() {
                    index.put_service(service);
                }
                round.is_resync = true;
                self.unread = self.unread.saturating_sub(1);
            }
            Event::Slices(Change::Resync) => {
                index.clear_slices();
                for slice in self.slices.list() {
                    index.put_slice(slice);
                }
                round.is_resync = true;
                self.unread = self.unread.saturating_sub(1);
            }
            Event::Withdraw { ip, done } => {
                index.withdrawn.insert(ip);
                round.touched.extend(index.services_of(ip));
                self.withdrawals.insert(ip, Withdrawal { since: Instant::now(), is_seen: false });
                round.withdrawn.push((ip, done));
            }
            Event::Readmit { ip, done } => {
                index.withdrawn.remove(&ip);
                round.touched.extend(index.services_of(ip));
                self.withdrawals.remove(&ip);
                round.readmitted.push(done);
            }
            Event::Teardown { .. } | Event::Tick => {}
        }
    }

    fn turn(&mut self, mut round: Round) {
        if self.unread > 0 {
            // Nothing is known of the kernel's table yet, so nothing can be acknowledged about it.
            for done in round.withdrawn.into_iter().map(|(_, done)| done).chain(round.readmitted) {
                let message = "services are still being read, try again";
                let _ = done.send(Err(Error::new(Kind::Unavailable, message)));
            }
            return;
        }
        self.expire_withdrawals(&mut round);
        if round.is_resync {
            round.touched.extend(self.index.read().keys());
            round.touched.extend(self.kernel.services());
        }
        self.claim_ports(&mut round);
        let gone = self.reprogramme(&round.touched);
        if round.touched.is_empty() && !self.is_behind && self.ready.is_none() {
            round.acknowledge();
            return;
        }
        let started = Instant::now();
        let result = self.kernel.commit();
        self.is_behind = result.is_err();
        match result {
            Ok(()) => {
                tracing::debug!(services = round.touched.len(), took = ?started.elapsed(), "programmed");
                round.acknowledge();
                if let Some(ready) = self.ready.take() {
                    let _ = ready.send(Ok(()));
                }
                forget_datagrams(&gone);
            }
            Err(error) => self.fail(round, error),
        }
    }

    /// Nothing changed in the kernel; it is tried again with the next tick.
    fn fail(&mut self, round: Round, error: NetlinkError) {
        tracing::warn!(%error, "services could not be programmed, trying again");
        let mut touched = HashSet::new();
        for (ip, done) in round.withdrawn {
            let mut index = self.index.write();
            index.withdrawn.remove(&ip);
            touched.extend(index.services_of(ip));
            self.withdrawals.remove(&ip);
            let _ = done.send(Err(Error::new(Kind::Unavailable, format!("withdraw {ip}: {error}"))));
        }
        self.reprogramme(&touched);
        for done in round.readmitted {
            let _ = done.send(Err(Error::new(Kind::Unavailable, format!("readmit: {error}"))));
        }
        if let Some(ready) = self.ready.take() {
            let _ = ready.send(Err(error.into()));
        }
    }

    /// Ends withdrawals of addresses that no slice names any more.
    fn expire_withdrawals(&mut self, round: &mut Round) {
        let mut index = self.index.write();
        let mut over = Vec::new();
        for (ip, withdrawal) in &mut self.withdrawals {
            if !index.services_of(*ip).is_empty() {
                withdrawal.is_seen = true;
            } else if withdrawal.is_seen || withdrawal.since.elapsed() > FORGET_UNSEEN {
                over.push(*ip);
            }
        }
        for ip in over {
            if round.withdrawn.iter().any(|(withdrawn, _)| *withdrawn == ip) {
                continue;
            }
            self.withdrawals.remove(&ip);
            index.withdrawn.remove(&ip);
        }
    }

    /// Writes the programmes of the services anew; returns datagram targets that are gone.
    fn reprogramme(&mut self, touched: &HashSet<ServiceKey>) -> BTreeSet<Target> {
        let index = self.index.read();
        let claims = &self.claims;
        let mut gone = BTreeSet::new();
        for key in touched {
            let is_claimed = |port: NodePort| {
                claims.get(&port).is_some_and(|claim| claim.owner == *key && claim.reservation.is_some())
            };
            let mut context = Context {
                index: &index,
                node: &self.node,
                is_claimed: &is_claimed,
                backends: &mut self.backends,
            };
            let after = programme(&mut context, key, self.kernel.programme(key));
            let kept = after.datagram_targets.clone();
            let chains: BTreeSet<String> = after.chains.keys().cloned().collect();
            let Some(before) = self.kernel.set(key, after) else {
                continue;
            };
            gone.extend(before.datagram_targets.difference(&kept));
            release(&mut self.backends, &before, &chains);
        }
        gone
    }

    /// Reserves the node ports of the touched services, after those they no longer want were given back; ports that
    /// somebody else has are tried again at every turn.
    fn claim_ports(&mut self, round: &mut Round) {
        let index = self.index.read();
        let wanted: Vec<(ServiceKey, NodePort)> = round
            .touched
            .iter()
            .filter_map(|key| Some((key, index.service(key)?)))
            .flat_map(|(key, service)| node_ports(service).into_iter().map(move |port| (key.clone(), port)))
            .collect();
        self.claims.retain(|port, claim| {
            !round.touched.contains(&claim.owner)
                || wanted.iter().any(|(key, want)| *key == claim.owner && want == port)
        });
        for (owner, port) in wanted {
            self.claims.entry(port).or_insert(Claim { owner, reservation: None, told: None });
        }
        for (port, claim) in self.claims.iter_mut().filter(|(_, claim)| claim.reservation.is_none()) {
            let service = index.service(&claim.owner);
            match Reservation::new(published(*port)) {
                Ok(reservation) => {
                    claim.reservation = Some(reservation);
                    round.touched.insert(claim.owner.clone());
                    if let (Some(_), Some(service)) = (claim.told.take(), service) {
                        self.recorder.normal(&**service, NODE_PORT_SERVED, &served(*port));
                    }
                }
                Err(error) if claim.told.is_none_or(|told| told.elapsed() >= REMIND) => {
                    claim.told = Some(Instant::now());
                    let (namespace, name) = &claim.owner;
                    tracing::warn!(service = %format_args!("{namespace}/{name}"), error = %error.chain(), "node port is not served");
                    if let Some(service) = service {
                        self.recorder.warning(&**service, NODE_PORT_IN_USE, &not_served(*port, &error));
                    }
                }
                Err(_) => {}
            }
        }
    }

    /// Whether ticks are needed.
    pub(crate) const TICK: Duration = TRY_AGAIN;
}

/// Reason of the event of a service whose node port somebody else has.
const NODE_PORT_IN_USE: &str = "NodePortInUse";
/// Reason of the event that follows when the port is had.
const NODE_PORT_SERVED: &str = "NodePortServed";

fn port_text((protocol, port): NodePort) -> String {
    format!("{port}/{}", if protocol == TCP { "tcp" } else { "udp" })
}

fn not_served(port: NodePort, error: &Error) -> String {
    let port = port_text(port);
    match error.kind() {
        Kind::AlreadyExists => format!(
            "node port {port} is not served: another program or platform of this host has it; stop what listens there or choose another nodePort, it is served as soon as it is free"
        ),
        _ => format!("node port {port} is not served, trying again: {}", error.chain()),
    }
}

fn served(port: NodePort) -> String {
    format!("node port {} is free now and served", port_text(port))
}

/// What one turn of the thread is about.
#[derive(Debug, Default)]
struct Round {
    touched: HashSet<ServiceKey>,
    withdrawn: Vec<(Ipv4Addr, Done)>,
    readmitted: Vec<Done>,
    is_resync: bool,
}

impl Round {
    fn acknowledge(self) {
        for done in self.withdrawn.into_iter().map(|(_, done)| done).chain(self.readmitted) {
            let _ = done.send(Ok(()));
        }
    }
}

fn release(backends: &mut Backends, before: &Programme, kept: &BTreeSet<String>) {
    for chain in before.chains.keys().filter(|chain| !kept.contains(*chain)) {
        backends.release(chain);
    }
}

fn published((protocol, port): NodePort) -> PublishedPort {
    let protocol = if protocol == TCP { Protocol::Tcp } else { Protocol::Udp };
    PublishedPort { host_ip: Ipv4Addr::UNSPECIFIED.into(), host_port: port, container_port: 0, protocol }
}

/// Datagrams have no end of connection: what the kernel remembers would go on leading to a target that is gone.
fn forget_datagrams(gone: &BTreeSet<Target>) {
    let forget = |ip: Ipv4Addr| -> Result<(), NetlinkError> {
        let mut conntrack = Conntrack::open()?;
        for connection in conntrack.translated_to(Filter { answers_from: ip, protocol: UDP })? {
            conntrack.delete(&connection)?;
        }
        Ok(())
    };
    for ip in gone.iter().map(|(ip, _)| *ip).collect::<BTreeSet<_>>() {
        if let Err(error) = forget(ip) {
            tracing::warn!(%ip, %error, "datagrams may still be sent to an endpoint that is gone");
        }
    }
}
