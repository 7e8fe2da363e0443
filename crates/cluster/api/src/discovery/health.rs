//! Health and numbers.

use std::fmt::Write as _;

use http::StatusCode;

use crate::http::{Answer, Failure, Outcome, Request, answer};
use crate::metrics;
use crate::server::Inner;

const ENDPOINTS: [&str; 3] = ["healthz", "livez", "readyz"];
/// What is done once, before anybody is listened to.
const HOOKS: [&str; 4] = [
    "poststarthook/bootstrap-controller",
    "poststarthook/rbac/bootstrap-roles",
    "poststarthook/scheduling/bootstrap-system-priority-classes",
    "poststarthook/priority-and-fairness-config-consumer",
];

/// `/healthz`, `/livez` and `/readyz`, whole or one check of them; with `?verbose` all checks by name, without those
/// of `?exclude=`.
pub(super) async fn answer(server: &Inner, request: &Request, endpoint: &str, check: &[&str]) -> Outcome {
    let endpoint = ENDPOINTS.iter().find(|known| **known == endpoint).ok_or_else(Failure::no_such_path)?;
    let checks = checks(server, endpoint).await;
    if !check.is_empty() {
        let name = check.join("/");
        let found = checks.iter().find(|(known, _)| *known == name).ok_or_else(Failure::no_such_path)?;
        count(server, endpoint, std::slice::from_ref(found));
        return Ok(if found.1 { plain(StatusCode::OK, "ok".to_owned()) } else { failed(&name) });
    }
    count(server, endpoint, &checks);
    Ok(told(endpoint, &checks, request))
}

/// All checks of an endpoint, and whether they pass. What is only full lives, and is not ready.
async fn checks(server: &Inner, endpoint: &str) -> Vec<(&'static str, bool)> {
    let store = server.config.store.status().await;
    let is_writable = store.as_ref().is_ok_and(|status| status.refusing.is_none());
    let is_good = store.is_ok() && (endpoint == "livez" || is_writable);
    let mut checks = vec![("ping", true), ("log", true), ("etcd", is_good)];
    checks.extend(HOOKS.map(|hook| (hook, true)));
    if endpoint == "readyz" {
        checks.push(("informer-sync", true));
        checks.push(("shutdown", !server.stop.is_cancelled()));
    }
    checks
}

fn told(endpoint: &str, checks: &[(&'static str, bool)], request: &Request) -> Answer {
    let excluded: Vec<&str> = request.query.all("exclude").collect();
    let is_excluded = |name: &str| excluded.contains(&name);
    let is_good = checks.iter().all(|(name, good)| *good || is_excluded(name));
    if is_good && request.query.get("verbose").is_none() {
        return plain(StatusCode::OK, "ok".to_owned());
    }
    let mut text = String::new();
    for (name, good) in checks {
        let _ = match good {
            _ if is_excluded(name) => writeln!(text, "[+]{name} excluded: ok"),
            true => writeln!(text, "[+]{name} ok"),
            false => writeln!(text, "[-]{name} failed: reason withheld"),
        };
    }
    let unknown: Vec<String> = excluded
        .iter()
        .filter(|name| checks.iter().all(|(known, _)| known != *name))
        .map(|name| format!("{name:?}"))
        .collect();
    if !unknown.is_empty() {
        let unknown = unknown.join(",");
        let _ = writeln!(text, "warn: some health checks cannot be excluded: no matches for {unknown}");
    }
    let verdict = if is_good { "passed" } else { "failed" };
    let _ = writeln!(text, "{endpoint} check {verdict}");
    plain(if is_good { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR }, text)
}

fn count(server: &Inner, endpoint: &'static str, checks: &[(&'static str, bool)]) {
    let mut counts = server.health.lock();
    for (name, is_good) in checks {
        *counts.entry((endpoint, *name, *is_good)).or_default() += 1;
    }
}

fn failed(name: &str) -> Answer {
    plain(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {name} failed\n"))
}

fn plain(code: StatusCode, text: String) -> Answer {
    let mut answer = answer::text(code, text);
    let sniff = http::HeaderValue::from_static("nosniff");
    answer.headers_mut().insert(http::header::X_CONTENT_TYPE_OPTIONS, sniff);
    answer
}

/// `/metrics` in the text format of Prometheus.
pub(super) async fn metrics(server: &Inner) -> Outcome {
    let page = metrics::page(server).await?;
    Ok(answer::respond(StatusCode::OK, metrics::CONTENT_TYPE, page.into()))
}

/// `/metrics/slis`.
pub(super) async fn slis(server: &Inner) -> Outcome {
    let mut now = Vec::new();
    for endpoint in ENDPOINTS {
        let checks = checks(server, endpoint).await;
        now.extend(checks.into_iter().map(|(name, is_good)| (endpoint, name, is_good)));
    }
    Ok(answer::respond(StatusCode::OK, metrics::CONTENT_TYPE, metrics::slis(server, &now).into()))
}
