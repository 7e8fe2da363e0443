//! An operator as people write them with the crate `kube`: a kind in two versions, a controller, leader election, and webhooks that
//! change, check and convert. The tests run two replicas of it in pods; it knows nothing of where it runs but what its container
//! says.
#![expect(clippy::print_stderr, reason = "an operator's log is its standard error")]

mod admission;
mod certificate;
mod controller;
mod conversion;
mod election;
mod site;
mod webhooks;

use anyhow::Context as _;
use kube::Client;
use tokio::signal::unix::{SignalKind, signal};

/// As which it writes.
const MANAGER: &str = "site-operator";
/// The service that leads to it, and the name of its registrations.
const SERVICE: &str = "site-operator";
/// The ConfigMap in its namespace with the sites that there are.
const REGISTER: &str = "register";

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let client = Client::try_default().await?;
    let identity = std::env::var("POD_NAME").context("POD_NAME")?;
    let certificate = certificate::shared(&client, SERVICE).await?;
    webhooks::register(&client, &certificate).await.context("the registrations")?;
    let mut election = election::Election::new(&client, &identity);
    let mut stop = signal(SignalKind::terminate())?;
    tokio::select! {
        served = webhooks::serve(&certificate) => return served,
        () = lead(&client, &identity, &mut election) => {}
        _ = stop.recv() => {}
    }
    Ok(election.resign().await?)
}

/// Acts on sites whenever this replica holds the lease.
async fn lead(client: &Client, identity: &str, election: &mut election::Election) {
    loop {
        election.win().await;
        eprintln!("{identity} leads");
        tokio::select! {
            () = election.keep() => eprintln!("{identity} leads no more"),
            () = controller::run(client.clone(), identity.to_owned()) => {}
        }
    }
}
