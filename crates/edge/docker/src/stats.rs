//! What a container uses, once or every second.

use crate::DockerState;
use crate::error::Answer;
use crate::params::Params;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::{StreamExt, stream};
use hako_container::{ContainerEngine, Stats};
use hako_names::ContainerId;
use http::header;
use serde_json::{Value, json};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(1);

pub(crate) async fn stats(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    let id = state.engine.resolve(&name).await?;
    let container = state.engine.container(&id).await?;
    let name = container.spec.name.clone();
    let first = state.engine.stats(&id).await.unwrap_or_default();
    let is_stream = params.get("stream").is_none() || params.flag("stream");
    if !is_stream {
        let second = match params.flag("one-shot") {
            true => first.clone(),
            false => {
                tokio::time::sleep(PERIOD).await;
                state.engine.stats(&id).await.unwrap_or_default()
            }
        };
        return Ok(Json(json(&id, &name, &first, &second)).into_response());
    }
    let readings = stream::unfold((state, id, name, first), |(state, id, name, before)| async move {
        tokio::time::sleep(PERIOD).await;
        // A container that is gone ends the stream, one that rests uses nothing.
        state.engine.container(&id).await.ok()?;
        let now = state.engine.stats(&id).await.unwrap_or_default();
        let line = Bytes::from(format!("{}\n", json(&id, &name, &before, &now)));
        Some((line, (state, id, name, now)))
    });
    let lines = readings.map(Ok::<_, std::convert::Infallible>);
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}

fn cpu(stats: &Stats) -> Value {
    let cpus = std::thread::available_parallelism().map_or(1, usize::from) as u64;
    let uptime: f64 = std::fs::read_to_string("/proc/uptime")
        .ok()
        .and_then(|text| text.split_whitespace().next()?.parse().ok())
        .unwrap_or(0.0);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "nanoseconds of uptime, far below 2^63"
    )]
    let system = (uptime * 1e9) as u64 * cpus;
    json!({ "cpu_usage": { "total_usage": stats.cpu_ns }, "system_cpu_usage": system, "online_cpus": cpus })
}

fn json(id: &ContainerId, name: &str, before: &Stats, now: &Stats) -> Value {
    let mut past = cpu(before);
    let present = cpu(now);
    let elapsed = now.at.as_nanosecond().saturating_sub(before.at.as_nanosecond());
    let cpus = present["online_cpus"].as_u64().unwrap_or(1);
    let elapsed = u64::try_from(elapsed).unwrap_or(0).saturating_mul(cpus);
    past["system_cpu_usage"] =
        json!(present["system_cpu_usage"].as_u64().unwrap_or(0).saturating_sub(elapsed));
    json!({
        "id": id, "name": format!("/{name}"), "read": now.at.to_string(), "preread": before.at.to_string(),
        "pids_stats": { "current": now.pids }, "cpu_stats": present, "precpu_stats": past,
        "memory_stats": {
            "usage": now.memory_usage, "limit": now.memory_limit.unwrap_or(0),
            "stats": { "inactive_file": now.memory_usage.saturating_sub(now.memory_working_set) },
        },
        "blkio_stats": {}, "networks": {}, "num_procs": 0,
    })
}
