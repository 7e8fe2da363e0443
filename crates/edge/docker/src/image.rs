//! `/images/…`. An image's name may hold slashes, so the operation is the last part of the path.

use crate::DockerState;
use crate::error::{Answer, Failure, blocking, invalid, message, unimplemented};
use crate::params::Params;
use axum::Json;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use futures::TryStreamExt;
use hako_container::{ContainerEngine, Filter};
use hako_error::{Error, Kind};
use hako_image::Image;
use hako_names::ImageRef;
use hako_oci::image::ImageConfiguration;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tokio_util::io::{StreamReader, SyncIoBridge};

/// One image of the list.
pub(crate) fn summary(image: &Image) -> Value {
    let tags: Vec<String> =
        image.names.iter().filter(|name| name.tag().is_some()).map(ToString::to_string).collect();
    json!({
        "Id": image.id, "ParentId": "", "RepoTags": tags, "RepoDigests": digests(image),
        "Created": image.created().map_or(0, |created| created.as_second()),
        "Size": image.size, "SharedSize": -1, "Containers": -1, "Labels": labels(image),
    })
}

fn digests(image: &Image) -> Vec<String> {
    image.names.iter().map(|name| format!("{}@{}", name.familiar_name(), image.manifest_digest)).collect()
}

fn labels(image: &Image) -> BTreeMap<String, String> {
    let config = image.config.config().as_ref();
    config.and_then(|config| config.labels().clone()).unwrap_or_default().into_iter().collect()
}

pub(crate) async fn list(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&["reference", "label", "dangling"])?;
    let images = state.images.clone();
    let images = blocking(move || images.list()).await?;
    let is_named = |image: &Image, wanted: &str| {
        image.names.iter().any(|name| name.to_string() == wanted || name.familiar_name() == wanted)
    };
    let shown: Vec<Value> = images
        .iter()
        .filter(|image| {
            filters.any("reference", |wanted| is_named(image, wanted))
                && filters.any("dangling", |wanted| image.names.is_empty() == matches!(wanted, "1" | "true"))
                && filters.labels(&labels(image))
        })
        .map(summary)
        .collect();
    Ok(Json(shown).into_response())
}

/// `/images/NAME/json`, `/images/NAME/tag`, `/images/NAME/history`, `DELETE /images/NAME`.
pub(crate) async fn named(
    State(state): State<DockerState>,
    Path(rest): Path<String>,
    params: Params,
    request: Request,
) -> Answer {
    let operation = rest.rsplit_once('/').filter(|(name, _)| !name.is_empty());
    match (request.method(), operation) {
        (&Method::GET, Some((name, "json"))) => inspect(&state, name).await,
        (&Method::GET, Some((name, "history"))) => history(&state, name).await,
        (&Method::POST, Some((name, "tag"))) => tag(&state, name, &params).await,
        (&Method::DELETE, _) => remove(&state, &rest, &params).await,
        (&Method::POST, Some((name, "push"))) => {
            Err(unimplemented(format!("pushing {name} is unimplemented")))
        }
        (method, _) => Err(unimplemented(format!("{method} /images/{rest} is unimplemented"))),
    }
}

async fn find(state: &DockerState, name: &str) -> Result<Image, Failure> {
    let (images, wanted) = (state.images.clone(), name.to_owned());
    match blocking(move || images.find(&wanted)).await {
        Err(failure) if failure.0.is_not_found() => {
            Err(Failure(Error::new(Kind::NotFound, format!("No such image: {name}"))))
        }
        found => found,
    }
}

async fn inspect(state: &DockerState, name: &str) -> Answer {
    let image = find(state, name).await?;
    let raw = &image.raw_config;
    let diff_ids: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let tags: Vec<String> = image.names.iter().map(ToString::to_string).collect();
    Ok(Json(json!({
        "Id": image.id, "RepoTags": tags, "RepoDigests": digests(&image), "Parent": "", "Comment": "",
        "Created": raw["created"].as_str().unwrap_or_default(), "DockerVersion": "", "Author": raw["author"].as_str().unwrap_or_default(),
        "Config": raw["config"], "Architecture": raw["architecture"], "Os": raw["os"], "Size": image.size,
        "GraphDriver": { "Name": "overlay", "Data": {} }, "RootFS": { "Type": "layers", "Layers": diff_ids },
        "Metadata": { "LastTagTime": "0001-01-01T00:00:00Z" },
    }))
    .into_response())
}

