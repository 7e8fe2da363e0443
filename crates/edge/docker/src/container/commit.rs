//! `POST /commit`: what a container changed becomes a layer on top of its image.

use super::body::{check_type, timely};
use crate::DockerState;
use crate::error::{Answer, Failure, blocking, invalid};
use crate::image::{changes, target};
use crate::params::Params;
use axum::Json;
use axum::body::Bytes;
use axum::extract::{FromRequest, Request, State};
use axum::response::IntoResponse;
use hako_container::{Container, ContainerEngine, Resolved, snapshot_key};
use hako_image::layer::DiffOptions;
use hako_image::{Image, NewImage};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// Fields of a configuration that OCI does not know and Docker does.
const DOCKERS: [&str; 3] = ["Healthcheck", "Shell", "OnBuild"];

/// The container stands still while its files are read, unless `pause` is false.
pub(crate) async fn commit(State(state): State<DockerState>, params: Params, request: Request) -> Answer {
    check_type(request.headers(), request.body())?;
    let body = timely(Bytes::from_request(request, &state)).await?;
    let body = body_config(&body.map_err(|error| invalid(format!("request body: {error}")))?)?;
    let name = params.get("container").ok_or_else(|| invalid("container is missing"))?;
    let id = state.engine.resolve(name).await?;
    let container = state.engine.container(&id).await?;
    let names = match params.get("repo") {
        Some(_) => vec![target(&params)?],
        None => Vec::new(),
    };
    let (images, wanted) = (state.images.clone(), container.resolved.image_id.clone());
    let base = blocking(move || images.find(&wanted)).await?;
    let (config, extra_config) = configuration(&base, &container, &params, &body)?;
    let (images, named) = (state.images.clone(), names.clone());
    let pauses = params.get("pause").is_none() || params.flag("pause");
    let of = id.clone();
    let write = blocking(move || {
        let mounts = images.snapshots().mounts(&snapshot_key(id.as_str()))?;
        let lease = images.lease("commit")?;
        let layer = images.write_layer(&mounts, &DiffOptions::default(), id.short(), &lease)?.commit()?;
        let config = serde_json::from_value(config).map_err(|error| {
            hako_error::Error::new(hako_error::Kind::Invalid, "the new configuration is not valid")
                .with_source(error)
        })?;
        let layers = [base.layers, vec![layer]].concat();
        images.commit_image(NewImage { config, extra_config, layers, names, ..NewImage::default() })
    });
    // One that is held already, or rests, is not held for this.
    let is_told = pauses && container.state.is_running() && !container.paused;
    let tell = |action| is_told.then(|| state.events.container(action, &container));
    let image = match pauses {
        true => {
            tell("pause");
            let written = state.engine.standing_still(&of, write).await;
            tell("unpause");
            written??
        }
        false => write.await?,
    };
    let (id, name) = (image.id.to_string(), named.first().map(ToString::to_string));
    if let Some(name) = &name {
        state.events.image("tag", &id, name, &image);
    }
    let more = [
        ("comment", params.get("comment").unwrap_or_default()),
        ("imageID", &id),
        ("imageRef", name.as_deref().unwrap_or_default()),
    ];
    state.events.container_with("commit", &container, &more);
    Ok((StatusCode::CREATED, Json(json!({ "Id": image.id }))).into_response())
}

/// Fields of an image's configuration that a body may set.
const FIELDS: [&str; 12] = [
    "User",
    "ExposedPorts",
    "Env",
    "Cmd",
    "Entrypoint",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "Healthcheck",
    "Shell",
    "OnBuild",
];

/// What a body sets of the configuration; the rest of a container's configuration is not an image's.
fn body_config(body: &[u8]) -> Result<Map<String, Value>, Failure> {
    let mut value: Value = match body.trim_ascii().is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(body).map_err(|error| invalid(format!("commit: {error}")))?,
    };
    crate::names::spell(&mut value);
    let is_set = |value: &Value| match value {
        Value::Null => false,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        _ => true,
    };
    let fields = value.as_object().cloned().unwrap_or_default().into_iter();
    Ok(fields.filter(|(name, value)| FIELDS.contains(&name.as_str()) && is_set(value)).collect())
}

