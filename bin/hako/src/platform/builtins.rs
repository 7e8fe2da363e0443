//! The only list of what is linked in, and the order in which it starts.

use super::adapters::Drain;
use super::directory::DataDir;
use super::sockets;
use crate::cli::UpArgs;
use crate::locate::Running;
use anyhow::{Context, bail};
use hako_api::pki::{Pki, ServerNames, write_kubeconfig};
use hako_api::{Identity, Server, ServerConfig};
use hako_build::{Builder, BuilderConfig};
use hako_cgroup::CgroupRoot;
use hako_client::{Client, Informers};
use hako_container::{ContainerEngine, Engine, EngineConfig};
use hako_content::ContentStore;
use hako_dataplane::{Dataplane, DataplaneConfig};
use hako_docker::DockerState;
use hako_image::ImageStore;
use hako_image::remote::RemoteOptions;
use hako_network::{Network, NetworkConfig, Networks, NetworksConfig, Ranges};
use hako_node::{ClusterDns, Node, NodeConfig, NodeHandle, NodeServer, StoredImages};
use hako_snapshot::Overlay;
use hako_store::Embedded;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

const VERSION: &str = "v1.36.0+hako";
const CLUSTER_DOMAIN: &str = "cluster.local";
const HOST_RESOLV_CONF: &str = "/etc/resolv.conf";

/// All roles of one process.
pub(crate) struct Platform {
    server: Server,
    node: NodeHandle,
    controllers: hako_controllers::Handle,
    scheduler: hako_scheduler::Handle,
    /// Servers; each ends only by a failure.
    servers: Vec<JoinHandle<()>>,
    failures: tokio::sync::Mutex<mpsc::Receiver<anyhow::Error>>,
    directory: DataDir,
}

/// What one machine has, without a cluster.
struct Machine {
    engine: Arc<Engine>,
    images: ImageStore,
    builder: Builder,
    network: Arc<Network>,
    networks: Arc<Networks>,
}

impl Platform {
    /// Starts everything and returns when the node is Ready.
    pub(crate) async fn start(data_dir: &Path, args: &UpArgs) -> anyhow::Result<Self> {
        hako_sys::Features::check()?;
        let directory = DataDir::open(data_dir)?;
        let listener = listen(args.listen).await?;
        let address = listener.local_addr()?;
        let ranges = hako_network::choose_ranges(directory.instance(), &directory.join("network"))?;
        let node_name = node_name(args)?;
        let node_ip = uplink_address().unwrap_or(ranges.gateway());

        let machine = tokio::spawn(open_machine(paths(&directory), directory.instance().to_owned(), ranges));
        let pki = Arc::new(Pki::open(&directory.join("pki"), &names(&node_name, node_ip, address, ranges))?);
        let server = open_server(&directory, Arc::clone(&pki), ranges, node_ip, address).await?;
        let kubeconfig = write_kubeconfigs(&directory, &pki, address, args)?;
        let machine = machine.await.context("open the engine")??;
        collect_leftovers(machine.images.clone());

        let (failed, failures) = mpsc::channel(1);
        let engine_socket = directory.run().join("engine.sock");
        let docker = serve_docker(&engine_socket, data_dir, &machine, args)?;
        let api = server.clone();
        let servers = vec![
            serve("the API", &failed, async move { Ok(api.serve(listener).await?) }),
            serve("the engine's API", &failed, docker),
        ];

        // One cache of each kind for everything in this process.
        let shared = server.client(Identity::new("hako:informers", &["system:masters"]));
        let informers = Informers::new(shared.clone());
        let client = |user: &str| server.client(Identity::component(&format!("system:{user}"))).named(user);
        let controllers = start_controllers(&pki, client("kube-controller-manager"), &informers);
        let scheduler = start_scheduler(client("kube-scheduler"), &informers);
        let dataplane =
            start_dataplane(&directory, client("kube-proxy"), &informers, &node_name, ranges).await?;
        let node = server.client(Identity::node(&node_name)).named("hako-node");
        let node = start_node(
            &directory,
            &pki,
            node,
            &informers,
            &machine,
            &dataplane,
            NodeIdentity { name: node_name.clone(), ip: node_ip, api: (ranges.api_service(), 443) },
            ranges,
        )
        .await?;
        node.ready().await;

        directory.publish(&Running {
            pid: std::process::id(),
            instance: directory.instance().to_owned(),
            api: format!("https://{address}"),
            engine_socket,
            kubeconfig,
            node_name,
        })?;
        Ok(Self {
            server,
            node,
            controllers,
            scheduler,
            servers,
            failures: tokio::sync::Mutex::new(failures),
            directory,
        })
    }

    /// Returns when a server has failed for good.
    pub(crate) async fn failed(&self) -> anyhow::Error {
        match self.failures.lock().await.recv().await {
            Some(error) => error,
            None => std::future::pending().await,
        }
    }

