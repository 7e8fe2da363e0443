//! Steps that change what should run: scaling, and a rolling update under load.

use super::load::Load;
use super::stage::{Stage, wait};
use anyhow::bail;
use hako_client::Patch;
use serde_json::json;
use std::time::{Duration, Instant};

pub(super) async fn scale(stage: &mut Stage) -> anyhow::Result<()> {
    for count in [30, 3] {
        let began = Instant::now();
        stage.deployments()?.scale("hello", count).await?;
        stage.wait_for_replicas(usize::try_from(count)?).await?;
        let what =
            if count == 30 { "3 to 30 replicas, all Ready" } else { "30 to 3 replicas, the others gone" };
        stage.record("scale", what, began.elapsed());
    }
    Ok(())
}

pub(super) async fn roll(stage: &mut Stage) -> anyhow::Result<()> {
    let (address, _) = stage.addresses().await?;
    let load = Load::start(address, 16);
    tokio::time::sleep(Duration::from_millis(500)).await;
    let began = Instant::now();
    let deployments = stage.deployments()?;
    let patch = json!({ "spec": { "template": { "spec": { "containers": [{ "name": "hello", "image": "hello:v2" }] } } } });
    deployments.patch("hello", &Patch::Strategic(patch)).await?;
    wait("the rolling update", async || {
        let deployment = deployments.get("hello").await?;
        let status = deployment.status.unwrap_or_default();
        Ok(status.observed_generation == deployment.metadata.generation
            && status.updated_replicas == Some(3)
            && status.replicas == Some(3)
            && status.available_replicas == Some(3))
    })
    .await?;
    stage.wait_for_replicas(3).await?;
    stage.record("roll", "v1 to v2 under load", began.elapsed());
    let rest = Duration::from_secs(stage.load_seconds).saturating_sub(load.elapsed());
    tokio::time::sleep(rest).await;
    let report = load.finish().await;
    stage.observe("roll", "requests answered meanwhile", &report.answered.to_string());
    stage.observe("roll", "requests failed meanwhile", &report.failed().to_string());
    stage.record("roll", "slowest request", report.slowest);
    let versions = report.words(1);
    if report.failed() > 0 {
        bail!("requests failed during the rolling update: {:?}", report.failures);
    }
    if versions.len() != 2 {
        bail!("both versions should have answered, but only {versions:?} did");
    }
    Ok(())
}
