//! `/grpc`: the connection carries BuildKit's control service, for buildx and SDKs.
//!
//! ```text
//! Control.Solve (frontend dockerfile.v0)       the build, to its end
//! Control.Status (the same reference)          its news, beside it
//! Control.Solve (no frontend)                  waits until the client says on the gateway what it wants:
//!   LLBBridge.Ping, Solve (dockerfile.v0), Return
//! ```
//! Owns: these services' messages and errors. Does not own: sessions, building.
//! Invariant: a build given as a graph of BuildKit's own operations is refused; nothing here runs one.

mod builds;
mod gateway;
mod solve;
mod wire;
mod workers;

pub(crate) use builds::Builds;
pub(crate) use solve::judged_solve;

use super::api::{h2c, keep, turned};
use super::peer;
use super::wire::{Nothing, Piece};
use crate::DockerState;
use crate::error::Answer;
use axum::extract::{Request, State};
use futures::{Stream, StreamExt};
use hako_error::{Error, Kind};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use prost::Message;
use std::convert::Infallible;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Code, Status};
use tonic_prost::ProstCodec;

const ALIVE_EVERY: Duration = Duration::from_secs(10);
const ALIVE_WITHIN: Duration = Duration::from_secs(20);
const TURN_TIME: Duration = Duration::from_secs(10);
/// Calls at the same time on one connection.
const MOST_CALLS: u32 = 128;
/// A request with its attributes is no longer than this.
const MESSAGE_LIMIT: usize = 16 << 20;
/// Bytes of a session that is carried inside a call.
const BUFFER: usize = 64 << 10;

/// `POST /grpc`.
pub(crate) async fn grpc(State(state): State<DockerState>, mut request: Request) -> Answer {
    let upgrade = h2c(&mut request)?;
    tokio::spawn(async move {
        let Ok(Ok(io)) = tokio::time::timeout(TURN_TIME, upgrade).await else { return };
        let service = service_fn(move |request| {
            let state = state.clone();
            async move { Ok::<_, Infallible>(route(state, request).await) }
        });
        let served = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(ALIVE_EVERY)
            .keep_alive_timeout(ALIVE_WITHIN)
            .max_concurrent_streams(MOST_CALLS)
            .serve_connection(io, service);
        if let Err(error) = served.await {
            tracing::debug!(%error, "a connection of BuildKit's control service ended early");
        }
    });
    Ok(turned())
}

type Response = http::Response<Body>;

async fn route(state: DockerState, request: http::Request<Incoming>) -> Response {
    let path = request.uri().path().to_owned();
    if let Some(method) = path.strip_prefix("/moby.buildkit.v1.Control/") {
        return match method {
            "Solve" => one(request, async |question, _| solve::solve(&state, question).await).await,
            "Status" => many(request, async |question| solve::status(&state, question).await).await,
            "Session" => carried(state, request).await,
            "ListWorkers" => one(request, async |_: Nothing, _| Ok(workers::list(&state))).await,
            "Info" => one(request, async |_: Nothing, _| Ok(workers::info(&state))).await,
            "DiskUsage" => one(request, async |question, _| workers::usage(&state, question).await).await,
            "Prune" => many(request, async |question| workers::prune(&state, question).await).await,
            _ => refuse(&path),
        };
    }
    if let Some(method) = path.strip_prefix("/moby.buildkit.v1.frontend.LLBBridge/") {
        return match method {
            "Ping" => one(request, async |_: Nothing, _| Ok(gateway::ping(&state))).await,
            "Solve" => {
                one(request, async |question, build| gateway::solve(&state, question, build).await).await
            }
            "Return" => {
                one(request, async |question, build| gateway::give_back(&state, question, build).await).await
            }
            _ => refuse(&path),
        };
    }
    match path.as_str() {
        // 1 is SERVING.
        "/grpc.health.v1.Health/Check" => {
            one(request, async |_: Nothing, _| Ok(wire::Health { status: 1 })).await
        }
        _ => refuse(&path),
    }
}

fn refuse(path: &str) -> Response {
    Status::unimplemented(format!("{path} is unimplemented")).into_http()
}

/// The build that a call on the gateway belongs to.
type BuildId = String;

/// A call with one message each way.
async fn one<Q, A>(
    request: http::Request<Incoming>,
    answer: impl AsyncFnOnce(Q, BuildId) -> Result<A, Status>,
) -> Response
where
    Q: Message + Default + 'static,
    A: Message + 'static,
{
    let id = request.headers().get("buildkit-controlapi-buildid");
    let id = id.and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned();
    let mut once = Some((answer, id));
    let service = tower::service_fn(|request: tonic::Request<Q>| {
        let once = once.take();
        async move {
            let (answer, id) = once.ok_or_else(twice)?;
            answer(request.into_inner(), id).await.map(tonic::Response::new)
        }
    });
    grpc_of::<A, Q>().unary(service, request).await
}

