//! What happens to containers and images, as Docker's JSON lines.

use crate::DockerState;
use crate::error::{Answer, invalid};
use crate::params::{Filters, Params};
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::{StreamExt, future, stream};
use hako_container::{Action, Container, ContainerEngine, Event, Subject};
use hako_image::Image;
use hako_names::{ContainerId, ImageRef};
use http::header;
use jiff::Timestamp;
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::{RecvError, TryRecvError};

/// Events that a client may ask for again, Docker's own number.
const PAST: usize = 256;
/// Events that a slow client may be behind.
const BACKLOG: usize = 4096;

/// All events as clients see them: the engine's about containers, ours about images, and the newest of both.
#[derive(Debug)]
pub(crate) struct Log {
    sender: broadcast::Sender<Arc<Value>>,
    past: Mutex<VecDeque<Arc<Value>>>,
    /// The engine's own events, taken in before each of ours: so they are told in the order in which they happened.
    engine: Mutex<Option<broadcast::Receiver<Arc<Event>>>>,
}

impl Default for Log {
    fn default() -> Self {
        Self { sender: broadcast::channel(BACKLOG).0, past: Mutex::default(), engine: Mutex::default() }
    }
}

impl Log {
    fn add(&self, line: Value) {
        self.take_in();
        self.tell(line);
    }

    /// Takes in what the engine told until now.
    fn take_in(&self) {
        let mut engine = self.engine.lock();
        let Some(receiver) = engine.as_mut() else { return };
        loop {
            match receiver.try_recv() {
                Ok(event) => {
                    if let Some(line) = json(&event) {
                        self.tell(line);
                    }
                }
                Err(TryRecvError::Lagged(missed)) => {
                    tracing::warn!(missed, "events of containers were missed")
                }
                Err(TryRecvError::Empty | TryRecvError::Closed) => return,
            }
        }
    }

