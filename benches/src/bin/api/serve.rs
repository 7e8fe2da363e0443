//! The API role in a process of its own: store, server and nothing that acts on what is asked of them.

use anyhow::Context as _;
use hako_api::pki::{Pki, ServerNames};
use hako_api::{Identity, Limits, Server, ServerConfig};
use hako_client::Client;
use hako_store::Embedded;
use k8s_openapi::api::core::v1::ServiceAccount;
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use serde_json::{Value, json};
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;

const ACCOUNT: &str = "bench";

/// Serves from a directory until it is killed; prints one line of JSON once it does.
pub fn serve(directory: &Path) -> anyhow::Result<()> {
    // As the program has it: without one, each span would be offered to the library that came before.
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_writer(std::io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let store = Arc::new(Embedded::open(directory.join("store"))?);
        let pki = Arc::new(Pki::open(&directory.join("pki"), &ServerNames::default())?);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let mut config = ServerConfig::new(store, Arc::clone(&pki));
        // Nobody goes there; a loopback would be nothing to tell pods.
        config.advertise = (Ipv4Addr::new(192, 0, 2, 1), address.port());
        config.limits = Limits { long_running: 20_000, long_running_each: 20_000, ..Limits::DEFAULT };
        let server = Server::new(config).await?;
        let token = token(&server.client(Identity::admin())).await?;
        println!("{}", json!({"url": format!("https://{address}"), "token": token, "ca": pki.ca()}));
        server.serve(listener).await?;
        anyhow::Ok(())
    })
}

/// The token of an account that may do everything, as clients outside have one.
async fn token(client: &Client) -> anyhow::Result<String> {
    let accounts = client.namespaced::<ServiceAccount>("default");
    let account: ServiceAccount = serde_json::from_value(json!({"metadata": {"name": ACCOUNT}}))?;
    match accounts.create(&account).await {
        Err(error) if error.kind() != hako_error::Kind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let binding: ClusterRoleBinding = serde_json::from_value(json!({
        "metadata": {"name": ACCOUNT},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": ACCOUNT}],
    }))?;
    match client.all::<ClusterRoleBinding>().create(&binding).await {
        Err(error) if error.kind() != hako_error::Kind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let wish = json!({"spec": {"expirationSeconds": 36_000}});
    let answer = accounts.create_subresource(ACCOUNT, "token", &wish).await?;
    let token = answer.pointer("/status/token").and_then(Value::as_str);
    Ok(token.context("no token in the answer")?.to_owned())
}
