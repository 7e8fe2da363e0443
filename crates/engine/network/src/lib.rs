//! The network of one instance on one machine: a bridge, an address for each sandbox, published ports.
//!
//! Owns: the bridge `hk<instance>`, the nft table `hako-<instance>`, the links on that bridge, the durable record
//! of who has which address. Does not own: services, policies, DNS, and every rule and link of the host.
//! Invariant: an address is recorded durably before the kernel hears of it, and forgotten only after the kernel
//! did; so whatever a crash leaves is either recorded or found by its name.

mod attachment;

pub use attachment::{Attach, Attachment, Protocol, PublishedPort};
pub use hako_netlink::Ipv4Net;

use hako_error::{Error, Kind, Result};
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// What a [`Network`] is opened with.
#[derive(Clone, Debug)]
pub struct NetworkConfig {
    /// Six hex digits that tell instances on one machine apart.
    pub instance: String,
    /// Where attachments are recorded; made if missing.
    pub state_dir: PathBuf,
    /// The addresses to give out; `None` takes what was recorded before, or a free range on the first start.
    pub subnet: Option<Ipv4Net>,
}

/// The pod and service ranges of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// The cluster's pod addresses, a /16.
    pub pods: Ipv4Net,
    /// This node's share of them, a /24.
    pub node: Ipv4Net,
    /// Service addresses, a /16.
    pub services: Ipv4Net,
}

/// Chooses ranges that overlap no route of the host and no other instance, and records them in `state_dir`;
/// later calls return the recorded ones. Safe against other instances that choose at the same moment.
///
/// # Errors
/// `Exhausted` if every candidate is taken.
pub fn choose_ranges(instance: &str, state_dir: &std::path::Path) -> Result<Ranges> {
    let _ = (instance, state_dir);
    Err(unfinished())
}

/// The network of one instance. All calls are synchronous (a few netlink round trips) and safe from many threads.
#[derive(Debug)]
pub struct Network {}

impl Network {
    /// Opens the instance's network: bridge, rules, and what was recorded before.
    ///
    /// # Errors
    /// When the kernel refuses a link or rule, or the state cannot be read.
    pub fn open(config: NetworkConfig) -> Result<Self> {
        let _ = config;
        Err(unfinished())
    }

    /// Gives the sandbox `request.id` an address on an `eth0` in its network namespace and publishes its ports.
    /// Attaching the same id to the same namespace again returns the same attachment.
    ///
    /// # Errors
    /// `AlreadyExists` naming the host port that is in use; `Exhausted` without a free address.
    pub fn attach(&self, request: &Attach) -> Result<Attachment> {
        let _ = request;
        Err(unfinished())
    }

    /// Takes away links, ports and address of `id`; succeeds if there is nothing to take.
    ///
    /// # Errors
    /// When the kernel refuses; what could be removed is removed.
    pub fn detach(&self, id: &str) -> Result<()> {
        let _ = id;
        Err(unfinished())
    }

    /// The attachment of `id`.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<Attachment> {
        let _ = id;
        None
    }

    /// After a restart: keeps the attachments of the `ids` in use, takes away those of all others and every link
    /// on the bridge that belongs to none. Returns the ids that were taken away.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn adopt(&self, ids: &[String]) -> Result<Vec<String>> {
        let _ = ids;
        Err(unfinished())
    }

    /// The bridge's own address, the gateway of every sandbox.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        Ipv4Addr::UNSPECIFIED
    }

    /// The addresses this network gives out.
    #[must_use]
    pub fn subnet(&self) -> Ipv4Net {
        Ipv4Net::new(Ipv4Addr::UNSPECIFIED, 0)
    }

    /// The bridge's name.
    #[must_use]
    pub fn bridge(&self) -> &str {
        ""
    }

    /// Takes everything away: links, bridge, rules, records.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn teardown(&self) -> Result<()> {
        Err(unfinished())
    }
}

fn unfinished() -> Error {
    Error::new(Kind::Unimplemented, "container networks are not built yet")
}
