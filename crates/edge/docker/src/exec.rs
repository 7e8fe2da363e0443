//! Exec: made in one call, started in another, asked about in a third.

use crate::DockerState;
use crate::api::ApiVersion;
use crate::client::Hijack;
use crate::container::body::{JsonBody, check_type, timely, typed};
use crate::detach::Keys;
use crate::error::{Answer, Failure, invalid};
use crate::events::Log;
use crate::frame::{self, Talk};
use crate::params::Params;
use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use bytes::Bytes;
use futures::{FutureExt, StreamExt, stream};
use hako_container::{Container, ContainerEngine, ExecSpec, Output, Resize, Stream, TerminalSize};
use hako_error::{Error, Kind};
use hako_names::ContainerId;
use http::StatusCode;
use parking_lot::Mutex;
use serde::Deserialize;
use serde_json::json;
use std::sync::Arc;

/// The routes of this module.
pub(crate) fn routes() -> Router<DockerState> {
    Router::new()
        .route("/exec/{id}/start", post(start))
        .route("/exec/{id}/json", get(inspect))
        .route("/exec/{id}/resize", post(resize))
}

/// Execs remembered; the oldest that ended are forgotten first.
const REMEMBERED: usize = 512;
/// Bound of a request's body.
const MAX_BODY: usize = 1 << 20;

/// What is known of one exec.
pub(crate) struct ExecRecord {
    id: String,
    container: ContainerId,
    spec: ExecSpec,
    streams: (bool, bool),
    keys: Keys,
    detach_keys: String,
    told: Told,
    progress: Mutex<Progress>,
}

/// Where an exec is in its life.
#[derive(Default)]
enum Progress {
    /// Waits to be started.
    #[default]
    Made,
    /// Its process lives.
    Running { pid: u32, resize: Option<Resize> },
    /// Its process has ended, or could not be started.
    Ended { pid: u32, code: i32 },
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(crate) struct Create {
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    tty: bool,
    cmd: Option<Vec<String>>,
    env: Option<Vec<String>>,
    user: String,
    working_dir: String,
    privileged: bool,
    console_size: Option<[u16; 2]>,
    detach_keys: String,
}

/// Docker's events of one exec.
#[derive(Clone)]
pub(crate) struct Told {
    events: Arc<Log>,
    container: Container,
    exec: String,
    command: String,
}

impl Told {
    /// Tells that an exec was made.
    pub(crate) fn new(state: &DockerState, container: &Container, argv: &[String]) -> Self {
        let (events, container) = (Arc::clone(&state.events), container.clone());
        // The program, a space, its arguments: with none the space stays.
        let (program, arguments) = argv.split_first().map_or(("", &[][..]), |(it, rest)| (it, rest));
        let command = format!("{program} {}", arguments.join(" "));
        let told = Self { events, container, exec: exec_id(), command };
        told.tell(&format!("exec_create: {}", told.command), &[]);
        told
    }

    pub(crate) fn started(&self) {
        self.tell(&format!("exec_start: {}", self.command), &[]);
    }

    pub(crate) fn ended(&self, code: i32) {
        self.tell("exec_die", &[("exitCode", &code.to_string())]);
    }

