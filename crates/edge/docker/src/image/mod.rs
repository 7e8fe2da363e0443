//! `/images/…`. An image's name may hold slashes, so the operation is the last part of the path.
//!
//! Owns: how images are shown, listed, tagged, removed and imported in Docker's words.
//! Does not own: the images (hako-image).

pub(crate) mod changes;
mod files;
mod history;
mod import;
mod list;
pub(crate) mod platform;
mod progress;
mod prune;
mod pull;
mod push;
mod remove;
mod search;

pub(crate) use files::{load, save_many};
pub(crate) use import::create;
pub(crate) use list::{list, summary};
pub(crate) use prune::prune;

use crate::DockerState;
use crate::api::ApiVersion;
use crate::client::{Client, answered, until_gone};
use crate::error::{Answer, Failure, blocking, invalid, no_page};
use crate::named::Named;
use crate::params::Params;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::from_fn;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use futures::TryStreamExt;
use hako_error::{Error, Kind};
use hako_image::Image;
use hako_names::ImageRef;
use http::{Method, StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::sync::Arc;
use tokio_util::io::{StreamReader, SyncIoBridge};

/// The routes of this module.
pub(crate) fn routes() -> Router<DockerState> {
    Router::new()
        .route("/images/json", get(list).delete(remove::named))
        .route("/images/create", post(create).layer(from_fn(until_gone)).delete(remove::named))
        .route("/images/load", post(load).layer(from_fn(until_gone)).delete(remove::named))
        .route("/images/get", get(save_many).delete(remove::named))
        .route("/images/prune", post(prune).delete(remove::named))
        .route("/images/search", get(search::search).delete(remove::named))
        .route("/images/{*rest}", any(named))
}

/// `/images/NAME/json`, `/images/NAME/tag`, `/images/NAME/history`, `DELETE /images/NAME`.
pub(crate) async fn named(
    State(state): State<DockerState>,
    Named(rest): Named,
    version: ApiVersion,
    params: Params,
    request: Request,
) -> Answer {
    let operation = rest.rsplit_once('/').filter(|(name, _)| !name.is_empty());
    match (request.method(), operation) {
        (&Method::GET, Some((name, "json"))) => inspect(&state, name, version, &params).await,
        (&Method::GET, Some((name, "history"))) => history::history(&state, name, &params).await,
        (&Method::GET, Some((name, "get"))) => files::save(&state, &[name], &params).await,
        (&Method::POST, Some((name, "tag"))) => tag(&state, name, &params).await,
        (&Method::DELETE, _) => remove::remove(&state, &rest, &params).await,
        (&Method::POST, Some((name, "push"))) => {
            let client = request.extensions().get::<Client>().cloned();
            Ok(answered(client, push::push(&state, name, &params, request.headers())).await)
        }
        _ => Ok(no_page()),
    }
}

/// The image of that name, id or start of an id.
pub(crate) async fn find(state: &DockerState, name: &str) -> Result<Image, Failure> {
    let (images, wanted) = (state.images.clone(), name.to_owned());
    match blocking(move || images.find(&wanted)).await {
        Err(failure) if failure.0.is_not_found() => {
            Err(Failure(Error::new(Kind::NotFound, format!("No such image: {}", with_tag(name)))))
        }
        found => found,
    }
}

/// A name as it is in refusals: with the tag that it means.
pub(crate) fn with_tag(name: &str) -> String {
    name.parse::<ImageRef>().map_or_else(|_| name.to_owned(), |name| name.to_string())
}

/// Names with a tag; one that only pins a digest is no tag.
fn tags(image: &Image) -> Vec<String> {
    image.names.iter().filter(|name| name.tag().is_some()).map(ToString::to_string).collect()
}

/// What registries call it, and its own manifest, or the index it is one of, under each repository that no registry has
/// named it in.
fn digests(image: &Image) -> Vec<String> {
    let told = &image.repo_digests;
    let is_told = |name: &ImageRef| told.iter().any(|digest| digest.familiar_name() == name.familiar_name());
    let own = image.names.iter().filter(|name| !is_told(name));
    let digest = image.index.unwrap_or(image.manifest_digest);
    let own = own.map(|name| format!("{}@{digest}", name.familiar_name()));
    let mut digests: Vec<String> = told.iter().map(ToString::to_string).chain(own).collect();
    digests.sort();
    digests.dedup();
    digests
}

fn labels(image: &Image) -> BTreeMap<String, String> {
    let config = image.config.config().as_ref();
    config.and_then(|config| config.labels().clone()).unwrap_or_default().into_iter().collect()
}

async fn inspect(state: &DockerState, name: &str, version: ApiVersion, params: &Params) -> Answer {
    let image = find(state, name).await?;
    platform::check(params, &image)?;
    let raw = &image.raw_config;
    let diff_ids: Vec<String> = image.layers.iter().map(|layer| layer.diff_id.to_string()).collect();
    let (sizes, images, measured) = (state.sizes.clone(), state.images.clone(), image.clone());
    let size = blocking(move || Ok(sizes.image(&images, &measured))).await?;
    let newest = raw["history"].as_array().and_then(|history| history.last()).unwrap_or(&Value::Null);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let mut shown = json!({
        "Id": image.id, "RepoTags": tags(&image), "RepoDigests": digests(&image), "Parent": "", "Comment": text(&newest["comment"]),
        "Created": text(&raw["created"]), "DockerVersion": text(&raw["docker_version"]), "Author": text(&raw["author"]),
        "Config": told(&raw["config"], version), "Architecture": raw["architecture"], "Os": raw["os"], "Size": size, "VirtualSize": size,
        "GraphDriver": crate::graph::of_image(&state.images, &image), "RootFS": { "Type": "layers", "Layers": diff_ids },
        "Metadata": { "LastTagTime": "0001-01-01T00:00:00Z" },
    });
    for (field, key) in [("Variant", "variant"), ("OsVersion", "os.version")] {
        if let Some(value) = raw[key].as_str().filter(|value| !value.is_empty()) {
            shown[field] = json!(value);
        }
    }
    if !version.has(45) {
        // Of the container that the image was made in; compose's first version reads it.
        let made_in = raw.get("container_config").unwrap_or(&raw["config"]);
        shown["ContainerConfig"] = told(made_in, version);
        shown["Container"] = json!(text(&raw["container"]));
    }
    Ok(Json(shown).into_response())
}

/// A configuration with what is told of every image, whether it has that or not. Before API 1.50 that was all that a container's has.
fn told(config: &Value, version: ApiVersion) -> Value {
    let always = json!({
        "Cmd": null, "Entrypoint": null, "Env": null, "Labels": null, "OnBuild": null, "User": "", "Volumes": null, "WorkingDir": "",
    });
    let before = json!({
        "AttachStderr": false, "AttachStdin": false, "AttachStdout": false, "Domainname": "", "Hostname": "", "Image": "",
        "OpenStdin": false, "StdinOnce": false, "Tty": false,
    });
    let mut all = Map::new();
    let parts = [Some(&before).filter(|_| !version.has(50)), Some(&always), Some(config)];
    for part in parts.into_iter().flatten().filter_map(Value::as_object) {
        all.extend(part.clone());
    }
    Value::Object(all)
}

/// `repo` and `tag` as one name.
pub(crate) fn target(params: &Params) -> Result<ImageRef, Failure> {
    let repo = params.get("repo").ok_or_else(|| invalid("repo is missing"))?;
    let text = params.get("tag").map_or_else(|| repo.to_owned(), |tag| format!("{repo}:{tag}"));
    Ok(text.parse::<ImageRef>()?)
}

async fn tag(state: &DockerState, name: &str, params: &Params) -> Answer {
    let image = find(state, name).await?;
    let (images, name) = (state.images.clone(), target(params)?);
    let shown = name.to_string();
    let tagged = blocking(move || images.tag(&image, &name)).await?;
    state.events.image("tag", &tagged.id.to_string(), &shown, &tagged);
    Ok(StatusCode::CREATED.into_response())
}

/// A blocking reader of a request's body.
pub(crate) fn body_reader(body: Body) -> impl std::io::Read + Send + 'static {
    let stream = Box::pin(body.into_data_stream().map_err(std::io::Error::other));
    SyncIoBridge::new(StreamReader::new(stream))
}

