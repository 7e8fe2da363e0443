//! From credentials to an identity.

use std::borrow::Cow;

use hako_kube::Status;
use http::header;

use super::external::{claimed_issuer, of_headers, strip};
use super::token::Verified;
use super::{bootstrap_token, impersonated, token};
use crate::http::{Failure, Outcome, Request};
use crate::server::Inner;

/// Finds out who sends a request: its certificate says so already, else a proxy's headers or a bearer token do; then
/// whom it wants to be.
pub(crate) async fn authenticate(server: &Inner, request: &mut Request) -> Outcome<()> {
    if request.is_proxied
        && let Some(identity) = of_headers(&request.headers)
    {
        request.identity = identity;
    } else if request.identity.is_nobody()
        && let Some(token) = bearer(request)
    {
        let audiences = [token::ISSUER.to_owned()];
        let verified = verify_token(server, &token, &audiences).await;
        let Verified { identity, warning, .. } = verified.map_err(|reason| {
            tracing::debug!(reason, "a bearer token was refused");
            unauthorized()
        })?;
        warning.into_iter().for_each(|text| request.notes.warn(text));
        request.identity = identity;
    }
    // Nobody behind this server has to see it.
    request.headers.remove(header::AUTHORIZATION);
    strip(&mut request.headers);
    if request.identity.is_nobody() && !server.config.external.anonymous.is_let_in(&request.path) {
        return Err(unauthorized());
    }
    if let Some(identity) = impersonated(&server.rbac.read(), request)? {
        request.impersonator = Some(std::mem::replace(&mut request.identity, identity));
    }
    Ok(())
}

/// Whose token it is, whoever issued it; the reason, without a word of the token, if it is nobody's.
pub(crate) async fn verify_token(
    server: &Inner,
    token: &str,
    audiences: &[String],
) -> Result<Verified, String> {
    let (config, external) = (&server.config, &server.config.external);
    let is_for_us = audiences.iter().any(|audience| audience == token::ISSUER);
    let ours = |identity| Verified { identity, audiences: vec![token::ISSUER.to_owned()], warning: None };
    // What asks others has its state apart: that of every request with a token would be as large.
    if let Some((id, secret)) = bootstrap_token::parts(token).filter(|_| is_for_us) {
        return Box::pin(bootstrap_token::verify(&*config.store, id, secret)).await.map(ours);
    }
    let named = if external.issuers.is_empty() { None } else { claimed_issuer(token) };
    let issuer = external.issuers.iter().find(|issuer| named.as_deref() == Some(issuer.url()));
    let objects = (&*config.store, &server.identities);
    let reason = match issuer.filter(|_| is_for_us) {
        Some(issuer) => match Box::pin(issuer.verify(token)).await {
            Ok(identity) => return Ok(ours(identity)),
            Err(reason) => reason,
        },
        None => match token::verify(&config.pki, objects, token, audiences).await {
            Ok(verified) => return Ok(verified),
            Err(reason) => reason,
        },
    };
    let Some(webhook) = &external.tokens else { return Err(reason) };
    let (identity, audiences) = Box::pin(webhook.verify(token, audiences)).await?;
    Ok(Verified { identity, audiences, warning: None })
}

/// The token of a request, if it has one. One that is no text is a bad token, which is not the same as none.
fn bearer(request: &Request) -> Option<String> {
    let header = request.headers.get(header::AUTHORIZATION)?.as_bytes();
    // What is text, as good as all are, is found so far faster than by looking for what is not.
    let header = str::from_utf8(header).map_or_else(|_| String::from_utf8_lossy(header), Cow::Borrowed);
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then(|| token.to_owned())
}

fn unauthorized() -> Failure {
    let mut status = Status::failure(401, "Unauthorized", "Unauthorized");
    status.details = Some(hako_kube::StatusDetails::default());
    status.into()
}
