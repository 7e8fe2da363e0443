//! What a node is started with.

use crate::seams::{EndpointDrain, Images};
use hako_client::{Client, Informers};
use hako_container::ContainerEngine;
use rustls::server::ResolvesServerCert;
use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

/// What a [`Node`](crate::Node) is started with.
#[derive(Clone)]
pub struct NodeConfig {
    /// The API, as the node's user (`system:node:<name>`).
    pub client: Client,
    /// Shared caches of Pods, Services, `ConfigMaps` and Secrets.
    pub informers: Informers,
    /// The engine of this machine.
    pub engine: Arc<dyn ContainerEngine>,
    /// Which images are here, and how others get here.
    pub images: Arc<dyn Images>,
    /// Who keeps connections away from pods that end.
    pub drain: Arc<dyn EndpointDrain>,
    /// The node's name and host name.
    pub node_name: String,
    /// The address others reach this node at.
    pub node_ip: IpAddr,
    /// Where emptyDir volumes are, such as `/var/lib/hako/node`.
    pub data_dir: PathBuf,
    /// Where volumes made of Secrets are, such as `/run/hako/<instance>/node`: on tmpfs where /run is.
    pub run_dir: PathBuf,
    /// The pods' addresses, as the node's `spec.podCIDR`.
    pub pod_cidr: String,
    /// How pods look up names.
    pub dns: ClusterDns,
    /// The API server's address as pods reach it, for `KUBERNETES_SERVICE_HOST` while no service `kubernetes` exists.
    pub api_server: Option<(IpAddr, u16)>,
    /// The node's own server.
    pub server: NodeServer,
    /// Labels besides the usual ones.
    pub labels: BTreeMap<String, String>,
    /// Instead of what the machine has, by resource name such as `pods` or `memory`.
    pub capacity: BTreeMap<String, hako_names::Quantity>,
    /// What is reported as the kubelet's version, such as `v1.36.0+hako`.
    pub version: String,
}

/// How pods look up names.
#[derive(Clone, Debug)]
pub struct ClusterDns {
    /// The cluster's name servers; empty means that pods use the host's configuration.
    pub servers: Vec<IpAddr>,
    /// The cluster's domain, such as `cluster.local`.
    pub domain: String,
    /// What the host uses, for `dnsPolicy: Default`.
    pub host_resolv_conf: PathBuf,
}

/// The node's HTTPS server.
#[derive(Clone)]
pub struct NodeServer {
    /// Where it listens; port 0 picks one.
    pub listen: SocketAddr,
    /// Its certificate chain, PEM.
    pub certificate_pem: String,
    /// Its key, PEM.
    pub key_pem: String,
    /// Who has the certificate and key of now, where they are renewed: then those above are those of the start.
    pub renewed: Option<Arc<dyn ResolvesServerCert>>,
    /// Only clients with a certificate of this authority are served, PEM.
    pub client_ca_pem: String,
}

impl fmt::Debug for NodeServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeServer").field("listen", &self.listen).finish_non_exhaustive()
    }
}

impl fmt::Debug for NodeConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NodeConfig")
            .field("node_name", &self.node_name)
            .field("node_ip", &self.node_ip)
            .finish_non_exhaustive()
    }
}