/// A call that is answered by a stream.
async fn many<Q, A, S>(
    request: http::Request<Incoming>,
    answer: impl AsyncFnOnce(Q) -> Result<S, Status>,
) -> Response
where
    Q: Message + Default + 'static,
    A: Message + 'static,
    S: Stream<Item = A> + Send + 'static,
{
    let mut once = Some(answer);
    let service = tower::service_fn(|request: tonic::Request<Q>| {
        let once = once.take();
        async move {
            let answer = once.ok_or_else(twice)?;
            let stream = answer(request.into_inner()).await?;
            Ok::<_, Status>(tonic::Response::new(stream.map(Ok)))
        }
    });
    grpc_of::<A, Q>().server_streaming(service, request).await
}

fn grpc_of<A, Q>() -> Grpc<ProstCodec<A, Q>>
where
    A: Message + 'static,
    Q: Message + Default + 'static,
{
    Grpc::new(ProstCodec::default()).max_decoding_message_size(MESSAGE_LIMIT)
}

fn twice() -> Status {
    Status::internal("a call was begun twice")
}

/// `Control.Session`: a session whose connection is carried in a call's pieces, for clients that do not open
/// `/session` beside it.
async fn carried(state: DockerState, request: http::Request<Incoming>) -> Response {
    let all = |name| {
        let values = request.headers().get_all(name).iter();
        values.filter_map(|value| value.to_str().ok().map(str::to_owned)).collect::<Vec<String>>()
    };
    let id = all(super::api::SESSION_ID).into_iter().next().unwrap_or_default();
    let methods = all(super::api::SESSION_METHOD);
    let place = match state.buildkit.admit(&id) {
        Ok(place) => place,
        Err(error) => return status(&error).into_http(),
    };
    let mut parts = Some((place, methods));
    let service = tower::service_fn(move |request: tonic::Request<tonic::Streaming<Piece>>| {
        let parts = parts.take();
        async move {
            let (place, methods) = parts.ok_or_else(twice)?;
            let (ours, theirs) = tokio::io::duplex(BUFFER);
            tokio::spawn(async move {
                let Ok((peer, driver)) = peer::connect(ours).await else { return };
                keep(peer, driver, place, methods).await;
            });
            Ok::<_, Status>(tonic::Response::new(pump(request.into_inner(), theirs)))
        }
    });
    grpc_of::<Piece, Piece>().streaming(service, request).await
}

/// A connection's bytes as pieces, both ways.
fn pump(
    mut pieces: tonic::Streaming<Piece>,
    connection: tokio::io::DuplexStream,
) -> impl Stream<Item = Result<Piece, Status>> {
    let (mut read, mut write) = tokio::io::split(connection);
    tokio::spawn(async move {
        while let Ok(Some(piece)) = pieces.message().await {
            if write.write_all(&piece.data).await.is_err() {
                return;
            }
        }
        let _ = write.shutdown().await;
    });
    let (sender, receiver) = mpsc::channel(4);
    tokio::spawn(async move {
        let mut buffer = vec![0; BUFFER];
        while let Ok(length @ 1..) = read.read(&mut buffer).await {
            if sender.send(Ok(peer::piece(buffer[..length].to_vec()))).await.is_err() {
                return;
            }
        }
    });
    ReceiverStream::new(receiver)
}

/// An error in gRPC's words.
pub(super) fn status(error: &Error) -> Status {
    let code = match error.kind() {
        Kind::NotFound => Code::NotFound,
        Kind::AlreadyExists => Code::AlreadyExists,
        Kind::Invalid => Code::InvalidArgument,
        Kind::Conflict => Code::Aborted,
        Kind::FailedPrecondition => Code::FailedPrecondition,
        Kind::Unauthorized => Code::Unauthenticated,
        Kind::Forbidden => Code::PermissionDenied,
        Kind::Exhausted => Code::ResourceExhausted,
        Kind::Unavailable => Code::Unavailable,
        Kind::DeadlineExceeded => Code::DeadlineExceeded,
        Kind::Cancelled => Code::Cancelled,
        Kind::Unimplemented => Code::Unimplemented,
        Kind::DataLoss => Code::DataLoss,
        Kind::Internal => Code::Internal,
    };
    Status::new(code, error.chain())
}
