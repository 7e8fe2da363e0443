//! The objects every cluster has, made at the first start and kept there.

use std::sync::{Arc, Weak};
use std::time::Duration;

use hako_client::{Client, DynamicApi, Patch, ResourceType, WriteOptions};
use hako_error::{Kind, Result};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::authentication_info;
use super::ranges::Cidr;
use crate::auth::Identity;
use crate::flow;
use crate::kinds::SYSTEM_PRIORITIES;
use crate::server::{Inner, Server};

/// The ServiceCIDR of the configuration.
pub(super) const DEFAULT_CIDR: &str = "kubernetes";
const NAMESPACES: &[&str] = &["default", "kube-system", "kube-public", "kube-node-lease"];

/// Makes what is missing.
pub(crate) async fn bootstrap(server: &Arc<Inner>) -> Result<()> {
    let client = Server::of(server).client(Identity::admin()).named("kube-apiserver");
    let namespaces = client.dynamic(&ResourceType::new("", "v1", "namespaces"), None);
    for name in NAMESPACES {
        create(&namespaces, &json!({"metadata": {"name": name}})).await?;
    }
    priority_classes(&client).await?;
    token_tracking(&client).await?;
    authentication_info::publish(server, &client).await?;
    service_cidr(server, &client).await?;
    kubernetes_service(server, &client).await
}

/// The classes of pods without which the cluster does not work.
async fn priority_classes(client: &Client) -> Result<()> {
    let classes = client.dynamic(&ResourceType::new("scheduling.k8s.io", "v1", "priorityclasses"), None);
    for (name, value, description) in SYSTEM_PRIORITIES {
        let class = json!({"metadata": {"name": name}, "value": value, "description": description});
        create(&classes, &class).await?;
    }
    Ok(())
}

/// Since when the use of tokens that are kept in Secrets is noted.
async fn token_tracking(client: &Client) -> Result<()> {
    const NAME: &str = "kube-apiserver-legacy-service-account-token-tracking";
    let maps = client.dynamic(&ResourceType::new("", "v1", "configmaps"), Some("kube-system"));
    match maps.get(NAME).await {
        Ok(map) if map["data"]["since"].as_str().is_some_and(hako_kube::time::is_day) => return Ok(()),
        Err(error) if error.kind() != Kind::NotFound => return Err(error),
        _ => {}
    }
    let map = json!({"metadata": {"name": NAME}, "data": {"since": hako_kube::time::today()}});
    put(&maps, map).await
}

/// Makes again what somebody has deleted, such as the service `kubernetes` with all others of its namespace. As
/// often as kube-apiserver does; ends with the server.
pub(crate) async fn keep(server: Weak<Inner>, stop: CancellationToken) {
    const PERIOD: Duration = Duration::from_secs(10);
    while stop.run_until_cancelled(tokio::time::sleep(PERIOD)).await.is_some() {
        let Some(server) = server.upgrade() else { return };
        if let Err(error) = bootstrap(&server).await.and(flow::start(&server).await) {
            tracing::warn!(%error, "the objects every cluster has could not be made");
        }
    }
}

/// The range from which services get addresses, as the configuration says. One that is there stays as it is.
async fn service_cidr(server: &Inner, client: &Client) -> Result<()> {
    let cidrs = client.dynamic(&ResourceType::new("networking.k8s.io", "v1", "servicecidrs"), None);
    match cidrs.get(DEFAULT_CIDR).await {
        Ok(known) if known["status"]["conditions"].is_array() => return Ok(()),
        Err(error) if error.kind() != Kind::NotFound => return Err(error),
        _ => {}
    }
    let (network, bits) = server.config.service_cidr;
    let range = Cidr::new(network, bits).to_string();
    let cidr = json!({
        "metadata": {"name": DEFAULT_CIDR, "finalizers": ["networking.k8s.io/service-cidr-finalizer"]},
        "spec": {"cidrs": [range]},
    });
    create(&cidrs, &cidr).await?;
    let ready = json!({
        "type": "Ready", "status": "True", "reason": "", "message": "Kubernetes default Service CIDR is ready",
        "lastTransitionTime": hako_kube::time::now(),
    });
    let status = json!({"status": {"conditions": [ready]}});
    cidrs.patch(DEFAULT_CIDR, Some("status"), &Patch::Merge(status), &WriteOptions::default()).await.map(drop)
}

/// The service `kubernetes`, and where it leads: to this server's advertised address.
async fn kubernetes_service(server: &Inner, client: &Client) -> Result<()> {
    let config = &server.config;
    let (address, port) = config.advertise;
    let labels = json!({"component": "apiserver", "provider": "kubernetes"});
    let services = client.dynamic(&ResourceType::new("", "v1", "services"), Some("default"));
    let ports = json!([{"name": "https", "port": 443, "protocol": "TCP", "targetPort": port}]);
    let service = json!({
        "metadata": {"name": "kubernetes", "labels": labels},
        "spec": {"clusterIP": config.api_service_ip().to_string(), "type": "ClusterIP", "ports": ports},
    });
    create(&services, &service).await?;
    let endpoints = client.dynamic(&ResourceType::new("", "v1", "endpoints"), Some("default"));
    let object = json!({
        "metadata": {"name": "kubernetes", "labels": {"endpointslice.kubernetes.io/skip-mirror": "true"}},
        "subsets": [{
            "addresses": [{"ip": address.to_string()}],
            "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        }],
    });
    put(&endpoints, object).await?;
    let slices =
        client.dynamic(&ResourceType::new("discovery.k8s.io", "v1", "endpointslices"), Some("default"));
    let object = json!({
        "metadata": {"name": "kubernetes", "labels": {"kubernetes.io/service-name": "kubernetes"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [address.to_string()], "conditions": {"ready": true}}],
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
    });
    put(&slices, object).await
}

async fn create(api: &DynamicApi, object: &Value) -> Result<()> {
    match api.create(object, &WriteOptions::default()).await {
        Err(error) if error.kind() != Kind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Creates an object or replaces what is there.
async fn put(api: &DynamicApi, object: Value) -> Result<()> {
    let name = object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    match api.create(&object, &WriteOptions::default()).await {
        Err(error) if error.kind() == Kind::AlreadyExists => {
            api.replace(&name, None, &object, &WriteOptions::default()).await.map(drop)
        }
        other => other.map(drop),
    }
}