/// How archives begin that other than images' own ways of compression made.
const FOREIGN: [&[u8]; 2] = [b"BZh", b"\xfd7zXZ\0"];

/// An archive as images take them: what xz and bzip2 made is decompressed, the rest stays.
pub(crate) fn readable(mut stream: impl Read + 'static) -> Result<Box<dyn Read>, Error> {
    let mut head = Vec::new();
    let read = stream.by_ref().take(6).read_to_end(&mut head);
    read.map_err(|error| Error::new(Kind::Invalid, "the archive cannot be read").with_source(error))?;
    let is_foreign = FOREIGN.iter().any(|magic| head.starts_with(magic));
    let whole = Cursor::new(head).chain(stream);
    if is_foreign { hako_build::decompressed(whole) } else { Ok(Box::new(whole)) }
}

/// A stream that one reads, and another reads the rest of.
#[derive(Debug)]
pub(crate) struct Shared<R>(Arc<Mutex<R>>);

impl<R> Shared<R> {
    pub(crate) fn new(stream: R) -> Self {
        Self(Arc::new(Mutex::new(stream)))
    }
}

impl<R> Clone for Shared<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Read> Read for Shared<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.0.lock().read(buffer)
    }
}

fn lines(values: &[Value]) -> Response {
    let text: String = values.iter().map(|value| format!("{value}\r\n")).collect();
    ([(header::CONTENT_TYPE, "application/json")], text).into_response()
}
