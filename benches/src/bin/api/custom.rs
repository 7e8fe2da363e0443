//! Custom objects with a typical schema and five rules beside built-in ones of the same size, in turns on one server:
//! beside Deployments, which say about the same in about as many members with lists by key and defaults, and beside
//! ConfigMaps, the leanest objects there are, whose content is one text.

use crate::client::{Ask, Client};
use crate::definitions::{api_version, definition, path_of};
use crate::role::Role;
use anyhow::Context as _;
use bytes::Bytes;
use hako_benches::{Row, Target};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const KIND: &str = "Application";
const OBJECTS: usize = 4000;
/// Both take turns in so many pieces: what else the machine does disturbs both.
const TURNS: usize = 10;
const STREAMS: usize = 32;
const LISTS: usize = 5;
/// Of an object as it is sent.
const BYTES: usize = 1200;
const RATIO: f64 = 0.8;
const MAPS: &str = "/api/v1/namespaces/default/configmaps";
/// Nothing acts on them: the bench's server has no controllers.
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";

/// What is compared, in the order of a life.
const PHASES: [&str; 5] = ["create", "get", "list", "update", "patch"];

/// The places of the kinds.
const CUSTOM: usize = 0;
const BUILT_IN: [usize; 2] = [1, 2];

/// One of the kinds.
struct Side {
    /// What its objects are called, and what is to be known of them.
    name: &'static str,
    path: String,
    /// An object by its number and its age.
    object: fn(usize, usize) -> Value,
    patch: fn() -> Value,
    /// Of each object, which its update has to name.
    versions: Mutex<HashMap<usize, String>>,
}

/// Of one phase of one side.
#[derive(Clone, Copy, Default)]
struct Spent {
    wall: Duration,
    cpu_us: f64,
    count: usize,
}

impl Spent {
    fn rate(&self) -> f64 {
        self.count as f64 / self.wall.as_secs_f64()
    }

    fn cpu_us_each(&self) -> f64 {
        self.cpu_us / self.count as f64
    }
}

pub fn custom() -> anyhow::Result<Vec<Row>> {
    let role = Arc::new(Role::start()?);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(measure(&role))
}

async fn measure(role: &Arc<Role>) -> anyhow::Result<Vec<Row>> {
    let mut client = Client::connect(role).await?;
    let definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    let body = Bytes::from(definition(KIND, &["v1"]).to_string());
    client.ok(&Ask::json("POST", definitions, body)).await?;
    let path = path_of(KIND);
    let deadline = Instant::now() + Duration::from_secs(30);
    while !client.call(&Ask::get(&path)).await?.0.is_success() {
        anyhow::ensure!(Instant::now() < deadline, "the kind is not served");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let side =
        |name, path, object, patch| Arc::new(Side { name, path, object, patch, versions: Mutex::default() });
    let pause = || json!({"spec": {"paused": true}});
    let sides = [
        side("custom objects", path, application, pause),
        side("Deployments of the same size and as many members", DEPLOYMENTS.to_owned(), deployment, pause),
        side(
            "ConfigMaps of the same size, which are one text",
            MAPS.to_owned(),
            map,
            || json!({"data": {"color": "red"}}),
        ),
    ];
    let mut rows = Vec::new();
    for phase in PHASES {
        let mut spent = [Spent::default(); 3];
        for turn in 0..TURNS {
            for (side, spent) in sides.iter().zip(&mut spent) {
                run(role, &client, side, phase, turn, spent).await?;
            }
        }
        rows.extend(BUILT_IN.map(|at| row(phase, spent[CUSTOM], sides[at].name, spent[at])));
    }
    Ok(rows)
}

async fn run(
    role: &Role,
    client: &Client,
    side: &Arc<Side>,
    phase: &'static str,
    turn: usize,
    spent: &mut Spent,
) -> anyhow::Result<()> {
    let (from, until) = match phase {
        "list" => (0, LISTS),
        _ => (turn * OBJECTS / TURNS, (turn + 1) * OBJECTS / TURNS),
    };
    let next = Arc::new(AtomicUsize::new(from));
    let (began, cpu) = (Instant::now(), role.cpu_us()?);
    let streams = if phase == "list" { 2 } else { STREAMS };
    let tasks = (0..streams).map(|_| {
        let (mut client, side, next) = (client.clone(), Arc::clone(side), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let at = next.fetch_add(1, Ordering::Relaxed);
                if at >= until {
                    return anyhow::Ok(());
                }
                side.ask(&mut client, phase, at).await?;
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await??;
    }
    spent.wall += began.elapsed();
    spent.cpu_us += role.cpu_us()? - cpu;
    spent.count += until - from;
    Ok(())
}

impl Side {
    async fn ask(&self, client: &mut Client, phase: &str, at: usize) -> anyhow::Result<()> {
        let one = format!("{}/o{at}", self.path);
        let bytes = |value: Value| Bytes::from(value.to_string());
        let ask = match phase {
            "create" => Ask::json("POST", &self.path, bytes((self.object)(at, 0))),
            "get" => Ask::get(&one),
            "list" => Ask::get(&self.path),
            "update" => {
                let mut object = (self.object)(at, 1);
                object["metadata"]["resourceVersion"] = self.versions.lock().get(&at).cloned().into();
                Ask::json("PUT", &one, bytes(object))
            }
            "patch" => Ask::json("PATCH", &one, bytes((self.patch)())),
            other => anyhow::bail!("no phase {other}"),
        };
        let answer = client.ok(&ask).await?;
        if phase == "create" {
            self.versions.lock().insert(at, version(&answer).context("an object without a version")?);
        }
        Ok(())
    }
}

/// The version of an object as it is answered, which is not decoded for that.
fn version(answer: &[u8]) -> Option<String> {
    let (_, rest) = str::from_utf8(answer).ok()?.split_once("\"resourceVersion\":\"")?;
    rest.split_once('"').map(|(version, _)| version.to_owned())
}

fn map(at: usize, age: usize) -> Value {
    let object = json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("o{at}"), "namespace": "default"},
        "data": {"age": age.to_string(), "payload": ""},
    });
    filled(object, "/data/payload")
}

