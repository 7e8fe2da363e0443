//! A host in a namespace of its own: network, an API that holds services, pods that answer.

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use hako_client::{Body, Client, Informers, Transport, body_from};
use hako_dataplane::{Dataplane, DataplaneConfig};
use hako_netlink::{Links, in_namespace};
use hako_network::{Attach, Attachment, Network, NetworkConfig};
use http_body_util::{BodyExt, StreamBody};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio_stream::wrappers::BroadcastStream;

pub const INSTANCE: &str = "abc123";
pub const TABLE: &str = "hako-abc123-svc";

fn new_namespace() -> File {
    let make = || {
        nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    };
    std::thread::spawn(make).join().unwrap()
}

/// Runs a test with a fresh namespace as the host; every thread of its runtime lives there.
pub fn on_host<F: Future<Output = ()>>(test: impl FnOnce(Host) -> F + Send) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_owned();
    in_namespace(new_namespace().as_fd(), move || {
        Links::open().unwrap().set_up("lo").unwrap();
        let subnet = Some("10.244.0.0/24".parse().unwrap());
        let config = NetworkConfig {
            instance: INSTANCE.into(),
            state_dir: path,
            subnet,
            firewall: hako_network::Firewall::Own,
        };
        let network = Arc::new(Network::open(config).unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let test = test(Host { network, api: Api::default(), upstream: Vec::new() });
            tokio::time::timeout(Duration::from_secs(60), test).await.expect("the test takes too long");
        });
    })
    .unwrap();
}

pub struct Host {
    pub network: Arc<Network>,
    pub api: Api,
    pub upstream: Vec<SocketAddr>,
}

impl Host {
    pub async fn try_start(&self) -> hako_error::Result<Arc<Dataplane>> {
        let client = Client::new(Arc::new(self.api.clone()));
        Dataplane::start(DataplaneConfig {
            informers: Informers::new(client.clone()),
            client,
            node_name: "here".into(),
            instance: INSTANCE.into(),
            pod_subnet: self.network.subnet(),
            gateway: self.network.gateway(),
            service_subnet: "10.96.0.0/16".parse().unwrap(),
            cluster_domain: "cluster.local".into(),
            upstream_dns: self.upstream.clone(),
        })
        .await
    }

    pub async fn start(&self) -> Arc<Dataplane> {
        self.try_start().await.unwrap()
    }

    /// After a drop, whose DNS sockets close a moment later.
    pub async fn start_again(&self) -> Arc<Dataplane> {
        loop {
            match self.try_start().await {
                Ok(dataplane) => return dataplane,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    }

    pub fn pod(&self, id: &str) -> Pod {
        let namespace = new_namespace();
        let netns = format!("/proc/self/fd/{}", namespace.as_raw_fd()).into();
        let attachment = self.network.attach(&Attach { id: id.into(), netns, ports: vec![] }).unwrap();
        Pod { namespace, attachment }
    }

    /// A pod that answers each connection to port 8080 with its id and the client's address.
    pub fn server(&self, id: &str) -> Pod {
        let pod = self.pod(id);
        let listener = pod.enter(|| TcpListener::bind((Ipv4Addr::UNSPECIFIED, 8080)).unwrap());
        let id = id.to_owned();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let answer = format!("{id} {}", stream.peer_addr().unwrap().ip());
                let _ = stream.write_all(answer.as_bytes());
            }
        });
        pod
    }
}

pub struct Pod {
    pub namespace: File,
    pub attachment: Attachment,
}

impl Pod {
    pub fn ip(&self) -> Ipv4Addr {
        self.attachment.ip
    }

    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        in_namespace(self.namespace.as_fd(), work).unwrap()
    }

    pub fn ask(&self, to: (Ipv4Addr, u16)) -> String {
        self.enter(|| ask(to)).unwrap()
    }
}

/// Connects, and reads until the other side closes.
pub fn ask(to: (Ipv4Addr, u16)) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&SocketAddr::from(to), Duration::from_secs(3))?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Waits until a condition holds.
pub async fn eventually(what: &str, condition: impl Fn() -> bool) {
    for _ in 0..1000 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    panic!("{what} never came true");
}

/// An API that holds services and slices and tells watchers about changes.
#[derive(Clone)]
pub struct Api(Arc<ApiState>);

/// By plural and name.
type Objects = BTreeMap<(String, String), Value>;

struct ApiState {
    /// With the last version given.
    objects: Mutex<(u64, Objects)>,
    events: broadcast::Sender<(String, Bytes)>,
    /// Events as they were written.
    written: Mutex<Vec<Value>>,
}

impl Default for Api {
    fn default() -> Self {
        let objects = Mutex::new((1, BTreeMap::new()));
        Self(Arc::new(ApiState { objects, events: broadcast::channel(4096).0, written: Mutex::default() }))
    }
}

