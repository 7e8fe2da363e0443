//! DNS for services and pods, on the gateway's port 53.
//!
//! Owns: the cluster's zone and the reverse names of its addresses. Does not own: any other name, those are asked of
//! the upstream resolvers. Invariant: an answer is written from the same index the kernel's table is.

mod zone;

use crate::dataplane::DataplaneConfig;
use crate::index::Index;
use hako_dns::{Answer, Dns};
use hako_error::{Error, Kind, Result};
use hickory_proto::rr::{Name, Record, RecordType};
use parking_lot::RwLock;
use std::net::SocketAddr;
use std::sync::Arc;
use zone::Zone;

/// The cluster's zone with what is in it now.
#[derive(Debug)]
struct Cluster {
    zone: Zone,
    index: Arc<RwLock<Index>>,
    upstreams: Vec<SocketAddr>,
}

impl hako_dns::Zone for Cluster {
    fn answer(&self, name: &Name, kind: RecordType) -> Answer {
        self.zone.answer(&self.index.read(), name, kind)
    }

    fn soa(&self) -> Option<Record> {
        Some(self.zone.soa())
    }

    fn upstreams(&self) -> Vec<SocketAddr> {
        self.upstreams.clone()
    }
}

/// The cluster's name server.
pub(crate) fn server(config: &DataplaneConfig, index: Arc<RwLock<Index>>) -> Result<Dns> {
    let mut domain = Name::from_ascii(&config.cluster_domain).map_err(|source| {
        Error::new(Kind::Invalid, format!("{:?} is no domain name", config.cluster_domain))
            .with_source(source)
    })?;
    domain.set_fqdn(true);
    let zone = Zone::new(domain, [config.pod_subnet, config.service_subnet], config.gateway);
    Ok(Dns::new(Arc::new(Cluster { zone, index, upstreams: config.upstream_dns.clone() })))
}
