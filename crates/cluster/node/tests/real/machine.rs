//! A throw-away machine with one node: directories, a network namespace as "the host", an API server in this process.

use futures::Future;
use hako_api::pki::{Pki, ServerNames};
use hako_api::{Identity, Server, ServerConfig};
use hako_cgroup::CgroupRoot;
use hako_client::{Api, Client, Informers};
use hako_container::{Engine, EngineConfig};
use hako_content::ContentStore;
use hako_image::ImageStore;
use hako_netlink::Links;
use hako_network::{Network, NetworkConfig};
use hako_node::{ClusterDns, NoDrain, Node, NodeConfig, NodeHandle, NodeServer, StoredImages};
use hako_snapshot::Overlay;
use hako_store::Embedded;
use k8s_openapi::api::core::v1::{Pod, ServiceAccount};
use serde_json::Value;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const DEADLINE: Duration = Duration::from_secs(30);
const NODE: &str = "n1";
const SUBNET: &str = "10.77.0.0/24";

pub struct Machine {
    client: Client,
    node: NodeHandle,
    server: Server,
    network: Arc<Network>,
    group: String,
    _dir: tempfile::TempDir,
}

/// Runs a test on a machine of its own.
pub fn on_machine<F: Future<Output = ()>>(test: impl FnOnce(Arc<Machine>) -> F + Send + 'static) {
    let run = move || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        Links::open().unwrap().set_up("lo").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
        runtime.unwrap().block_on(async {
            let machine = Arc::new(Machine::start().await);
            let tested = tokio::time::timeout(Duration::from_secs(90), test(Arc::clone(&machine))).await;
            machine.take_down().await;
            tested.expect("the test takes too long");
        });
    };
    std::thread::spawn(run).join().unwrap();
}

impl Machine {
    async fn start() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::tempdir().unwrap();
        let number = std::process::id().wrapping_mul(31).wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed));
        let instance = format!("{:06x}", number & 0xff_ffff);
        let pki = Arc::new(Pki::open(&dir.path().join("pki"), &ServerNames::default()).unwrap());
        let store = Arc::new(Embedded::open(dir.path().join("store")).unwrap());
        let server = Server::new(ServerConfig::new(store as _, Arc::clone(&pki))).await.unwrap();
        default_account(&server.client(Identity::admin())).await;
        let network = Arc::new(Network::open(network_config(dir.path(), &instance)).unwrap());
        let images = images(dir.path());
        let engine = engine(dir.path(), &instance, images.clone(), Arc::clone(&network)).await;
        let config = node_config(dir.path(), &server, &pki, engine, images);
        let node = Node::start(config).await.unwrap();
        node.ready().await;
        let client = server.client(Identity::admin());
        Self { client, node, server, network, group: format!("/hako-{instance}"), _dir: dir }
    }

    pub async fn create<K>(&self, object: Value)
    where
        K: hako_client::Object<Scope = k8s_openapi::NamespaceResourceScope>,
    {
        let api: Api<K> = self.client.namespaced("default");
        api.create(&serde_json::from_value(object).unwrap()).await.unwrap();
    }

    /// Runs a script in a pod with these fields and returns what it leaves as its termination message.
    pub async fn run(&self, name: &str, mut spec: Value, script: &str) -> String {
        spec["nodeName"] = NODE.into();
        spec["restartPolicy"] = "Never".into();
        spec["containers"][0]["name"] = "main".into();
        spec["containers"][0]["image"] = "busybox".into();
        let script = format!("( {script} ) > /dev/termination-log 2>&1");
        spec["containers"][0]["command"] = serde_json::json!(["sh", "-c", script]);
        let meta = serde_json::json!({"name": name, "namespace": "default"});
        self.create::<Pod>(serde_json::json!({"metadata": meta, "spec": spec})).await;
        let api: Api<Pod> = self.client.namespaced("default");
        let begin = Instant::now();
        loop {
            let status = api.get(name).await.unwrap().status.unwrap_or_default();
            let container = status.container_statuses.iter().flatten().next();
            let ended = container.and_then(|one| one.state.as_ref()?.terminated.as_ref());
            if let Some(ended) = ended {
                return ended.message.clone().unwrap_or_default();
            }
            assert!(begin.elapsed() < DEADLINE, "the pod stays {status:#?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    async fn take_down(&self) {
        self.node.teardown(Duration::from_secs(5)).await.unwrap();
        self.node.stop();
        self.server.stop();
        self.network.teardown().unwrap();
        if let Ok(group) = CgroupRoot::detect().unwrap().open(&self.group) {
            group.delete().unwrap();
        }
    }
}

/// What a controller makes in every namespace. No controller makes what its token is shown with.
async fn default_account(client: &Client) {
    let account = serde_json::json!({"metadata": {"name": "default"}, "automountServiceAccountToken": false});
    let api: Api<ServiceAccount> = client.namespaced("default");
    api.create(&serde_json::from_value(account).unwrap()).await.unwrap();
}

fn network_config(dir: &Path, instance: &str) -> NetworkConfig {
    let subnet = Some(SUBNET.parse().unwrap());
    let (instance, state_dir) = (instance.to_owned(), dir.join("network"));
    NetworkConfig { instance, state_dir, subnet, firewall: hako_network::Firewall::Own }
}

fn images(dir: &Path) -> ImageStore {
    let snapshots = Arc::new(Overlay::open(dir.join("snapshots")).unwrap());
    let content = ContentStore::open(dir.join("content")).unwrap();
    let images = ImageStore::open(content, snapshots, dir.join("images")).unwrap();
    let tar = hako_image::busybox_rootfs(Path::new("/bin/busybox")).unwrap();
    let config = serde_json::json!({
        "architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": []},
        "config": {"Cmd": ["sh"], "Env": ["PATH=/bin:/sbin:/usr/bin:/usr/sbin"]},
    });
    let config = serde_json::from_value(config).unwrap();
    images.import_rootfs(&tar[..], &"busybox".parse().unwrap(), config).unwrap();
    images
}

