//! An API server in this process, the controllers on it, and ways to wait.

use crate::fake_node::FakeNode;
use hako_api::pki::{Pki, ServerNames};
use hako_api::{Identity, Server, ServerConfig};
use hako_client::{Api, Client, Informers, ListParams, Object};
use hako_controllers::{ControllersConfig, Handle};
use hako_store::Embedded;
use k8s_openapi::NamespaceResourceScope;
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub const DEADLINE: Duration = Duration::from_secs(20);

pub struct Cluster {
    pub client: Client,
    pub node: FakeNode,
    server: Server,
    _controllers: Handle,
    _dir: tempfile::TempDir,
}

impl Cluster {
    pub async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Embedded::open(dir.path().join("store")).unwrap());
        let pki = Arc::new(Pki::open(&dir.path().join("pki"), &ServerNames::default()).unwrap());
        let server = Server::new(ServerConfig::new(store as _, pki)).await.unwrap();
        let client = server.client(Identity::admin());
        let informers = Informers::new(client.clone());
        let config = ControllersConfig {
            client: client.named("kube-controller-manager"),
            informers: informers.clone(),
            ca_pem: "the authority".into(),
        };
        let controllers = hako_controllers::start(config);
        let node = FakeNode::start(&client, &informers).await;
        Self { client, node, server, _controllers: controllers, _dir: dir }
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
