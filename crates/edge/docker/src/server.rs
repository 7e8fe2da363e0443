//! Connections, API versions and the table of routes.

use crate::api::{ApiVersion, NEWEST, OLDEST};
use crate::clean::elsewhere;
use crate::client::Client;
use crate::error::{Answer, message, no_page, unimplemented};
use crate::hijack::{Gate, LONGEST};
use crate::params::Params;
use crate::record::Recorder;
use crate::{DockerState, build, container, drain, events, exec, image, network, registry, system, volume};
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post, put};
use hako_error::{Error, Kind, Result};
use http::{HeaderValue, Method, Request, StatusCode, Uri, Version, header};
use http_body::Body as _;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::UnixListener;
use tower::ServiceExt;

/// How long a client may take to send a request's head.
const HEAD_TIME: Duration = Duration::from_secs(10);
/// How many headers a request may have.
const MAX_HEADERS: usize = 100;
/// Pause after a failed accept, such as for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the API on a unix socket until dropped.
pub async fn serve(listener: UnixListener, state: DockerState) -> Result<()> {
    serve_all(vec![listener], state).await
}

/// Serves the API on several unix sockets until dropped, or until one of them fails.
pub async fn serve_all(listeners: Vec<UnixListener>, state: DockerState) -> Result<()> {
    // Ends with this future.
    let mut following = tokio::task::JoinSet::new();
    following.spawn(events::follow(state.clone()));
    following.spawn(container::health::follow(state.clone()));
    let server = format!("Docker/{} (linux)", state.version);
    let server = HeaderValue::try_from(server).unwrap_or(HeaderValue::from_static("Docker"));
    let recorder = state.recorder.clone();
    let face = Face { router: router(state), server, recorder };
    let accepting = listeners.into_iter().map(|listener| accept(listener, face.clone()));
    futures::future::try_join_all(accepting).await.map(drop)
}

/// What every connection answers with.
#[derive(Clone)]
struct Face {
    router: Router,
    server: HeaderValue,
    recorder: Option<Recorder>,
}

/// The longest text of a refusal, in bytes.
const MAX_REFUSAL: usize = 64 << 10;

async fn accept(listener: UnixListener, face: Face) -> Result<()> {
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) if error.raw_os_error().is_some() => {
                tracing::warn!(%error, "accept a connection of the engine's API");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
            Err(error) => {
                return Err(Error::new(Kind::Internal, "the engine's socket is closed").with_source(error));
            }
        };
        let client = match Client::of(&stream) {
            Ok(client) => client,
            Err(error) => {
                tracing::warn!(%error, "keep an eye on a connection of the engine's API");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let face = face.clone();
        tokio::spawn(async move {
            let (stream, heads) = Gate::new(stream);
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let (face, client, heads) = (face.clone(), client.clone(), heads.clone());
                let (mut request, rest) = drain::split(request);
                request.extensions_mut().insert(client.clone());
                if let Some(query) = heads.query() {
                    request.extensions_mut().insert(query);
                }
                async move {
                    let response = answer(face, request).await;
                    // What follows an upgrade is no request.
                    if response.status() != StatusCode::SWITCHING_PROTOCOLS && rest.is_end_stream() {
                        heads.next();
                    }
                    if response.status().is_client_error() || response.status().is_server_error() {
                        rest.drain().await;
                    }
                    Ok::<_, Infallible>(client.reads(response))
                }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            let served = http
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_headers(MAX_HEADERS)
                .max_buf_size(LONGEST)
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.with_upgrades().await {
                tracing::debug!(%error, "a connection of the engine's API ended early");
            }
        });
    }
}

async fn answer(face: Face, mut request: Request<Body>) -> Response {
    if let Some(response) = elsewhere(request.uri(), request.extensions().get()) {
        return response;
    }
    if let Some(text) = host_fault(&request) {
        return (StatusCode::BAD_REQUEST, format!("400 Bad Request: {text}")).into_response();
    }
    let mut response = match strip_version(&mut request) {
        Err(text) => message(StatusCode::BAD_REQUEST, &text),
        Ok(()) => {
            tracing::debug!(method = %request.method(), path = request.uri().path(), "request");
            match &face.recorder {
                Some(recorder) => recorder.pass(request, |request| routed(face.router, request)).await,
                None => routed(face.router, request).await,
            }
        }
    };
    let headers = response.headers_mut();
    headers.insert("api-version", HeaderValue::from_static("1.51"));
    headers.insert("docker-experimental", HeaderValue::from_static("false"));
    headers.insert("ostype", HeaderValue::from_static("linux"));
    headers.insert(header::SERVER, face.server);
    response
}

/// HTTP/1.1 has one `Host`: RFC 9112, 3.2. In Go's words.
fn host_fault(request: &Request<Body>) -> Option<&'static str> {
    match request.headers().get_all(header::HOST).iter().count() {
        0 if request.version() == Version::HTTP_11 => Some("missing required Host header"),
        0 | 1 => None,
        _ => Some("too many Host headers"),
    }
}

async fn routed(router: Router, request: Request<Body>) -> Response {
    match *request.method() {
        Method::OPTIONS => return StatusCode::OK.into_response(),
        Method::HEAD if !has_head(request.uri().path()) => return no_page(),
        _ => {}
    }
    match router.oneshot(request).await {
        Ok(response) => in_json(response).await,
    }
}

