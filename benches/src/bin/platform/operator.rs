//! How soon an operator in a pod is told of what is written: this program with a watcher of the crate `kube`, in an image that the
//! platform built. Every object carries the time at which its request was sent, and both clocks are the machine's.

use crate::floor::Floor;
use crate::process::{Busy, Platform};
use anyhow::Context as _;
use futures::{StreamExt as _, TryStreamExt as _};
use hako_benches::{Row, Target, ms, time};
use k8s_openapi::api::core::v1::{ConfigMap, Pod, ServiceAccount};
use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, Patch, PatchParams, PostParams};
use kube::runtime::wait::{await_condition, conditions};
use kube::runtime::watcher;
use kube::{Api, Client};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const OBJECTS: usize = 100;
/// Each at its own pace, so that one slow write does not hold up the others.
const WRITERS: usize = 4;
const WRITES_EACH: usize = 2_500;
/// In turns with the bare program.
const TURNS: usize = 5;
const FLOOR_PERIODS: usize = 250;
const PERIOD: Duration = Duration::from_millis(8);
const DELIVERY_MS: f64 = 5.0;
const PATIENCE: Duration = Duration::from_secs(60);
/// ConfigMaps in which the operator says that it watches, and what it saw.
const WATCHES: &str = "watches";
const SAW: &str = "saw";

pub fn operator(hako: &Path) -> anyhow::Result<Vec<Row>> {
    let platform = Platform::start(hako)?;
    platform.import_busybox()?;
    build(&platform)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let client = platform.client().await?;
        prepare(&client).await?;
        let Written { answered, floor, seconds, busy } = write_in_turns(&client, &platform).await?;
        let rate = (WRITERS * WRITES_EACH) as f64 / seconds;
        let saw = report(&client, SAW).await?;
        let figure = |name: &str| saw[name].as_str().and_then(|text| text.parse::<f64>().ok());
        let why = format!(
            "the median is {:.2} ms, the longest {:.2} ms; answers to the writers took {:.2} ms in the median, {:.2} ms at p99; the cores \
             were {busy:.0} % busy, by the writers too; a bare program, in turns with them on the same disk, took {:.2} ms in the \
             median and {:.2} ms at p99 for the two commits that such writes need",
            figure("median").context("median")?,
            figure("longest").context("longest")?,
            share(&answered, 50),
            share(&answered, 99),
            share(&floor, 50),
            share(&floor, 99),
        );
        Ok(vec![Row {
            what: format!("operator in a pod, {rate:.0} writes/s: p99 from request to event"),
            ours: figure("p99").context("p99")?,
            peer: None,
            unit: "ms",
            target: Target::AtMost(DELIVERY_MS),
            why,
        }])
    })
}

/// An image of this program and its libraries.
fn build(platform: &Platform) -> anyhow::Result<()> {
    let program = std::env::current_exe()?;
    let context = tempfile::tempdir()?;
    let libraries = Command::new("ldd").arg(&program).output()?.stdout;
    let libraries = String::from_utf8(libraries)?;
    let libraries = libraries.split_whitespace().filter(|word| word.starts_with('/'));
    let mut wanted: Vec<_> = libraries.map(|path| (PathBuf::from(path), path.to_owned())).collect();
    wanted.push((program, "/bin/operator".to_owned()));
    for (from, to) in wanted {
        let to = context.path().join("root").join(to.trim_start_matches('/'));
        std::fs::create_dir_all(to.parent().context("a folder")?)?;
        std::fs::copy(&from, &to)?;
    }
    std::fs::write(context.path().join("Dockerfile"), "FROM busybox\nCOPY root /\n")?;
    time(platform.command().args(["build", "-t", "operator:bench"]).arg(context.path())).map(drop)
}

/// The kind, its objects, and the operator, until it watches.
async fn prepare(client: &Client) -> anyhow::Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    definitions.create(&PostParams::default(), &serde_json::from_value(definition())?).await?;
    let established =
        await_condition(definitions, "orders.bench.example.com", conditions::is_crd_established());
    tokio::time::timeout(PATIENCE, established).await??;
    let orders = orders(client);
    for at in 0..OBJECTS {
        let order = json!({
            "apiVersion": "bench.example.com/v1", "kind": "Order", "metadata": {"name": format!("o{at}")},
            "spec": {"customer": "harbour", "lines": [{"item": "rope", "count": 3}, {"item": "sail", "count": 1}]},
        });
        orders.create(&PostParams::default(), &serde_json::from_value(order)?).await?;
    }
    let accounts: Api<ServiceAccount> = Api::default_namespaced(client.clone());
    let account = json!({"metadata": {"name": "operator"}});
    accounts.create(&PostParams::default(), &serde_json::from_value(account)?).await?;
    let bindings: Api<ClusterRoleBinding> = Api::all(client.clone());
    let binding = json!({
        "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "ServiceAccount", "namespace": "default", "name": "operator"}],
    });
    bindings.create(&PostParams::default(), &serde_json::from_value(binding)?).await?;
    let pods: Api<Pod> = Api::default_namespaced(client.clone());
    let pod = json!({
        "metadata": {"name": "operator"},
        "spec": {
            "serviceAccountName": "operator", "restartPolicy": "Never", "terminationGracePeriodSeconds": 0,
            "containers": [{
                "name": "operator", "image": "operator:bench", "imagePullPolicy": "IfNotPresent",
                "command": ["operator", "follow"],
            }],
        },
    });
    pods.create(&PostParams::default(), &serde_json::from_value(pod)?).await?;
    report(client, WATCHES).await.map(drop)
}

