//! A request, handed on to the server of its group and version, and the answer back.

use std::sync::Arc;

use bytes::Bytes;
use hako_client::Transport as _;
use hako_error::{Error, Kind, Result};
use hako_names::percent;
use http::header::LOCATION;
use http::{Response, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use rustls_pki_types::ServerName;
use tokio_rustls::TlsConnector;

use super::Remote;
use super::check::ANSWER_TIME;
use super::headers;
use crate::http::{Answer, Failure, Outcome, Request, answer, until_sent};
use crate::server::Inner;
use crate::{node_proxy, proxy, webhook_client};

/// Hands a request on that may be made.
pub(crate) async fn serve(server: &Arc<Inner>, mut request: Request, remote: &Remote) -> Outcome {
    // What was allowed is what the path says; nobody is to read another one into it.
    if request.path.split('/').any(|segment| matches!(&*percent::decode(segment), "." | "..")) {
        return Err(Failure::bad_request("the path has segments of dots"));
    }
    if !remote.is_available() {
        return Ok(unavailable("service unavailable"));
    }
    let path = match request.query.raw() {
        "" => request.path.clone(),
        raw => format!("{}?{raw}", request.path),
    };
    let uri: Uri = path.parse().map_err(|_| Failure::bad_request("the path cannot be passed on"))?;
    let mut onward = http::Request::builder().method(request.method.clone()).uri(uri);
    let is_upgrade = request.upgrade.is_some();
    if let Some(headers) = onward.headers_mut() {
        headers::onward(&request, is_upgrade, headers);
    }
    let body = std::mem::take(&mut request.body);
    let onward = onward.body(body).map_err(|_| Failure::bad_request("the request cannot be passed on"))?;
    if is_upgrade {
        return upgraded(server, request, remote, onward).await;
    }
    let answered = match &remote.connection.client {
        Ok(client) => client.call(onward).await,
        Err(error) => return Ok(unreachable(remote, error)),
    };
    Ok(match answered {
        Ok(response) if is_redirect(&response) => redirecting(),
        Ok(mut response) => {
            proxy::strip(response.headers_mut());
            response
        }
        Err(error) => unreachable(remote, &error),
    })
}

/// Whoever follows it would bring its credentials to where the aggregated server says.
fn is_redirect<B>(response: &Response<B>) -> bool {
    response.status().is_redirection() && response.headers().contains_key(LOCATION)
}

fn redirecting() -> Answer {
    let text = "the backend attempted to redirect this request, which is not permitted";
    answer::text(StatusCode::BAD_GATEWAY, text)
}

/// A session of its own connection, which the client's is joined to if the server agrees.
async fn upgraded(
    server: &Arc<Inner>,
    mut request: Request,
    remote: &Remote,
    onward: http::Request<Bytes>,
) -> Outcome {
    let slot = match request.slot.take() {
        Some(slot) => slot,
        None => server.long.take(&request.identity).ok_or_else(crate::intake::too_many)?,
    };
    let mut response = match opened(server, remote, onward).await {
        Ok(response) => response,
        Err(error) => return Ok(unreachable(remote, &error)),
    };
    if response.status() == StatusCode::SWITCHING_PROTOCOLS
        && let Some(upgrade) = request.upgrade.take()
    {
        return Ok(node_proxy::join(upgrade, Some(slot), response));
    }
    if is_redirect(&response) {
        return Ok(redirecting());
    }
    proxy::strip(response.headers_mut());
    let broken = |error| Error::new(Kind::Unavailable, "the answer broke off").with_source(error);
    Ok(response.map(|body| until_sent(body.map_err(broken).boxed_unsync(), slot)))
}

async fn opened(
    server: &Arc<Inner>,
    remote: &Remote,
    mut request: http::Request<Bytes>,
) -> Result<Response<Incoming>> {
    let failed = |error: &dyn std::fmt::Display| Error::new(Kind::Unavailable, error.to_string());
    let tls = remote.connection.tls.as_ref().map_err(|error| failed(error))?;
    let host = remote.backend.host();
    if let Ok(value) = host.parse() {
        request.headers_mut().insert(http::header::HOST, value);
    }
    let name = ServerName::try_from(host).map_err(|error| failed(&error))?;
    let connect = async {
        let stream = remote.backend.dial(server)().await?;
        TlsConnector::from(Arc::clone(tls)).connect(name, stream).await
    };
    let stream = tokio::time::timeout(ANSWER_TIME, connect).await.map_err(|_| failed(&"no answer"))?;
    let stream = stream.map_err(|error| failed(&error))?;
    let request = request.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync());
    proxy::exchange(stream, request).await.map_err(|error| failed(&error))
}

/// In upstream's words; whether it still is there is looked at again.
fn unreachable(remote: &Remote, error: &Error) -> Answer {
    remote.poke.notify_one();
    unavailable(&format!("error trying to reach service: {}", webhook_client::first_cause(error)))
}

fn unavailable(text: &str) -> Answer {
    answer::text(StatusCode::SERVICE_UNAVAILABLE, format!("{text}\n"))
}
