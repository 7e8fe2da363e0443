//! Health and numbers.

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use http::StatusCode;

use crate::http::{Failure, Outcome, Request, answer};
use crate::server::Inner;

/// `/healthz`, `/livez` and `/readyz`, whole or one check of them, with `?verbose` all checks by name.
pub(super) async fn answer(server: &Inner, request: &Request, endpoint: &str, check: &[&str]) -> Outcome {
    let store = server.config.store.status().await;
    let is_writable = store.as_ref().is_ok_and(|status| status.refusing.is_none());
    let checks = [("ping", true), ("store", store.is_ok() && (endpoint == "livez" || is_writable))];
    if let [name] = check {
        let found = checks.iter().find(|(known, _)| known == name).ok_or_else(Failure::no_such_path)?;
        return Ok(if found.1 { answer::text(StatusCode::OK, "ok") } else { failed(name) });
    }
    let is_good = checks.iter().all(|(_, good)| *good);
    if is_good && request.query.get("verbose").is_none() {
        return Ok(answer::text(StatusCode::OK, "ok"));
    }
    let mut text = String::new();
    for (name, good) in checks {
        let _ = if good {
            writeln!(text, "[+]{name} ok")
        } else {
            writeln!(text, "[-]{name} failed: see the log")
        };
    }
    let verdict = if is_good { "passed" } else { "failed" };
    let _ = writeln!(text, "{endpoint} check {verdict}");
    let code = if is_good { StatusCode::OK } else { StatusCode::INTERNAL_SERVER_ERROR };
    Ok(answer::text(code, text))
}

fn failed(name: &str) -> crate::http::Answer {
    answer::text(StatusCode::INTERNAL_SERVER_ERROR, format!("internal server error: {name} failed\n"))
}

/// `/metrics` in the text format of Prometheus.
pub(super) async fn metrics(server: &Inner) -> Outcome {
    let counts = &server.counts;
    let status = server.config.store.status().await?;
    let rows = [
        ("apiserver_requests_total", "counter", counts.requests.load(Ordering::Relaxed)),
        ("apiserver_request_failures_total", "counter", counts.failures.load(Ordering::Relaxed)),
        ("apiserver_requests_rejected_total", "counter", counts.rejected.load(Ordering::Relaxed)),
        ("apiserver_watches", "gauge", counts.watches.load(Ordering::Relaxed)),
        ("store_revision", "counter", status.revision.0),
        ("store_compacted_revision", "counter", status.compacted.0),
        ("store_entries", "gauge", status.entries),
        ("store_bytes", "gauge", status.bytes),
    ];
    let mut text = String::new();
    for (name, kind, value) in rows {
        let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
    }
    Ok(answer::text(StatusCode::OK, text))
}