/// Docker has no HEAD of what else is read.
fn has_head(path: &str) -> bool {
    let path = path.trim_end_matches('/');
    path == "/_ping" || (path.starts_with("/containers/") && path.ends_with("/archive"))
}

/// Refusals of the router itself are plain text; every client reads JSON.
async fn in_json(response: Response) -> Response {
    let status = response.status();
    let is_plain = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|kind| kind.as_bytes().starts_with(b"text/plain"));
    if !is_plain || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    match axum::body::to_bytes(response.into_body(), MAX_REFUSAL).await {
        Ok(text) => message(status, &String::from_utf8_lossy(&text)),
        Err(error) => message(status, &error.to_string()),
    }
}

/// Takes `/v1.45` from the path's front and checks it.
fn strip_version(request: &mut Request<Body>) -> std::result::Result<(), String> {
    let path_and_query = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Some((version, rest)) = path_and_query.strip_prefix("/v").and_then(|path| path.split_once('/'))
    else {
        return Ok(());
    };
    let rest = rest.to_owned();
    let Some(asked) = ApiVersion::parse(version) else { return Ok(()) };
    if asked > NEWEST {
        return Err(format!(
            "client version {version} is too new. Maximum supported API version is {NEWEST}"
        ));
    }
    if asked < OLDEST {
        return Err(format!(
            "client version {version} is too old. Minimum supported API version is {OLDEST}, please upgrade your client to a newer version"
        ));
    }
    request.extensions_mut().insert(asked);
    *request.uri_mut() =
        format!("/{rest}").parse::<Uri>().map_err(|error| format!("path is not valid: {error}"))?;
    Ok(())
}

fn router(state: DockerState) -> Router {
    Router::new()
        .merge(system::routes())
        .merge(container::routes())
        .merge(exec::routes())
        .merge(build::routes())
        .merge(image::routes())
        .merge(registry::routes())
        .merge(network::routes())
        .merge(volume::routes())
        .merge(absent())
        .fallback(unknown)
        .method_not_allowed_fallback(unknown)
        .with_state(state)
}

/// Roots of the cluster's resources.
const SWARM: [&str; 6] = ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"];

/// What a client asks for to learn that it is not here.
fn absent() -> Router<DockerState> {
    let router = Router::new()
        .route("/plugins", get(plugins))
        .route("/plugins/privileges", get(no_plugins))
        .route("/plugins/pull", post(no_plugins))
        .route("/plugins/create", post(no_plugins))
        .route("/plugins/{*rest}", any(no_plugin))
        .route("/swarm/init", post(no_swarm_mode))
        .route("/swarm/join", post(no_swarm_mode))
        .route("/swarm/leave", post(not_in_a_swarm))
        // Only a swarm's own volumes can be changed.
        .route("/volumes/{name}", put(no_manager));
    SWARM.into_iter().fold(router, |router, path| {
        router.route(path, any(no_manager)).route(&format!("{path}/{{*rest}}"), any(no_manager))
    })
}

async fn plugins(params: Params) -> Answer {
    params.filters()?.only(&["capability", "enable"])?;
    Ok(axum::Json(serde_json::json!([])).into_response())
}

async fn no_plugins() -> Answer {
    Err(unimplemented("plugins are unimplemented: what the engine has is built in"))
}

async fn no_plugin(Path(rest): Path<String>) -> Response {
    let verbs = ["json", "enable", "disable", "set", "push", "upgrade"];
    let named = rest.rsplit_once('/').filter(|(_, verb)| verbs.contains(verb));
    let name = named.map_or(rest.as_str(), |(name, _)| name);
    message(StatusCode::NOT_FOUND, &format!("plugin {name:?} not found"))
}

async fn no_swarm_mode() -> Answer {
    Err(unimplemented(
        "swarm mode is unimplemented: `hako up` on several machines makes a Kubernetes cluster",
    ))
}

/// Docker's answers of a node that is in no swarm.
async fn not_in_a_swarm() -> Response {
    message(StatusCode::SERVICE_UNAVAILABLE, "This node is not part of a swarm")
}

async fn no_manager() -> Response {
    let text = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
    message(StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn unknown() -> Response {
    no_page()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stripped(path: &str) -> std::result::Result<String, String> {
        let mut request = Request::builder().uri(path).body(Body::empty()).unwrap();
        strip_version(&mut request).map(|()| request.uri().to_string())
    }

    #[test]
    fn versions_are_taken_from_the_path_and_checked() {
        assert_eq!(stripped("/v1.44/containers/json?all=1").unwrap(), "/containers/json?all=1");
        assert_eq!(stripped("/containers/json").unwrap(), "/containers/json");
        assert_eq!(stripped("/volumes/create").unwrap(), "/volumes/create");
        let newer = stripped("/v1.99/info").unwrap_err();
        assert_eq!(NEWEST.to_string(), "1.51");
        assert_eq!(newer, "client version 1.99 is too new. Maximum supported API version is 1.51");
        assert!(
            stripped("/v1.12/info").unwrap_err().contains("too old. Minimum supported API version is 1.24")
        );
    }
}
