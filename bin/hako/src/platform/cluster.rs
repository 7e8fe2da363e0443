//! The roles of a cluster: API, controllers, scheduler, services, and the node agent of this machine.

use super::adapters::{Drain, Signer};
use super::builtins::{Failures, serve};
use super::directory::DataDir;
use super::machine::Machine;
use crate::cli::{AuditArgs, IdentityArgs, UpArgs};
use crate::locate::ClusterPlace;
use crate::output;
use anyhow::{Context, bail};
use hako_api::pki::{Pki, ServerNames, write_kubeconfig};
use hako_api::{Audit, AuditOptions, External, ExternalOptions, Identity, Server, ServerConfig};
use hako_client::{Client, Informers};
use hako_container::{ContainerEngine, Engine};
use hako_dataplane::{Dataplane, DataplaneConfig};
use hako_network::Ranges;
use hako_node::{ClusterDns, Node, NodeConfig, NodeHandle, NodeServer, StoredImages};
use hako_store::Store;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;

const VERSION: &str = "v1.36.0+hako";
const CLUSTER_DOMAIN: &str = "cluster.local";
/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
const HOST_RESOLV_CONF: &str = "/etc/resolv.conf";

/// The API as it is opened, before anything uses it.
pub(super) struct Control {
    listener: TcpListener,
    /// Where pods reach it, if they do not reach the other one.
    inside: Option<TcpListener>,
    address: SocketAddr,
    pki: Arc<Pki>,
    server: Server,
    kubeconfig: PathBuf,
    node_name: String,
    node_ip: Ipv4Addr,
    ranges: Ranges,
}

/// All roles, running.
pub(super) struct Cluster {
    server: Server,
    node: NodeHandle,
    controllers: hako_controllers::Handle,
    scheduler: hako_scheduler::Handle,
    /// Serves the API; ends only by a failure.
    serving: JoinHandle<()>,
}

impl Control {
    /// Opens store and API; the kubeconfigs are there when this returns.
    pub(super) async fn open(
        directory: &DataDir,
        listener: TcpListener,
        args: &UpArgs,
        ranges: Ranges,
        external: External,
        audit: Option<Arc<Audit>>,
    ) -> anyhow::Result<Self> {
        let address = listener.local_addr()?;
        let node_name = node_name(args)?;
        let node_ip = uplink_address().unwrap_or(ranges.gateway());
        let pki = Arc::new(Pki::open(&directory.join("pki"), &names(&node_name, node_ip, address, ranges))?);
        let inside = address.ip().is_loopback().then(|| listen_inside(ranges.gateway())).transpose()?;
        let advertise = match &inside {
            Some(inside) => (ranges.gateway(), inside.local_addr()?.port()),
            None => (advertised(address, node_ip), address.port()),
        };
        let external = Arc::new(external);
        let store = super::store::open(directory, &args.etcd).await?;
        let server = open_server(Arc::clone(&pki), ranges, advertise, (external, audit), args, store).await?;
        let kubeconfig = write_kubeconfigs(directory, &pki, address, args)?;
        Ok(Self { listener, inside, address, pki, server, kubeconfig, node_name, node_ip, ranges })
    }

    /// Where it is reached.
    pub(super) fn place(&self) -> ClusterPlace {
        ClusterPlace {
            api: format!("https://{}", self.address),
            kubeconfig: self.kubeconfig.clone(),
            node_name: self.node_name.clone(),
        }
    }

