//! What a server is told at its start.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;

use hako_store::Store;

use crate::pki::Pki;

/// The version told to clients.
pub(crate) const GIT_VERSION: &str = "v1.36.0+hako";

/// Everything a [`crate::Server`] needs.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where objects live.
    pub store: Arc<dyn Store>,
    /// Certificates of the listener and of calls to nodes.
    pub pki: Arc<Pki>,
    /// Addresses of services: network and prefix length. The first is that of the API itself.
    pub service_cidr: (Ipv4Addr, u8),
    /// Ports of services on nodes.
    pub node_ports: RangeInclusive<u16>,
    /// Where pods and other machines reach this server.
    pub advertise: (Ipv4Addr, u16),
}

impl ServerConfig {
    /// With the customary ranges: 10.96.0.0/16 and 30000 to 32767.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, pki: Arc<Pki>) -> Self {
        Self {
            store,
            pki,
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
            node_ports: 30_000..=32_767,
            advertise: (Ipv4Addr::LOCALHOST, 6443),
        }
    }

    /// The address of the service `kubernetes`: the first of the range.
    #[must_use]
    pub fn api_service_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.service_cidr.0).saturating_add(1))
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("service_cidr", &self.service_cidr)
            .field("node_ports", &self.node_ports)
            .field("advertise", &self.advertise)
            .finish_non_exhaustive()
    }
}
