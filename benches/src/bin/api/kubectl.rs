//! `kubectl api-resources` with many definitions, and what of that is the server's.

use crate::client::{Ask, Client};
use crate::definitions::install;
use crate::role::Role;
use anyhow::Context as _;
use hako_benches::{Row, Target, has, median, ms, time};
use serde_json::json;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

const DEFINITIONS: usize = 200;
/// The fastest counts: a program that starts is disturbed by whatever else there is.
const ROUNDS: usize = 9;
const BOUND_MS: f64 = 150.0;
const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

pub fn kubectl() -> anyhow::Result<Vec<Row>> {
    if !has("kubectl") {
        return Ok(Vec::new());
    }
    let role = Role::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let bare = runtime.block_on(discovery_ms(&role))?;
    runtime.block_on(install(&role, DEFINITIONS, &["v1"]))?;
    let home = tempfile::tempdir()?;
    let config = home.path().join("config");
    std::fs::write(&config, kubeconfig(&role).to_string())?;
    let (mut cold, mut warm, mut nothing) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..ROUNDS {
        let cache = home.path().join(format!("cache{round}"));
        cold.push(time(&mut command(&config, &cache, &["api-resources"]))?);
        warm.push(time(&mut command(&config, &cache, &["api-resources"]))?);
        nothing.push(time(&mut command(&config, &cache, &["version", "--client"]))?);
    }
    counted(&config, &home.path().join("cache0"))?;
    let server = runtime.block_on(discovery_ms(&role))?;
    let nothing = fastest(nothing);
    let row = |what: &str, ours, target| Row {
        what: format!("{what} with {DEFINITIONS} definitions"),
        ours,
        peer: None,
        unit: "ms",
        target,
        why: format!("of that, {nothing:.0} ms are kubectl's own start, {server:.1} the server's"),
    };
    Ok(vec![
        row("kubectl api-resources, nothing cached", fastest(cold), Target::AtMost(BOUND_MS)),
        row("kubectl api-resources, cached", fastest(warm), Target::AtMost(BOUND_MS)),
        Row {
            what: "kubectl version --client, which asks nobody".to_owned(),
            ..row("", nothing, Target::None)
        },
        Row {
            why: format!("{bare:.1} ms without definitions"),
            ..row("both documents of discovery", server, Target::None)
        },
    ])
}

fn command(config: &Path, cache: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new("kubectl");
    command.arg("--kubeconfig").arg(config).arg("--cache-dir").arg(cache).args(arguments);
    command
}

fn fastest(samples: Vec<f64>) -> f64 {
    samples.into_iter().fold(f64::INFINITY, f64::min)
}

/// That all are told.
fn counted(config: &Path, cache: &Path) -> anyhow::Result<()> {
    let output = command(config, cache, &["api-resources", "--no-headers"]).output()?;
    let text = String::from_utf8(output.stdout)?;
    let told = text.lines().filter(|line| line.contains("bench.example.com")).count();
    anyhow::ensure!(told == DEFINITIONS, "{told} kinds were told");
    Ok(())
}

/// How long both documents take on a connection that is there: the median.
async fn discovery_ms(role: &Role) -> anyhow::Result<f64> {
    let mut client = Client::connect(role).await?;
    let mut samples = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        for path in ["/api", "/apis"] {
            let ask = Ask { accept: AGGREGATED, ..Ask::get(path) };
            client.ok(&ask).await.context("discovery")?;
        }
        samples.push(ms(began.elapsed()));
    }
    Ok(median(samples))
}

fn kubeconfig(role: &Role) -> serde_json::Value {
    json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "bench",
        "clusters": [{"name": "bench", "cluster": {"server": role.url, "insecure-skip-tls-verify": true}}],
        "users": [{"name": "bench", "user": {"token": role.token}}],
        "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
    })
}