    /// Starts all roles and returns when the node is Ready.
    pub(super) async fn start(
        self,
        directory: &DataDir,
        machine: &Machine,
        failures: &Failures,
    ) -> anyhow::Result<Cluster> {
        let Self { listener, inside, pki, server, node_name, node_ip, ranges, kubeconfig, .. } = self;
        let api = server.clone();
        let serving = serve("the API", failures, async move {
            match inside {
                Some(inside) => tokio::try_join!(api.serve(listener), api.serve(inside)).map(drop)?,
                None => api.serve(listener).await?,
            }
            Ok(())
        });
        // One cache of each kind for everything in this process.
        let shared = server.client(Identity::new("hako:informers", &["system:masters"]));
        let informers = Informers::new(shared.clone());
        let client = |user: &str| server.client(Identity::component(&format!("system:{user}"))).named(user);
        let controllers = start_controllers(&pki, client("kube-controller-manager"), &informers);
        let scheduler = start_scheduler(client("kube-scheduler"), &informers);
        let dataplane =
            start_dataplane(directory, client("kube-proxy"), &informers, &node_name, ranges).await?;
        let node = server.client(Identity::node(&node_name)).named("hako-node");
        let node = start_node(
            directory,
            &pki,
            node,
            &informers,
            machine,
            &dataplane,
            NodeIdentity { name: node_name, ip: node_ip, api: (ranges.api_service(), 443) },
            ranges,
        )
        .await?;
        ready(&node, &server, &kubeconfig).await;
        Ok(Cluster { server, node, controllers, scheduler, serving })
    }
}

/// So long nobody is told what keeps the node from being Ready.
const PATIENCE: Duration = Duration::from_secs(3);

/// Returns when the node is Ready. What refuses its objects because nobody answers for it is told, each once, with what
/// to do about it: nobody but who waits can.
async fn ready(node: &NodeHandle, server: &Server, kubeconfig: &Path) {
    let mut told = BTreeSet::new();
    while tokio::time::timeout(PATIENCE, node.ready()).await.is_err() {
        for down in server.webhooks_down() {
            if told.insert(down.clone()) {
                output::not_ready(&format!(
                    "the webhook {:?} of {} {:?} cannot be asked, and refuses what it is not asked about, the node's own \
                     objects too: repair it, or remove it with `kubectl --kubeconfig {} delete {} {}`",
                    down.webhook,
                    down.kind,
                    down.configuration,
                    kubeconfig.display(),
                    down.kind.to_lowercase(),
                    down.configuration,
                ));
            }
        }
    }
}

impl Cluster {
    pub(super) fn stop(&self) {
        self.node.stop();
        self.controllers.stop();
        self.scheduler.stop();
        self.server.stop();
        self.serving.abort();
    }
}

pub(super) async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("{address} is in use by another program: choose another address with --listen")
        }
        Err(error) => Err(error).with_context(|| format!("listen on {address}")),
    }
}

/// Who else says who a client is, before anything is begun that a mistake would have to undo.
pub(super) fn external(args: &IdentityArgs) -> anyhow::Result<External> {
    let options = ExternalOptions {
        authentication_config: args.authentication_config.clone(),
        token_webhook: args.authentication_token_webhook_config_file.clone(),
        access_webhook: args.authorization_webhook_config_file.clone(),
        proxy_ca: args.requestheader_client_ca_file.clone(),
        proxy_names: args.requestheader_allowed_names.clone(),
    };
    Ok(External::load(&options)?)
}

/// Where requests are recorded, if they are.
pub(super) fn audit(args: &AuditArgs) -> anyhow::Result<Option<Arc<Audit>>> {
    let options = AuditOptions {
        policy: args.audit_policy_file.clone(),
        log: args.audit_log_path.clone(),
        webhook: args.audit_webhook_config_file.clone(),
        webhook_wait: args.audit_webhook_batch_max_wait.map(Duration::from_secs),
    };
    Ok(Audit::open(&options)?)
}

/// A pod's loopback is not the machine's, so pods get a door of their own, on the bridge that they are on. It comes up
/// later, hence the freedom to bind an address that is not there yet.
fn listen_inside(gateway: Ipv4Addr) -> anyhow::Result<TcpListener> {
    let open = || {
        let socket = TcpSocket::new_v4()?;
        rustix::net::sockopt::set_ip_freebind(&socket, true)?;
        socket.bind(SocketAddr::from((gateway, 0)))?;
        socket.listen(BACKLOG)
    };
    open().with_context(|| format!("listen on {gateway} for pods"))
}

