//! `/token`: the Docker registry's token specification, `GET` and the `POST` of OAuth 2.

use super::request::{bytes, parameters};
use super::{Answer, Front, Request, json, set};
use crate::auth::{Auth, TokenRequest};
use crate::error::RegistryError;
use crate::events::Who;
use http::header::CACHE_CONTROL;
use http::{Method, StatusCode};

/// The longest form.
const FORM_LIMIT: usize = 64 << 10;

pub(super) async fn token(front: &Front, request: Request, who: &mut Who) -> Answer {
    let (parts, body) = request.into_parts();
    let asked = match parts.method {
        Method::GET => of_query(parts.uri.query().unwrap_or_default())?,
        Method::POST => {
            let form = bytes(body, FORM_LIMIT, "a form").await?;
            of_form(&String::from_utf8_lossy(&form))?
        }
        method => {
            let what = format!("{method} is not supported for tokens");
            return Err(RegistryError::Unsupported { what, allowed: "GET, POST" });
        }
    };
    who.claimed = asked.password.as_ref().map(|(user, _)| user.clone()).or(who.claimed.take());
    match front.auth.token(&parts.headers, asked).await {
        None => Err(RegistryError::NoRoute),
        Some(Err(_)) => Err(RegistryError::Unauthorized { challenge: Auth::token_challenge() }),
        Some(Ok(grant)) => {
            who.user.clone_from(&grant.user);
            let text = serde_json::to_string(&grant)
                .map_err(|source| RegistryError::Record { table: "token", source })?;
            let mut response = json(StatusCode::OK, text);
            set(&mut response, CACHE_CONTROL, "no-store");
            Ok(response)
        }
    }
}

fn of_query(query: &str) -> Result<TokenRequest, RegistryError> {
    Ok(TokenRequest {
        scopes: parameters(query, "scope")?,
        is_offline: parameters(query, "offline_token")?.iter().any(|value| value == "true"),
        ..TokenRequest::default()
    })
}

fn of_form(form: &str) -> Result<TokenRequest, RegistryError> {
    let one =
        |name| -> Result<Option<String>, RegistryError> { Ok(parameters(form, name)?.into_iter().next()) };
    let bad = |problem: &str| RegistryError::Request { what: "the form", problem: problem.into() };
    let mut asked = TokenRequest {
        scopes: parameters(form, "scope")?,
        is_offline: one("access_type")?.as_deref() == Some("offline"),
        ..TokenRequest::default()
    };
    match one("grant_type")?.as_deref() {
        Some("password") => {
            let user = one("username")?.ok_or_else(|| bad("username is missing"))?;
            let password = one("password")?.ok_or_else(|| bad("password is missing"))?;
            asked.password = Some((user, password));
        }
        Some("refresh_token") => {
            asked.refresh_token = Some(one("refresh_token")?.ok_or_else(|| bad("refresh_token is missing"))?);
            // A client that came with a refresh token goes on with it.
            asked.is_offline = true;
        }
        _ => return Err(bad("grant_type is neither password nor refresh_token")),
    }
    Ok(asked)
}
