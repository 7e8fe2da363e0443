//! Pods: created to Ready, alone and fifty at once, and what each costs in memory.

use crate::process::{Platform, memory_kib};
use anyhow::Context;
use futures::{StreamExt, TryStreamExt};
use hako_benches::{Row, Target, median, ms};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, DeleteParams, PostParams, WatchEvent, WatchParams};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

pub fn pods(hako: &Path) -> anyhow::Result<Vec<Row>> {
    let platform = Platform::start(hako)?;
    platform.import_busybox()?;
    let kubeconfig = kube::config::Kubeconfig::read_from(platform.kubeconfig()?)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &kube::config::KubeConfigOptions::default())
                .await?;
        let pods: Api<Pod> = Api::default_namespaced(kube::Client::try_from(config)?);
        let mut alone = Vec::new();
        for index in 0..21 {
            alone.push(ready(&pods, &[format!("alone-{index}")]).await?);
            gone(&pods).await?;
        }
        let before = memory(&platform)?;
        let names: Vec<String> = (0..50).map(|index| format!("together-{index}")).collect();
        let together = ready(&pods, &names).await?;
        tokio::time::sleep(Duration::from_secs(2)).await;
        let each = (memory(&platform)? - before) / 50.0;
        gone(&pods).await?;
        Ok(vec![
            row("pod created to Ready, one alone, median", median(alone), "ms", 100.0),
            row("50 pods at once, all Ready", together, "ms", 3000.0),
            row("memory per pod: shim's private and the process's growth", each / 1024.0, "MiB", 1.5),
        ])
    })
}

fn row(what: &str, ours: f64, unit: &'static str, bound: f64) -> Row {
    Row { what: what.into(), ours, peer: None, unit, target: Target::AtMost(bound) }
}

/// KiB of the process and the private pages of all shims.
fn memory(platform: &Platform) -> anyhow::Result<f64> {
    let mut total = memory_kib(platform.pid()?, &["Rss"])?;
    for shim in platform.shims()? {
        // One that has ended meanwhile uses nothing.
        total += memory_kib(shim, &["Private_Clean", "Private_Dirty"]).unwrap_or(0.0);
    }
    Ok(total)
}

/// Creates pods and waits until a watch has shown each Ready; milliseconds.
async fn ready(pods: &Api<Pod>, names: &[String]) -> anyhow::Result<f64> {
    let version =
        pods.list(&Default::default()).await?.metadata.resource_version.context("resourceVersion")?;
    let mut events = pods.watch(&WatchParams::default(), &version).await?.boxed();
    let mut waiting: BTreeSet<&str> = names.iter().map(String::as_str).collect();
    let began = Instant::now();
    let parameters = PostParams::default();
    let objects: Vec<Pod> = names.iter().map(|name| pod(name)).collect::<Result<_, _>>()?;
    futures::future::try_join_all(objects.iter().map(|pod| pods.create(&parameters, pod))).await?;
    while !waiting.is_empty() {
        match events.try_next().await?.context("the watch ended")? {
            WatchEvent::Added(pod) | WatchEvent::Modified(pod) if is_ready(&pod) => {
                waiting.remove(pod.metadata.name.as_deref().unwrap_or_default());
            }
            _ => {}
        }
    }
    Ok(ms(began.elapsed()))
}

fn pod(name: &str) -> Result<Pod, serde_json::Error> {
    serde_json::from_value(serde_json::json!({
        "metadata": { "name": name },
        "spec": {
            "terminationGracePeriodSeconds": 0,
            "containers": [{ "name": "c", "image": "busybox", "command": ["sleep", "100000"] }],
        },
    }))
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

async fn gone(pods: &Api<Pod>) -> anyhow::Result<()> {
    for pod in pods.list(&Default::default()).await? {
        pods.delete(pod.metadata.name.as_deref().unwrap_or_default(), &DeleteParams::default()).await?;
    }
    while !pods.list(&Default::default()).await?.items.is_empty() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(())
}
