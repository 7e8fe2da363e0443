//! An API server in this process, the controllers on it, and ways to wait.

use crate::fake_node::FakeNode;
use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;
use hako_api::pki::{Pki, ServerNames};
use hako_api::{Identity, Server, ServerConfig};
use hako_client::{Api, Body, Client, Informers, ListParams, Object, Transport, body_from};
use hako_controllers::{CertificateSigner, ControllersConfig, Handle, PodGc, TokenCleanUp};
use hako_error::Result;
use hako_store::Embedded;
use k8s_openapi::NamespaceResourceScope;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub const DEADLINE: Duration = Duration::from_secs(20);

/// Nobody waits for long until a node is known to be gone.
const POD_GC: PodGc =
    PodGc { kept: 0, period: Duration::from_millis(50), quarantine: Duration::from_millis(100) };

/// What nobody has used today is used no more.
const TOKEN_CLEAN_UP: TokenCleanUp = TokenCleanUp { period: Duration::from_millis(50), days: 0 };

#[derive(Debug)]
struct Signer(Arc<Pki>);

impl CertificateSigner for Signer {
    fn sign(&self, request_pem: &str, usages: &[String], seconds: i64) -> Result<String> {
        self.0.sign_request(request_pem, usages, seconds)
    }
}

pub struct Cluster {
    pub client: Client,
    pub node: FakeNode,
    pub store: Arc<Embedded>,
    /// While it is set, controllers may not create pods.
    pub quota_is_full: Arc<AtomicBool>,
    server: Server,
    signer: Arc<Signer>,
    controllers: Option<Handle>,
    _dir: tempfile::TempDir,
}

impl Cluster {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(dir.path().join("store")).unwrap());
        let pki = Arc::new(Pki::open(&dir.path().join("pki"), &ServerNames::default()).unwrap());
        let server = Server::new(ServerConfig::new(Arc::clone(&store) as _, Arc::clone(&pki))).await.unwrap();
        let client = server.client(Identity::admin());
        let informers = Informers::new(client.clone());
        let (admin, quota_is_full) = (client, Arc::new(AtomicBool::new(false)));
        let node = FakeNode::start(&admin, &informers).await;
        let mut cluster = Self {
            client: admin,
            store,
            quota_is_full,
            node,
            server,
            signer: Arc::new(Signer(pki)),
            controllers: None,
            _dir: dir,
        };
        cluster.start_controllers();
        cluster
    }

    /// Starts the controllers anew, with empty caches.
    pub fn start_controllers(&mut self) {
        let is_full = Arc::clone(&self.quota_is_full);
        self.start_controllers_through(Arc::new(Quota { client: self.client.clone(), is_full }));
    }

    /// The same, with the API as they are to see it.
    pub fn start_controllers_through(&mut self, transport: Arc<dyn Transport>) {
        let client = Client::new(transport).named("kube-controller-manager");
        let informers = Informers::new(client.clone());
        let config = ControllersConfig {
            client,
            informers,
            ca_pem: "the authority".into(),
            signer: Arc::<Signer>::clone(&self.signer),
            pod_gc: POD_GC,
            token_clean_up: TOKEN_CLEAN_UP,
        };
        self.controllers = Some(hako_controllers::start(config));
    }

    /// Ends the controllers where they stand.
    pub fn stop_controllers(&mut self) {
        self.controllers = None;
    }

    pub fn api<K: Object<Scope = NamespaceResourceScope>>(&self) -> Api<K> {
        self.client.namespaced("default")
    }

    pub async fn list<K: Object<Scope = NamespaceResourceScope>>(&self) -> Vec<K> {
        self.api::<K>().list(&ListParams::default()).await.unwrap().items
    }

    pub async fn create<K: Object<Scope = NamespaceResourceScope>>(&self, object: Value) -> K {
        self.api::<K>().create(&serde_json::from_value(object).unwrap()).await.unwrap()
    }
}

/// The API as controllers see it, refusing pods as an admission plugin for quotas does.
struct Quota {
    client: Client,
    is_full: Arc<AtomicBool>,
}

impl Transport for Quota {
    fn call(&self, request: http::Request<Bytes>) -> BoxFuture<'_, Result<http::Response<Body>>> {
        let is_pod = request.method() == http::Method::POST && request.uri().path().ends_with("/pods");
        if !is_pod || !self.is_full.load(Ordering::Relaxed) {
            return self.client.send(request).boxed();
        }
        let status = json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403,
            "message": "pods \"web-x\" is forbidden: exceeded quota: pods" });
        let mut response = http::Response::new(body_from(Bytes::from(status.to_string())));
        *response.status_mut() = http::StatusCode::FORBIDDEN;
        async { Ok(response) }.boxed()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.server.stop();
    }
}

/// Asks until the answer is yes; fails with what was asked for.
pub async fn eventually(what: &str, mut is_so: impl AsyncFnMut() -> bool) -> Duration {
    let start = Instant::now();
    while start.elapsed() < DEADLINE {
        if is_so().await {
            return start.elapsed();
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("never: {what}");
}
