//! Keeps what is in effect as the stored objects say, the suggested objects there, and the schemas' conditions true.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::try_join_all;
use hako_client::{Client, Patch, ResourceType, WriteOptions};
use hako_error::{Kind, Result};
use hako_store::{Entry, Event, EventKind, Range, StoreError};
use http::HeaderValue;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::level::{LevelSpec, bounds};
use super::schema::SchemaSpec;
use super::suggested::{AUTOUPDATE, objects};
use super::{Flow, Schema};
use crate::auth::Identity;
use crate::followed::{Followed, rest};
use crate::kinds::Served;
use crate::server::{Inner, Server};

const GROUP: &str = "flowcontrol.apiserver.k8s.io";
const LEVELS: &str = "prioritylevelconfigurations";
const SCHEMAS: &str = "flowschemas";

/// What is stored, by plural and name.
type Found = HashMap<(String, String), Stored>;

#[derive(Debug, Deserialize)]
struct Stored {
    metadata: Metadata,
    #[serde(default)]
    spec: Value,
    #[serde(default)]
    status: Status,
}

#[derive(Debug, Deserialize)]
struct Metadata {
    uid: String,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    #[serde(rename = "type")]
    kind: String,
    status: String,
    #[serde(default)]
    message: String,
}

/// Makes what is missing of the suggested objects, and puts all that is stored into effect.
pub(crate) async fn start(server: &Arc<Inner>) -> Result<()> {
    let mut found = read(server).await?;
    let client = Server::of(server).client(Identity::admin()).named("kube-apiserver");
    let wanted = objects();
    // Levels first, so that schemas find theirs.
    for plural in [LEVELS, SCHEMAS] {
        let lacking =
            wanted.iter().filter(|(of, ..)| *of == plural).map(|object| keep(&client, &found, object));
        if try_join_all(lacking).await?.contains(&true) {
            found = read(server).await?;
        }
        server.flow.apply(&found);
    }
    Ok(())
}

/// Notes in a schema that is about to be created whether its level is there.
pub(crate) fn note(server: &Inner, row: &Served, object: &mut Value) {
    if !row.is(GROUP, SCHEMAS) {
        return;
    }
    let level = object.pointer("/spec/priorityLevelConfiguration/name").and_then(Value::as_str).unwrap_or("");
    let said = Said { level: level.to_owned(), is_there: server.flow.levels.read().contains(level) };
    object["status"] = json!({"conditions": [said.condition()]});
    if let Some(uid) = object.pointer("/metadata/uid").and_then(Value::as_str) {
        server.flow.said.lock().insert(uid.to_owned(), said);
    }
}

/// What is stored, as it is followed.
#[derive(Debug, Default)]
pub(crate) struct Kept(Found);

impl Followed for Kept {
    const PREFIX: &'static str = "/registry/flowcontrol.apiserver.k8s.io/";
    const WHAT: &'static str = "flow schemas and priority levels";

    fn load(&mut self, server: &Arc<Inner>, entries: &[Arc<Entry>]) {
        self.0 = read_all(entries);
        server.flow.apply(&self.0);
    }

    fn change(&mut self, server: &Arc<Inner>, events: &[Arc<Event>]) {
        for event in events {
            let Some(key) = key_of(&event.entry.key) else { continue };
            match read_one(&event.entry).filter(|_| event.kind == EventKind::Put) {
                Some(stored) => drop(self.0.insert(key, stored)),
                None => drop(self.0.remove(&key)),
            }
        }
        server.flow.apply(&self.0);
    }

    async fn settle(&mut self, server: &Arc<Inner>) -> bool {
        let told = tell(server, &self.0).await;
        if let Err(error) = &told {
            tracing::warn!(%error, "the status of a flow schema is not written yet");
        }
        told.is_ok()
    }
}

fn key_of(key: &[u8]) -> Option<(String, String)> {
    let (plural, name) = rest::<Kept>(key).split_once('/')?;
    Some((plural.to_owned(), name.to_owned()))
}

fn read_one(entry: &Entry) -> Option<Stored> {
    serde_json::from_slice(&entry.value).ok()
}

fn read_all(entries: &[Arc<Entry>]) -> Found {
    entries.iter().filter_map(|entry| Some((key_of(&entry.key)?, read_one(entry)?))).collect()
}

async fn read(server: &Inner) -> Result<Found, StoreError> {
    let prefix = Bytes::from_static(Kept::PREFIX.as_bytes());
    let page = server.config.store.range(Range::all(prefix)).await?;
    Ok(read_all(&page.entries))
}

/// Makes an object that is missing, or gives it its spec back if it says so; whether anything was to be done.
async fn keep(
    client: &Client,
    found: &Found,
    (plural, name, spec): &(&'static str, &'static str, Value),
) -> Result<bool> {
    let api = client.dynamic(&ResourceType::new(GROUP, "v1", plural), None);
    let options = WriteOptions::default();
    let there = found.get(&((*plural).to_owned(), (*name).to_owned()));
    let Some(there) = there else {
        let metadata = json!({"name": name, "annotations": {AUTOUPDATE: "true"}});
        return match api.create(&json!({"metadata": metadata, "spec": spec}), &options).await {
            Err(error) if error.kind() != Kind::AlreadyExists => Err(error),
            _ => Ok(true),
        };
    };
    let is_kept = there.metadata.annotations.get(AUTOUPDATE).is_some_and(|value| value == "true");
    if !is_kept || there.spec == *spec {
        return Ok(false);
    }
    let mut object = api.get(name).await?;
    object["spec"] = spec.clone();
    api.replace(name, None, &object, &options).await.map(|_| true)
}

