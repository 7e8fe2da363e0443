//! `POST /commit`: what a container changed becomes a layer on top of its image.

use crate::DockerState;
use crate::error::{Answer, Failure, blocking, invalid, unimplemented};
use crate::image::{changes, target};
use crate::params::Params;
use axum::Json;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_container::{Container, ContainerEngine, Resolved, snapshot_key};
use hako_image::layer::DiffOptions;
use hako_image::{Image, NewImage};
use http::StatusCode;
use serde_json::{Map, Value, json};

/// Fields of a configuration that OCI does not know and Docker does.
const DOCKERS: [&str; 3] = ["Healthcheck", "Shell", "OnBuild"];

/// The container need not stand still: `pause` stops nothing here, files may change while they are read.
pub(crate) async fn commit(State(state): State<DockerState>, params: Params, body: Bytes) -> Answer {
    refuse_body(&body)?;
    let name = params.get("container").ok_or_else(|| invalid("container is missing"))?;
    let id = state.engine.resolve(name).await?;
    let container = state.engine.container(&id).await?;
    let names = match params.get("repo") {
        Some(_) => vec![target(&params)?],
        None => Vec::new(),
    };
    let (images, wanted) = (state.images.clone(), container.resolved.image_id.clone());
    let base = blocking(move || images.find(&wanted)).await?;
    let (config, extra_config) = configuration(&base, &container, &params)?;
    let images = state.images.clone();
    let image = blocking(move || {
        let mounts = images.snapshots().mounts(&snapshot_key(id.as_str()))?;
        let lease = images.lease("commit")?;
        let layer = images.write_layer(&mounts, &DiffOptions::default(), id.short(), &lease)?;
        let config = serde_json::from_value(config).map_err(|error| {
            hako_error::Error::new(hako_error::Kind::Invalid, "the new configuration is not valid")
                .with_source(error)
        })?;
        let layers = [base.layers, vec![layer]].concat();
        images.commit_image(NewImage { config, extra_config, layers, names })
    })
    .await?;
    Ok((StatusCode::CREATED, Json(json!({ "Id": image.id }))).into_response())
}

/// A body would replace fields of the configuration; what it sets is not silently dropped.
fn refuse_body(body: &[u8]) -> Result<(), Failure> {
    let value: Value = match body.trim_ascii().is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(body).map_err(|error| invalid(format!("commit: {error}")))?,
    };
    let is_set = |value: &Value| match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::String(text) => !text.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::Object(map) => !map.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
    };
    match value.as_object().and_then(|fields| fields.iter().find(|(_, value)| is_set(value))) {
        Some((field, _)) => Err(unimplemented(format!("commit field {field} is unimplemented: use changes"))),
        None => Ok(()),
    }
}

/// The image's configuration with what the container was made with, the changes, and one more line of history.
fn configuration(
    base: &Image,
    container: &Container,
    params: &Params,
) -> Result<(Value, Map<String, Value>), Failure> {
    let mut whole = (*base.raw_config).clone();
    let mut config = whole["config"].as_object().cloned().unwrap_or_default();
    config.extend(of_container(&container.resolved));
    let mut config = Value::Object(config);
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
