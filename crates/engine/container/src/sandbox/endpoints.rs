//! The sandbox's places in the networks that people make: at a start, and while it is up.

use super::SandboxObject;
use super::network::published;
use crate::core::Core;
use crate::error::{EngineError, blocking, io};
use crate::files::Reached;
use crate::record;
use crate::{
    Action, EndpointSpec, HostEntry, NetworkMode, Place, PortMapping, SandboxId, SandboxSpec, Subject,
};
use hako_error::{Error, Kind, Result};
use hako_names::ContainerId;
use hako_network::{
    Ahead, Connect, DEFAULT_NETWORK, Member, NetworkSpec, Networks, PublishedPort, parse_mac,
};
use hako_runtime::Shim;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

/// `endpoints.json`: what the next start connects and publishes. Absent until something changes.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Wanted {
    pub(crate) endpoints: Vec<EndpointSpec>,
    pub(crate) ports: Vec<PortMapping>,
    /// It was made to be in no network, and has been taken off that: it may be connected to others.
    pub(crate) off_none: bool,
}

const FILE: &str = "endpoints.json";

impl Wanted {
    /// What was written last, else what the sandbox was made with.
    pub(super) fn of(dir: &Path, spec: &SandboxSpec) -> Self {
        match record::read(&dir.join(FILE)) {
            Ok(Some(wanted)) => wanted,
            _ => Self { endpoints: spec.endpoints.clone(), ports: spec.ports.clone(), off_none: false },
        }
    }
}

/// The address that a sandbox is shown with.
pub(super) fn main_ip(member: &Member) -> Option<Ipv4Addr> {
    member.endpoints.iter().filter_map(|endpoint| endpoint.v4()).find_map(|address| match address.ip {
        std::net::IpAddr::V4(ip) => Some(ip),
        std::net::IpAddr::V6(_) => None,
    })
}

impl SandboxObject {
    pub(crate) fn set_wanted(&self, wanted: Wanted) -> Result<(), EngineError> {
        record::write(&self.dir.join(FILE), &wanted)?;
        *self.wanted.write() = wanted;
        Ok(())
    }

    /// How it is in networks now: who was made to be in none may be in some since.
    pub(crate) fn network_mode(&self) -> NetworkMode {
        match self.record.spec.network {
            NetworkMode::None if self.wanted.read().off_none => NetworkMode::Endpoints,
            mode => mode,
        }
    }

    /// What it has of networks.
    pub(crate) fn member(&self) -> Option<Member> {
        self.networks.as_ref()?.member(self.id.as_str())
    }

    fn networks_joined(&self) -> Vec<String> {
        let member = self.member().unwrap_or_default();
        member.endpoints.into_iter().map(|endpoint| endpoint.network).collect()
    }

    /// It was adopted in the networks that it was told to be in.
    pub(crate) fn adopt_told(&self) {
        *self.told.lock() = self.networks_joined();
    }

    /// Its places, wanted or taken.
    pub(super) fn places(&self, member: &Member) -> Vec<Place> {
        let wanted = self.wanted.read();
        let place = |spec: &EndpointSpec| {
            let net = self.networks.as_ref().and_then(|networks| networks.find(&spec.network).ok());
            let network_id = net.map(|net| net.id).unwrap_or_default();
            let endpoint = member.endpoints.iter().find(|endpoint| endpoint.network == network_id);
            Place { spec: spec.clone(), endpoint: endpoint.cloned(), network_id }
        };
        wanted.endpoints.iter().map(place).collect()
    }

    /// Writes the files that name its addresses and those of others.
    fn write_files(&self, networks: &Networks, others: Vec<HostEntry>) -> Result<()> {
        let member = networks.member(self.id.as_str()).unwrap_or_default();
        let addresses = member.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
        let reached = Reached {
            ips: addresses.map(|address| address.ip).collect(),
            has_resolver: networks.has_names(self.id.as_str()),
            others,
        };
        let record = &self.record;
        let written = self.files().write(&record.spec, &record.hostname, &reached);
        Ok(written.map_err(io("write", &self.dir))?)
    }
}

/// Who a sandbox is in its networks.
struct Identity {
    names: Vec<String>,
}