/// What was said of a schema's level.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Said {
    level: String,
    is_there: bool,
}

impl Said {
    fn message(&self) -> String {
        let rest = if self.is_there { "and it exists" } else { "but there is no such object" };
        let level = &self.level;
        format!("This FlowSchema references the PriorityLevelConfiguration object named {level:?} {rest}")
    }

    fn status(&self) -> &'static str {
        if self.is_there { "False" } else { "True" }
    }

    fn condition(&self) -> Value {
        let reason = if self.is_there { "Found" } else { "NotFound" };
        json!({
            "type": "Dangling", "status": self.status(), "reason": reason, "message": self.message(),
            "lastTransitionTime": now(),
        })
    }

    fn is_in(&self, status: &Status) -> bool {
        let is_it = |condition: &Condition| {
            condition.kind == "Dangling"
                && condition.status == self.status()
                && condition.message == self.message()
        };
        status.conditions.iter().any(is_it)
    }
}

/// Says of each schema whether its level is there, once: whoever takes that back has the last word until it changes.
async fn tell(server: &Arc<Inner>, found: &Found) -> Result<()> {
    let api = Server::of(server)
        .client(Identity::admin())
        .named("api-priority-and-fairness-config-consumer-v1")
        .dynamic(&ResourceType::new(GROUP, "v1", SCHEMAS), None);
    for ((_, name), stored) in found.iter().filter(|((plural, _), _)| plural == SCHEMAS) {
        let level =
            stored.spec.pointer("/priorityLevelConfiguration/name").and_then(Value::as_str).unwrap_or("");
        let is_there = found.contains_key(&(LEVELS.to_owned(), level.to_owned()));
        let said = Said { level: level.to_owned(), is_there };
        let uid = &stored.metadata.uid;
        if server.flow.said.lock().get(uid) == Some(&said) {
            continue;
        }
        if !said.is_in(&stored.status) {
            let patch = Patch::Strategic(json!({"status": {"conditions": [said.condition()]}}));
            match api.patch(name, Some("status"), &patch, &WriteOptions::default()).await {
                Err(error) if error.kind() != Kind::NotFound => return Err(error),
                _ => {}
            }
        }
        server.flow.said.lock().insert(uid.clone(), said);
    }
    forget(server, found);
    Ok(())
}

/// Of schemas that are gone nothing has to be known, once they are many.
fn forget(server: &Inner, found: &Found) {
    let mut said = server.flow.said.lock();
    if said.len() > 2 * found.len() {
        said.retain(|uid, _| found.values().any(|stored| stored.metadata.uid == *uid));
    }
}

impl Flow {
    fn apply(&self, found: &Found) {
        let of = |plural: &'static str| found.iter().filter(move |((of, _), _)| of == plural);
        let mut levels: Vec<(&str, &str, LevelSpec)> = of(LEVELS)
            .filter_map(|((_, name), stored)| {
                let spec = serde_json::from_value(stored.spec.clone()).ok()?;
                Some((name.as_str(), stored.metadata.uid.as_str(), spec))
            })
            .collect();
        levels.sort_by_key(|(name, ..)| *name);
        let specs: Vec<&LevelSpec> = levels.iter().map(|(.., spec)| spec).collect();
        let bounds = bounds(self.total, &specs);
        let all: Vec<_> =
            levels.iter().zip(bounds).map(|((name, _, spec), bounds)| (*name, spec, bounds)).collect();
        let places = self.seats.configure(&all);
        let mut schemas: Vec<Arc<Schema>> = of(SCHEMAS)
            .filter_map(|((_, name), stored)| {
                let spec: SchemaSpec = serde_json::from_value(stored.spec.clone()).ok()?;
                let place =
                    levels.iter().position(|(level, ..)| *level == spec.priority_level_configuration.name)?;
                let (level, level_uid, level_spec) = &levels[place];
                Some(Arc::new(Schema {
                    name: name.clone(),
                    uid: header(&stored.metadata.uid),
                    level: (*level).to_owned(),
                    level_uid: header(level_uid),
                    place: (!level_spec.is_exempt()).then(|| places[place]),
                    usage: self.usage(level, name),
                    spec,
                }))
            })
            .collect();
        schemas.sort_by(|a, b| {
            (a.spec.matching_precedence, &a.name).cmp(&(b.spec.matching_precedence, &b.name))
        });
        *self.levels.write() = levels.iter().map(|(name, ..)| (*name).to_owned()).collect();
        *self.schemas.write() = schemas;
    }
}

/// To the second, as all times in objects.
fn now() -> String {
    let now = Timestamp::now();
    Timestamp::from_second(now.as_second()).unwrap_or(now).to_string()
}

fn header(uid: &str) -> HeaderValue {
    HeaderValue::from_str(uid).unwrap_or(HeaderValue::from_static(""))
}