    fn tell(&self, action: &str, more: &[(&str, &str)]) {
        let attributes = [&[("execID", self.exec.as_str())], more].concat();
        self.events.container_with(action, &self.container, &attributes);
    }
}

pub(crate) async fn create(
    State(state): State<DockerState>,
    Path(name): Path<String>,
    JsonBody(wanted): JsonBody<Create>,
) -> Answer {
    let argv =
        wanted.cmd.filter(|cmd| !cmd.is_empty()).ok_or_else(|| invalid("No exec command specified"))?;
    let id = state.engine.resolve(&name).await?;
    let container = state.engine.container(&id).await?;
    may_exec(&container)?;
    let detach_keys = wanted.detach_keys;
    let keys = Keys::parse(Some(&detach_keys))?;
    let spec = ExecSpec {
        argv,
        env: wanted.env.unwrap_or_default(),
        user: wanted.user,
        working_dir: wanted.working_dir,
        tty: wanted.tty,
        stdin: wanted.attach_stdin,
        privileged: wanted.privileged,
        size: wanted.console_size.map(|[rows, columns]| TerminalSize { rows, columns }),
    };
    let told = Told::new(&state, &container, &spec.argv);
    let id = told.exec.clone();
    let (streams, progress) = ((wanted.attach_stdout, wanted.attach_stderr), Mutex::default());
    let container = container.id;
    let record = ExecRecord { id: id.clone(), container, spec, streams, keys, detach_keys, told, progress };
    remember(&state, record);
    Ok((StatusCode::CREATED, Json(json!({ "Id": id }))).into_response())
}

/// A process needs a container that runs and is not held.
fn may_exec(container: &Container) -> Result<(), Failure> {
    let id = &container.id;
    let text = match &container.state {
        _ if container.restarting => {
            format!("Container {id} is restarting, wait until the container is running")
        }
        state if !state.is_running() => format!("container {id} is not running"),
        _ if container.paused => format!("Container {id} is paused, unpause the container before exec"),
        _ => return Ok(()),
    };
    Err(Failure(Error::new(Kind::FailedPrecondition, text)))
}

/// 64 hexadecimal digits that no other exec has.
fn exec_id() -> String {
    use std::hash::{BuildHasher, RandomState};
    (0..4).map(|part: u8| format!("{:016x}", RandomState::new().hash_one(part))).collect()
}

fn remember(state: &DockerState, record: ExecRecord) {
    let mut execs = state.execs.lock();
    if execs.len() >= REMEMBERED {
        let old = execs.iter().position(|exec| !matches!(*exec.progress.lock(), Progress::Running { .. }));
        execs.remove(old.unwrap_or(0));
    }
    execs.push_back(Arc::new(record));
}

/// Execs of a container that live; null where there is none, as Docker shows it.
pub(crate) fn running(state: &DockerState, container: &ContainerId) -> Option<Vec<String>> {
    let execs = state.execs.lock();
    let lives = |exec: &&Arc<ExecRecord>| {
        exec.container == *container && matches!(*exec.progress.lock(), Progress::Running { .. })
    };
    Some(execs.iter().filter(lives).map(|exec| exec.id.clone()).collect::<Vec<_>>())
        .filter(|ids| !ids.is_empty())
}

fn find(state: &DockerState, id: &str) -> Result<Arc<ExecRecord>, Failure> {
    let found = state.execs.lock().iter().find(|exec| exec.id == id).cloned();
    found.ok_or_else(|| Failure(Error::new(Kind::NotFound, format!("No such exec instance: {id}"))))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct Start {
    detach: bool,
    console_size: Option<[u16; 2]>,
}

fn read(body: &[u8]) -> Result<Start, Failure> {
    let mut body = serde_json::from_slice(body).map_err(|error| invalid(format!("invalid JSON: {error}")))?;
    crate::names::spell(&mut body);
    typed(body).map_err(|error| invalid(format!("invalid JSON: {error}")))
}

pub(crate) async fn start(
    State(state): State<DockerState>,
    Path(id): Path<String>,
    version: ApiVersion,
    mut request: Request,
) -> Answer {
    check_type(request.headers(), request.body())?;
    let record = find(&state, &id)?;
    let connection = Hijack::asked(&state, &mut request)?;
    let body = timely(axum::body::to_bytes(request.into_body(), MAX_BODY))
        .await?
        .map_err(|error| invalid(format!("body: {error}")))?;
    let wanted: Start = match body.is_empty() {
        true => Start::default(),
        false => read(&body)?,
    };
    if !matches!(*record.progress.lock(), Progress::Made) {
        return Err(Failure(Error::new(
            Kind::FailedPrecondition,
            format!("exec command {id} was started before"),
        )));
    }
    let mut spec = record.spec.clone();
    spec.size = wanted.console_size.map(|[rows, columns]| TerminalSize { rows, columns }).or(spec.size);
    if wanted.detach {
        let (_, mut output) = run(&state, &record, spec).await?;
        tokio::spawn(async move { while output.next().await.is_some() {} });
        return Ok(StatusCode::OK.into_response());
    }
    let tty = record.spec.tty;
    match connection {
        Some(connection) => {
            tokio::spawn(async move {
                let (stdin, output) =
                    run(&state, &record, spec).await.unwrap_or_else(|failure| failed(&record, &failure.0));
                let talk = Talk { tty, stdin, output, keys: record.keys.clone() };
                if let Some(left) = frame::pump(connection, talk).await {
                    left.linger();
                    record.told.tell("exec_detach", &[]);
                }
            });
            frame::upgraded(tty, version)
        }
        _ if spec.stdin => Err(frame::needs_upgrade()),
        _ => {
            let (_, output) =
                run(&state, &record, spec).await.unwrap_or_else(|failure| failed(&record, &failure.0));
            Ok(frame::streamed(tty, version, output))
        }
    }
}

type Streams = (Option<hako_container::Input>, Output);

async fn run(state: &DockerState, record: &Arc<ExecRecord>, spec: ExecSpec) -> Result<Streams, Failure> {
    let session = state.engine.exec(&record.container, spec).await?;
    record.told.started();
    let pid = session.pid;
    *record.progress.lock() = Progress::Running { pid, resize: session.resize };
    let (stdout, stderr) = record.streams;
    let output = session.output.filter(move |piece| {
        let is_wanted = match piece {
            Ok((Stream::Stdout, _)) => stdout,
            Ok((Stream::Stderr, _)) => stderr,
            Err(_) => true,
        };
        std::future::ready(is_wanted)
    });
    let watched = Arc::clone(record);
    let exit = async move {
        let code = session.exit.await.unwrap_or(137);
        *watched.progress.lock() = Progress::Ended { pid, code };
        watched.told.ended(code);
    }
    .shared();
    tokio::spawn(exit.clone());
    // The connection closes after the exit is known: its client asks for the code next.
    let end = stream::once(exit).filter_map(|()| std::future::ready(None));
    Ok((session.stdin, output.chain(end).boxed()))
}

/// An exec that could not be started says so on its stream and has the shell's exit code for that.
fn failed(record: &ExecRecord, error: &Error) -> Streams {
    // What is missing has to be the program: a missing directory is no reason for 127.
    let is_program = record.spec.argv.first().is_some_and(|program| error.chain().contains(program.as_str()));
    let code = if error.kind() == Kind::NotFound && is_program { 127 } else { 126 };
    *record.progress.lock() = Progress::Ended { pid: 0, code };
    record.told.ended(code);
    let line = Bytes::from(format!("OCI runtime exec failed: {}\r\n", error.chain()));
    (None, stream::once(std::future::ready(Ok((Stream::Stderr, line)))).boxed())
}

pub(crate) async fn inspect(State(state): State<DockerState>, Path(id): Path<String>) -> Answer {
    let record = find(&state, &id)?;
    let (running, pid, code) = match &*record.progress.lock() {
        Progress::Made => (false, 0, None),
        Progress::Running { pid, .. } => (true, *pid, None),
        Progress::Ended { pid, code } => (false, *pid, Some(*code)),
    };
    let spec = &record.spec;
    Ok(Json(json!({
        "ID": record.id, "Running": running, "ExitCode": code, "Pid": pid, "ContainerID": record.container,
        "OpenStdin": spec.stdin, "OpenStdout": record.streams.0, "OpenStderr": record.streams.1, "CanRemove": false, "DetachKeys": record.detach_keys,
        "ProcessConfig": {
            "tty": spec.tty, "entrypoint": spec.argv.first(), "arguments": spec.argv.get(1..), "privileged": spec.privileged, "user": spec.user,
        },
    }))
    .into_response())
}

pub(crate) async fn resize(
    State(state): State<DockerState>,
    Path(id): Path<String>,
    params: Params,
) -> Answer {
    let record = find(&state, &id)?;
    let size = size(&params)?;
    match &*record.progress.lock() {
        Progress::Running { resize: Some(resize), .. } => resize(size)?,
        // Docker says so too where there is no terminal.
        Progress::Running { resize: None, .. } => {}
        _ => return Err(Failure(Error::new(Kind::FailedPrecondition, format!("exec {id} is not running")))),
    }
    Ok(Response::new(Body::empty()))
}

/// `h` and `w` of a terminal, which the kernel keeps in 16 bits.
pub(crate) fn size(params: &Params) -> Result<TerminalSize, Failure> {
    let need = |name: &str| {
        let number: Option<u64> = params.number(name)?;
        let number = number.ok_or_else(|| invalid(format!("{name} is missing")))?;
        Ok::<_, Failure>(u16::try_from(number).unwrap_or(u16::MAX))
    };
    Ok(TerminalSize { rows: need("h")?, columns: need("w")? })
}