fn application(at: usize, age: usize) -> Value {
    let object = json!({
        "apiVersion": api_version(), "kind": KIND, "metadata": {"name": format!("o{at}"), "namespace": "default"},
        "spec": {
            "image": "registry.example.com/shop/cart:1.2.3", "replicas": 3 + age, "minReplicas": 1, "maxReplicas": 10,
            "strategy": "RollingUpdate", "selector": {"app": "cart", "tier": "backend"},
            "ports": [{"name": "http", "port": 8080, "targetPort": "web"}, {"name": "metrics", "port": 9090}],
            "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
            "configuration": "", "overrides": {"nodeSelector": {"disk": "ssd"}},
        },
    });
    filled(object, "/spec/configuration")
}

/// What an application of the bench says, as far as a Deployment says it: one member more, and more defaults.
fn deployment(at: usize, age: usize) -> Value {
    let labels = json!({"app": "cart", "tier": "backend"});
    let container = json!({
        "name": "cart", "image": "registry.example.com/shop/cart:1.2.3",
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "metrics", "containerPort": 9090}],
        "resources": {"limits": {"cpu": "500m", "memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
        "env": [{"name": "CONFIGURATION", "value": ""}],
    });
    let object = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": format!("o{at}"), "namespace": "default"},
        "spec": {
            "replicas": 3 + age, "strategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [container], "nodeSelector": {"disk": "ssd"}},
            },
        },
    });
    filled(object, "/spec/template/spec/containers/0/env/0/value")
}

/// The object with as much text as makes it as long as all others.
fn filled(mut object: Value, place: &str) -> Value {
    let missing = BYTES.saturating_sub(object.to_string().len());
    if let Some(text) = object.pointer_mut(place) {
        *text = "x".repeat(missing).into();
    }
    object
}

fn row(phase: &str, custom: Spent, name: &str, built_in: Spent) -> Row {
    Row {
        what: format!("{phase}, custom objects with five rules, {BYTES} bytes"),
        ours: custom.rate(),
        peer: Some((format!("{name}, in turns"), built_in.rate())),
        unit: "/s",
        target: Target::RatioAtLeast(RATIO),
        why: format!(
            "each took {:.0} us of the server's CPU, one of the others {:.0}",
            custom.cpu_us_each(),
            built_in.cpu_us_each()
        ),
    }
}
