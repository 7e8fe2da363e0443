//! The distribution API over HTTP/1.1 and HTTP/2.
//!
//! Owns: connections, routes, headers, ranges, and the one place where errors become `errors[]`. Does not own: any
//! decision about content. Invariant: no body is held in memory but manifests, which are bounded.

mod blobs;
mod body;
mod error;
mod file;
mod listen;
mod lists;
mod manifests;
mod patience;
mod range;
mod referrers;
mod request;
mod route;
mod sendfile;
mod tls;
mod tokens;
mod uploads;

pub(crate) use listen::{Server, serve};
pub(crate) use tls::{acceptor, faults as tls_faults, read_trusted};

use crate::auth::{Action, Auth, Caller};
use crate::error::RegistryError;
use crate::events::{Events, Happened, Sent, Who};
use crate::registry::Registry;
use crate::upstream::Upstreams;
use body::Body;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderName, HeaderValue, USER_AGENT};
use http::{Method, Response, StatusCode};
use hyper::body::Incoming;
use route::Route;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
pub(crate) const OCI_SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// Of what an upstream may have otherwise by now (RFC 7234, section 5.5.1).
const STALE: &str = "110 - \"Response is Stale\"";
pub(crate) const OCI_FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

type Request = http::Request<Incoming>;
type Answer = Result<Response<Body>, RegistryError>;

/// What every request needs.
#[derive(Debug)]
pub(crate) struct Front {
    pub registry: Registry,
    pub auth: Auth,
    pub upstreams: Upstreams,
    pub events: Events,
    pub is_tls: bool,
}

/// What is served where a connection came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Door {
    /// Everything.
    All,
    /// All but metrics, which have an address of their own.
    Objects,
    /// Metrics and health, whoever asks.
    Watch,
}

impl Door {
    fn admits(self, route: &Route) -> bool {
        match self {
            Self::All => true,
            Self::Objects => *route != Route::Metrics,
            Self::Watch => matches!(route, Route::Metrics | Route::Healthy),
        }
    }
}

/// Answers one request, and tells those who watch.
async fn answer(front: &Front, door: Door, peer: SocketAddr, mut request: Request) -> Response<Body> {
    name_host(&mut request);
    let (begun, is_head) = (Instant::now(), request.method() == Method::HEAD);
    let route = Route::parse(request.uri().path());
    let mut happened = observe(route.as_ref().ok(), Some(peer), &request);
    let answered = match route {
        Ok(route) if !door.admits(&route) => Err(RegistryError::NoRoute),
        Ok(route) => dispatch(front, door, route, request, &mut happened.who).await,
        Err(error) => Err(error),
    };
    let mut response = match answered {
        Ok(response) => response,
        Err(error) => error::response(&error, is_head),
    };
    response.headers_mut().insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    let text = |name: HeaderName| request::header(response.headers(), &name);
    happened.digest = text(CONTENT_DIGEST).and_then(|digest| digest.parse().ok());
    happened.media_type = text(CONTENT_TYPE).map(str::to_owned);
    happened.size = response.body().length();
    happened.status = response.status().as_u16();
    happened.took = begun.elapsed();
    front.events.tell(&happened);
    response
}

/// HTTP/2 says the host in `:authority` (RFC 9113, section 8.3.1): from here on it stands where HTTP/1.1 has it.
fn name_host(request: &mut Request) {
    let authority = request.uri().authority().map(|authority| HeaderValue::from_str(authority.as_str()));
    if let (false, Some(Ok(host))) = (request.headers().contains_key(HOST), authority) {
        request.headers_mut().insert(HOST, host);
    }
}

/// What is known of a request before it is answered.
fn observe(route: Option<&Route>, peer: Option<SocketAddr>, request: &Request) -> Happened {
    let (repository, reference) = route.map(Route::object).unwrap_or_default();
    let text = |name: HeaderName| request::header(request.headers(), &name).map(str::to_owned);
    Happened {
        route: route.map_or("none", Route::what),
        method: request.method().clone(),
        repository: repository.cloned(),
        reference,
        digest: None,
        media_type: None,
        size: 0,
        sent: route.filter(|_| request.method() == Method::PUT).map(|_| Sent {
            media_type: text(CONTENT_TYPE),
            size: text(CONTENT_LENGTH).and_then(|length| length.parse().ok()).unwrap_or(0),
        }),
        status: 0,
        took: Duration::ZERO,
        who: Who { user: None, claimed: crate::auth::claimed(request.headers()) },
        peer,
        agent: text(USER_AGENT),
        host: text(HOST),
    }
}