    fn tell(&self, line: Value) {
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

    /// A build made an image, and gave it names.
    pub(crate) fn built(&self, image: &Image, names: &[ImageRef]) {
        let id = image.id.to_string();
        self.image("create", &id, &id, image);
        names.iter().for_each(|name| self.image("tag", &id, &name.to_string(), image));
    }

    /// Something that only this face knows of happened to a container.
    pub(crate) fn container(&self, action: &str, container: &Container) {
        self.container_with(action, container, &[]);
    }

    /// The same, with more to tell.
    pub(crate) fn container_with(&self, action: &str, container: &Container, more: &[(&str, &str)]) {
        let labels = container.resolved.labels.iter();
        let mut attributes: Map<String, Value> =
            labels.map(|(key, value)| (key.clone(), json!(value))).collect();
        attributes.extend(more.iter().map(|(key, value)| ((*key).to_owned(), json!(value))));
        let image = container.spec.image_as_written();
        attributes.insert("image".into(), json!(image));
        attributes.insert("name".into(), json!(container.spec.name));
        let mut line = line("container", action, container.id.as_str(), attributes, Timestamp::now());
        line["from"] = json!(image);
        self.add(line);
    }

    /// What nobody used of a kind was removed.
    pub(crate) fn prune(&self, kind: &str, reclaimed: u64) {
        let attributes = Map::from_iter([("reclaimed".to_owned(), json!(reclaimed.to_string()))]);
        self.add(line(kind, "prune", "", attributes, Timestamp::now()));
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

/// Tells of what this face did to a container, if that is still there.
pub(crate) async fn note(state: &DockerState, id: &ContainerId, action: &str) {
    if let Ok(container) = state.engine.container(id).await {
        state.events.container(action, &container);
    }
}

/// Takes the engine's events into the log as long as the engine lives.
pub(crate) async fn follow(state: DockerState) {
    // Only says when there is something to take in; before the log's own, so that no event is without its word.
    let mut receiver = state.engine.events();
    *state.events.engine.lock() = Some(state.engine.events());
    while !matches!(receiver.recv().await, Err(RecvError::Closed)) {
        state.events.take_in();
    }
}

/// Docker's filters; nothing here is of the last six kinds.
const FILTERS: [&str; 14] = [
    "container",
    "event",
    "image",
    "label",
    "network",
    "scope",
    "type",
    "volume",
    "daemon",
    "plugin",
    "service",
    "node",
    "secret",
    "config",
];

/// Streams events: those since `since` that are still known, then the ones that come, until `until`.
pub(crate) async fn events(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&FILTERS)?;
    let now = Timestamp::now();
    let until = params.time("until")?;
    let left = match until {
        Some(until) => Duration::try_from(until.duration_since(now)).unwrap_or(Duration::ZERO),
        None => Duration::from_secs(u64::MAX >> 32),
    };
    let since = params.time("since")?;
    if since.zip(until).is_some_and(|(since, until)| is_before(until, since)) {
        let [since, until] = ["since", "until"].map(|name| params.get(name).unwrap_or_default());
        return Err(invalid(format!("`since` time ({since}) cannot be after `until` time ({until})")));
    }
    let (mut past, receiver) = state.events.listen(since);
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

fn is_before(until: Timestamp, since: Timestamp) -> bool {
    match until.subsec_nanosecond() {
        0 => until.as_second() < since.as_second(),
        _ => until < since,
    }
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
    let mut line = json!({
        "Type": kind, "Action": action, "Actor": { "ID": id, "Attributes": attributes },
        "scope": "local", "time": at.as_second(), "timeNano": nanoseconds(at),
    });
    if matches!(kind, "container" | "image") {
        (line["status"], line["id"]) = (json!(action), json!(id));
    }
    line
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
    let action = action(&event.action, &mut attributes)?;
    let mut line = line(kind, action, id, attributes, event.at);
    if kind == "container" {
        line["from"] = json!(event.image);
    }
    Some(line)
}

/// What an event's action is called, with what there is to say of it; none for those that another face tells.
fn action(action: &Action, attributes: &mut Map<String, Value>) -> Option<&'static str> {
    Some(match action {
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
        Action::Rename { old } => {
            attributes.insert("oldName".into(), json!(format!("/{old}")));
            "rename"
        }
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
        Action::Mount { container, target, writable } => {
            attributes.insert("container".into(), json!(container));
            attributes.insert("destination".into(), json!(target.to_string_lossy()));
            attributes.insert("propagation".into(), json!(""));
            attributes.insert("read/write".into(), json!(writable.to_string()));
            "mount"
        }
        Action::Unmount { container } => {
            attributes.insert("container".into(), json!(container));
            "unmount"
        }
        // By the ids that this face gave them, see `exec`.
        Action::ExecStart { .. } | Action::ExecDie { .. } => return None,
    })
}

/// Docker's rules: names and ids by their beginning, whatever the event is about; images by name with or without a tag.
fn wanted(filters: &Filters, line: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (kind, id, action) = (text(&line["Type"]), text(&line["Actor"]["ID"]), text(&line["Action"]));
    let attributes = &line["Actor"]["Attributes"];
    let name = text(&attributes["name"]);
    let image = text(&attributes[if kind == "image" { "name" } else { "image" }]);
    let labels =
        attributes.as_object().map(|map| map.iter().map(|(key, value)| (key.clone(), text(value))).collect());
    let by_name = |filter| filters.any(filter, |wanted| id.starts_with(wanted) || name.starts_with(wanted));
    filters.any("type", |wanted| wanted == kind)
        && filters.any("event", |wanted| is_action(wanted, &action))
        && filters.any("image", |wanted| {
            [&id, &image].into_iter().any(|has| wanted == has || *wanted == familiar(has))
        })
        && ["container", "network", "volume", "daemon", "plugin"].into_iter().all(by_name)
        && ["service", "node", "secret", "config"].iter().all(|kind| filters.get(kind).is_empty())
        && filters.any("scope", |wanted| wanted == "local")
        && filters.labels(&labels.unwrap_or_default())
}

/// `health_status` and its kin also stand for what follows the colon of an action.
fn is_action(wanted: &str, action: &str) -> bool {
    let has_more = ["health_status", "exec_create", "exec_start"].contains(&wanted);
    wanted == action || (has_more && action.split(": ").next() == Some(wanted))
}

/// A name as Docker shows it, without tag and what goes without saying.
fn familiar(image: &str) -> String {
    image.parse::<ImageRef>().map_or_else(|_| image.to_owned(), |name| name.familiar_name())
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
        let since = Timestamp::new(100, 500).unwrap();
        assert!(!is_before(Timestamp::new(100, 0).unwrap(), since), "the same second");
        assert!(is_before(Timestamp::new(100, 499).unwrap(), since));
        assert!(is_before(Timestamp::new(99, 0).unwrap(), since));
    }

    #[test]
    fn filters_take_what_docker_s_take() {
        let line = |kind: &str, action: &str, id: &str, attributes: Value| {
            let Value::Object(attributes) = attributes else { panic!("no map") };
            super::line(kind, action, id, attributes, Timestamp::UNIX_EPOCH)
        };
        let attributes = json!({ "name": "web", "image": "busybox:1", "team": "a" });
        let start = line("container", "exec_start: sh -c x", "abc123", attributes);
        let pull = line("image", "pull", "busybox:latest", json!({ "name": "busybox" }));
        let connect = line("network", "connect", "n1", json!({ "name": "app", "container": "abc123" }));
        let is = |filters: Value, line: &Value| {
            let filters = Params::of(&[("filters", &filters.to_string())]).filters().unwrap();
            wanted(&filters, line)
        };
        for (filters, expected) in [
            (json!({ "container": ["web"] }), [true, false, false]),
            (json!({ "container": ["abc"] }), [true, false, false]),
            (json!({ "event": ["exec_start"] }), [true, false, false]),
            (json!({ "event": ["pull", "connect"] }), [false, true, true]),
            (json!({ "image": ["busybox"] }), [true, true, false]),
            (json!({ "image": ["busybox:1"] }), [true, false, false]),
            (json!({ "image": ["docker.io/library/busybox"] }), [false, false, false]),
            (json!({ "label": ["team=a"] }), [true, false, false]),
            (json!({ "network": ["app"] }), [false, false, true]),
            (json!({ "type": ["network", "image"] }), [false, true, true]),
            (json!({ "scope": ["swarm"] }), [false, false, false]),
            (json!({ "node": ["x"] }), [false, false, false]),
        ] {
            let found = [&start, &pull, &connect].map(|line| is(filters.clone(), line));
            assert_eq!(found, expected, "{filters}");
        }
        let typed = json!({ "name": "web", "image": "docker.io/library/busybox:1" });
        let whole = line("container", "start", "abc123", typed);
        assert!(
            is(json!({ "image": ["busybox"] }), &whole) && !is(json!({ "image": ["busybox:1"] }), &whole)
        );
        assert!(start["status"].is_string() && connect["status"].is_null());
    }
}
