//! Pods: created to Ready, alone and fifty at once, and what each costs in memory.

use crate::process::{Busy, Platform, memory_kib};
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
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let pods: Api<Pod> = Api::default_namespaced(platform.client().await?);
        let mut alone = Vec::new();
        for index in 0..21 {
            alone.push(ready(&pods, &[format!("alone-{index}")]).await?);
            gone(&pods).await?;
        }
        let before = memory(&platform)?;
        let names: Vec<String> = (0..50).map(|index| format!("together-{index}")).collect();
        let busy = Busy::start()?;
        let together = ready(&pods, &names).await?;
        let busy = format!("the machine's cores were {:.0} % busy, by the client too", busy.percent()?);
        tokio::time::sleep(Duration::from_secs(2)).await;
        let after = memory(&platform)?;
        let each = (after.sum() - before.sum()) / 50.0;
        let parts = format!(
            "{:.2} MiB are the shim's own, {:.2} the process's growth",
            (after.shims - before.shims) / 50.0,
            (after.process - before.process) / 50.0
        );
        gone(&pods).await?;
        Ok(vec![
            row("pod created to Ready, one alone, median", median(alone), "ms", 100.0, String::new()),
            row("50 pods at once, all Ready", together, "ms", 3000.0, busy),
            row("memory per pod: shim's private and the process's growth", each, "MiB", 1.5, parts),
        ])
    })
}

fn row(what: &str, ours: f64, unit: &'static str, bound: f64, why: String) -> Row {
    Row { what: what.into(), ours, peer: None, unit, target: Target::AtMost(bound), why }
}

/// MiB of the process and of the private pages of all shims.
struct Memory {
    process: f64,
    shims: f64,
}

impl Memory {
    fn sum(&self) -> f64 {
        self.process + self.shims
    }
}

fn memory(platform: &Platform) -> anyhow::Result<Memory> {
    let process = memory_kib(platform.pid()?, &["Rss"])? / 1024.0;
    // One that has ended meanwhile uses nothing.
    let private = |shim| memory_kib(shim, &["Private_Clean", "Private_Dirty"]).unwrap_or(0.0) / 1024.0;
    Ok(Memory { process, shims: platform.shims()?.into_iter().map(private).sum() })
}

/// Creates pods and waits until a watch has shown each Ready; milliseconds.
async fn ready(pods: &Api<Pod>, names: &[String]) -> anyhow::Result<f64> {
    let objects: Vec<Pod> = names.iter().map(|name| pod(name)).collect::<Result<_, _>>()?;
    create_until(pods, &objects, is_ready).await
}

/// Creates pods, many at a time, and waits until a watch has shown that each is so; milliseconds.
pub async fn create_until(
    pods: &Api<Pod>,
    objects: &[Pod],
    is_so: impl Fn(&Pod) -> bool,
) -> anyhow::Result<f64> {
    const AT_A_TIME: usize = 64;
    let version =
        pods.list(&Default::default()).await?.metadata.resource_version.context("resourceVersion")?;
    let mut events = pods.watch(&WatchParams::default(), &version).await?.boxed();
    let mut waiting: BTreeSet<&str> =
        objects.iter().filter_map(|object| object.metadata.name.as_deref()).collect();
    let began = Instant::now();
    let parameters = PostParams::default();
    let create = async {
        let requests = futures::stream::iter(objects).map(|object| pods.create(&parameters, object));
        requests.buffer_unordered(AT_A_TIME).try_for_each(|_| async { Ok(()) }).await?;
        anyhow::Ok(())
    };
    let watch = async {
        while !waiting.is_empty() {
            match events.try_next().await?.context("the watch ended")? {
                WatchEvent::Added(pod) | WatchEvent::Modified(pod) if is_so(&pod) => {
                    waiting.remove(pod.metadata.name.as_deref().unwrap_or_default());
                }
                _ => {}
            }
        }
        Ok(())
    };
    futures::future::try_join(create, watch).await?;
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
