//! Connections, API versions and the table of routes.

use crate::error::message;
use crate::{DockerState, build, container, drain, events, exec, image, network, registry, system, volume};
use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use hako_error::{Error, Kind, Result};
use http::{Request, StatusCode, Uri};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::time::Duration;
use tokio::net::UnixListener;
use tower::ServiceExt;

/// The newest version of the API we speak.
pub(crate) const API_VERSION: (u32, u32) = (1, 45);
/// The oldest one.
pub(crate) const MIN_API_VERSION: (u32, u32) = (1, 24);
/// Pause after a failed accept, such as for lack of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves the API on a unix socket until dropped.
pub async fn serve(listener: UnixListener, state: DockerState) -> Result<()> {
    // Ends with this future.
    let mut following = tokio::task::JoinSet::new();
    following.spawn(events::follow(state.clone()));
    following.spawn(container::health::follow(state.clone()));
    let router = router(state);
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
        let router = router.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<hyper::body::Incoming>| {
                let router = router.clone();
                let (request, rest) = drain::split(request);
                async move {
                    let response = answer(router, request).await;
                    if response.status().is_client_error() || response.status().is_server_error() {
                        rest.drain().await;
                    }
                    Ok::<_, Infallible>(response)
                }
            });
            let mut http = hyper::server::conn::http1::Builder::new();
            let served = http
                .timer(TokioTimer::new())
                .half_close(true)
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = served.with_upgrades().await {
                tracing::debug!(%error, "a connection of the engine's API ended early");
            }
        });
    }
}

async fn answer(router: Router, mut request: Request<Body>) -> Response {
    if let Err(text) = strip_version(&mut request) {
        return message(StatusCode::BAD_REQUEST, &text);
    }
    tracing::debug!(method = %request.method(), path = request.uri().path(), "request");
    match router.oneshot(request).await {
        Ok(response) => response,
    }
}

/// Takes `/v1.45` from the path's front and checks it.
fn strip_version(request: &mut Request<Body>) -> std::result::Result<(), String> {
    let path_and_query = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let Some((version, rest)) = path_and_query.strip_prefix("/v").and_then(|path| path.split_once('/'))
    else {
        return Ok(());
    };
    let number = |text: &str| text.parse::<u32>().ok();
    let Some(asked) =
        version.split_once('.').and_then(|(major, minor)| Some((number(major)?, number(minor)?)))
    else {
        return Ok(());
    };
    let text = |version: (u32, u32)| format!("{}.{}", version.0, version.1);
    if asked > API_VERSION {
        return Err(format!(
            "client version {version} is too new. Maximum supported API version is {}",
            text(API_VERSION)
        ));
    }
    if asked < MIN_API_VERSION {
        return Err(format!(
            "client version {version} is too old. Minimum supported API version is {}, please upgrade your client to a newer version",
            text(MIN_API_VERSION)
        ));
    }
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
        .fallback(not_built)
        .method_not_allowed_fallback(not_built)
        .with_state(state)
}

/// What a client asks for to learn that it is not here.
fn absent() -> Router<DockerState> {
    let swarm = ["/nodes", "/services", "/tasks", "/secrets", "/configs", "/swarm"];
    let router = Router::new()
        .route("/plugins", get(async || axum::Json(serde_json::json!([]))))
        .route("/plugins/{name}/json", get(async || message(StatusCode::NOT_FOUND, "plugin not found")));
    swarm.into_iter().fold(router, |router, path| {
        router.route(path, get(no_swarm)).route(&format!("{path}/{{id}}"), get(no_swarm))
    })
}

async fn no_swarm() -> Response {
    let text = "This node is not a swarm manager. Use \"docker swarm init\" or \"docker swarm join\" to connect this node to swarm and try again.";
    message(StatusCode::SERVICE_UNAVAILABLE, text)
}

async fn not_built(request: Request<Body>) -> Response {
    let text = format!("{} {} is unimplemented", request.method(), request.uri().path());
    message(StatusCode::NOT_IMPLEMENTED, &text)
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
        assert_eq!(newer, "client version 1.99 is too new. Maximum supported API version is 1.45");
        assert!(
            stripped("/v1.12/info").unwrap_err().contains("too old. Minimum supported API version is 1.24")
        );
    }
}