impl Core {
    pub(crate) fn networks(&self) -> Result<Arc<Networks>> {
        self.config.networks.clone().ok_or_else(|| {
            Error::new(Kind::FailedPrecondition, "this engine has no networks but the host's and none")
        })
    }

    /// The network of that name; the default one is made when first asked for.
    pub(crate) fn network(networks: &Networks, name: &str) -> Result<NetworkSpec> {
        if name == DEFAULT_NETWORK { networks.default_network() } else { networks.find(name) }
    }

    fn identity(&self, sandbox: &SandboxObject) -> Identity {
        let mut names = Vec::new();
        if let Some(container) = self.members(&sandbox.id).first() {
            names.push(container.status.read().name.clone());
            names.push(container.id.short().to_owned());
        }
        names.push(sandbox.record.hostname.clone());
        names.dedup();
        Identity { names }
    }

    /// The network whose members that ask for nothing of their link are all alike, if the sandbox is to be one of them. Others
    /// do without a place made ahead.
    fn plain_network(&self, sandbox: &SandboxObject) -> Option<(Arc<Networks>, String)> {
        let is_plain = sandbox.network_mode() == NetworkMode::Endpoints && sandbox.record.users.is_none();
        let networks = self.config.networks.as_ref().filter(|_| is_plain)?;
        let wanted = sandbox.wanted.read();
        let [spec] = wanted.endpoints.as_slice() else { return None };
        let is_plain = spec.options.is_empty() && spec.link_local.is_empty() && spec.ip6.is_none();
        let net = networks.find(&spec.network).ok().filter(|_| is_plain)?;
        Some((Arc::clone(networks), net.id))
    }

    /// A place that was made ahead for the sandbox to start in.
    pub(crate) async fn take_ahead(&self, sandbox: &SandboxObject) -> Option<Arc<Ahead>> {
        let (networks, network) = self.plain_network(sandbox)?;
        // It may be on its way.
        blocking(move || Ok(networks.take_ahead(&network))).await.ok().flatten().map(Arc::new)
    }

    /// After a start: the next one may follow.
    pub(crate) fn make_ahead(&self, sandbox: &SandboxObject) {
        if let Some((networks, network)) = self.plain_network(sandbox) {
            networks.make_ahead(&network);
        }
    }

    /// Connects a sandbox that is on its way up to all its networks, and publishes its ports.
    pub(super) async fn connect_endpoints(
        &self,
        sandbox: &Arc<SandboxObject>,
        shim: &Shim,
        ahead: Option<Arc<Ahead>>,
    ) -> Result<()> {
        let networks = self.networks()?;
        let wanted = sandbox.wanted.read().clone();
        let ports = asked(&wanted.ports);
        let mut endpoints = Vec::new();
        for spec in &wanted.endpoints {
            endpoints.push((spec.clone(), self.links(spec)?));
        }
        let others = self.linked_hosts(&networks, sandbox, &wanted.endpoints)?;
        endpoints.sort_by(|(a, _), (b, _)| {
            (Reverse(a.priority), &a.network).cmp(&(Reverse(b.priority), &b.network))
        });
        let (object, identity, netns) = (Arc::clone(sandbox), self.identity(sandbox), shim.netns());
        blocking(move || {
            let netns = File::open(&netns).map_err(io("open", &netns))?;
            // What an end that did not succeed left of the last time it was up.
            networks.release(object.id.as_str())?;
            for (spec, links) in endpoints {
                let place = (&netns, ahead.as_deref());
                connect_one(&networks, &object, &spec, links, &identity, place)?;
            }
            hako_sys::failpoint!("container.start.connected");
            if !ports.is_empty() {
                networks.publish(object.id.as_str(), &ports)?;
            }
            hako_sys::failpoint!("container.start.published");
            object.write_files(&networks, others)
        })
        .await?;
        self.tell_joined(sandbox);
        self.start_resolver(sandbox, shim).await
    }

    /// The names of others that only this sandbox knows, as sandboxes.
    fn links(&self, spec: &EndpointSpec) -> Result<Vec<(String, String)>> {
        let links = spec.links.iter().map(|link| {
            let target = self.container(&link.container)?;
            Ok((link.alias.clone(), target.sandbox.id.to_string()))
        });
        links.collect()
    }

