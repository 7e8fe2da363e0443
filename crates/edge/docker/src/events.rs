//! What happens to containers and images, as Docker's JSON lines.

use crate::DockerState;
use crate::error::Answer;
use crate::params::{Filters, Params};
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::{StreamExt, future, stream};
use hako_container::{Action, Container, ContainerEngine, Event, Subject};
use hako_image::Image;
use http::header;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::RecvError;

/// Events that a client may ask for again, Docker's own number.
const PAST: usize = 256;
/// Events that a slow client may be behind.
const BACKLOG: usize = 4096;

/// All events as clients see them: the engine's about containers, ours about images, and the newest of both.
#[derive(Debug)]
pub(crate) struct Log {
    sender: broadcast::Sender<Arc<Value>>,
    past: Mutex<VecDeque<Arc<Value>>>,
}

impl Default for Log {
    fn default() -> Self {
        Self { sender: broadcast::channel(BACKLOG).0, past: Mutex::default() }
    }
}

impl Log {
    fn add(&self, line: Value) {
        let line = Arc::new(line);
        // Held while it is sent, so that who subscribes gets it once: from the past or live.
        let mut past = self.past.lock();
        if past.len() == PAST {
            past.pop_front();
        }
        past.push_back(Arc::clone(&line));
        // Nobody listening is fine.
        let _ = self.sender.send(line);
    }

    /// Something happened to an image: `id` is what it is called in the event, `name` its repository or name.
    pub(crate) fn image(&self, action: &str, id: &str, name: &str, image: &Image) {
        let labels = image.config.config().as_ref().and_then(|config| config.labels().clone());
        let mut attributes: Map<String, Value> =
            labels.into_iter().flatten().map(|(key, value)| (key, json!(value))).collect();
        attributes.insert("name".into(), json!(name));
        self.add(line("image", action, id, attributes, Timestamp::now()));
    }

    /// Something that only this face knows of happened to a container.
    pub(crate) fn container(&self, action: &str, container: &Container) {
        let labels = container.resolved.labels.iter();
        let mut attributes: Map<String, Value> =
            labels.map(|(key, value)| (key.clone(), json!(value))).collect();
        let image = container.spec.image.as_written();
        attributes.insert("image".into(), json!(image));
        attributes.insert("name".into(), json!(container.spec.name));
        let mut line = line("container", action, container.id.as_str(), attributes, Timestamp::now());
        line["from"] = json!(image);
        self.add(line);
    }

    /// How many clients listen.
    pub(crate) fn listeners(&self) -> usize {
        self.sender.receiver_count()
    }

    /// Events since a moment, if one is given, and those from now on.
    fn listen(&self, since: Option<Timestamp>) -> (VecDeque<Arc<Value>>, broadcast::Receiver<Arc<Value>>) {
        let past = self.past.lock();
        let is_wanted = |line: &&Arc<Value>| {
            since.is_some_and(|since| nanoseconds(since) <= line["timeNano"].as_i64().unwrap_or(0))
        };
        (past.iter().filter(is_wanted).cloned().collect(), self.sender.subscribe())
    }
}

/// Takes the engine's events into the log as long as the engine lives.
pub(crate) async fn follow(state: DockerState) {
    let mut receiver = state.engine.events();
    loop {
        match receiver.recv().await {
            Ok(event) => {
                if let Some(line) = json(&event) {
                    state.events.add(line);
                }
            }
            Err(RecvError::Lagged(missed)) => tracing::warn!(missed, "events of containers were missed"),
            Err(RecvError::Closed) => return,
        }
    }
}

/// Streams events: those since `since` that are still known, then the ones that come, until `until`.
pub(crate) async fn events(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&[
        "container",
        "event",
        "image",
        "label",
        "type",
        "daemon",
        "network",
        "volume",
        "scope",
    ])?;
    let now = Timestamp::now();
    let until = params.time("until")?;
    let left = match until {
        Some(until) => Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO),
        None => Duration::from_secs(u64::MAX >> 32),
    };
    let (mut past, receiver) = state.events.listen(params.time("since")?);
    if let Some(until) = until {
        past.retain(|line| is_until(line, until));
    }
    let live = stream::unfold(receiver, |mut receiver| async {
        loop {
            match receiver.recv().await {
                Ok(event) => return Some((event, receiver)),
                Err(RecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "a client of the events was too slow")
                }
                Err(RecvError::Closed) => return None,
            }
        }
    });
    let lines = stream::iter(past).chain(live.take_until(tokio::time::sleep(left)));
    let lines = lines.filter_map(move |line: Arc<Value>| {
        let is_wanted = wanted(&filters, &line);
        future::ready(is_wanted.then(|| Ok::<_, Infallible>(Bytes::from(format!("{line}\n")))))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}

/// Clients give whole seconds for "now": what happened within that second is in.
fn is_until(line: &Value, until: Timestamp) -> bool {
    match until.subsec_nanosecond() {
        0 => line["time"].as_i64().unwrap_or(0) <= until.as_second(),
        _ => line["timeNano"].as_i64().unwrap_or(0) <= nanoseconds(until),
    }
}

fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX)
}

