//! What the server says about itself: groups, kinds, version, health, OpenAPI, metrics.
//!
//! Owns: all paths that are not of kinds.
//! Does not own: the documents of OpenAPI (`openapi`).
//!
//! Invariant: all of it is made from the registry of kinds and from what aggregated servers say of theirs; there is no
//! other list.

mod aggregated;
mod groups;
mod health;
mod openid;

use http::{HeaderValue, StatusCode, header};
use serde_json::json;

use crate::aggregation::{self, Group};
use crate::config::GIT_VERSION;
use crate::flow::Dump;
use crate::http::{Accept, Answer, Failure, Outcome, Request, answer, first_of};
use crate::openapi::{self, Document};
use crate::server::Inner;

/// Answers a GET of a path that is not of a kind.
pub(crate) async fn answer(server: &Inner, request: &Request, segments: &[&str]) -> Outcome {
    match segments {
        ["api"] => root(server, request, "api"),
        ["apis"] => root(server, request, "apis"),
        ["api", version] => groups::resources(&server.kinds.now(), "", version),
        ["apis", group] => groups::group(&all_groups(server), group),
        ["apis", group, version] => groups::resources(&server.kinds.now(), group, version),
        ["version"] => Ok(answer::json(StatusCode::OK, &version())),
        ["healthz" | "livez" | "readyz", check @ ..] => {
            health::answer(server, request, segments[0], check).await
        }
        ["metrics"] => health::metrics(server).await,
        ["debug", "api_priority_and_fairness", dump] => flow(server, request, dump),
        ["metrics", "slis"] => health::slis(server).await,
        ["openapi", "v2"] => openapi_v2(server, request),
        ["openapi", "v3"] => openapi_index(server, request),
        ["openapi", "v3", path @ ..] => openapi_v3(server, request, path),
        [".well-known", "openid-configuration"] => Ok(answer::json(StatusCode::OK, &openid::configuration())),
        ["openid", "v1", "jwks"] => Ok(openid::keys(&server.config.pki)),
        [] => Ok(answer::json(StatusCode::OK, &json!({"paths": groups::paths(&server.kinds.now())}))),
        _ => Err(Failure::no_such_path()),
    }
}

/// How flow control is now.
fn flow(server: &Inner, request: &Request, dump: &str) -> Outcome {
    let what = match dump {
        "dump_priority_levels" => Dump::PriorityLevels,
        "dump_queues" => Dump::Queues,
        "dump_requests" => Dump::Requests { has_details: request.query.flag("includeRequestDetails") },
        _ => return Err(Failure::no_such_path()),
    };
    Ok(answer::text(StatusCode::OK, server.flow.dump(what)))
}

fn root(server: &Inner, request: &Request, root: &str) -> Outcome {
    let accept = Accept::parse_of_discovery(request.header(header::ACCEPT))?;
    if accept.is_discovery {
        return aggregated::answer(server, request, root, accept.encoding);
    }
    groups::root(&all_groups(server), root)
}

/// The groups of this server and of aggregated ones.
fn all_groups(server: &Inner) -> Vec<Group> {
    aggregation::groups(&server.kinds.now(), &server.aggregated.now())
}

fn version() -> serde_json::Value {
    json!({
        "major": "1", "minor": "36", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "", "goVersion": "", "compiler": "rustc", "platform": platform(),
        "emulationMajor": "1", "emulationMinor": "36",
    })
}

fn platform() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}/{architecture}", std::env::consts::OS)
}

fn openapi_v2(server: &Inner, request: &Request) -> Outcome {
    let content_type = openapi_form(request, &V2_PROTOBUF)?;
    let others = aggregation::swaggers(&server.kinds.now(), &server.aggregated.now());
    let make = if content_type == JSON { openapi::v2_json } else { openapi::v2_proto };
    Ok(document(request, &make(&server.kinds, &others), content_type))
}

const JSON: &str = "application/json";
/// Clients ask with an `@`, which is no token in a media type; they refuse it in an answer.
const V2_PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v2.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v2@v1.0+protobuf",
];
const V3_PROTOBUF: [&str; 2] = [
    "application/com.github.proto-openapi.spec.v3.v1.0+protobuf",
    "application/com.github.proto-openapi.spec.v3@v1.0+protobuf",
];

/// In what form a document is answered.
fn openapi_form(request: &Request, protobuf: &[&'static str; 2]) -> Outcome<&'static str> {
    let at = first_of(request.header(header::ACCEPT), &[JSON, protobuf[0], protobuf[1]])?;
    Ok(if at == 0 { JSON } else { protobuf[0] })
}

fn openapi_index(server: &Inner, request: &Request) -> Outcome {
    let kinds = server.kinds.now();
    if server.aggregated.now().values().all(|service| service.remote.is_none()) {
        return Ok(document(request, openapi::v3_index(&kinds), JSON));
    }
    let make = || Ok(aggregation::openapi_index(&kinds, &server.aggregated.now()));
    let index = server.aggregated.told(aggregation::OPENAPI_INDEX, &kinds, make)?;
    Ok(document(request, &index, JSON))
}

fn openapi_v3(server: &Inner, request: &Request, path: &[&str]) -> Outcome {
    let (group, version) = match *path {
        ["api", version] => ("", version),
        ["apis", group, version] => (group, version),
        _ => return Err(Failure::no_such_path()),
    };
    let content_type = openapi_form(request, &V3_PROTOBUF)?;
    let make = if content_type == JSON { openapi::v3_doc } else { openapi::v3_proto };
    let found = make(&server.kinds, group, version).ok_or_else(Failure::no_such_path)?;
    let hash = request.query.get("hash").unwrap_or("");
    if !hash.is_empty() && hash != found.etag {
        return Ok(moved(&format!("{}?hash={}", request.path, found.etag)));
    }
    let mut response = document(request, &found, content_type);
    if !hash.is_empty() {
        keep_for_ever(&mut response);
    }
    Ok(response)
}

/// The document of another hash is elsewhere.
fn moved(to: &str) -> Answer {
    let mut response = answer::respond(StatusCode::MOVED_PERMANENTLY, "text/plain", bytes::Bytes::new());
    if let Ok(to) = HeaderValue::from_str(to) {
        response.headers_mut().insert(header::LOCATION, to);
    }
    response
}

/// What is asked for by its hash never changes: whoever has it need not ask again.
fn keep_for_ever(response: &mut Answer) {
    const YEAR: jiff::SignedDuration = jiff::SignedDuration::from_hours(365 * 24);
    let expires = (jiff::Timestamp::now() + YEAR).strftime("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, immutable"));
    if let Ok(expires) = HeaderValue::from_str(&expires) {
        headers.insert(header::EXPIRES, expires);
    }
}

fn document(request: &Request, document: &Document, content_type: &'static str) -> Answer {
    let etag = format!("\"{}\"", document.etag);
    let mut response = if is_known(request.header(header::IF_NONE_MATCH), &etag) {
        answer::respond(StatusCode::NOT_MODIFIED, content_type, bytes::Bytes::new())
    } else {
        answer::respond(StatusCode::OK, content_type, document.bytes.clone())
    };
    if let Ok(value) = HeaderValue::from_str(&etag) {
        response.headers_mut().insert(header::ETAG, value);
    }
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

/// Whether a document is one of those that the client has (RFC 9110, 13.1.2).
fn is_known(has: &str, etag: &str) -> bool {
    has.split(',').map(str::trim).any(|its| its == "*" || its.strip_prefix("W/").unwrap_or(its) == etag)
}