async fn history(state: &DockerState, name: &str) -> Answer {
    let image = find(state, name).await?;
    let mut layers = image.layers.iter();
    let mut entries: Vec<Value> = Vec::new();
    for entry in image.raw_config["history"].as_array().into_iter().flatten() {
        let is_empty = entry["empty_layer"].as_bool().unwrap_or(false);
        let size = if is_empty { 0 } else { layers.next().map_or(0, |layer| layer.size) };
        let created = entry["created"].as_str().and_then(|text| text.parse::<jiff::Timestamp>().ok());
        entries.push(json!({
            "Id": "<missing>", "Created": created.map_or(0, |created| created.as_second()),
            "CreatedBy": entry["created_by"].as_str().unwrap_or_default(), "Tags": null, "Size": size,
            "Comment": entry["comment"].as_str().unwrap_or_default(),
        }));
    }
    entries.reverse();
    if let Some(newest) = entries.first_mut() {
        newest["Id"] = json!(image.id);
        newest["Tags"] = json!(image.names.iter().map(ToString::to_string).collect::<Vec<_>>());
    }
    Ok(Json(entries).into_response())
}

/// `repo` and `tag` as one name.
fn target(params: &Params) -> Result<ImageRef, Failure> {
    let repo = params.get("repo").ok_or_else(|| invalid("repo is missing"))?;
    let text = params.get("tag").map_or_else(|| repo.to_owned(), |tag| format!("{repo}:{tag}"));
    Ok(text.parse::<ImageRef>()?)
}

async fn tag(state: &DockerState, name: &str, params: &Params) -> Answer {
    let image = find(state, name).await?;
    let (images, name) = (state.images.clone(), target(params)?);
    blocking(move || images.tag(&image, &name)).await?;
    Ok(StatusCode::CREATED.into_response())
}

async fn remove(state: &DockerState, name: &str, params: &Params) -> Answer {
    let image = find(state, name).await?;
    let force = params.flag("force");
    let is_last = image.names.len() <= 1;
    let containers = state.engine.containers(&Filter::default()).await?;
    let user = containers.iter().find(|container| container.resolved.image_id == image.id.to_string());
    if let Some(container) = user.filter(|container| is_last && (!force || container.state.is_running())) {
        let (short, id) = (image.id.short(), container.id.short());
        let text = format!(
            "conflict: unable to delete {name} (must be forced) - image {short} is being used by container {id}"
        );
        return Ok(message(StatusCode::CONFLICT, &text));
    }
    let (images, wanted) = (state.images.clone(), name.to_owned());
    let removed = blocking(move || images.remove(&wanted, force)).await?;
    let untagged = removed.untagged.iter().map(|name| json!({ "Untagged": name.to_string() }));
    let deleted = removed.deleted.iter().map(|id| json!({ "Deleted": id }));
    Ok(Json(untagged.chain(deleted).collect::<Vec<_>>()).into_response())
}

/// `?fromSrc=-` imports a root file system from the body; `?fromImage=` would pull.
pub(crate) async fn create(State(state): State<DockerState>, params: Params, request: Request) -> Answer {
    if let Some(image) = params.get("fromImage") {
        let text = format!("pulling images is unimplemented: build or import {image} first");
        return Err(unimplemented(text));
    }
    if params.get("fromSrc") != Some("-") {
        return Err(unimplemented(
            "importing from an address is unimplemented: send the tar as the body with fromSrc=-",
        ));
    }
    let name = match params.get("repo") {
        Some(_) => target(&params)?,
        None => return Err(invalid("repo is missing: name the image that is to be made")),
    };
    let config = import_config(&params)?;
    let images = state.images.clone();
    let body = body_reader(request.into_body());
    let image = blocking(move || images.import_rootfs(body, &name, config)).await?;
    Ok(lines(&[json!({ "status": image.id })]))
}

/// A blocking reader of a request's body.
pub(crate) fn body_reader(body: Body) -> impl std::io::Read + Send + 'static {
    let stream = Box::pin(body.into_data_stream().map_err(std::io::Error::other));
    SyncIoBridge::new(StreamReader::new(stream))
}

fn lines(values: &[Value]) -> Response {
    let text: String = values.iter().map(|value| format!("{value}\r\n")).collect();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}

