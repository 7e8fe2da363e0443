//! `/session`, `/build?version=2`, `/build/cancel`.

use super::news;
use super::peer::{self, Driver, Peer};
use super::progress::Progress;
use super::session::Session;
use super::solve::{Source, solve};
use super::table::Place;
use super::wish::{Asked, Entry};
use crate::DockerState;
use crate::build::{AbortOnDrop, Context, refuse};
use crate::container::host::Ulimit;
use crate::error::{Answer, Failure, invalid};
use crate::image::body_reader;
use crate::params::Params;
use ::hako_build::{Built, extra_host};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures::{StreamExt, stream};
use hako_error::Result;
use http::{HeaderMap, StatusCode, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use prost::Message;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, watch};

pub(super) const SESSION_ID: &str = "x-docker-expose-session-uuid";
pub(super) const SESSION_METHOD: &str = "x-docker-expose-session-grpc-method";
/// How long a connection may take to turn round.
const TURN_TIME: Duration = Duration::from_secs(10);
/// A build's id that says: this request only brings the context.
const UPLOAD: &str = "upload-request";
/// The `remote` of a build whose context is a directory of the client.
const CLIENT: &str = "client-session";

/// `POST /session`: the connection becomes one on which the client serves.
pub(crate) async fn session(State(state): State<DockerState>, mut request: Request) -> Answer {
    let upgrade = h2c(&mut request)?;
    let id = text(request.headers(), SESSION_ID).unwrap_or_default();
    let methods = request.headers().get_all(SESSION_METHOD).iter();
    let methods = methods.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect();
    let place = state.buildkit.admit(id)?;
    tokio::spawn(hold(upgrade, place, methods));
    Ok(turned())
}

/// The wish to speak HTTP/2 on this connection.
pub(super) fn h2c(request: &mut Request) -> Result<OnUpgrade, Failure> {
    let wanted = text(request.headers(), header::UPGRADE.as_str()).unwrap_or_default();
    if !wanted.eq_ignore_ascii_case("h2c") {
        return Err(invalid(format!("expected Connection: Upgrade and Upgrade: h2c, not {wanted:?}")));
    }
    request
        .extensions_mut()
        .remove::<OnUpgrade>()
        .ok_or_else(|| invalid("this connection cannot be upgraded"))
}

/// The answer after which the connection speaks HTTP/2.
pub(super) fn turned() -> Response {
    let headers = [(header::CONNECTION, "Upgrade"), (header::UPGRADE, "h2c")];
    (StatusCode::SWITCHING_PROTOCOLS, headers).into_response()
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// Keeps a session until its client goes, or does not come.
async fn hold(upgrade: OnUpgrade, place: Place, methods: Vec<String>) {
    let turning = async {
        let io = upgrade.await?;
        peer::connect(TokioIo::new(io)).await
    };
    let (peer, driver) = match tokio::time::timeout(TURN_TIME, turning).await {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return tracing::debug!(%error, "a session did not begin"),
        Err(_) => return tracing::debug!("a session did not begin in time"),
    };
    keep(peer, driver, place, methods).await;
}

/// Keeps a session whose connection has turned round. It is there for builds when its client answers.
pub(super) async fn keep(peer: Peer, mut driver: Driver, place: Place, methods: Vec<String>) {
    // Dropped when this ends, however it does.
    let (_line, end) = watch::channel(());
    let session = Session::new(peer, methods, end);
    let answered = tokio::select! {
        answered = session.is_there() => answered,
        _ = &mut driver => false,
    };
    if !answered {
        return tracing::debug!("a session's client does not answer");
    }
    place.fill(session);
    if let Err(error) = driver.await {
        tracing::debug!(%error, "a session ended early");
    }
}

/// `POST /build/cancel`.
pub(crate) async fn cancel(State(state): State<DockerState>, params: Params) -> Answer {
    let id = params.get("id").ok_or_else(|| invalid("build ID not provided"))?;
    // A build that has ended already is as good as cancelled.
    state.buildkit.cancel(id);
    Ok(StatusCode::OK.into_response())
}

/// `POST /build?version=2`.
pub(crate) async fn build(state: DockerState, params: &Params, request: Request) -> Answer {
    let id = params.get("buildid").unwrap_or_default().to_owned();
    if let Some(id) = id.strip_prefix(UPLOAD).and_then(|rest| rest.strip_prefix(':')) {
        state.buildkit.offer(id, request.into_body()).await?;
        return Ok(StatusCode::OK.into_response());
    }
    // Before any refusal: docker 20.10 hangs if it is refused while it still opens its session.
    let session = match params.get("session") {
        Some(id) => Some(state.buildkit.session(id).await?),
        None => None,
    };
    refuse(params, &["remote", "extrahosts", "outputs", "shmsize", "ulimits"])?;
    let asked = asked(params)?;
    // Before the work begins: what cannot be honoured has a status of its own.
    asked.request(std::path::Path::new("/"))?;
    let source = match params.get("remote").unwrap_or_default() {
        CLIENT => Source::Client,
        UPLOAD => {
            let upload = state.buildkit.uploaded(&id).await?;
            let parent = crate::build::contexts(&state.images);
            let context = Context::receive(parent, body_reader(upload.body)).await?;
            drop(upload.taken);
            Source::Unpacked(context)
        }
        "" => {
            let parent = crate::build::contexts(&state.images);
            Source::Unpacked(Context::receive(parent, body_reader(request.into_body())).await?)
        }
        address => Source::Address(address.to_owned()),
    };
    let (sender, receiver) = mpsc::channel::<Value>(256);
    let table = state.buildkit.clone();
    let job = Job { id: id.clone(), session, asked, source, is_quiet: params.flag("q") };
    let running = tokio::spawn(run(state, job, sender));
    let running_place = table.begin(&id, running.abort_handle());
    let guard = (AbortOnDrop(running.abort_handle()), running_place);
    let lines = stream::unfold((receiver, guard), |(mut receiver, guard)| async move {
        let line = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(format!("{line}\r\n"))), (receiver, guard)))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}