    /// Stops the process's own work; containers go on.
    pub(crate) async fn stop(self) {
        self.node.stop();
        self.controllers.stop();
        self.scheduler.stop();
        self.server.stop();
        for server in &self.servers {
            server.abort();
        }
        tracing::debug!(directory = %self.directory.join("").display(), "stopped");
    }
}

fn serve(
    what: &'static str,
    failed: &mpsc::Sender<anyhow::Error>,
    work: impl Future<Output = anyhow::Result<()>> + Send + 'static,
) -> JoinHandle<()> {
    let failed = failed.clone();
    tokio::spawn(async move {
        if let Err(error) = work.await {
            // A second failure adds nothing to the first.
            let _ = failed.try_send(error.context(format!("{what} stopped")));
        }
    })
}

async fn listen(address: SocketAddr) -> anyhow::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Ok(listener) => Ok(listener),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            bail!("{address} is in use by another program: choose another address with --listen")
        }
        Err(error) => Err(error).with_context(|| format!("listen on {address}")),
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

/// The places of one machine's state.
struct Paths {
    content: PathBuf,
    images: PathBuf,
    snapshots: PathBuf,
    engine: PathBuf,
    network: PathBuf,
    run: PathBuf,
}

fn paths(directory: &DataDir) -> Paths {
    Paths {
        content: directory.join("content"),
        images: directory.join("images"),
        snapshots: directory.join("snapshots"),
        engine: directory.join("engine"),
        network: directory.join("network"),
        run: directory.run(),
    }
}

async fn open_machine(paths: Paths, instance: String, ranges: Ranges) -> anyhow::Result<Machine> {
    let opened = tokio::task::spawn_blocking({
        let instance = instance.clone();
        move || -> anyhow::Result<_> {
            let snapshots = Overlay::open(&paths.snapshots)?;
            let images =
                ImageStore::open(ContentStore::open(&paths.content)?, Arc::new(snapshots), &paths.images)?;
            let networks = Networks::open(NetworksConfig {
                instance: instance.clone(),
                state_dir: paths.network.clone(),
                pools: hako_network::default_pools(),
            })?;
            let network = Network::open(NetworkConfig {
                instance,
                state_dir: paths.network.clone(),
                subnet: Some(ranges.node),
            })?;
            let cgroups = CgroupRoot::detect()?;
            Ok((images, Arc::new(network), Arc::new(networks), cgroups, paths))
        }
    });
    let (images, network, networks, cgroups, paths) = opened.await.context("open the stores")??;
    let builder = Builder::new(
        images.clone(),
        BuilderConfig {
            cgroup: format!("/hako-{instance}/build"),
            parallel: 0,
            network: Some(Arc::clone(&network)),
            registry: Some(Arc::new(hako_build::Registries::new(images.clone(), |_| {
                RemoteOptions::default()
            }))),
            cdi: hako_cdi::Directories::default(),
            binfmt: None,
        },
    )?;
    let engine = Engine::open(EngineConfig {
        data_dir: paths.engine,
        run_dir: paths.run,
        instance,
        exe: PathBuf::from("/proc/self/exe"),
        images: images.clone(),
        network: Some(Arc::clone(&network)),
        networks: Some(Arc::clone(&networks)),
        cgroups,
        cdi: hako_cdi::Directories::default(),
    })
    .await?;
    Ok(Machine { engine: Arc::new(engine), images, builder, network, networks })
}

/// What an earlier process left behind goes while all else starts.
fn collect_leftovers(images: ImageStore) {
    tokio::task::spawn_blocking(move || match images.gc() {
        Ok(collected) => {
            let (blobs, snapshots) = (collected.blobs.len(), collected.snapshots.len());
            tracing::debug!(blobs, snapshots, "leftovers of an earlier process are gone");
        }
        Err(error) => tracing::warn!(error = error.chain(), "leftovers of an earlier process stay"),
    });
}

fn names(node: &str, ip: Ipv4Addr, address: SocketAddr, ranges: Ranges) -> ServerNames {
    let mut ips = vec![IpAddr::V4(ip), IpAddr::V4(ranges.api_service())];
    if !address.ip().is_unspecified() {
        ips.push(address.ip());
    }
    ServerNames { dns: vec![node.to_owned()], ips }
}

async fn open_server(
    directory: &DataDir,
    pki: Arc<Pki>,
    ranges: Ranges,
    ip: Ipv4Addr,
    address: SocketAddr,
) -> anyhow::Result<Server> {
    let path = directory.join("store");
    let store =
        tokio::task::spawn_blocking(move || Embedded::open(path)).await.context("open the store")??;
    let advertise = match address.ip() {
        IpAddr::V4(listening) if !listening.is_unspecified() => listening,
        _ => ip,
    };
    let config = ServerConfig {
        service_cidr: (ranges.services.base(), ranges.services.prefix()),
        advertise: (advertise, address.port()),
        ..ServerConfig::new(Arc::new(store), pki)
    };
    Ok(Server::new(config).await?)
}