    /// In the default network nobody is found by name, so links are lines of the hosts file. As with dockerd, who is not
    /// in it is told as that, whether it runs or not.
    fn linked_hosts(
        &self,
        networks: &Networks,
        sandbox: &SandboxObject,
        endpoints: &[EndpointSpec],
    ) -> Result<Vec<HostEntry>> {
        let mut hosts = Vec::new();
        for spec in endpoints.iter().filter(|spec| spec.network == DEFAULT_NETWORK) {
            for link in &spec.links {
                let target = self.container(&link.container)?;
                let name = target.status.read().name.clone();
                let member = target.sandbox.member().unwrap_or_default();
                let net = networks.find(DEFAULT_NETWORK)?;
                let endpoint = member.endpoints.iter().find(|endpoint| endpoint.network == net.id);
                let Some(address) = endpoint.and_then(|endpoint| endpoint.v4()) else {
                    let wanted = target.sandbox.wanted.read();
                    let belongs = wanted.endpoints.iter().any(|known| known.network == DEFAULT_NETWORK);
                    let (own, alias) = (self.name(sandbox), &link.alias);
                    let text = match belongs {
                        true => format!("Cannot link to a non running container: /{name} AS /{own}/{alias}"),
                        false => {
                            format!("Cannot link to /{name}, as it does not belong to the default network")
                        }
                    };
                    return Err(Error::new(Kind::FailedPrecondition, text));
                };
                let names = vec![link.alias.clone(), target.id.short().to_owned(), name];
                hosts.push(HostEntry { ip: address.ip, names });
            }
        }
        Ok(hosts)
    }

    /// Connects a sandbox to one more network, now if it is up and at every start. The caller holds its lock.
    pub(crate) async fn connect_more(&self, sandbox: &Arc<SandboxObject>, spec: EndpointSpec) -> Result<()> {
        let networks = self.networks()?;
        let mut wanted = sandbox.wanted.read().clone();
        if sandbox.live().is_none() {
            networks.check_addresses(&networks.find(&spec.network)?.id, [spec.ip4, spec.ip6])?;
            // As with Docker, the last word counts until the start.
            wanted.endpoints.retain(|known| known.network != spec.network);
        }
        if wanted.endpoints.iter().any(|known| known.network == spec.network) {
            let text = format!(
                "endpoint with name {} already exists in network {}",
                self.name(sandbox),
                spec.network
            );
            return Err(Error::new(Kind::Forbidden, text));
        }
        wanted.endpoints.push(spec.clone());
        if let Some(live) = sandbox.live() {
            let links = self.links(&spec)?;
            let others = self.linked_hosts(&networks, sandbox, &wanted.endpoints)?;
            let (object, identity, netns) = (Arc::clone(sandbox), self.identity(sandbox), live.shim.netns());
            let (adding, recorded) = (spec.clone(), wanted.clone());
            blocking(move || {
                let netns = File::open(&netns).map_err(io("open", &netns))?;
                connect_one(&networks, &object, &adding, links, &identity, (&netns, None))?;
                hako_sys::failpoint!("container.connect.connected");
                object.set_wanted(recorded)?;
                hako_sys::failpoint!("container.connect.recorded");
                object.write_files(&networks, others)
            })
            .await?;
            self.start_resolver(sandbox, &live.shim).await?;
            self.tell_joined(sandbox);
            return Ok(());
        }
        Ok(sandbox.set_wanted(wanted)?)
    }

    /// Takes a sandbox off a network, now if it is up and for every start. The caller holds its lock.
    pub(crate) async fn disconnect_from(
        &self,
        sandbox: &Arc<SandboxObject>,
        network: &NetworkSpec,
    ) -> Result<()> {
        let networks = self.networks()?;
        let mut wanted = sandbox.wanted.read().clone();
        let before = wanted.endpoints.len();
        wanted.endpoints.retain(|known| known.network != network.name);
        if wanted.endpoints.len() == before {
            let id = self.members(&sandbox.id).first().map(|container| container.id.to_string());
            let the = if sandbox.live().is_some() { "" } else { "the " };
            let (id, name) = (id.unwrap_or_default(), &network.name);
            let text = format!("container {id} is not connected to {the}network {name}");
            return Err(Error::new(Kind::Forbidden, text));
        }
        let others = self.linked_hosts(&networks, sandbox, &wanted.endpoints).unwrap_or_default();
        sandbox.set_wanted(wanted)?;
        hako_sys::failpoint!("container.disconnect.recorded");
        let Some(live) = sandbox.live() else { return Ok(()) };
        let (object, id, netns) = (Arc::clone(sandbox), network.id.clone(), live.shim.netns());
        blocking(move || {
            let netns = File::open(&netns).map_err(io("open", &netns))?;
            networks.disconnect(&id, object.id.as_str(), Some(&netns))?;
            hako_sys::failpoint!("container.disconnect.done");
            object.write_files(&networks, others)
        })
        .await?;
        self.tell_left_one(sandbox, network);
        Ok(())
    }

