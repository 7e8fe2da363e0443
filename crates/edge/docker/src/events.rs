//! The engine's events as Docker's JSON lines.

use crate::DockerState;
use crate::error::Answer;
use crate::params::{Filters, Params};
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::{StreamExt, future, stream};
use hako_container::{Action, ContainerEngine, Event, Subject};
use http::header;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast::error::RecvError;

/// Streams events from now on, until `until`. Events of the past are not kept.
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
    let left = match params.time("until")? {
        Some(until) => Duration::try_from(until.duration_since(Timestamp::now())).unwrap_or(Duration::ZERO),
        None => Duration::from_secs(u64::MAX >> 32),
    };
    let receiver = state.engine.events();
    let lines = stream::unfold(receiver, |mut receiver| async {
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
    let lines = lines.filter_map(move |event: Arc<Event>| {
        let line = json(&event)
            .filter(|line| wanted(&filters, line))
            .map(|line| Ok::<_, Infallible>(Bytes::from(format!("{line}\n"))));
        future::ready(line)
    });
    let lines = lines.take_until(tokio::time::sleep(left));
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}

fn json(event: &Event) -> Option<Value> {
    let Subject::Container { id, .. } = &event.subject else { return None };
    let mut attributes: Map<String, Value> =
        event.labels.iter().map(|(key, value)| (key.clone(), json!(value))).collect();
    attributes.insert("image".into(), json!(event.image));
    attributes.insert("name".into(), json!(event.name));
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
        Action::Destroy => "destroy",
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
    Some(json!({
        "status": action, "id": id, "from": event.image, "Type": "container", "Action": action,
        "Actor": { "ID": id, "Attributes": attributes }, "scope": "local", "time": event.at.as_second(),
        "timeNano": i64::try_from(event.at.as_nanosecond()).unwrap_or(i64::MAX),
    }))
}

fn wanted(filters: &Filters, line: &Value) -> bool {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (id, action) = (text(&line["id"]), text(&line["Action"]));
    let attributes = &line["Actor"]["Attributes"];
    let (name, image) = (text(&attributes["name"]), text(&attributes["image"]));
    let labels =
        attributes.as_object().map(|map| map.iter().map(|(key, value)| (key.clone(), text(value))).collect());
    filters.any("type", |wanted| wanted == "container")
        && filters.any("container", |wanted| wanted == name || id.starts_with(wanted))
        && filters.any("event", |wanted| wanted == action)
        && filters.any("image", |wanted| wanted == image)
        && filters.labels(&labels.unwrap_or_default())
}
