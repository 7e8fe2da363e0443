//! Events: what happened to an object, for people. Told once, then counted.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use hako_error::Result;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use serde_json::json;
use tokio::sync::mpsc;

use crate::api::Object;
use crate::client::Client;
use crate::params::Patch;

/// Events waiting to be written; more are dropped, the work goes on.
const BACKLOG: usize = 1024;
/// Events remembered for counting.
const REMEMBERED: usize = 1024;

/// Whether an event is good news.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventType {
    /// The usual course.
    Normal,
    /// Someone should look.
    Warning,
}

/// Writes events in the background and never blocks or fails its caller. Cheap to clone.
#[derive(Clone)]
pub struct Recorder {
    sender: mpsc::Sender<Note>,
    component: Arc<str>,
}

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recorder").field("component", &self.component).finish_non_exhaustive()
    }
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    uid: String,
    field_path: String,
    kind: EventType,
    reason: String,
    message: String,
}

struct Note {
    key: Key,
    object: ObjectReference,
    at: Timestamp,
}

impl Recorder {
    /// A recorder for a component (`kubelet`, `default-scheduler`, …) on a host. Needs a tokio runtime.
    #[must_use]
    pub fn new(client: Client, component: &str, host: Option<&str>) -> Self {
        let (sender, receiver) = mpsc::channel(BACKLOG);
        let source = EventSource { component: Some(component.to_owned()), host: host.map(str::to_owned) };
        tokio::spawn(Writer { client, source, known: HashMap::new() }.run(receiver));
        Self { sender, component: Arc::from(component) }
    }

    /// Tells an event about an object.
    pub fn event(&self, object: &ObjectReference, kind: EventType, reason: &str, message: &str) {
        let key = Key {
            uid: object.uid.clone().unwrap_or_else(|| format!("{:?}/{:?}", object.namespace, object.name)),
            field_path: object.field_path.clone().unwrap_or_default(),
            kind,
            reason: reason.to_owned(),
            message: message.to_owned(),
        };
        let note = Note { key, object: object.clone(), at: Timestamp::now() };
        if self.sender.try_send(note).is_err() {
            tracing::debug!(reason, "event dropped: too many wait to be written");
        }
    }

    /// Tells a normal event.
    pub fn normal<K: Object>(&self, object: &K, reason: &str, message: &str) {
        self.event(&reference_to(object), EventType::Normal, reason, message);
    }

    /// Tells a warning.
    pub fn warning<K: Object>(&self, object: &K, reason: &str, message: &str) {
        self.event(&reference_to(object), EventType::Warning, reason, message);
    }
}

/// A reference to an object as events carry it.
#[must_use]
pub fn reference_to<K: Object>(object: &K) -> ObjectReference {
    let meta = object.metadata();
    ObjectReference {
        api_version: Some(K::API_VERSION.to_owned()),
        kind: Some(K::KIND.to_owned()),
        name: meta.name.clone(),
        namespace: meta.namespace.clone(),
        uid: meta.uid.clone(),
        resource_version: meta.resource_version.clone(),
        field_path: None,
    }
}

struct Writer {
    client: Client,
    source: EventSource,
    /// Name and count of the event written for a key.
    known: HashMap<Key, (String, i32)>,
}

impl Writer {
    async fn run(mut self, mut receiver: mpsc::Receiver<Note>) {
        while let Some(note) = receiver.recv().await {
            if let Err(error) = self.write(&note).await {
                tracing::debug!(reason = note.key.reason, error = %error.chain(), "event not written");
            }
        }
    }

    async fn write(&mut self, note: &Note) -> Result<()> {
        if let Some((name, count)) = self.known.get_mut(&note.key) {
            *count += 1;
            let patch = Patch::Merge(json!({"count": count, "lastTimestamp": seconds(note.at)}));
            let api = self.client.namespaced::<Event>(namespace_of(&note.object));
            match api.patch(name, &patch).await {
                Ok(_) => return Ok(()),
                Err(error) if error.is_not_found() => drop(self.known.remove(&note.key)),
                Err(error) => return Err(error),
            }
        }
        let event = self.first(note);
        let name = event.metadata.name.clone().unwrap_or_default();
        self.client.namespaced::<Event>(namespace_of(&note.object)).create(&event).await?;
        if self.known.len() >= REMEMBERED {
            self.known.clear();
        }
        self.known.insert(note.key.clone(), (name, 1));
        Ok(())
    }

    fn first(&self, note: &Note) -> Event {
        let object = note.object.name.as_deref().unwrap_or("unknown");
        let nanos = note.at.as_nanosecond();
        Event {
            metadata: ObjectMeta {
                name: Some(format!("{object}.{nanos:x}")),
                namespace: Some(namespace_of(&note.object).to_owned()),
                ..ObjectMeta::default()
            },
            involved_object: note.object.clone(),
            type_: Some(format!("{:?}", note.key.kind)),
            reason: Some(note.key.reason.clone()),
            message: Some(note.key.message.clone()),
            source: Some(self.source.clone()),
            reporting_component: self.source.component.clone(),
            reporting_instance: self.source.host.clone(),
            count: Some(1),
            first_timestamp: Some(Time(note.at)),
            last_timestamp: Some(Time(note.at)),
            ..Event::default()
        }
    }
}

/// Cluster-wide objects have their events in `default`.
fn namespace_of(object: &ObjectReference) -> &str {
    object.namespace.as_deref().filter(|namespace| !namespace.is_empty()).unwrap_or("default")
}

fn seconds(at: Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