    /// Takes a link of the default network away, now if the sandbox is up and for every start. The caller holds its lock.
    pub(crate) async fn unlink(&self, sandbox: &Arc<SandboxObject>, alias: &str) -> Result<bool> {
        let mut wanted = sandbox.wanted.read().clone();
        let mut is_found = false;
        for spec in wanted.endpoints.iter_mut().filter(|spec| spec.network == DEFAULT_NETWORK) {
            let before = spec.links.len();
            spec.links.retain(|link| link.alias != alias);
            is_found |= spec.links.len() != before;
        }
        if !is_found {
            return Ok(false);
        }
        let networks = self.networks()?;
        let others = self.linked_hosts(&networks, sandbox, &wanted.endpoints).unwrap_or_default();
        sandbox.set_wanted(wanted)?;
        hako_sys::failpoint!("container.unlink.recorded");
        if sandbox.live().is_some() {
            let object = Arc::clone(sandbox);
            blocking(move || object.write_files(&networks, others)).await?;
        }
        Ok(true)
    }

    /// Lets a container that was made to be in no network be connected to others.
    pub(crate) fn leave_none(&self, sandbox: &SandboxObject) -> Result<()> {
        let wanted = sandbox.wanted.read().clone();
        Ok(sandbox.set_wanted(Wanted { off_none: true, ..wanted })?)
    }

    /// Makes `ports` the sandbox's published ports, now if it is up and at every start. The caller holds its lock.
    pub(crate) async fn republish(
        &self,
        sandbox: &Arc<SandboxObject>,
        ports: Vec<PortMapping>,
    ) -> Result<()> {
        let networks = self.networks()?;
        let asked = asked(&ports);
        let before = sandbox.wanted.read().clone();
        sandbox.set_wanted(Wanted { ports, ..before.clone() })?;
        hako_sys::failpoint!("container.publish.recorded");
        if sandbox.live().is_some() {
            let id = sandbox.id.to_string();
            if let Err(error) = blocking(move || networks.publish(&id, &asked)).await {
                sandbox.set_wanted(before)?;
                return Err(error);
            }
        }
        hako_sys::failpoint!("container.publish.done");
        Ok(())
    }

    /// After a restart: finishes what was cut off of changes to the ports and networks of live sandboxes.
    pub(crate) fn settle_endpoints(&self, networks: &Networks, live: &[SandboxId]) {
        for sandbox in live.iter().filter_map(|id| self.sandbox(id).ok()) {
            let is_changed =
                sandbox.network_mode() == NetworkMode::Endpoints && sandbox.dir.join(FILE).exists();
            if is_changed && let Err(error) = self.settle_one(networks, &sandbox) {
                tracing::warn!(sandbox = sandbox.id.short(), error = %error.chain(), "finish a change of networks");
            }
        }
    }

    fn settle_one(&self, networks: &Networks, sandbox: &SandboxObject) -> Result<()> {
        let wanted = sandbox.wanted.read().clone();
        let ports = asked(&wanted.ports);
        if !networks.has_published(sandbox.id.as_str(), &ports) {
            networks.publish(sandbox.id.as_str(), &ports)?;
        }
        let others = self.linked_hosts(networks, sandbox, &wanted.endpoints).unwrap_or_default();
        sandbox.write_files(networks, others)
    }

    /// The network namespace of a sandbox that is up.
    pub(crate) fn namespace(&self, sandbox: &str) -> Option<File> {
        let sandbox = self.sandbox(&sandbox.parse().ok()?).ok()?;
        File::open(sandbox.live()?.shim.netns()).ok()
    }

