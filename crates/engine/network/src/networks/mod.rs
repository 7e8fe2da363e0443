//! The networks that people make, beside the one of the pods: bridges, macvlan, ipvlan.
//!
//! Owns: the bridges of these networks (`br-<id>`, and `hd<instance>` for the one named "bridge"), the nft table
//! `hako-<instance>-nets`, the relays of what no rule can lead, the links of sandboxes in them, their durable records, and who is called what. Does not
//! own: sandboxes, the name server, other links and rules of the host.
//! Invariant: a record is written before the kernel hears of it and removed after; so what a crash leaves is either
//! recorded, or a link on a recorded bridge. The next open makes what is recorded whole; [`Networks::adopt`] takes
//! away what nobody claims.
//!
//! | killed while | recorded and in the kernel | the next open and adoption |
//! |---|---|---|
//! | a network is made | record, perhaps a bridge | makes bridge and rules |
//! | a sandbox is connected | record, perhaps a link | the caller does not claim it: both go |
//! | ports are published | record | the table is written from the records |
//! | a sandbox is disconnected | record, perhaps no link | the caller does not claim it: it goes |
//! | a network is removed | record, perhaps no bridge | it is there again, as a whole |
//! | a place is made ahead | perhaps a link, that goes with its namespace | nothing; a link that is still there goes |

mod ahead;
mod config;
mod create;
mod device;
pub(crate) mod door;
mod endpoint;
mod ipam;
mod names;
mod options;
mod parent;
mod publish;
mod relay;
mod resolver;
mod rules;
mod shortcut;
mod spec;
mod table;
mod ways;

pub use ahead::Ahead;
pub use device::parse_mac;
pub use ipam::default_pools;
pub use options::{ENABLE, check_endpoint, truth};
pub use resolver::{RESOLVER, ResolverSockets, resolver_sockets};
pub use spec::{
    Connect, DEFAULT_NETWORK, Driver, Endpoint, EndpointAddress, Families, Ipam, Member, NetworkRequest,
    NetworkSpec,
};

use crate::error::{NetworkError, Result};
use crate::ports::Reservation;
use device::Devices;
use door::{Door, Owner};
use hako_netlink::IpNet;
use parking_lot::{Mutex, RwLock};
use relay::Relays;
use rules::Rules;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::PathBuf;
use table::Table;

/// What [`Networks`] are opened with.
#[derive(Clone, Debug)]
pub struct NetworksConfig {
    /// Six hex digits that tell instances on one machine apart.
    pub instance: String,
    /// Where networks and their members are recorded; made if missing.
    pub state_dir: PathBuf,
    /// Where subnets come from when nobody chooses them: pools and the prefix of each subnet.
    pub pools: Vec<(IpNet, u8)>,
    /// Who decides on published ports.
    pub firewall: Firewall,
}

/// Who decides whether somebody outside reaches a published port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Firewall {
    /// Our own rules: whoever publishes opens.
    #[default]
    Own,
    /// The host's INPUT and FORWARD chains, by the port of the host and the client's own address.
    Host,
}

/// The networks of one instance. All calls are synchronous and safe from many threads; calls about one sandbox are the
/// caller's to put in order.
#[derive(Debug)]
pub struct Networks {
    instance: String,
    pools: Vec<(IpNet, u8)>,
    firewall: Firewall,
    /// Taken before `table`, and by whoever changes it.
    kernel: Mutex<Kernel>,
    ahead: ahead::Stock,
    table: RwLock<Table>,
}

#[derive(Debug)]
struct Kernel {
    devices: Devices,
    rules: Rules,
    reservations: HashMap<String, Vec<Reservation>>,
    relays: Relays,
}

impl Kernel {
    /// Carries the ports of a sandbox that no rule leads to it.
    fn relay(&mut self, table: &Table, sandbox: &str) -> Result<()> {
        let ports = self.reservations.get(sandbox).map_or(&[][..], Vec::as_slice);
        self.relays.update(table, sandbox, ports)
    }
}

impl Networks {
    /// Opens the instance's networks and makes in the kernel what is recorded and missing. Published ports go on.
    ///
    /// # Errors
    /// When the kernel refuses a link or rule, or the state cannot be read.
    pub fn open(config: NetworksConfig) -> hako_error::Result<Self> {
        let NetworksConfig { instance, state_dir, pools, firewall } = config;
        let table = Table::open(&state_dir)?;
        let mut devices = Devices::open(&instance)?;
        let door = match firewall {
            Firewall::Own => None,
            Firewall::Host => Some(Door::open(&instance, Owner::Networks)?),
        };
        let mut rules = Rules::open(&instance, door)?;
        for net in table.nets() {
            if let Err(error) = devices.make(net) {
                // The others go on; who connects to this one is told.
                tracing::warn!(network = net.name, %error, "a network cannot be made");
            }
        }
        rules.rewrite(&table)?;
        if firewall == Firewall::Own {
            // After the rules that do without it.
            Door::remove(&instance)?;
        }
        let reservations = publish::reserve_again(&table);
        let mut kernel = Kernel { devices, rules, reservations, relays: Relays::default() };
        for sandbox in kernel.reservations.keys().cloned().collect::<Vec<_>>() {
            kernel.relay(&table, &sandbox)?;
        }
        let kernel = Mutex::new(kernel);
        let ahead = ahead::Stock::open()?;
        let networks = Self { instance, pools, firewall, kernel, ahead, table: RwLock::new(table) };
        for warning in networks.warnings()? {
            tracing::warn!("{warning}");
        }
        Ok(networks)
    }

