//! Ten thousand watchers on one namespace, each of one object, as nodes watch what their pods mount.

use crate::client::{Sender, connect};
use crate::role::Role;
use anyhow::Context as _;
use bytes::Bytes;
use hako_benches::{Row, Target};
use http_body_util::{BodyExt as _, Full};
use serde_json::json;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

const WATCHERS: usize = 10_000;
/// Of one connection; the server allows 1,000.
const STREAMS: usize = 900;
const WRITES: usize = 5_000;
const PERIOD: Duration = Duration::from_millis(2);
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DELIVERY_MS: f64 = 50.0;
/// How long the last event may take until it counts as lost.
const PATIENCE: Duration = Duration::from_secs(30);

pub fn watchers() -> anyhow::Result<Vec<Row>> {
    let role = Role::start()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut delays = runtime.block_on(measure(&role))?;
    delays.sort_by(f64::total_cmp);
    let p99 = delays[delays.len() * 99 / 100];
    Ok(vec![
        Row {
            what: format!("{WATCHERS} watchers, 500 writes/s: p99 from request to event"),
            ours: p99,
            peer: None,
            unit: "ms",
            target: Target::AtMost(DELIVERY_MS),
            why: format!("the median is {:.2} ms", delays[delays.len() / 2]),
        },
        Row {
            what: format!("resident memory with {WATCHERS} watchers"),
            ours: role.memory_mib("VmRSS")?,
            peer: None,
            unit: "MiB",
            target: Target::None,
            why: String::new(),
        },
    ])
}

async fn measure(role: &Role) -> anyhow::Result<Vec<f64>> {
    let mut writer = connect(role).await?;
    for at in 0..WATCHERS {
        write(&mut writer, role, at, 0, true).await?;
    }
    let (tell, mut told) = mpsc::unbounded_channel();
    let mut connections = Vec::new();
    for at in 0..WATCHERS {
        if at % STREAMS == 0 {
            connections.push(connect(role).await?);
        }
        let sender = connections.last_mut().context("a connection")?;
        let path = format!("{MAPS}?watch=true&fieldSelector=metadata.name%3Dw{at}&resourceVersion=0");
        let response = sender.send_request(request(role, "GET", &path, Bytes::new())?).await?;
        anyhow::ensure!(response.status().is_success(), "a watch was answered {}", response.status());
        let (mut body, tell) = (response.into_body(), tell.clone());
        // What is there already.
        body.frame().await.context("a watch ended")??;
        tokio::spawn(async move {
            while let Some(Ok(_)) = body.frame().await {
                if tell.send((at, Instant::now())).is_err() {
                    return;
                }
            }
        });
    }
    let mut clock = tokio::time::interval(PERIOD);
    let mut sent = vec![None; WATCHERS];
    for (at, sent) in sent.iter_mut().enumerate().take(WRITES) {
        clock.tick().await;
        *sent = Some(Instant::now());
        write(&mut writer, role, at, 1, false).await?;
    }
    let mut delays = Vec::with_capacity(WRITES);
    while delays.len() < WRITES {
        let (at, when) = tokio::time::timeout(PATIENCE, told.recv()).await?.context("a watch ended")?;
        let began = sent[at].context("an event of nothing that was written")?;
        delays.push(hako_benches::ms(when - began));
    }
    Ok(delays)
}

async fn write(writer: &mut Sender, role: &Role, at: usize, seq: usize, is_new: bool) -> anyhow::Result<()> {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("w{at}")},
        "data": {"seq": seq.to_string()},
    });
    let (method, path) = if is_new { ("POST", MAPS.to_owned()) } else { ("PUT", format!("{MAPS}/w{at}")) };
    let request = request(role, method, &path, Bytes::from(object.to_string()))?;
    let response = writer.send_request(request).await?;
    anyhow::ensure!(response.status().is_success(), "a write was answered {}", response.status());
    response.into_body().collect().await?;
    Ok(())
}

fn request(
    role: &Role,
    method: &str,
    path: &str,
    body: Bytes,
) -> anyhow::Result<hyper::Request<Full<Bytes>>> {
    let request = hyper::Request::builder()
        .method(method)
        .uri(format!("{}{path}", role.url))
        .header("authorization", format!("Bearer {}", role.token))
        .header("content-type", "application/json");
    Ok(request.body(Full::new(body))?)
}
