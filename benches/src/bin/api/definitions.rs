//! Definitions of custom resources: what many of them cost, and a typical one.

use crate::client::{Ask, Client};
use crate::role::Role;
use anyhow::Context as _;
use bytes::Bytes;
use hako_benches::{Row, Target, median};
use serde_json::{Value, json};
use std::time::Duration;

const GROUP: &str = "bench.example.com";
const DEFINITIONS: usize = 500;
const MEMORY_MIB: f64 = 40.0;
const START_MS: f64 = 1000.0;
const ROUNDS: usize = 5;
/// How long the last definition may take to be established.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long a server is left alone before its memory is read.
const QUIET: Duration = Duration::from_secs(3);
const DEFINITIONS_PATH: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Memory and start with many definitions beside those without any.
pub fn definitions() -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let mut role = Role::start()?;
    let (bare, bare_start) = stand(&mut role)?;
    runtime.block_on(install(&role, DEFINITIONS, &["v1", "v2"]))?;
    std::thread::sleep(QUIET);
    let after_install = role.memory_mib("VmRSS")?;
    let (many, many_start) = stand(&mut role)?;
    runtime.block_on(serves_all(&role, DEFINITIONS))?;
    let asked = role.memory_mib("VmRSS")?;
    let row = |what: &str, ours, unit, target, why| Row {
        what: format!("{DEFINITIONS} definitions of two versions: {what}"),
        ours,
        peer: None,
        unit,
        target,
        why,
    };
    let stored = runtime.block_on(size(&role))? / f64::from(1 << 20);
    Ok(vec![
        row(
            "memory more, after a start",
            many - bare,
            "MiB",
            Target::AtMost(MEMORY_MIB),
            format!("{bare:.1} MiB without; as JSON they are {stored:.1} MiB"),
        ),
        row(
            "memory more, where they were made",
            after_install - bare,
            "MiB",
            Target::AtMost(MEMORY_MIB),
            String::new(),
        ),
        row(
            "memory more, when each was asked for",
            asked - bare,
            "MiB",
            Target::AtMost(MEMORY_MIB),
            String::new(),
        ),
        row(
            "start takes longer by",
            many_start - bare_start,
            "ms",
            Target::AtMost(START_MS),
            format!("{bare_start:.0} ms without"),
        ),
    ])
}

/// Memory after a start, and how long that took: the medians of some.
fn stand(role: &mut Role) -> anyhow::Result<(f64, f64)> {
    let (mut memory, mut start) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        role.restart()?;
        start.push(role.start_ms());
        std::thread::sleep(QUIET);
        memory.push(role.memory_mib("VmRSS")?);
    }
    Ok((median(memory), median(start)))
}

