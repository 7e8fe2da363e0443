//! From credentials to an identity.

use hako_kube::Status;
use http::header;

use super::{Identity, impersonated, token};
use crate::http::{Failure, Outcome, Request};
use crate::server::Inner;

/// Finds out who sends a request: its certificate says so already, else a bearer token does; then whom it wants to be.
pub(crate) async fn authenticate(server: &Inner, request: &mut Request) -> Outcome<()> {
    if request.identity == Identity::anonymous()
        && let Some(token) = bearer(request)
    {
        let audiences = [token::ISSUER.to_owned()];
        let verified = token::verify(&server.config.pki, &*server.config.store, token, &audiences).await;
        request.identity = verified
            .map_err(|reason| {
                tracing::debug!(reason, "a bearer token was refused");
                unauthorized()
            })?
            .identity;
    }
    // Nobody behind this server has to see it.
    request.headers.remove(header::AUTHORIZATION);
    if let Some(identity) = impersonated(&server.rbac.read(), request)? {
        request.identity = identity;
    }
    Ok(())
}

fn bearer(request: &Request) -> Option<&str> {
    let (scheme, token) = request.header(header::AUTHORIZATION).trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

fn unauthorized() -> Failure {
    let mut status = Status::failure(401, "Unauthorized", "Unauthorized");
    status.details = Some(hako_kube::StatusDetails::default());
    status.into()
}