    /// The sandbox's container has another name now.
    pub(crate) fn rename_endpoints(&self, sandbox: &SandboxObject, old: &str, new: &str) -> Result<()> {
        let Some(networks) = &self.config.networks else { return Ok(()) };
        networks.rename(sandbox.id.as_str(), |names| {
            for name in names.iter_mut().filter(|name| *name == old) {
                new.clone_into(name);
            }
        })
    }

    /// What live sandboxes say they have of networks: the rest is what a crash left.
    pub(crate) fn claims(&self, live: &[SandboxId]) -> HashMap<String, HashSet<String>> {
        let claim = |id: &SandboxId| {
            let sandbox = self.sandbox(id).ok()?;
            let networks = sandbox.networks.as_ref()?;
            let wanted = sandbox.wanted.read();
            let nets = wanted.endpoints.iter().filter_map(|spec| Some(networks.find(&spec.network).ok()?.id));
            Some((id.to_string(), nets.collect()))
        };
        live.iter().filter_map(claim).collect()
    }

    fn name(&self, sandbox: &SandboxObject) -> String {
        self.members(&sandbox.id)
            .first()
            .map(|container| container.status.read().name.clone())
            .unwrap_or_default()
    }

    /// Tells of each place that a sandbox has taken and nobody was told of.
    fn tell_joined(&self, sandbox: &SandboxObject) {
        let Some(container) = self.members(&sandbox.id).first().map(|container| container.id.clone()) else {
            return;
        };
        let is_new = |network: &String| !sandbox.told.lock().contains(network);
        let joined: Vec<String> = sandbox.networks_joined().into_iter().filter(is_new).collect();
        self.each_network(&joined, |net| {
            self.network_event(net, Action::Connect { container: container.clone() });
        });
        sandbox.told.lock().extend(joined);
    }

    /// Tells that a container has left the networks that it was told to be in: it has just ended.
    pub(crate) fn tell_left(&self, sandbox: &SandboxObject, container: &ContainerId) {
        let left = std::mem::take(&mut *sandbox.told.lock());
        self.each_network(&left, |net| {
            self.network_event(net, Action::Disconnect { container: container.clone() });
        });
    }

    fn tell_left_one(&self, sandbox: &SandboxObject, network: &NetworkSpec) {
        sandbox.told.lock().retain(|told| *told != network.id);
        if let Some(container) = self.members(&sandbox.id).first().map(|container| container.id.clone()) {
            self.network_event(network, Action::Disconnect { container });
        }
    }

    fn each_network(&self, ids: &[String], tell: impl Fn(&NetworkSpec)) {
        let Some(networks) = &self.config.networks else { return };
        ids.iter().filter_map(|id| networks.find(id).ok()).for_each(|net| tell(&net));
    }

    pub(crate) fn network_event(&self, net: &NetworkSpec, action: Action) {
        let labels = [("type".to_owned(), net.driver.as_str().to_owned())].into();
        self.events.emit(Subject::Network(net.id.clone()), action, &net.name, "", &labels);
    }
}

/// Ports as the networks take them: each with the last of its range.
fn asked(ports: &[PortMapping]) -> Vec<(PublishedPort, u16)> {
    ports.iter().map(|port| (published(port), port.host_port_last)).collect()
}

fn connect_one(
    networks: &Networks,
    sandbox: &SandboxObject,
    spec: &EndpointSpec,
    links: Vec<(String, String)>,
    identity: &Identity,
    (netns, ahead): (&File, Option<&Ahead>),
) -> Result<()> {
    let net = Core::network(networks, &spec.network)?;
    let mut names = identity.names.clone();
    names.extend(spec.aliases.iter().filter(|alias| !identity.names.contains(alias)).cloned());
    networks.connect(&Connect {
        network: &net.id,
        sandbox: sandbox.id.as_str(),
        netns,
        ip4: spec.ip4,
        ip6: spec.ip6,
        link_local: spec.link_local.clone(),
        mac: parse_mac(&spec.mac),
        names,
        links,
        priority: spec.priority,
        options: spec.options.clone(),
        ahead,
    })?;
    Ok(())
}
