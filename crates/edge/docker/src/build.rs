//! `POST /build`: a tar with the context in, the classic builder's stream of JSON objects out.

use crate::DockerState;
use crate::api::ApiVersion;
use crate::client::until_gone;
use crate::error::{Answer, Failure, blocking, invalid, unimplemented};
use crate::image::body_reader;
use crate::params::Params;
use crate::relay::{CLIPPED, Line, ON_THE_WAY, relay};
use ::hako_build::{BuildEvent, BuildRequest, Built, CacheSource, RunNetwork, StepOutcome, decompressed};
use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::post;
use bytes::Bytes;
use futures::stream;
use hako_error::{Error, Kind, Result};
use hako_image::ImageStore;
use hako_image::layer::{Limits, Permits, apply};
use hako_image::transfer::Stop;
use hako_names::ImageRef;
use http::header;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::mpsc;

/// The routes of this module.
pub(crate) fn routes() -> Router<DockerState> {
    Router::new()
        .route("/build", post(build).layer(from_fn(until_gone)))
        .route("/hako/build", post(crate::hako_build::build).layer(from_fn(until_gone)))
        .route("/build/prune", post(crate::build_prune::prune))
        .route("/build/cancel", post(crate::buildkit::cancel))
        .route("/grpc", post(crate::buildkit::grpc))
        .route("/session", post(crate::buildkit::session))
}

/// What a context may hold.
pub(crate) const CONTEXT_LIMITS: Limits =
    Limits { bytes: 64 << 30, entries: 5_000_000, permits: Permits::ALL };

/// Parameters that would change the result and are not built.
const REFUSED: [&str; 14] = [
    "remote",
    "memory",
    "memswap",
    "cpushares",
    "cpusetcpus",
    "cpuperiod",
    "cpuquota",
    "squash",
    "extrahosts",
    "outputs",
    "ulimits",
    "shmsize",
    "securityopt",
    "cgroupparent",
];

/// Those of them that the classic builder builds.
const BUILT: [&str; 10] = [
    "remote",
    "extrahosts",
    "memory",
    "memswap",
    "cpushares",
    "cpusetcpus",
    "cpuperiod",
    "cpuquota",
    "ulimits",
    "shmsize",
];