/// Makes so many definitions, and waits until all are served.
pub async fn install(role: &Role, count: usize, versions: &[&str]) -> anyhow::Result<()> {
    let mut client = Client::connect(role).await?;
    for at in 0..count {
        let body = Bytes::from(definition(&format!("Thing{at}"), versions).to_string());
        client.ok(&Ask::json("POST", DEFINITIONS_PATH, body)).await?;
    }
    let all = async {
        loop {
            let list = client.get_json(DEFINITIONS_PATH).await?;
            let items = list["items"].as_array().context("a list has items")?;
            if items.iter().all(is_established) {
                return anyhow::Ok(());
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.context("not all definitions were established")?
}

fn is_established(definition: &Value) -> bool {
    let conditions = definition["status"]["conditions"].as_array();
    conditions.is_some_and(|all| all.iter().any(|it| it["type"] == "Established" && it["status"] == "True"))
}

async fn serves_all(role: &Role, count: usize) -> anyhow::Result<()> {
    let mut client = Client::connect(role).await?;
    for at in 0..count {
        for version in ["v1", "v2"] {
            let path = format!("/apis/{GROUP}/{version}/namespaces/default/thing{at}s");
            client.ok(&Ask::get(&path)).await?;
        }
    }
    Ok(())
}

/// Of all definitions, in JSON.
async fn size(role: &Role) -> anyhow::Result<f64> {
    let mut client = Client::connect(role).await?;
    Ok(client.ok(&Ask::get(DEFINITIONS_PATH)).await?.len() as f64)
}

/// Where objects of a definition's kind are, in the namespace `default`.
pub fn path_of(kind: &str) -> String {
    format!("/apis/{GROUP}/v1/namespaces/default/{}s", kind.to_lowercase())
}

pub fn api_version() -> String {
    format!("{GROUP}/v1")
}

/// The definition of a kind as operators publish them: texts for whoever reads it, defaults, bounds, lists by key and
/// five rules.
pub fn definition(kind: &str, versions: &[&str]) -> Value {
    let plural = format!("{}s", kind.to_lowercase());
    let version = |(at, name): (usize, &&str)| {
        json!({
            "name": name, "served": true, "storage": at == 0, "schema": {"openAPIV3Schema": schema()},
            "subresources": {"status": {}},
            "additionalPrinterColumns": [
                {"name": "Replicas", "type": "integer", "jsonPath": ".spec.replicas"},
                {"name": "Phase", "type": "string", "jsonPath": ".status.phase"},
                {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
            ],
        })
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced", "names": {"plural": plural, "kind": kind},
            "versions": versions.iter().enumerate().map(version).collect::<Vec<_>>(),
        },
    })
}

fn schema() -> Value {
    json!({
        "type": "object", "required": ["spec"],
        "description": "An application of the bench, as whoever operates it describes it.",
        "properties": {
            "apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
            "spec": spec(), "status": status(),
        },
    })
}

fn spec() -> Value {
    json!({
        "type": "object", "required": ["image"], "description": "What the application is to be.",
        "properties": {
            "image": {"type": "string", "maxLength": 256, "description": "The image that its containers run."},
            "replicas": {"type": "integer", "format": "int32", "minimum": 0, "maximum": 1000, "default": 1,
                "description": "How many of its pods there are to be at once."},
            "minReplicas": {"type": "integer", "format": "int32", "minimum": 0, "default": 0,
                "description": "How many there are at least, whatever load says."},
            "maxReplicas": {"type": "integer", "format": "int32", "minimum": 1, "default": 1000,
                "description": "How many there are at most, whatever load says."},
            "strategy": {"type": "string", "enum": ["Recreate", "RollingUpdate"], "default": "RollingUpdate",
                "description": "How old pods make room for new ones."},
            "paused": {"type": "boolean", "description": "Whether changes wait."},
            "selector": {"type": "object", "additionalProperties": {"type": "string", "maxLength": 63},
                "maxProperties": 16, "description": "Labels of its pods."},
            "ports": {
                "type": "array", "maxItems": 16, "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["name"], "description": "Where its containers listen.",
                "items": {
                    "type": "object", "required": ["name", "port"],
                    "properties": {
                        "name": {"type": "string", "maxLength": 15, "pattern": "^[a-z]([-a-z0-9]*[a-z0-9])?$"},
                        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
                        "protocol": {"type": "string", "enum": ["TCP", "UDP", "SCTP"], "default": "TCP"},
                        "targetPort": {"x-kubernetes-int-or-string": true},
                    },
                },
            },
            "resources": {"type": "object", "description": "What each pod may take.", "properties": {
                "limits": {"type": "object", "additionalProperties": quantity(), "maxProperties": 8},
                "requests": {"type": "object", "additionalProperties": quantity(), "maxProperties": 8},
            }},
            "configuration": {"type": "string", "maxLength": 4096,
                "description": "Handed to the program as a file, as it is."},
            "overrides": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                "description": "Merged into the template of pods."},
        },
        "x-kubernetes-validations": [
            {"rule": "self.minReplicas <= self.replicas", "message": "there may not be fewer replicas than minReplicas"},
            {"rule": "self.replicas <= self.maxReplicas", "message": "there may not be more replicas than maxReplicas"},
            {"rule": "!has(self.ports) || self.ports.exists(p, p.name == 'http')",
                "message": "one of the ports has to be named http"},
            {"rule": "self.image.contains(':')", "message": "the image has to have a tag"},
            {"rule": "!has(self.configuration) || self.configuration.size() > 0",
                "messageExpression": "'the configuration of ' + self.image + ' is empty'"},
        ],
    })
}

fn quantity() -> Value {
    json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}], "maxLength": 32})
}

fn status() -> Value {
    json!({
        "type": "object", "description": "What the application is.",
        "properties": {
            "phase": {"type": "string", "description": "In one word."},
            "observedGeneration": {"type": "integer", "format": "int64"},
            "readyReplicas": {"type": "integer", "format": "int32"},
            "conditions": {
                "type": "array", "maxItems": 16, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                "description": "What holds of it at the moment, and since when.",
                "items": {
                    "type": "object", "required": ["type", "status"],
                    "properties": {
                        "type": {"type": "string", "maxLength": 316}, "reason": {"type": "string", "maxLength": 1024},
                        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                        "message": {"type": "string", "maxLength": 32768},
                        "lastTransitionTime": {"type": "string", "format": "date-time"},
                    },
                },
            },
        },
    })
}