/// The administrator's kubeconfig: in the data directory, beside the sockets, and where it was asked for.
fn write_kubeconfigs(
    directory: &DataDir,
    pki: &Pki,
    address: SocketAddr,
    args: &UpArgs,
) -> anyhow::Result<PathBuf> {
    let mut reachable = address;
    if reachable.ip().is_unspecified() {
        reachable.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    let main = directory.join("kubeconfig");
    for path in [Some(main.clone()), Some(directory.run().join("kubeconfig")), args.kubeconfig.clone()]
        .into_iter()
        .flatten()
    {
        write_kubeconfig(&path, "hako", &format!("https://{reachable}"), pki.ca(), pki.admin())?;
    }
    Ok(main)
}

fn serve_docker(
    socket: &Path,
    data_dir: &Path,
    machine: &Machine,
    args: &UpArgs,
) -> anyhow::Result<impl Future<Output = anyhow::Result<()>> + Send + 'static> {
    let listeners = sockets::open_all(socket, data_dir, &args.docker_sockets)?;
    let state = DockerState::new(
        Arc::clone(&machine.engine),
        machine.images.clone(),
        machine.builder.clone(),
        env!("CARGO_PKG_VERSION"),
    )
    .with_insecure_registries(args.insecure_registries.clone())?;
    Ok(async move { Ok(hako_docker::serve_all(listeners, state).await?) })
}

fn start_controllers(pki: &Pki, client: Client, informers: &Informers) -> hako_controllers::Handle {
    hako_controllers::start(hako_controllers::ControllersConfig {
        client,
        informers: informers.clone(),
        ca_pem: pki.ca().to_owned(),
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
    let pair = pki.node_server(&identity.name, &[ip])?;
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
            client_ca_pem: pki.ca().to_owned(),
        },
        labels: BTreeMap::new(),
        capacity: BTreeMap::new(),
        version: VERSION.to_owned(),
    };
    tracing::debug!(bridge = machine.network.bridge(), "node starts");
    Ok(Node::start(config).await?)
}

/// Takes down whatever a platform has running, whether its process ended well or not. Images and objects stay.
pub(crate) async fn take_down(data_dir: &Path) -> anyhow::Result<()> {
    let directory = DataDir::open(data_dir)?;
    let ranges = hako_network::choose_ranges(directory.instance(), &directory.join("network"))?;
    let machine = open_machine(paths(&directory), directory.instance().to_owned(), ranges).await?;
    stop_everything(&machine.engine).await?;
    machine.network.teardown()?;
    machine.networks.teardown()?;
    let prefix = format!("hako-{}", directory.instance());
    let mut nft = hako_netlink::nft::Nft::open().map_err(hako_error::Error::from)?;
    for table in nft.tables(&prefix).map_err(hako_error::Error::from)? {
        nft.delete_table(&table).map_err(hako_error::Error::from)?;
    }
    remove_cgroups(&format!("/{prefix}"))?;
    let run = directory.run();
    std::fs::remove_dir_all(&run).with_context(|| format!("remove {}", run.display()))?;
    match std::fs::remove_file(directory.join("server.json")) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).context("remove server.json")
        }
        _ => Ok(()),
    }
}

/// Stops all sandboxes at once: first politely, for as long as their containers ask for, then not.
async fn stop_everything(engine: &Arc<Engine>) -> anyhow::Result<()> {
    const GRACE: std::time::Duration = std::time::Duration::from_secs(5);
    let mut stops = tokio::task::JoinSet::new();
    for container in engine.containers(&hako_container::Filter::default()).await? {
        let engine = Arc::clone(engine);
        stops.spawn(async move { engine.stop(&container.id, None, GRACE).await });
    }
    while let Some(stopped) = stops.join_next().await {
        stopped.context("stop a container")??;
    }
    let mut removals = tokio::task::JoinSet::new();
    for sandbox in engine.sandboxes(&hako_container::Filter::default()).await? {
        let engine = Arc::clone(engine);
        removals.spawn(async move {
            // A single container stays as an object and may be started again; pods are made anew by the next start.
            if sandbox.standalone {
                engine.stop_sandbox(&sandbox.id).await
            } else {
                engine.remove_sandbox(&sandbox.id).await
            }
        });
    }
    while let Some(removed) = removals.join_next().await {
        removed.context("stop a sandbox")??;
    }
    Ok(())
}

fn remove_cgroups(name: &str) -> anyhow::Result<()> {
    match CgroupRoot::detect().and_then(|root| root.open(name)).and_then(|group| group.delete()) {
        Err(error) if hako_error::Classify::kind(&error) != hako_error::Kind::NotFound => {
            Err(hako_error::Error::from(error).into())
        }
        _ => Ok(()),
    }
}
