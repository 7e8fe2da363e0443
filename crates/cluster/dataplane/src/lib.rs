//! Services as nftables maps, and DNS for them.
//!
//! Owns: the nft table `hako-<instance>-svc`, the sockets that reserve node ports, the DNS server on the gateway.
//! Does not own: the pod network itself, nor which endpoints are ready.
//! Invariant: the kernel's table is replaced or changed only by whole transactions, so a new connection finds
//! either the state before or the state after a change.

use hako_client::{Client, Informers};
use hako_error::{Error, Kind, Result};
use hako_netlink::Ipv4Net;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

/// What a [`Dataplane`] is started with.
#[derive(Clone)]
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

impl std::fmt::Debug for DataplaneConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DataplaneConfig")
            .field("instance", &self.instance)
            .finish_non_exhaustive()
    }
}

/// How a withdrawal ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Withdrawn {
    /// Connections through the dataplane still open when the wait ended; 0 unless the deadline passed.
    pub open_connections: usize,
}

/// The services of one node.
#[derive(Debug)]
pub struct Dataplane {}

impl Dataplane {
    /// Adopts or makes the table, waits for the caches to fill and keeps both in step until [`Self::teardown`]
    /// or drop; dropping leaves the table serving.
    ///
    /// # Errors
    /// When the kernel refuses the table or DNS cannot listen on the gateway.
    pub async fn start(config: DataplaneConfig) -> Result<Arc<Self>> {
        let _ = config;
        Err(unfinished())
    }

    /// Lets no new connection reach `ip` from now on, whatever the API says, until [`Self::readmit`] or until no
    /// `EndpointSlice` names it; then waits until connections through the dataplane to it have ended or `deadline`.
    ///
    /// # Errors
    /// When the kernel refuses; then nothing is withdrawn.
    pub async fn withdraw(&self, ip: Ipv4Addr, deadline: Instant) -> Result<Withdrawn> {
        let _ = (ip, deadline);
        Err(unfinished())
    }

    /// Ends a withdrawal.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn readmit(&self, ip: Ipv4Addr) -> Result<()> {
        let _ = ip;
        Err(unfinished())
    }

    /// Where pods look up names.
    #[must_use]
    pub fn nameserver(&self) -> Ipv4Addr {
        Ipv4Addr::UNSPECIFIED
    }

    /// Stops and takes the table away.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn teardown(&self) -> Result<()> {
        Err(unfinished())
    }
}

fn unfinished() -> Error {
    Error::new(Kind::Unimplemented, "services are not built yet")
}
