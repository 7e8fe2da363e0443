//! Attaching sandboxes, and taking them off again.

use crate::attachment::{Attach, Attachment, PublishedPort};
use crate::bridge::{self, Bridge};
use crate::error::{NetworkError, Result};
use crate::networks::Firewall;
use crate::ports::{Reservation, reserve};
use crate::records::{Records, failed};
use crate::rules::Rules;
use hako_netlink::{Ipv4Net, Links};
use parking_lot::Mutex;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// What a [`Network`] is opened with.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Six hex digits that tell instances on one machine apart.
    pub instance: String,
    /// Where attachments are recorded; made if missing.
    pub state_dir: PathBuf,
    /// The addresses to give out; `None` takes this node's share of [`crate::choose_ranges`].
    pub subnet: Option<Ipv4Net>,
    /// Who decides on published ports; as that of [`crate::Networks`] of the same instance.
    pub firewall: Firewall,
}

/// The network of one instance. All calls are synchronous (a few netlink round trips) and safe from many threads;
/// calls about one sandbox are the caller's to put in order.
#[derive(Debug)]
pub struct Network {
    instance: String,
    subnet: Ipv4Net,
    gateway: Ipv4Addr,
    bridge: String,
    state_dir: PathBuf,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    records: Records,
    bridge: Bridge,
    rules: Rules,
    reservations: HashMap<String, Vec<Reservation>>,
}

impl Network {
    /// Opens the instance's network: bridge, rules, and what was recorded before. Published ports go on working.
    ///
    /// # Errors
    /// When the kernel refuses a link or rule, or the state cannot be read.
    pub fn open(config: NetworkConfig) -> hako_error::Result<Self> {
        let NetworkConfig { instance, state_dir, subnet, firewall } = config;
        if instance.is_empty()
            || instance.len() > 12
            || !instance.bytes().all(|byte| byte.is_ascii_alphanumeric())
        {
            return Err(NetworkError::BadInstance { instance }.into());
        }
        let subnet = match subnet {
            Some(subnet) => subnet,
            None => crate::choose_ranges(&instance, &state_dir, false)?.node,
        };
        let records = Records::open(&state_dir, subnet)?;
        let bridge = Bridge::open(&format!("hk{instance}"), subnet)?;
        let attachments: Vec<Attachment> = records.all().cloned().collect();
        let rules = Rules::open(&instance, bridge.name(), subnet, &attachments, firewall)?;
        let reservations = reserve_again(&attachments);
        let (gateway, name) = (bridge.gateway(), bridge.name().to_owned());
        let state = Mutex::new(State { records, bridge, rules, reservations });
        Ok(Self { instance, subnet, gateway, bridge: name, state_dir, state })
    }

    /// Gives the sandbox `request.id` an address on an `eth0` in its network namespace and publishes its ports.
    /// Attaching the same id to the same namespace again returns the same attachment; to another namespace, moves it
    /// there.
    ///
    /// # Errors
    /// `AlreadyExists` naming the host port that is in use; `Exhausted` without a free address.
    pub fn attach(&self, request: &Attach) -> hako_error::Result<Attachment> {
        if request.id.is_empty() || request.id.starts_with('.') || request.id.contains(['/', '\0']) {
            return Err(NetworkError::BadId { id: request.id.clone() }.into());
        }
        let namespace = File::open(&request.netns)
            .map_err(|source| NetworkError::Namespace { path: request.netns.clone(), source })?;
        if let Some(port) = request.ports.iter().find(|port| port.host_ip.is_ipv6()) {
            return Err(NetworkError::NoIpv6 { ip: port.host_ip, port: port.container_port }.into());
        }
        if let Some(attachment) = self.again(request, &namespace)? {
            return Ok(attachment);
        }
        let result = self.attach_new(request, &namespace);
        if result.is_err() {
            // The first error says it; what is left is found on the bridge by the next adoption.
            let _ = self.detach(&request.id);
        }
        Ok(result?)
    }

    /// The attachment that is there already, if it is what the request asks for; else it is taken away.
    fn again(&self, request: &Attach, namespace: &File) -> Result<Option<Attachment>> {
        let mut state = self.state.lock();
        let Some(attachment) = state.records.get(&request.id).cloned() else {
            return Ok(None);
        };
        let is_same = same_ports(&attachment.ports, &request.ports);
        if is_same && state.bridge.is_connected(&attachment, namespace)? {
            drop(state);
            bridge::configure_sandbox(&attachment, namespace)?;
            return Ok(Some(attachment));
        }
        state.remove(&request.id)?;
        Ok(None)
    }