/// `changes=CMD ["sh"]` and the like; each is one Dockerfile instruction without a step.
fn import_config(params: &Params) -> Result<ImageConfiguration, Failure> {
    let mut config = json!({});
    for change in params.all("changes") {
        let (word, rest) = change.trim().split_once(char::is_whitespace).unwrap_or((change, ""));
        let rest = rest.trim();
        let words = || {
            serde_json::from_str::<Vec<String>>(rest)
                .unwrap_or_else(|_| vec!["/bin/sh".into(), "-c".into(), rest.into()])
        };
        match word.to_ascii_uppercase().as_str() {
            "CMD" => config["Cmd"] = json!(words()),
            "ENTRYPOINT" => config["Entrypoint"] = json!(words()),
            "ENV" => {
                let pair = if rest.contains('=') {
                    rest.to_owned()
                } else {
                    rest.replacen(char::is_whitespace, "=", 1)
                };
                let mut env = config["Env"].as_array().cloned().unwrap_or_default();
                env.push(json!(pair));
                config["Env"] = json!(env);
            }
            "USER" => config["User"] = json!(rest),
            "WORKDIR" => config["WorkingDir"] = json!(rest),
            "EXPOSE" => {
                config["ExposedPorts"]
                    [if rest.contains('/') { rest.to_owned() } else { format!("{rest}/tcp") }] = json!({})
            }
            "LABEL" => {
                let (key, value) = rest
                    .split_once('=')
                    .ok_or_else(|| invalid(format!("change {change:?} is not LABEL key=value")))?;
                config["Labels"][key] = json!(value.trim_matches('"'));
            }
            "STOPSIGNAL" => config["StopSignal"] = json!(rest),
            "VOLUME" => config["Volumes"][rest.trim_matches(['[', ']', '"'])] = json!({}),
            _ => {
                return Err(invalid(format!(
                    "change {change:?} is not an instruction that an import can have"
                )));
            }
        }
    }
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let whole = json!({
        "created": jiff::Timestamp::now().to_string(), "architecture": architecture, "os": "linux", "config": config,
        "rootfs": { "type": "layers", "diff_ids": [] }, "history": [],
    });
    serde_json::from_value(whole).map_err(|error| invalid(format!("changes: {error}")))
}

pub(crate) async fn load() -> Answer {
    Err(unimplemented(
        "loading images is unimplemented: import a root file system with POST /images/create?fromSrc=-",
    ))
}

pub(crate) async fn save_many() -> Answer {
    Err(unimplemented("saving images is unimplemented"))
}

/// Removes what no name points to; with the filter `dangling=false`, also named images that no container has.
pub(crate) async fn prune(State(state): State<DockerState>, params: Params) -> Answer {
    let filters = params.filters()?;
    filters.only(&["dangling", "label"])?;
    let all = filters.get("dangling").iter().any(|value| matches!(value.as_str(), "0" | "false"));
    let used: Vec<String> = state
        .engine
        .containers(&Filter::default())
        .await?
        .into_iter()
        .map(|container| container.resolved.image_id.clone())
        .collect();
    let images = state.images.clone();
    let deleted = blocking(move || {
        let mut deleted = Vec::new();
        for image in images.list()? {
            let is_loose = (all || image.names.is_empty())
                && !used.contains(&image.id.to_string())
                && filters.labels(&labels(&image));
            if is_loose {
                deleted.extend(images.remove(&image.id.to_string(), true)?.deleted);
            }
        }
        images.gc()?;
        Ok(deleted)
    })
    .await?;
    let deleted: Vec<Value> = deleted.iter().map(|id| json!({ "Deleted": id })).collect();
    Ok(Json(json!({ "ImagesDeleted": deleted, "SpaceReclaimed": 0 })).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::FromRequestParts;

    #[tokio::test]
    async fn changes_of_an_import_become_its_configuration() {
        let uri = "/?changes=CMD+%5B%22sh%22%5D&changes=ENV+A+1&changes=EXPOSE+80&changes=LABEL+a%3Db";
        let mut parts = http::Request::builder().uri(uri).body(()).unwrap().into_parts().0;
        let params = Params::from_request_parts(&mut parts, &()).await.unwrap();
        let config = import_config(&params).unwrap();
        let config = config.config().as_ref().unwrap();
        assert_eq!(config.cmd().as_ref().unwrap(), &["sh"]);
        assert_eq!(config.env().as_ref().unwrap(), &["A=1"]);
        assert_eq!(config.exposed_ports().as_ref().unwrap(), &["80/tcp"]);
    }
}