fn advertised(address: SocketAddr, node_ip: Ipv4Addr) -> Ipv4Addr {
    match address.ip() {
        IpAddr::V4(listening) if !listening.is_unspecified() => listening,
        _ => node_ip,
    }
}

/// What was asked for, or the machine's own name.
fn node_name(args: &UpArgs) -> anyhow::Result<String> {
    let name = args.node_name.clone().map_or_else(host_name, Ok)?;
    match &hako_kube::names::dns_subdomain(&name)[..] {
        [] => Ok(name),
        [fault, ..] => {
            bail!("{name:?} is no name for a node: {fault}; give another one with --node-name")
        }
    }
}

fn host_name() -> anyhow::Result<String> {
    let name = rustix::system::uname().nodename().to_string_lossy().to_lowercase();
    if name.is_empty() {
        bail!("the machine has no host name: give the node one with --node-name")
    } else {
        Ok(name)
    }
}

/// The address of the link that the default route leaves through.
fn uplink_address() -> Option<Ipv4Addr> {
    // Connecting a datagram socket asks the routing table and sends nothing.
    let socket = std::net::UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 254), 9)).ok()?;
    match socket.local_addr().ok()?.ip() {
        IpAddr::V4(ip) if !ip.is_loopback() && !ip.is_unspecified() => Some(ip),
        _ => None,
    }
}

fn names(node: &str, ip: Ipv4Addr, address: SocketAddr, ranges: Ranges) -> ServerNames {
    let mut ips =
        vec![ip, ranges.api_service(), ranges.gateway()].into_iter().map(IpAddr::V4).collect::<Vec<_>>();
    if !address.ip().is_unspecified() {
        ips.push(address.ip());
    }
    ServerNames { dns: vec![node.to_owned()], ips }
}

async fn open_server(
    pki: Arc<Pki>,
    ranges: Ranges,
    advertise: (Ipv4Addr, u16),
    (external, audit): (Arc<External>, Option<Arc<Audit>>),
    args: &UpArgs,
    store: Arc<dyn Store>,
) -> anyhow::Result<Server> {
    let config = ServerConfig {
        service_cidr: (ranges.services.base(), ranges.services.prefix()),
        advertise,
        external,
        audit,
        event_ttl: Duration::from_secs(args.event_ttl),
        ..ServerConfig::new(store, pki)
    };
    Ok(Server::new(config).await?)
}