/// What all events have; `status` and `id` are for clients before API 1.22.
fn line(kind: &str, action: &str, id: &str, attributes: Map<String, Value>, at: Timestamp) -> Value {
    json!({
        "status": action, "id": id, "Type": kind, "Action": action, "Actor": { "ID": id, "Attributes": attributes },
        "scope": "local", "time": at.as_second(), "timeNano": nanoseconds(at),
    })
}

fn json(event: &Event) -> Option<Value> {
    let (kind, id) = match &event.subject {
        Subject::Container { id, .. } => ("container", id.as_str()),
        Subject::Network(id) => ("network", id.as_str()),
        Subject::Volume(name) => ("volume", name.as_str()),
        Subject::Sandbox(_) => return None,
    };
    let mut attributes: Map<String, Value> =
        event.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    if kind == "container" {
        attributes.insert("image".into(), json!(event.image));
    }
    if !event.name.is_empty() {
        attributes.insert("name".into(), json!(event.name));
    }
    let action = match &event.action {
        Action::Create => "create",
        Action::Attach => "attach",
        Action::Start => "start",
        Action::Kill { signal } => {
            attributes.insert("signal".into(), json!(signal.to_string()));
            "kill"
        }
        Action::Oom => "oom",
        Action::Die { code } => {
            attributes.insert("exitCode".into(), json!(code.to_string()));
            "die"
        }
        Action::Stop => "stop",
        Action::Rename => "rename",
        Action::Update => "update",
        Action::Pause => "pause",
        Action::Unpause => "unpause",
        Action::Destroy => "destroy",
        Action::Connect { container } => {
            attributes.insert("container".into(), json!(container));
            "connect"
        }
        Action::Disconnect { container } => {
            attributes.insert("container".into(), json!(container));
            "disconnect"
        }
        Action::ExecStart { exec } => {
            attributes.insert("execID".into(), json!(exec));
            "exec_start"
        }
        Action::ExecDie { exec, code } => {
            attributes.insert("execID".into(), json!(exec));
            attributes.insert("exitCode".into(), json!(code.to_string()));
            "exec_die"
        }
    };
    let mut line = line(kind, action, id, attributes, event.at);
    if kind == "container" {
        line["from"] = json!(event.image);
    }
    Some(line)
}

fn wanted(filters: &Filters, line: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (id, action) = (text(&line["id"]), text(&line["Action"]));
    let attributes = &line["Actor"]["Attributes"];
    let (name, image) = (text(&attributes["name"]), text(&attributes["image"]));
    let labels =
        attributes.as_object().map(|map| map.iter().map(|(key, value)| (key.clone(), text(value))).collect());
    let is_container = line["Type"] == "container";
    filters.any("type", |wanted| line["Type"] == wanted)
        && filters.any("container", |wanted| is_container && (wanted == name || id.starts_with(wanted)))
        // `health_status` stands for `health_status: healthy` and its kind.
        && filters.any("event", |wanted| wanted == action || action.split(": ").next() == Some(wanted))
        && filters.any("image", |wanted| match is_container {
            true => wanted == image,
            false => wanted == name || wanted == id,
        })
        && filters.any("network", |wanted| line["Type"] == "network" && (wanted == name || id.starts_with(wanted)))
        && filters.any("volume", |wanted| line["Type"] == "volume" && wanted == id)
        && ["daemon"].iter().all(|kind| filters.get(kind).is_empty())
        && filters.any("scope", |wanted| wanted == "local")
        && filters.labels(&labels.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_after_until_is_cut_off() {
        let at = Timestamp::new(100, 500).unwrap();
        let line = line("image", "tag", "id", Map::new(), at);
        assert!(is_until(&line, Timestamp::new(100, 0).unwrap()), "the same second");
        assert!(!is_until(&line, Timestamp::new(99, 0).unwrap()));
        assert!(!is_until(&line, Timestamp::new(100, 499).unwrap()));
        assert!(is_until(&line, Timestamp::new(100, 500).unwrap()));
    }
}