pub(crate) async fn build(
    State(state): State<DockerState>,
    version: ApiVersion,
    params: Params,
    request: Request,
) -> Answer {
    if params.get("version") == Some("2") {
        return crate::buildkit::build(state, &params, request).await;
    }
    refuse(&params, &BUILT)?;
    let isolation = params.get("isolation").unwrap_or("default");
    if !isolation.eq_ignore_ascii_case("default") {
        return Err(invalid(format!("Unsupported isolation: {isolation:?}")));
    }
    let limits = crate::build_limits::limits(&params, version, |feature| state.engine.has(feature))?;
    let platforms = params.get("platform").unwrap_or_default().split(',').filter(|text| !text.is_empty());
    let platforms: Vec<String> = platforms.map(str::to_owned).collect();
    if let Some(platform) = platforms.iter().find(|platform| !platform.starts_with("linux")) {
        return Err(unimplemented(format!("platform {platform:?} is unimplemented: build for linux")));
    }
    let tags = params.all("t").map(str::parse).collect::<std::result::Result<Vec<ImageRef>, _>>()?;
    let remote = params.get("remote").filter(|address| !address.is_empty()).map(str::to_owned);
    remote.as_deref().map(::hako_build::check_remote).transpose()?;
    let parent = contexts(&state.images);
    let context = match remote {
        Some(_) => Context::empty(&parent)?,
        None => Context::receive(parent, body_reader(request.into_body())).await?,
    };
    let wanted = BuildRequest {
        context: context.0.clone(),
        remote,
        dockerfile: params.get("dockerfile").map(|name| name.trim_start_matches('/').into()),
        tags: tags.clone(),
        args: params.map("buildargs")?,
        target: params.get("target").map(str::to_owned),
        no_cache: params.flag("nocache"),
        labels: params.map("labels")?,
        network: network(&params)?,
        extra_hosts: params.all("extrahosts").map(::hako_build::extra_host).collect::<Result<_>>()?,
        limits,
        cache_from: cache_from(&params)?,
        pull: params.flag("pull"),
        platforms,
        ..BuildRequest::default()
    };
    if wanted.remote.is_none() {
        check_inside(&context.0, wanted.dockerfile.as_deref().unwrap_or(Path::new("Dockerfile")))?;
    }
    let (sender, receiver) = mpsc::channel::<String>(ON_THE_WAY);
    let is_quiet = params.flag("q");
    let running = tokio::spawn(run(state, wanted, context, tags, is_quiet, sender));
    let guard = AbortOnDrop(running.abort_handle());
    let lines = stream::unfold((receiver, guard), |(mut receiver, guard)| async move {
        let line = receiver.recv().await?;
        Some((Ok::<_, Infallible>(Bytes::from(format!("{line}\r\n"))), (receiver, guard)))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}

/// Refuses what is not built, except what the caller has built.
pub(crate) fn refuse(params: &Params, built: &[&str]) -> std::result::Result<(), Failure> {
    let is_set = |name: &str| {
        params.get(name).is_some_and(|value| !matches!(value, "" | "0" | "null" | "[]" | "false"))
    };
    match REFUSED.iter().find(|name| !built.contains(name) && is_set(name)) {
        Some(name) => Err(unimplemented(format!("build parameter {name} is unimplemented: leave it out"))),
        None => Ok(()),
    }
}

/// A client that goes away cancels its build.
pub(crate) struct AbortOnDrop(pub(crate) tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A JSON list of images that may carry results of their steps.
fn cache_from(params: &Params) -> std::result::Result<Vec<CacheSource>, Failure> {
    let text = params.get("cachefrom").unwrap_or_default();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let names: Option<Vec<ImageRef>> = serde_json::from_str(text)
        .map_err(|_| invalid(format!("cachefrom {text:?} is no list of images")))?;
    Ok(names.unwrap_or_default().into_iter().map(|reference| CacheSource::Inline { reference }).collect())
}

fn network(params: &Params) -> std::result::Result<RunNetwork, Failure> {
    match params.get("networkmode").unwrap_or("default") {
        "default" | "bridge" => Ok(RunNetwork::Bridge),
        "none" => Ok(RunNetwork::None),
        "host" => Ok(RunNetwork::Host),
        other => {
            Err(unimplemented(format!("networkmode {other:?} is unimplemented: use bridge, none or host")))
        }
    }
}

/// The Dockerfile is a file of the context, also by way of links.
pub(crate) fn check_inside(context: &Path, name: &Path) -> std::result::Result<(), Failure> {
    let real = context.join(name).canonicalize().ok().filter(|path| path.is_file());
    let root = context.canonicalize().unwrap_or_else(|_| context.to_owned());
    match real {
        Some(real) if real.starts_with(&root) => Ok(()),
        _ => Err(invalid(format!("Cannot locate specified Dockerfile: {}", name.display()))),
    }
}

/// A directory with the client's files, removed when dropped.
pub(crate) struct Context(PathBuf);

/// Where contexts are that clients have sent.
pub(crate) fn contexts(images: &ImageStore) -> PathBuf {
    images.dir().join("contexts")
}

/// Removes what builds of an earlier process were given.
pub(crate) fn forget_contexts(images: &ImageStore) {
    for context in std::fs::read_dir(contexts(images)).into_iter().flatten().flatten() {
        drop(Context(context.path()));
    }
}

impl Context {
    /// The files of a tar that is still being sent; who drops this ends it.
    pub(crate) async fn receive(
        parent: PathBuf,
        body: impl std::io::Read + Send + 'static,
    ) -> std::result::Result<Self, Failure> {
        let stop = Stop::default();
        let _on_drop = stop.on_drop();
        blocking(move || Self::unpack(&parent, body, &stop)).await
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    /// One with nothing in it yet.
    pub(crate) fn empty(parent: &Path) -> Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let context = Self(parent.join(name));
        std::fs::create_dir_all(&context.0).map_err(failed(parent))?;
        Ok(context)
    }

    pub(crate) fn unpack(parent: &Path, body: impl std::io::Read + 'static, stop: &Stop) -> Result<Self> {
        let context = Self::empty(parent)?;
        let root = std::fs::File::open(&context.0).map_err(failed(parent))?;
        apply(&root, stop.reader(decompressed(body)?), "the build context", CONTEXT_LIMITS)?;
        Ok(context)
    }
}

fn failed(parent: &Path) -> impl Fn(std::io::Error) -> Error {
    let text = format!("make a build context in {}", parent.display());
    move |source| Error::new(Kind::Internal, text.clone()).with_source(source)
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Err(error) = hako_snapshot::remove_tree(&self.0) {
            tracing::warn!(%error, path = %self.0.display(), "remove a build context");
        }
    }
}

async fn run(
    state: DockerState,
    wanted: BuildRequest,
    context: Context,
    tags: Vec<ImageRef>,
    is_quiet: bool,
    sender: mpsc::Sender<String>,
) {
    let (progress, events) = mpsc::unbounded_channel();
    let (mut total, mut failed) = (0, None);
    let line = |event| {
        match &event {
            BuildEvent::Planned { steps } => total = *steps,
            BuildEvent::RunFailed { words, code } => failed = Some((words.join(" "), *code)),
            _ => {}
        }
        let is_output = matches!(event, BuildEvent::Output { .. });
        let line = line(event, total).filter(|_| !is_quiet)?.to_string();
        Some(if is_output { Line::Output(line) } else { Line::Told(line) })
    };
    let show = relay(events, sender.clone(), line, || json!({ "stream": CLIPPED }).to_string());
    let (built, ()) = tokio::join!(state.builder.build(wanted, progress), show);
    drop(context);
    if let Ok(Built { image: Some(image), .. }) = &built {
        state.events.built(image, &tags);
    }
    for line in outcome(built, failed, &tags, is_quiet) {
        if sender.send(line.to_string()).await.is_err() {
            return;
        }
    }
}

/// A quiet build tells its image alone, whole. What a program failed with is docker's exit code.
fn outcome(
    built: Result<Built>,
    failed: Option<(String, i32)>,
    tags: &[ImageRef],
    is_quiet: bool,
) -> Vec<Value> {
    match built {
        Ok(built) => {
            let Some(id) = built.id() else { return Vec::new() };
            if is_quiet {
                return vec![json!({ "stream": format!("{id}\n") })];
            }
            let mut lines = vec![
                json!({ "aux": { "ID": id } }),
                json!({ "stream": format!("Successfully built {}\n", id.short()) }),
            ];
            lines.extend(tags.iter().map(|tag| json!({ "stream": format!("Successfully tagged {tag}\n") })));
            lines
        }
        Err(error) => {
            let failed = failed.filter(|_| error.kind() == Kind::FailedPrecondition);
            let (text, detail) = match failed {
                Some((command, code)) => {
                    let text = format!("The command '{command}' returned a non-zero code: {code}");
                    let detail = json!({ "code": code, "message": text });
                    (text, detail)
                }
                None => (error.chain(), json!({ "message": error.chain() })),
            };
            vec![json!({ "errorDetail": detail, "error": text })]
        }
    }
}

fn line(event: BuildEvent, total: usize) -> Option<Value> {
    let text = match event {
        BuildEvent::Planned { .. } => return None,
        BuildEvent::StepStarted { step, text, .. } => format!("Step {step}/{total} : {text}\n"),
        BuildEvent::Output { bytes, .. } => String::from_utf8_lossy(&bytes).into_owned(),
        BuildEvent::StepEnded { outcome: StepOutcome::Cached, .. } => " ---> Using cache\n".to_owned(),
        BuildEvent::StepEnded { .. } => return None,
        BuildEvent::Warning { line: 0, message } => format!("[Warning] {message}\n"),
        // The builder whose words these are checks nothing.
        BuildEvent::Checked { .. } | BuildEvent::Kept { .. } | BuildEvent::RunFailed { .. } => return None,
        BuildEvent::Warning { line, message } => format!("[Warning] line {line}: {message}\n"),
    };
    Some(json!({ "stream": text }))
}