    /// What of this host keeps containers from the world, or the world from published ports.
    ///
    /// # Errors
    /// When the kernel refuses to list its rules.
    pub fn warnings(&self) -> hako_error::Result<Vec<String>> {
        let foreign = self.kernel.lock().rules.foreign_drops()?;
        let mut warnings: Vec<String> = foreign
            .into_iter()
            .map(|chain| {
                format!(
                    "the nft chain {chain} of this host drops what it does not let pass: containers reach the world, and \
                     the world their ports, only where its rules accept that"
                )
            })
            .collect();
        if self.firewall == Firewall::Host && strict_reverse_path() {
            warnings.push(
                "net.ipv4.conf.all.rp_filter is 1: with --firewall host nobody outside reaches a published port, set it to 0 or 2"
                    .to_owned(),
            );
        }
        Ok(warnings)
    }

    /// The network of that id, name or unique prefix of an id, in this order.
    ///
    /// # Errors
    /// `NotFound`, or `Invalid` if the prefix stands for many.
    pub fn find(&self, wanted: &str) -> hako_error::Result<NetworkSpec> {
        Ok(self.table.read().find(wanted)?.clone())
    }

    /// All networks.
    #[must_use]
    pub fn list(&self) -> Vec<NetworkSpec> {
        self.table.read().nets().cloned().collect()
    }

    /// What a sandbox has of networks.
    #[must_use]
    pub fn member(&self, sandbox: &str) -> Option<Member> {
        self.table.read().member(sandbox).cloned()
    }

    /// The endpoints in a network, by their sandboxes.
    #[must_use]
    pub fn endpoints(&self, network: &str) -> Vec<(String, Endpoint)> {
        let table = self.table.read();
        table.endpoints(network).map(|(sandbox, endpoint)| (sandbox.clone(), endpoint.clone())).collect()
    }

    /// After a restart: keeps the places that the sandboxes in `claims` say they have, takes away all others and every
    /// link on the bridges that belongs to none. `namespace` is the one of a sandbox that is up.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn adopt(
        &self,
        claims: &HashMap<String, HashSet<String>>,
        namespace: impl Fn(&str) -> Option<File>,
    ) -> hako_error::Result<()> {
        let recorded: Vec<(String, Member)> =
            self.table.read().members().map(|(id, member)| (id.clone(), member.clone())).collect();
        for (sandbox, member) in recorded {
            match claims.get(&sandbox) {
                None => self.release(&sandbox)?,
                Some(claimed) => {
                    for endpoint in member.endpoints.iter().filter(|it| !claimed.contains(&it.network)) {
                        self.disconnect(&endpoint.network, &sandbox, namespace(&sandbox).as_ref())?;
                    }
                }
            }
        }
        Ok(self.sweep()?)
    }

    fn sweep(&self) -> Result<()> {
        let mut kernel = self.kernel.lock();
        let table = self.table.read();
        for net in table.nets().filter(|net| net.driver == Driver::Bridge) {
            let known = table.endpoints(&net.id).map(|(_, endpoint)| endpoint.link.clone()).collect();
            kernel.devices.keep(&net.bridge, &known)?;
        }
        kernel.devices.bury()
    }

    /// Takes everything out of the kernel: links, bridges, rules. The networks stay recorded, without members.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn teardown(&self) -> hako_error::Result<()> {
        let mut kernel = self.kernel.lock();
        let mut table = self.table.write();
        self.ahead.clear();
        kernel.rules.delete()?;
        let nets: Vec<NetworkSpec> = table.nets().cloned().collect();
        Door::remove(&self.instance)?;
        for net in &nets {
            kernel.devices.unmake(net, true)?;
        }
        kernel.relays.clear();
        kernel.reservations.clear();
        let members: Vec<String> = table.members().map(|(id, _)| id.clone()).collect();
        for sandbox in members {
            table.forget_member(&sandbox)?;
        }
        Ok(())
    }
}

/// Whether every link takes packets only from where it would send to.
fn strict_reverse_path() -> bool {
    std::fs::read("/proc/sys/net/ipv4/conf/all/rp_filter").is_ok_and(|value| value.first() == Some(&b'1'))
}

/// `count` random bytes.
fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let mut filled = 0;
    while filled < N {
        let got = rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty());
        filled += got.map_err(|errno| NetworkError::Random { source: errno.into() })?;
    }
    Ok(bytes)
}

/// An id that no other object has.
fn random_id() -> Result<String> {
    Ok(random::<32>()?.iter().map(|byte| format!("{byte:02x}")).collect())
}