/// A body's lists of variables, ports, volumes and labels add to the container's, its other fields replace them.
fn merge_body(config: &mut Value, body: &Map<String, Value>) {
    for (name, value) in body {
        match (name.as_str(), value) {
            ("Env", Value::Array(entries)) => {
                let key =
                    |entry: &Value| entry.as_str().and_then(|text| text.split('=').next()).map(str::to_owned);
                let mut env = config["Env"].as_array().cloned().unwrap_or_default();
                env.retain(|old| !entries.iter().any(|new| key(new) == key(old)));
                env.extend(entries.iter().cloned());
                config["Env"] = json!(env);
            }
            (_, Value::Object(new)) if name != "Healthcheck" => {
                let mut all = config[name].as_object().cloned().unwrap_or_default();
                all.extend(new.clone());
                config[name] = Value::Object(all);
            }
            _ => config[name] = value.clone(),
        }
    }
}

/// The image's configuration with what the container was made with, the changes, and one more line of history.
fn configuration(
    base: &Image,
    container: &Container,
    params: &Params,
    body: &Map<String, Value>,
) -> Result<(Value, Map<String, Value>), Failure> {
    let mut whole = (*base.raw_config).clone();
    let mut config = whole["config"].as_object().cloned().unwrap_or_default();
    config.extend(of_container(&container.resolved));
    let mut config = Value::Object(config);
    merge_body(&mut config, body);
    changes::apply(params, &mut config)?;
    let extra =
        DOCKERS.iter().filter_map(|field| Some(((*field).to_owned(), config.get(*field)?.clone()))).collect();
    let now = jiff::Timestamp::now().to_string();
    let text = |name: &str| params.get(name).unwrap_or_default();
    let mut history = whole["history"].as_array().cloned().unwrap_or_default();
    history.push(json!({
        "created": now, "created_by": container.resolved.argv.join(" "), "author": text("author"), "comment": text("comment"),
    }));
    whole["config"] = config;
    whole["history"] = json!(history);
    whole["created"] = json!(now);
    if params.get("author").is_some() {
        whole["author"] = json!(text("author"));
    }
    Ok((whole, extra))
}

fn of_container(resolved: &Resolved) -> Map<String, Value> {
    let ports: Map<String, Value> =
        resolved.exposed_ports.iter().map(|port| (port.clone(), json!({}))).collect();
    let fields = [
        ("Entrypoint", json!(resolved.entrypoint)),
        ("Cmd", json!(resolved.cmd)),
        ("Env", json!(resolved.env)),
        ("WorkingDir", json!(resolved.working_dir)),
        ("User", json!(resolved.user)),
        ("Labels", json!(resolved.labels)),
        ("ExposedPorts", json!(ports)),
    ];
    let is_said = |value: &Value| !matches!(value, Value::Array(list) if list.is_empty());
    fields
        .into_iter()
        .filter(|(_, value)| is_said(value))
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_adds_to_lists_and_replaces_the_rest() {
        let body = br#"{"Env":["A=2","C=3"],"Cmd":["new"],"Labels":{"l":"1"},"Hostname":"h","User":""}"#;
        let mut config =
            json!({ "Env": ["A=1", "B=2"], "Cmd": ["old"], "Labels": { "k": "0" }, "User": "me" });
        merge_body(&mut config, &body_config(body).unwrap());
        let expected = json!({
            "Env": ["B=2", "A=2", "C=3"], "Cmd": ["new"], "Labels": { "k": "0", "l": "1" }, "User": "me",
        });
        assert_eq!(config, expected);
        assert!(body_config(b"").unwrap().is_empty() && body_config(b"{").is_err());
    }
}