/// The administrator's kubeconfig: in the data directory, beside the sockets, and where it was asked for. Written again
/// whenever its certificate is renewed.
fn write_kubeconfigs(
    directory: &DataDir,
    pki: &Arc<Pki>,
    address: SocketAddr,
    args: &UpArgs,
) -> anyhow::Result<PathBuf> {
    let mut reachable = address;
    if reachable.ip().is_unspecified() {
        reachable.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let server = format!("https://{reachable}");
    let main = directory.join("kubeconfig");
    let mut paths = vec![main.clone(), directory.run().join("kubeconfig")];
    paths.extend(args.kubeconfig.clone());
    let mut renewals = pki.renewals();
    let pki = Arc::clone(pki);
    let write = move || -> anyhow::Result<()> {
        let admin = pki.admin_now();
        for path in &paths {
            write_kubeconfig(path, "hako", &server, pki.ca(), &admin)?;
        }
        Ok(())
    };
    write()?;
    tokio::spawn(async move {
        while renewals.changed().await.is_ok() {
            if let Err(error) = write() {
                tracing::warn!("a kubeconfig has an old certificate: {error:#}");
            }
        }
    });
    Ok(main)
}

fn start_controllers(pki: &Arc<Pki>, client: Client, informers: &Informers) -> hako_controllers::Handle {
    hako_controllers::start(hako_controllers::ControllersConfig {
        client,
        informers: informers.clone(),
        ca_pem: pki.ca().to_owned(),
        signer: Arc::new(Signer(Arc::clone(pki))),
        pod_gc: hako_controllers::PodGc::DEFAULT,
        token_clean_up: hako_controllers::TokenCleanUp::DEFAULT,
    })
}

fn start_scheduler(client: Client, informers: &Informers) -> hako_scheduler::Handle {
    hako_scheduler::start(hako_scheduler::SchedulerConfig::new(client, informers.clone()))
}

async fn start_dataplane(
    directory: &DataDir,
    client: Client,
    informers: &Informers,
    node_name: &str,
    ranges: Ranges,
) -> anyhow::Result<Arc<Dataplane>> {
    let config = DataplaneConfig {
        client,
        informers: informers.clone(),
        node_name: node_name.to_owned(),
        instance: directory.instance().to_owned(),
        pod_subnet: ranges.pods,
        gateway: ranges.gateway(),
        service_subnet: ranges.services,
        cluster_domain: CLUSTER_DOMAIN.to_owned(),
        upstream_dns: upstream_dns(ranges.gateway()),
    };
    Ok(Dataplane::start(config).await?)
}

/// The host's own name servers, without ourselves.
fn upstream_dns(gateway: Ipv4Addr) -> Vec<SocketAddr> {
    let text = std::fs::read_to_string(HOST_RESOLV_CONF).unwrap_or_default();
    let servers =
        text.lines().filter_map(|line| line.strip_prefix("nameserver")?.trim().parse::<IpAddr>().ok());
    servers.filter(|ip| *ip != IpAddr::V4(gateway)).map(|ip| SocketAddr::new(ip, 53)).collect()
}

/// Who the node is.
struct NodeIdentity {
    name: String,
    ip: Ipv4Addr,
    api: (Ipv4Addr, u16),
}

#[expect(clippy::too_many_arguments, reason = "the wiring of one crate to all it needs, in one place")]
async fn start_node(
    directory: &DataDir,
    pki: &Pki,
    client: Client,
    informers: &Informers,
    machine: &Machine,
    dataplane: &Arc<Dataplane>,
    identity: NodeIdentity,
    ranges: Ranges,
) -> anyhow::Result<NodeHandle> {
    let ip = IpAddr::V4(identity.ip);
    let certificate = pki.node_server_renewed(&identity.name, &[ip])?;
    let pair = hako_api::pki::KeyPair::clone(&certificate.pair());
    let engine: Arc<dyn ContainerEngine> = Arc::<Engine>::clone(&machine.engine);
    let config = NodeConfig {
        client,
        informers: informers.clone(),
        engine,
        images: Arc::new(StoredImages(Arc::new(machine.images.clone()))),
        drain: Arc::new(Drain(Arc::clone(dataplane))),
        node_name: identity.name,
        node_ip: ip,
        data_dir: directory.join("node"),
        run_dir: directory.run().join("node"),
        pod_cidr: ranges.node.to_string(),
        dns: ClusterDns {
            servers: vec![IpAddr::V4(dataplane.nameserver())],
            domain: CLUSTER_DOMAIN.to_owned(),
            host_resolv_conf: HOST_RESOLV_CONF.into(),
        },
        api_server: Some((IpAddr::V4(identity.api.0), identity.api.1)),
        server: NodeServer {
            listen: SocketAddr::new(ip, 0),
            certificate_pem: pair.certificate,
            key_pem: pair.key,
            renewed: Some(certificate),
            client_ca_pem: pki.ca().to_owned(),
        },
        labels: BTreeMap::new(),
        capacity: BTreeMap::new(),
        version: VERSION.to_owned(),
    };
    tracing::debug!(bridge = machine.network.bridge(), "node starts");
    Ok(Node::start(config).await?)
}