    fn attach_new(&self, request: &Attach, namespace: &File) -> Result<Attachment> {
        let attachment = {
            let mut state = self.state.lock();
            let reservations = reserve(&request.ports)?;
            let attachment = self.plan(&mut state, request, &reservations)?;
            if !reservations.is_empty() {
                state.reservations.insert(request.id.clone(), reservations);
            }
            state.bridge.connect(&attachment, namespace)?;
            attachment
        };
        bridge::configure_sandbox(&attachment, namespace)?;
        bridge::settle(&mut Links::open()?, &attachment.link, &self.bridge)?;
        if !attachment.ports.is_empty() {
            self.state.lock().rules.publish(&attachment)?;
        }
        Ok(attachment)
    }

    /// Chooses an address and records the attachment.
    fn plan(&self, state: &mut State, request: &Attach, reservations: &[Reservation]) -> Result<Attachment> {
        let ip = state.records.allocate(&request.id)?;
        let mac = bridge::mac_of(ip).map(|byte| format!("{byte:02x}")).join(":");
        let attachment = Attachment {
            id: request.id.clone(),
            ip,
            gateway: self.gateway,
            prefix: self.subnet.prefix(),
            mac,
            link: bridge::link_name(&self.instance, ip),
            ports: reservations.iter().map(|reservation| reservation.port).collect(),
        };
        match state.records.record(&attachment) {
            Ok(()) => Ok(attachment),
            Err(error) => {
                state.records.release(ip);
                Err(error)
            }
        }
    }

    /// Takes away link, ports and address of `id`; succeeds if there is nothing to take. The link carries nothing from
    /// then on and is deleted a moment later.
    ///
    /// # Errors
    /// When the kernel refuses; then the record stays, for another try.
    pub fn detach(&self, id: &str) -> hako_error::Result<()> {
        Ok(self.state.lock().remove(id)?)
    }

    /// The attachment of `id`.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Attachment> {
        self.state.lock().records.get(id).cloned()
    }

    /// After a restart: keeps the attachments of the `ids` in use, takes away those of all others and every link
    /// on the bridge that belongs to none. Returns the ids that were taken away.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn adopt(&self, ids: &[String]) -> hako_error::Result<Vec<String>> {
        let mut state = self.state.lock();
        let used: HashSet<&String> = ids.iter().collect();
        let gone: Vec<String> = state
            .records
            .all()
            .map(|attachment| &attachment.id)
            .filter(|id| !used.contains(id))
            .cloned()
            .collect();
        for id in &gone {
            state.remove(id)?;
        }
        let known: HashSet<String> = state.records.all().map(|attachment| attachment.link.clone()).collect();
        for link in state.bridge.ports()? {
            if !known.contains(&link.name) {
                state.bridge.disconnect(&link.name)?;
            }
        }
        state.bridge.bury()?;
        Ok(gone)
    }

    /// The bridge's own address, the gateway of every sandbox.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        self.gateway
    }

    /// The addresses this network gives out.
    #[must_use]
    pub fn subnet(&self) -> Ipv4Net {
        self.subnet
    }

    /// The bridge's name.
    #[must_use]
    pub fn bridge(&self) -> &str {
        &self.bridge
    }

    /// Takes everything away: links, bridge, rules, records. The ranges stay chosen.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn teardown(&self) -> hako_error::Result<()> {
        let mut state = self.state.lock();
        state.rules.delete()?;
        state.bridge.delete()?;
        state.reservations.clear();
        let ids: Vec<String> = state.records.all().map(|attachment| attachment.id.clone()).collect();
        for id in ids {
            state.records.forget(&id)?;
        }
        let dir = self.state_dir.join("attachments");
        Ok(fs::remove_dir_all(&dir).map_err(failed("remove", &dir))?)
    }
}

impl State {
    fn remove(&mut self, id: &str) -> Result<()> {
        let Some(attachment) = self.records.get(id).cloned() else {
            return Ok(());
        };
        if !attachment.ports.is_empty() {
            self.rules.withdraw(&attachment)?;
        }
        self.bridge.disconnect(&attachment.link)?;
        self.reservations.remove(id);
        self.records.forget(id)
    }
}

/// After a restart. A port that somebody took meanwhile is theirs to listen on, yet the rules still lead packets
/// past them; that is said, not fatal.
fn reserve_again(attachments: &[Attachment]) -> HashMap<String, Vec<Reservation>> {
    let mut reservations = HashMap::new();
    for attachment in attachments.iter().filter(|attachment| !attachment.ports.is_empty()) {
        match reserve(&attachment.ports) {
            Ok(kept) => {
                reservations.insert(attachment.id.clone(), kept);
            }
            Err(error) => tracing::warn!(sandbox = %attachment.id, %error, "a published port was taken"),
        }
    }
    reservations
}

/// Whether what was published is what is asked for; port 0 asks for any.
fn same_ports(published: &[PublishedPort], asked: &[PublishedPort]) -> bool {
    published.len() == asked.len()
        && published.iter().zip(asked).all(|(published, asked)| {
            let host_port = if asked.host_port == 0 { published.host_port } else { asked.host_port };
            *published == PublishedPort { host_port, ..*asked }
        })
}