async fn engine(dir: &Path, instance: &str, images: ImageStore, network: Arc<Network>) -> Arc<Engine> {
    let config = EngineConfig {
        data_dir: dir.join("engine"),
        run_dir: dir.join("run"),
        instance: instance.to_owned(),
        exe: hako_testkit::shim_exe(),
        images,
        network: Some(network),
        networks: None,
        cgroups: CgroupRoot::detect().unwrap(),
        cdi: hako_cdi::Directories::default(),
        users: None,
    };
    Arc::new(Engine::open(config).await.unwrap())
}

fn node_config(
    dir: &Path,
    server: &Server,
    pki: &Pki,
    engine: Arc<Engine>,
    images: ImageStore,
) -> NodeConfig {
    let ip = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let pair = pki.node_server(NODE, &[ip]).unwrap();
    let client = server.client(Identity::node(NODE));
    NodeConfig {
        // One cache for all of the process, as in `hako up`: a node alone may not list what others need.
        informers: Informers::new(server.client(Identity::admin())),
        client,
        engine,
        images: Arc::new(StoredImages(Arc::new(images))),
        drain: Arc::new(NoDrain),
        node_name: NODE.to_owned(),
        node_ip: ip,
        data_dir: dir.join("node"),
        run_dir: dir.join("node-run"),
        pod_cidr: SUBNET.to_owned(),
        dns: ClusterDns {
            servers: Vec::new(),
            domain: "cluster.local".to_owned(),
            host_resolv_conf: "/etc/resolv.conf".into(),
        },
        api_server: None,
        server: NodeServer {
            listen: SocketAddr::new(ip, 0),
            certificate_pem: pair.certificate,
            key_pem: pair.key,
            renewed: None,
            client_ca_pem: pki.ca().to_owned(),
        },
        labels: BTreeMap::new(),
        capacity: BTreeMap::new(),
        version: "v1.36.0".to_owned(),
    }
}
