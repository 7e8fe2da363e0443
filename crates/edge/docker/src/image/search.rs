//! `GET /images/search`.

use crate::error::{Answer, Failure, invalid};
use crate::params::{Filters, Params};
use crate::{DockerState, registry};
use axum::Json;
use axum::extract::State;
use axum::response::IntoResponse;
use hako_error::{Error, Kind};
use hako_image::remote::{Found, RemoteClient, SEARCH_MAX};
use http::HeaderMap;
use std::time::Duration;

/// Results when the client does not say.
const LIMIT: u32 = 25;
/// How long a registry may take for all of it.
const PATIENCE: Duration = Duration::from_secs(60);
const HUB: &str = "docker.io";

pub(crate) async fn search(State(state): State<DockerState>, params: Params, headers: HeaderMap) -> Answer {
    let filters = params.filters()?;
    let wanted = Wanted::read(&filters)?;
    let limit = params.number::<i64>("limit")?.filter(|limit| *limit != 0).unwrap_or(LIMIT.into());
    let limit = u32::try_from(limit)
        .ok()
        .filter(|limit| (1..=SEARCH_MAX).contains(limit))
        .ok_or_else(|| invalid(format!("Limit {limit} is outside the range of [1, {SEARCH_MAX}]")))?;
    let term = params.get("term").ok_or_else(|| invalid("term is missing"))?;
    let (host, term) = split(term);
    let credentials = registry::credentials(&headers)?;
    let client = RemoteClient::for_search(host, registry::options(&state, host, credentials))?;
    let late = |_| Error::new(Kind::DeadlineExceeded, format!("registry {host} took too long for a search"));
    let found = tokio::time::timeout(PATIENCE, client.search(term, limit)).await.map_err(late)??;
    let shown: Vec<Found> = found.into_iter().filter(|one| wanted.holds(one)).collect();
    Ok(Json(shown).into_response())
}

/// The registry to ask, and for what: a first part with a dot or a port, or `localhost`, is a registry.
fn split(term: &str) -> (&str, &str) {
    let term = term.strip_prefix("https://").or_else(|| term.strip_prefix("http://")).unwrap_or(term);
    match term.split_once('/') {
        Some(("docker.io" | "index.docker.io", rest)) => (HUB, official(rest)),
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => (HUB, official(term)),
    }
}

/// Images of nobody in particular are listed without their `library/`.
fn official(term: &str) -> &str {
    term.strip_prefix("library/").unwrap_or(term)
}

/// What the filters leave.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    official: Option<bool>,
    automated: Option<bool>,
    stars: u64,
}

impl Wanted {
    fn read(filters: &Filters) -> Result<Self, Failure> {
        filters.only(&["is-automated", "is-official", "stars"])?;
        let mut stars = 0;
        for text in filters.get("stars") {
            let number: u64 = text.parse().map_err(|_| bad("stars", text))?;
            stars = stars.max(number);
        }
        Ok(Self {
            official: truth(filters, "is-official")?,
            automated: truth(filters, "is-automated")?,
            stars,
        })
    }

    fn holds(&self, found: &Found) -> bool {
        self.official.is_none_or(|wanted| wanted == found.is_official)
            && self.automated.is_none_or(|wanted| wanted == found.is_automated)
            && found.star_count >= self.stars
    }
}

fn truth(filters: &Filters, name: &str) -> Result<Option<bool>, Failure> {
    match filters.get(name) {
        [] => Ok(None),
        [text] if matches!(text.as_str(), "1" | "true") => Ok(Some(true)),
        [text] if matches!(text.as_str(), "0" | "false") => Ok(Some(false)),
        other => Err(bad(name, &other.join(","))),
    }
}

fn bad(name: &str, value: &str) -> Failure {
    invalid(format!("invalid filter '{name}={value}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_term_names_its_registry_or_means_docker_hub() {
        for (term, expected) in [
            ("busybox", (HUB, "busybox")),
            ("library/busybox", (HUB, "busybox")),
            ("team/app", (HUB, "team/app")),
            ("docker.io/library/busybox", (HUB, "busybox")),
            ("localhost/app", ("localhost", "app")),
            ("reg.example:5000/team/app", ("reg.example:5000", "team/app")),
            ("https://reg.example/app", ("reg.example", "app")),
        ] {
            assert_eq!(split(term), expected, "{term}");
        }
    }

    #[test]
    fn filters_are_truths_and_numbers() {
        let read = |filters: &str| Wanted::read(&Params::of(&[("filters", filters)]).filters().unwrap());
        let wanted = read(r#"{"is-official":["true"],"stars":["3","10"]}"#).unwrap();
        assert_eq!(wanted, Wanted { official: Some(true), automated: None, stars: 10 });
        for bad in [r#"{"is-official":["maybe"]}"#, r#"{"stars":["-1"]}"#, r#"{"name":["x"]}"#] {
            assert!(read(bad).unwrap_err().0.to_string().contains("invalid filter"), "{bad}");
        }
    }
}