/// A kind with a usual schema and five rules.
fn definition() -> Value {
    let rule = |rule: &str| json!({"rule": rule});
    let line = json!({
        "type": "object",
        "properties": {"item": {"type": "string", "maxLength": 40}, "count": {"type": "integer", "default": 1}},
        "x-kubernetes-validations": [rule("self.count > 0"), rule("!self.item.startsWith('-')")],
    });
    let spec = json!({
        "type": "object", "required": ["customer"],
        "properties": {
            "customer": {"type": "string", "maxLength": 80},
            "sent": {"type": "string", "maxLength": 40},
            "priority": {"type": "string", "enum": ["low", "high"], "default": "low"},
            "lines": {"type": "array", "maxItems": 20, "items": line},
        },
        "x-kubernetes-validations": [
            rule("self.customer == oldSelf.customer"), rule("size(self.lines) > 0"),
            rule("self.priority != 'high' || self.lines.all(line, line.count < 100)"),
        ],
    });
    json!({
        "metadata": {"name": "orders.bench.example.com"},
        "spec": {
            "group": "bench.example.com", "scope": "Namespaced", "names": {"kind": "Order", "plural": "orders"},
            "versions": [{
                "name": "v1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": spec}}},
            }],
        },
    })
}

fn orders(client: &Client) -> Api<DynamicObject> {
    let kind = ApiResource::from_gvk(&GroupVersionKind::gvk("bench.example.com", "v1", "Order"));
    Api::default_namespaced_with(client.clone(), &kind)
}

/// What writing took, each sorted.
struct Written {
    answered: Vec<f64>,
    floor: Vec<f64>,
    seconds: f64,
    /// Percent of the cores while there was writing.
    busy: f64,
}

async fn write_in_turns(client: &Client, platform: &Platform) -> anyhow::Result<Written> {
    let mut bare = Floor::new(platform.directory())?;
    let mut all = Written { answered: Vec::new(), floor: Vec::new(), seconds: 0.0, busy: 0.0 };
    for _ in 0..TURNS {
        let busy = Busy::start()?;
        let began = Instant::now();
        let writers = (0..WRITERS).map(|at| tokio::spawn(write(client.clone(), at)));
        for written in futures::future::join_all(writers).await {
            all.answered.extend(written??);
        }
        all.seconds += began.elapsed().as_secs_f64();
        all.busy += busy.percent()? / TURNS as f64;
        all.floor.extend(bare.measure(FLOOR_PERIODS, PERIOD)?);
    }
    all.answered.sort_by(f64::total_cmp);
    all.floor.sort_by(f64::total_cmp);
    Ok(all)
}

/// One turn; gives how long the answers took.
async fn write(client: Client, writer: usize) -> anyhow::Result<Vec<f64>> {
    let mut answered = Vec::with_capacity(WRITES_EACH / TURNS);
    let orders = orders(&client);
    let mut clock = tokio::time::interval(PERIOD);
    let own = OBJECTS / WRITERS;
    for at in 0..WRITES_EACH / TURNS {
        clock.tick().await;
        let name = format!("o{}", writer * own + at % own);
        let change = json!({"spec": {"sent": now()?.as_nanos().to_string()}});
        let began = Instant::now();
        orders.patch(&name, &PatchParams::default(), &Patch::Merge(change)).await?;
        answered.push(ms(began.elapsed()));
    }
    Ok(answered)
}

/// The figure below which a share of them, in percent, are.
fn share(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

fn now() -> anyhow::Result<Duration> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH)?)
}

/// Waits for what the operator writes in a ConfigMap.
async fn report(client: &Client, name: &str) -> anyhow::Result<Value> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let is_there = await_condition(maps, name, |map: Option<&ConfigMap>| map.is_some());
    let map = match tokio::time::timeout(PATIENCE, is_there).await {
        Ok(map) => map?.context("a ConfigMap")?,
        Err(_) => {
            let pods: Api<Pod> = Api::default_namespaced(client.clone());
            let said = pods.logs("operator", &Default::default()).await.unwrap_or_default();
            anyhow::bail!("the operator did not write {name:?} within {PATIENCE:?}; it said: {said}")
        }
    };
    Ok(serde_json::to_value(map.data)?)
}

/// What runs in the pod: follows the objects, and says in a ConfigMap how long it took until it was told of each write.
pub fn follow() -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let client = Client::try_default().await?;
        let mut events = watcher(orders(&client), watcher::Config::default()).boxed();
        let mut delays = Vec::with_capacity(WRITERS * WRITES_EACH);
        while delays.len() < WRITERS * WRITES_EACH {
            match events.try_next().await?.context("the watch ended")? {
                watcher::Event::InitDone => say(&client, WATCHES, json!({})).await?,
                watcher::Event::Apply(order) => delays.push(delay(&order)?),
                _ => {}
            }
        }
        delays.sort_by(f64::total_cmp);
        let at = |percent| share(&delays, percent).to_string();
        say(&client, SAW, json!({"median": at(50), "p99": at(99), "longest": at(100)})).await
    })
}

/// Milliseconds since the request for this was sent.
fn delay(order: &DynamicObject) -> anyhow::Result<f64> {
    let sent: u64 = order.data["spec"]["sent"].as_str().context("when it was sent")?.parse()?;
    Ok(ms(now()?.saturating_sub(Duration::from_nanos(sent))))
}

async fn say(client: &Client, name: &str, data: Value) -> anyhow::Result<()> {
    let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
    let map = serde_json::from_value(json!({"metadata": {"name": name}, "data": data}))?;
    maps.create(&PostParams::default(), &map).await?;
    Ok(())
}