/// What can be said of a build by its query alone.
pub(crate) fn judged_query(params: &Params) -> Result<(), Failure> {
    Ok(asked(params)?.request(std::path::Path::new("/")).map(drop)?)
}

/// The query in the frontend's words.
fn asked(params: &Params) -> Result<Asked, Failure> {
    let mut asked = Asked::default();
    let mut set = |key: &str, value: String| asked.attributes.insert(key.to_owned(), value);
    for (key, attribute) in [
        ("dockerfile", "filename"),
        ("target", "target"),
        ("platform", "platform"),
        ("networkmode", "force-network-mode"),
    ] {
        if let Some(value) = params.get(key) {
            set(attribute, value.to_owned());
        }
    }
    if params.flag("nocache") {
        set("no-cache", String::new());
    }
    if params.flag("pull") {
        set("image-resolve-mode", "pull".to_owned());
    }
    for (key, prefix) in [("buildargs", "build-arg:"), ("labels", "label:")] {
        for (name, value) in params.map(key)? {
            set(&format!("{prefix}{name}"), value);
        }
    }
    let hosts: Vec<(String, std::net::IpAddr)> =
        params.all("extrahosts").map(extra_host).collect::<Result<_>>()?;
    if !hosts.is_empty() {
        let hosts: Vec<String> = hosts.iter().map(|(name, address)| format!("{name}={address}")).collect();
        set("add-hosts", hosts.join(","));
    }
    if let Some(bytes) = params.get("shmsize") {
        set("shm-size", bytes.to_owned());
    }
    let ulimits: Option<Vec<Ulimit>> = list(params, "ulimits")?;
    let word = |limit: &Ulimit| format!("{}={}:{}", limit.name, limit.soft, limit.hard);
    let ulimits: Vec<String> = ulimits.iter().flatten().map(word).collect();
    if !ulimits.is_empty() {
        set("ulimit", ulimits.join(","));
    }
    let caches: Option<Vec<String>> = list(params, "cachefrom")?;
    if let Some(caches) = caches.filter(|caches| !caches.is_empty()) {
        set("cache-from", caches.join(","));
    }
    asked.exports = exports(params)?;
    Ok(asked)
}

/// A JSON list in a parameter.
fn list<T: serde::de::DeserializeOwned>(params: &Params, name: &str) -> Result<Option<T>, Failure> {
    let Some(text) = params.get(name) else { return Ok(None) };
    serde_json::from_str(text).map_err(|_| invalid(format!("{name} {text:?} is not the JSON it should be")))
}

/// Where the result goes: an image of this machine unless something else is asked for.
fn exports(params: &Params) -> Result<Vec<Entry>, Failure> {
    let outputs: Vec<Entry> = list(params, "outputs")?.unwrap_or_default();
    let names = params.all("t").collect::<Vec<_>>().join(",");
    let named = |mut export: Entry| {
        if export.is_image() && !names.is_empty() {
            export.attributes.insert("name".into(), names.clone());
        }
        export
    };
    let image = Entry { kind: "moby".into(), ..Entry::default() };
    let outputs = if outputs.is_empty() { vec![image] } else { outputs };
    // A build for its cache alone gives its result to nobody.
    Ok(outputs.into_iter().filter(|export| export.kind != "cacheonly").map(named).collect())
}

/// A build that was asked for.
struct Job {
    id: String,
    session: Option<Arc<Session>>,
    asked: Asked,
    source: Source,
    is_quiet: bool,
}

async fn run(state: DockerState, job: Job, sender: mpsc::Sender<Value>) {
    let (out, mut news) = news::channel();
    let progress = Progress::new(&job.id, out);
    let lines = sender.clone();
    let show = async move {
        while let Some(news) = news.next().await {
            let line = json!({ "id": "moby.buildkit.trace", "aux": STANDARD.encode(news.encode_to_vec()) });
            if lines.send(line).await.is_err() {
                return;
            }
        }
    };
    let build = async move {
        let built = solve(&state, job.session, &job.asked, job.source, &progress).await;
        drop(progress);
        built
    };
    let (built, ()) = tokio::join!(build, show);
    for line in outcome(built, job.is_quiet) {
        // Nobody may be left to tell.
        let _ = sender.send(line).await;
    }
}

fn outcome(built: Result<Built>, is_quiet: bool) -> Vec<Value> {
    match built {
        Ok(built) => match built.id() {
            Some(id) => {
                let mut lines = vec![json!({ "id": "moby.image.id", "aux": { "ID": id } })];
                if is_quiet {
                    lines.push(json!({ "stream": format!("{id}\n") }));
                }
                lines
            }
            None => Vec::new(),
        },
        Err(error) => {
            let text = error.chain();
            vec![json!({ "errorDetail": { "message": text }, "error": text })]
        }
    }
}