impl Api {
    fn put(&self, plural: &str, name: &str, mut object: Value) {
        let mut state = self.0.objects.lock();
        state.0 += 1;
        object["metadata"]["resourceVersion"] = json!(state.0.to_string());
        object["metadata"]["uid"] = json!(format!("uid-{name}"));
        let key = (plural.to_owned(), name.to_owned());
        let kind = if state.1.insert(key, object.clone()).is_some() { "MODIFIED" } else { "ADDED" };
        self.tell(plural, kind, &object);
    }

    fn tell(&self, plural: &str, kind: &str, object: &Value) {
        let line = format!("{}\n", json!({"type": kind, "object": object}));
        let _ = self.0.events.send((plural.to_owned(), line.into()));
    }

    pub fn delete(&self, plural: &str, name: &str) {
        let mut state = self.0.objects.lock();
        let object = state.1.remove(&(plural.to_owned(), name.to_owned())).unwrap();
        self.tell(plural, "DELETED", &object);
    }

    /// Reason and message of every event that was written, in order; of one that was counted again they are empty.
    pub fn events(&self) -> Vec<(String, String)> {
        let text = |event: &Value, field: &str| event[field].as_str().unwrap_or_default().to_owned();
        let written = self.0.written.lock();
        written.iter().map(|event| (text(event, "reason"), text(event, "message"))).collect()
    }

    pub fn service(&self, name: &str, spec: Value) {
        let object = json!({"apiVersion": "v1", "kind": "Service", "spec": spec,
            "metadata": {"name": name, "namespace": "shop"}});
        self.put("services", name, object);
    }

    /// The endpoints of a service on port 8080 named `http`, all ready.
    pub fn endpoints(&self, service: &str, pods: &[&Pod]) {
        let endpoints: Vec<_> = pods.iter().map(|pod| ready(pod)).collect();
        self.slice(service, json!(endpoints));
    }

    pub fn slice(&self, service: &str, endpoints: Value) {
        self.slice_of(service, "TCP", endpoints);
    }

    pub fn slice_of(&self, service: &str, protocol: &str, endpoints: Value) {
        let object = json!({"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {"name": format!("{service}-x"), "namespace": "shop",
                "labels": {"kubernetes.io/service-name": service}},
            "ports": [{"name": "http", "port": 8080, "protocol": protocol}], "endpoints": endpoints});
        self.put("endpointslices", service, object);
    }
}

pub fn ready(pod: &Pod) -> Value {
    json!({"addresses": [pod.ip().to_string()], "nodeName": "here",
        "conditions": {"ready": true, "serving": true, "terminating": false}})
}

/// The spec of a service at an address, port 80.
pub fn cluster_ip(ip: &str) -> Value {
    json!({"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip],
        "ports": [{"name": "http", "port": 80, "protocol": "TCP", "targetPort": 8080}]})
}

impl Transport for Api {
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, hako_error::Result<http::Response<Body>>> {
        let plural = request.uri().path().rsplit('/').next().unwrap().to_owned();
        let is_watch = request.uri().query().unwrap_or("").contains("watch=");
        let body = if request.method() != http::Method::GET {
            self.0.written.lock().push(serde_json::from_slice(request.body()).unwrap());
            body_from(request.into_body())
        } else if is_watch {
            self.watch(plural)
        } else {
            let state = self.0.objects.lock();
            let items: Vec<_> =
                state.1.iter().filter(|((kind, _), _)| *kind == plural).map(|(_, it)| it).collect();
            let list = json!({"kind": "List", "apiVersion": "v1", "items": items,
                "metadata": {"resourceVersion": state.0.to_string()}});
            body_from(Bytes::from(list.to_string()))
        };
        Box::pin(async move {
            let response = http::Response::builder().header("content-type", "application/json");
            Ok(response.body(body).unwrap())
        })
    }
}

impl Api {
    /// All objects once more, then changes: what came between list and watch is not lost.
    fn watch(&self, plural: String) -> Body {
        let state = self.0.objects.lock();
        let known: Vec<Bytes> = state
            .1
            .iter()
            .filter(|((kind, _), _)| *kind == plural)
            .map(|(_, object)| format!("{}\n", json!({"type": "MODIFIED", "object": object})).into())
            .collect();
        let events = BroadcastStream::new(self.0.events.subscribe());
        drop(state);
        let changes = events.filter_map(move |event| {
            let line = event.ok().filter(|(kind, _)| *kind == plural).map(|(_, line)| line);
            async move { line }
        });
        let frames = futures::stream::iter(known).chain(changes).map(|line| Ok(http_body::Frame::data(line)));
        let body = StreamBody::new(frames);
        BodyExt::map_err(body, |error: hako_error::Error| error).boxed_unsync()
    }
}