async fn dispatch(front: &Front, door: Door, route: Route, request: Request, who: &mut Who) -> Answer {
    match route {
        Route::Healthy => health(front, request.uri().path()),
        Route::Metrics => {
            if door != Door::Watch {
                admit(front, &route, &request, who).await?;
            }
            let mut response = json(StatusCode::OK, front.events.metrics.text(front.registry.uploads()));
            set(&mut response, CONTENT_TYPE, "text/plain; version=0.0.4");
            Ok(response)
        }
        Route::Token => tokens::token(front, request, who).await,
        route => {
            let caller = admit(front, &route, &request, who).await?;
            operate(front, &caller, route, request).await
        }
    }
}

/// `/healthz`: the process answers. `/readyz`: the metadata can be read too.
fn health(front: &Front, path: &str) -> Answer {
    if path == "/readyz" {
        front.registry.metadata().first_expiry()?;
    }
    Ok(json(StatusCode::OK, "{}"))
}

/// Who asks; refuses who may not, and leaves the name for those who watch. The only place where rights are asked for,
/// but for the source of a mount.
async fn admit(
    front: &Front,
    route: &Route,
    request: &Request,
    who: &mut Who,
) -> Result<Caller, RegistryError> {
    let (auth, headers) = (&front.auth, request.headers());
    let wanted = route.wants(request.method());
    let refusal = |caller: Option<&Caller>| auth.refusal(caller, wanted, headers, front.is_tls);
    let caller = auth.caller(headers).await.map_err(|_| refusal(None))?;
    who.user = caller.user().map(str::to_owned);
    let may = match wanted {
        Some((repository, action)) => caller.may(repository, action),
        None => auth.is_optional() || caller.is_proven(),
    };
    let may = may && (*route != Route::Catalog || caller.has_catalog());
    if may { Ok(caller) } else { Err(refusal(Some(&caller))) }
}

async fn operate(front: &Front, caller: &Caller, route: Route, request: Request) -> Answer {
    let registry = &front.registry;
    if let Some((repository, Action::Push)) = route.wants(request.method())
        && front.upstreams.origin(repository).is_some()
    {
        let problem = format!("{repository} is a cache of another registry; push there");
        return Err(RegistryError::Denied { problem });
    }
    match (route, request.method()) {
        (Route::Base, &Method::GET | &Method::HEAD) => Ok(json(StatusCode::OK, "{}")),
        (Route::Catalog, &Method::GET) => lists::catalog(registry, caller, &request),
        (Route::Tags(name), &Method::GET) => lists::tags(front, &name, &request).await,
        (Route::Referrers(name, digest), &Method::GET) => {
            referrers::list(front, &name, digest, &request).await
        }
        (Route::Blob(name, digest), &Method::GET | &Method::HEAD) => {
            blobs::get(front, &name, digest, &request).await
        }
        (Route::Blob(name, digest), &Method::DELETE) => {
            blobs::delete(registry, &name, digest, &request).await
        }
        (Route::Uploads(name), &Method::POST) => uploads::begin(registry, caller, &name, request).await,
        (Route::Upload(name, id), &Method::GET | &Method::HEAD) => uploads::status(registry, &name, &id),
        (Route::Upload(name, id), &Method::PATCH) => uploads::patch(registry, &name, &id, request).await,
        (Route::Upload(name, id), &Method::PUT) => uploads::commit(registry, &name, &id, request).await,
        (Route::Upload(name, id), &Method::DELETE) => uploads::cancel(registry, &name, &id),
        (Route::Manifest(name, reference), &Method::GET | &Method::HEAD) => {
            manifests::get(front, &name, reference, &request).await
        }
        (Route::Manifest(name, reference), &Method::PUT) => {
            manifests::put(registry, &name, reference, request).await
        }
        (Route::Manifest(name, reference), &Method::DELETE) => {
            manifests::delete(registry, &name, reference, &request).await
        }
        (route, method) => Err(RegistryError::Unsupported {
            what: format!("{method} is not supported for {}", route.what()),
            allowed: route.allowed(),
        }),
    }
}

/// A response with a small JSON body.
fn json(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(Body::full(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// A response without a body.
fn empty(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = status;
    response
}

/// Sets a header whose value is ASCII by construction.
fn set(response: &mut Response<Body>, name: HeaderName, value: impl AsRef<str>) {
    if let Ok(value) = HeaderValue::from_str(value.as_ref()) {
        response.headers_mut().insert(name, value);
    }
}
