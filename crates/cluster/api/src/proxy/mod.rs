//! The subresource `proxy` of pods, services and nodes: HTTP, and what it is upgraded to, to what they serve.
//!
//! Owns: which address a name in a path means ([`place`]), the connection, the headers either side may see.
//! Does not own: whether a sender may use it; that was asked as for any other subresource.
//!
//! Invariant: the sender's credentials go no further, and no address of this machine alone is connected to.

mod headers;
mod html;
mod place;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use hako_error::{Error, Kind};
use hako_kube::Status;
use http::{Method, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::http::{Failure, Outcome, Request, answer};
use crate::node_proxy;
use crate::resource::Target;
use crate::server::Inner;
pub(crate) use headers::{passed, strip};
pub(crate) use place::{Endpoint, endpoint, ready, slices};
use place::{Place, Security};

const CONNECT_LIMIT: Duration = Duration::from_secs(10);

type RequestBody = UnsyncBoxBody<Bytes, hyper::Error>;

/// Hands a request on, and its answer back.
pub(crate) async fn serve(server: &Arc<Inner>, mut request: Request, target: &Target) -> Outcome {
    let Some((prefix, rest)) = split(&request.path) else { return Err(Failure::no_such_path()) };
    if rest.is_empty() && matches!(request.method, Method::GET | Method::HEAD) {
        return Ok(to_directory(&request));
    }
    let place = place::of(server, target).await?;
    let prefix = prefix.to_owned();
    let path = format!("/{}{}", rest.trim_start_matches('/'), question(&request));
    let uri: Uri = path.parse().map_err(|_| Failure::bad_request("the path cannot be passed on"))?;
    let is_upgrade = request.upgrade.is_some();
    let mut onward = http::Request::builder().method(request.method.clone()).uri(uri);
    if let Some(headers) = onward.headers_mut() {
        headers::onward(&request, &place, &prefix, is_upgrade, headers);
    }
    let body: RequestBody = match request.incoming.take() {
        Some(incoming) => incoming.boxed_unsync(),
        None => Full::new(request.body.clone()).map_err(|never| match never {}).boxed_unsync(),
    };
    let onward = onward.body(body).map_err(|_| Failure::bad_request("the request cannot be passed on"))?;
    let response = send(server, &place, onward).await?;
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(upgrade) = request.upgrade.take()
    {
        return Ok(node_proxy::join(upgrade, request.slot.take(), response));
    }
    let (mut head, body) = response.into_parts();
    headers::back(&mut head.headers, &place, &prefix);
    let body = body.map_err(|error| Error::new(Kind::Unavailable, "the answer broke off").with_source(error));
    let mut body = body.boxed_unsync();
    if request.method != Method::HEAD {
        let links = html::Links { prefix, host: place.address.to_string() };
        body = html::rewrite(&mut head.headers, body, links);
    }
    Ok(http::Response::from_parts(head, body))
}

/// Whether a path is one of these.
pub(crate) fn is_meant(path: &str) -> bool {
    split(path).is_some()
}

/// A path up to `/proxy`, and what follows, both as they were sent.
fn split(path: &str) -> Option<(&str, &str)> {
    // Asked of every request.
    if !path.contains("/proxy") {
        return None;
    }
    let parts: Vec<&str> = path.splitn(9, '/').collect();
    let head = match parts.as_slice() {
        ["", "api", "v1", "nodes", _, "proxy", ..] => &parts[..6],
        ["", "api", "v1", "namespaces", _, "pods" | "services", _, "proxy", ..] => &parts[..8],
        _ => return None,
    };
    let length = head.iter().map(|part| part.len() + 1).sum::<usize>() - 1;
    Some(path.split_at(length))
}

/// Another path behind the same `/proxy`; none if there is no such thing in the path.
pub(crate) fn onto(path: &str, rest: &str) -> Option<String> {
    let (prefix, _) = split(path)?;
    let rest = rest.trim_start_matches('/').replace('?', "%3F").replace('#', "%23");
    Some(format!("{prefix}/{rest}"))
}

fn question(request: &Request) -> String {
    match request.query.raw() {
        "" => String::new(),
        raw => format!("?{raw}"),
    }
}

/// What is served has links beside its own place: that has to be a directory.
fn to_directory(request: &Request) -> crate::http::Answer {
    let mut response = answer::respond(StatusCode::MOVED_PERMANENTLY, "text/plain", Bytes::new());
    let location = format!("{}/{}", request.path, question(request));
    if let Ok(location) = location.parse() {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

async fn send(
    server: &Inner,
    place: &Place,
    request: http::Request<RequestBody>,
) -> Outcome<http::Response<Incoming>> {
    let unreachable = |why: &dyn std::fmt::Display| {
        let text = format!("error trying to reach service: {}: {why}", place.address);
        Failure::from(Status::failure(503, "ServiceUnavailable", text))
    };
    let connected = tokio::time::timeout(CONNECT_LIMIT, TcpStream::connect(place.address)).await;
    let stream = connected.map_err(|_| unreachable(&"no answer"))?.map_err(|error| unreachable(&error))?;
    let _ = stream.set_nodelay(true);
    let config = match place.security {
        Security::Plain => return exchange(stream, request).await.map_err(|error| unreachable(&error)),
        Security::Node => server.proxy.tls()?,
        Security::Unverified => tls::unverified(),
    };
    let name = ServerName::from(place.address.ip());
    let secured = tokio::time::timeout(CONNECT_LIMIT, TlsConnector::from(config).connect(name, stream)).await;
    let stream = secured.map_err(|_| unreachable(&"no answer"))?.map_err(|error| unreachable(&error))?;
    exchange(stream, request).await.map_err(|error| unreachable(&error))
}

/// Sends a request on a connection of its own, which may become something else.
pub(crate) async fn exchange<B>(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: http::Request<B>,
) -> hyper::Result<http::Response<Incoming>>
where
    B: hyper::body::Body<Data: Send, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + 'static,
{
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        if let Err(error) = connection.with_upgrades().await {
            tracing::debug!(%error, "proxied connection ended");
        }
    });
    let answer = sender.send_request(request);
    // A connection that ends this very moment may leave the request where only its sender holds it, and nobody answers.
    drop(sender);
    answer.await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_behind_proxy_and_its_rest_stays_as_it_was_sent() {
        let node = "/api/v1/nodes/n1:10250/proxy";
        assert_eq!(split(&format!("{node}/a%2Fb//c")), Some((node, "/a%2Fb//c")));
        let service = "/api/v1/namespaces/x/services/https:web:main/proxy";
        assert_eq!(split(service), Some((service, "")));
        assert_eq!(split(&format!("{service}/")), Some((service, "/")));
        for other in
            ["/api/v1/nodes/n1/proxyx", "/api/v1/namespaces/x/secrets/s/proxy", "/api/v1/nodes/proxy"]
        {
            assert_eq!(split(other), None, "{other}");
        }
    }

    #[test]
    fn another_path_stays_behind_proxy_and_has_no_question() {
        let path = "/api/v1/namespaces/x/services/web/proxy/a";
        assert_eq!(
            onto(path, "/b?c#d").as_deref(),
            Some("/api/v1/namespaces/x/services/web/proxy/b%3Fc%23d")
        );
        assert_eq!(onto(path, "").as_deref(), Some("/api/v1/namespaces/x/services/web/proxy/"));
        assert_eq!(onto("/api/v1/pods", "/b"), None);
    }
}
