//! What a container uses, once or every second.

use crate::DockerState;
use crate::error::{Answer, invalid};
use crate::params::Params;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::{StreamExt, stream};
use hako_container::{ContainerEngine, ContainerState, NetworkMode, Stats};
use hako_names::ContainerId;
use http::header;
use serde_json::{Map, Value, json};
use std::time::Duration;

const PERIOD: Duration = Duration::from_secs(1);

pub(crate) async fn stats(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    params: Params,
) -> Answer {
    let is_stream = params.get("stream").is_none() || params.flag("stream");
    if is_stream && params.flag("one-shot") {
        return Err(invalid("cannot have stream=true and one-shot=true"));
    }
    let id = state.engine.resolve(&name).await?;
    let container = state.engine.container(&id).await?;
    let name = container.spec.name.clone();
    let first = state.engine.stats(&id).await.unwrap_or_default();
    if !is_stream && params.flag("one-shot") {
        return Ok(Json(json(&state, &id, &name, None, &first).await).into_response());
    }
    if !is_stream {
        tokio::time::sleep(PERIOD).await;
        let second = state.engine.stats(&id).await.unwrap_or_default();
        return Ok(Json(json(&state, &id, &name, Some(&first), &second).await).into_response());
    }
    let readings = stream::unfold((state, id, name, first), |(state, id, name, before)| async move {
        tokio::time::sleep(PERIOD).await;
        // A container that is gone ends the stream, one that rests uses nothing.
        state.engine.container(&id).await.ok()?;
        let now = state.engine.stats(&id).await.unwrap_or_default();
        let line = Bytes::from(format!("{}\n", json(&state, &id, &name, Some(&before), &now).await));
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
    json!({
        "cpu_usage": cpu_usage(stats), "throttling_data": throttling(stats), "system_cpu_usage": system,
        "online_cpus": cpus,
    })
}

fn cpu_usage(stats: &Stats) -> Value {
    let group = &stats.group;
    let mut usage = json!({
        "total_usage": stats.cpu_ns, "usage_in_kernelmode": group.cpu_system_ns,
        "usage_in_usermode": group.cpu_user_ns,
    });
    // Version 2 of control groups does not count by processor.
    if !group.per_cpu_ns.is_empty() {
        usage["percpu_usage"] = json!(group.per_cpu_ns);
    }
    usage
}

fn throttling(stats: &Stats) -> Value {
    let held_back = stats.group.throttling;
    json!({
        "periods": held_back.periods, "throttled_periods": held_back.throttled,
        "throttled_time": held_back.throttled_ns,
    })
}

/// Counts by device and operation. The other lists are a scheduler's that Linux has no more since 5.0.
fn block_io(stats: &Stats) -> Value {
    let (mut bytes, mut requests) = (Vec::new(), Vec::new());
    for io in &stats.group.io {
        let entry = |value: u64| json!({ "major": io.device.major, "minor": io.device.minor, "op": io.operation, "value": value });
        bytes.push(entry(io.bytes));
        requests.push(entry(io.requests));
    }
    json!({
        "io_service_bytes_recursive": bytes, "io_serviced_recursive": requests, "io_queue_recursive": [],
        "io_service_time_recursive": [], "io_wait_time_recursive": [], "io_merged_recursive": [],
        "io_time_recursive": [], "sectors_recursive": [],
    })
}

/// Without a limit of its own a container may have all there is. One that rests has nothing.
fn memory(stats: &Stats) -> Value {
    if stats.at == Stats::default().at {
        return json!({});
    }
    let machine = crate::system::memory_total();
    json!({
        "usage": stats.memory_usage, "max_usage": stats.group.memory_peak, "failcnt": stats.group.memory_failures,
        "limit": stats.memory_limit.map_or(machine, |limit| limit.min(machine)), "stats": stats.group.memory,
    })
}

/// Like Docker's, without a limit where there is none.
fn pids(stats: &Stats) -> Value {
    match stats.group.pids_limit {
        Some(limit) => json!({ "current": stats.pids, "limit": limit }),
        None => json!({ "current": stats.pids }),
    }
}

/// Counters of the container's own network interfaces; none with the host's network.
async fn networks(state: &DockerState, id: &ContainerId) -> Value {
    let Ok(container) = state.engine.container(id).await else { return json!({}) };
    let sandbox = state.engine.sandbox(&container.sandbox).await;
    let is_own = sandbox.is_ok_and(|sandbox| sandbox.spec.network != NetworkMode::Host);
    match container.state {
        ContainerState::Running { pid, .. } if is_own => {
            interfaces(&std::fs::read_to_string(format!("/proc/{pid}/net/dev")).unwrap_or_default())
        }
        _ => json!({}),
    }
}

/// `/proc/PID/net/dev`, proc(5): two lines of heading, then a name and 16 counters a line.
fn interfaces(text: &str) -> Value {
    const NAMES: [&str; 4] = ["bytes", "packets", "errors", "dropped"];
    let mut shown = Map::new();
    for (name, counters) in text.lines().skip(2).filter_map(|line| line.split_once(':')) {
        let counters: Vec<u64> =
            counters.split_whitespace().filter_map(|number| number.parse().ok()).collect();
        let directions = [("rx", counters.get(..4)), ("tx", counters.get(8..12))];
        let numbers = directions.into_iter().flat_map(|(direction, values)| {
            let named = NAMES.iter().zip(values.unwrap_or_default());
            named.map(move |(name, value)| (format!("{direction}_{name}"), json!(value)))
        });
        if name.trim() != "lo" {
            shown.insert(name.trim().to_owned(), Value::Object(numbers.collect()));
        }
    }
    Value::Object(shown)
}

/// What was before the first reading: nothing, and for Go the beginning of time.
fn never() -> (String, Value) {
    let nothing = Stats::default();
    let usage = json!({ "cpu_usage": cpu_usage(&nothing), "throttling_data": throttling(&nothing) });
    ("0001-01-01T00:00:00Z".to_owned(), usage)
}

fn past(before: &Stats, now: &Stats, present: &Value) -> (String, Value) {
    let mut past = cpu(before);
    let elapsed = now.at.as_nanosecond().saturating_sub(before.at.as_nanosecond());
    let cpus = present["online_cpus"].as_u64().unwrap_or(1);
    let elapsed = u64::try_from(elapsed).unwrap_or(0).saturating_mul(cpus);
    past["system_cpu_usage"] =
        json!(present["system_cpu_usage"].as_u64().unwrap_or(0).saturating_sub(elapsed));
    (before.at.to_string(), past)
}

/// A reading, with the one before it where there is one. `num_procs` and `storage_stats` are Windows's.
async fn json(
    state: &DockerState,
    id: &ContainerId,
    name: &str,
    before: Option<&Stats>,
    now: &Stats,
) -> Value {
    let present = cpu(now);
    let (preread, past) = before.map_or_else(never, |before| past(before, now, &present));
    json!({
        "id": id, "name": format!("/{name}"), "read": now.at.to_string(), "preread": preread,
        "pids_stats": pids(now), "cpu_stats": present, "precpu_stats": past, "memory_stats": memory(now),
        "blkio_stats": block_io(now), "networks": networks(state, id).await, "num_procs": 0, "storage_stats": {},
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_have_their_counters_by_direction() {
        let text = "Inter-|   Receive\n face |bytes\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  \
                    eth0: 10 2 3 4 0 0 0 0 50 6 7 8 0 0 0 0\n";
        let eth0 = json!({
            "rx_bytes": 10, "rx_packets": 2, "rx_errors": 3, "rx_dropped": 4,
            "tx_bytes": 50, "tx_packets": 6, "tx_errors": 7, "tx_dropped": 8,
        });
        assert_eq!(interfaces(text), json!({ "eth0": eth0 }));
        assert_eq!(interfaces("garbage"), json!({}));
    }
}
