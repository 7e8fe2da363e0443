//! Ranges of service addresses are ready, and stay as long as a service has an address that is of no other range.

use crate::cluster::{Cluster, eventually};
use hako_client::DeleteOptions;
use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use serde_json::{Value, json};

fn cidr(name: &str, range: &str) -> ServiceCIDR {
    serde_json::from_value(json!({ "metadata": { "name": name }, "spec": { "cidrs": [range] } })).unwrap()
}

async fn read(cluster: &Cluster, name: &str) -> Option<Value> {
    let found = cluster.client.all::<ServiceCIDR>().get_opt(name).await.unwrap()?;
    Some(serde_json::to_value(found).unwrap())
}

/// The status, reason and message of `Ready`.
async fn ready(cluster: &Cluster, name: &str) -> [Value; 3] {
    let found = read(cluster, name).await.unwrap_or_default();
    let ready = &found["status"]["conditions"][0];
    ["status", "reason", "message"].map(|field| ready[field].clone())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_range_stays_until_its_addresses_are_gone_or_of_another_range() {
    let cluster = Cluster::start().await;
    let cidrs = cluster.client.all::<ServiceCIDR>();
    cidrs.create(&cidr("more", "10.200.0.0/24")).await.unwrap();
    let is_ready = json!(["True", "", "Kubernetes Service CIDR is ready"]);
    eventually("it is ready", async || json!(ready(&cluster, "more").await) == is_ready).await;
    let finalizers = read(&cluster, "more").await.unwrap()["metadata"]["finalizers"].clone();
    assert_eq!(finalizers, json!(["networking.k8s.io/service-cidr-finalizer"]));

    let web = json!({ "metadata": { "name": "web" }, "spec": {
        "clusterIP": "10.200.0.7", "ports": [{ "port": 80 }],
    } });
    let services = cluster.api::<Service>();
    let web: Service = serde_json::from_value(web).unwrap();
    eventually("it gives addresses", async || services.create(&web).await.is_ok()).await;
    cidrs.delete("more", &DeleteOptions::default()).await.unwrap();
    let held = json!([
        "False",
        "Terminating",
        "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR"
    ]);
    eventually("it is held", async || json!(ready(&cluster, "more").await) == held).await;
    let addresses = cluster.client.all::<IPAddress>();
    assert!(addresses.get_opt("10.200.0.7").await.unwrap().is_some());

    // A wider one has the address too.
    cidrs.create(&cidr("wider", "10.200.0.0/16")).await.unwrap();
    eventually("it is gone", async || read(&cluster, "more").await.is_none()).await;
    cidrs.delete("wider", &DeleteOptions::default()).await.unwrap();
    eventually("the wider one is held", async || json!(ready(&cluster, "wider").await) == held).await;
    services.delete("web", &DeleteOptions::default()).await.unwrap();
    eventually("the wider one is gone", async || read(&cluster, "wider").await.is_none()).await;
    assert_eq!(ready(&cluster, "kubernetes").await[0], "True");
}
