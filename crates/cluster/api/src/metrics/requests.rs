//! Requests by what they were about.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::RwLock;

use super::histogram::Histogram;
use super::text::Text;
use crate::http::{Info, Request, ResourceInfo};
use crate::kinds::{Kinds, Name, Registry};

const SECONDS: &[f64] = &[
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];
/// Codes that are counted by themselves; all others are counted as `0`.
const CODES: [u16; 26] = [
    0, 101, 200, 201, 202, 204, 301, 302, 304, 307, 400, 401, 403, 404, 405, 406, 408, 409, 410, 413, 415,
    422, 429, 500, 503, 504,
];
/// Paths that are told by their first part.
const PATHS: [&str; 11] = [
    "/api",
    "/apis",
    "/healthz",
    "/livez",
    "/logs",
    "/metrics",
    "/openapi",
    "/openid",
    "/readyz",
    "/version",
    "/.well-known",
];

/// All labels but the code.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Key {
    verb: &'static str,
    group: Name,
    version: Name,
    resource: Name,
    subresource: &'static str,
    scope: &'static str,
    is_dry_run: bool,
}

/// The counts of a server.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    series: RwLock<HashMap<Key, Arc<Series>>>,
    reading: AtomicI64,
    writing: AtomicI64,
    pub tls_errors: AtomicU64,
}

#[derive(Debug)]
struct Series {
    codes: [AtomicU64; CODES.len()],
    took: Histogram,
    long: AtomicI64,
}

/// A request that lasts, until it is dropped.
#[derive(Debug)]
pub(crate) struct Long(Arc<Series>);

/// A request that is worked on, until it is dropped.
#[derive(Debug)]
pub(crate) struct InFlight<'a>(&'a AtomicI64);

impl Key {
    pub(crate) fn of(kinds: &Registry, request: &Request, info: &Info<'_>) -> Self {
        let is_dry_run = request.query.text("dryRun").is_some();
        let is_apply = info.verb == "patch"
            && request.header(http::header::CONTENT_TYPE).starts_with("application/apply-patch");
        let verb = if is_apply { "APPLY" } else { told(info.verb) };
        match &info.resource {
            Some(resource) => Self::of_resource(kinds, verb, is_dry_run, resource),
            None => Self { subresource: of_path(info.path), ..Self::bare(verb, is_dry_run) },
        }
    }

    fn bare(verb: &'static str, is_dry_run: bool) -> Self {
        let none = || Name::Borrowed("");
        Self {
            verb,
            group: none(),
            version: none(),
            resource: none(),
            subresource: "",
            scope: "",
            is_dry_run,
        }
    }

    fn of_resource(kinds: &Registry, verb: &'static str, is_dry_run: bool, info: &ResourceInfo<'_>) -> Self {
        let Some(row) = kinds.by_resource(info.group, info.version, info.resource) else {
            return Self::bare(verb, is_dry_run);
        };
        let subresource = row.subresource(info.subresource).map_or("", |part| part.name);
        let is_connect = matches!(subresource, "exec" | "attach" | "portforward" | "proxy");
        let scope = match (info.name, info.namespace) {
            ("", "") => "cluster",
            ("", _) => "namespace",
            _ => "resource",
        };
        Self {
            verb: if is_connect { "CONNECT" } else { verb },
            group: row.group.clone(),
            version: row.version.clone(),
            resource: row.plural.clone(),
            subresource,
            scope,
            is_dry_run,
        }
    }

    fn is_reading(&self) -> bool {
        matches!(self.verb, "GET" | "LIST" | "WATCH")
    }

    fn labels(&self) -> [(&'static str, &str); 8] {
        [
            ("component", "apiserver"),
            ("dry_run", if self.is_dry_run { "All" } else { "" }),
            ("group", &self.group),
            ("resource", &self.resource),
            ("scope", self.scope),
            ("subresource", self.subresource),
            ("verb", self.verb),
            ("version", &self.version),
        ]
    }
}

/// The verb in the words of these metrics.
fn told(verb: &str) -> &'static str {
    match verb {
        "get" | "head" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        "connect" => "CONNECT",
        _ => "other",
    }
}

fn of_path(path: &str) -> &'static str {
    let is_of = |known: &&&str| {
        path.strip_prefix(**known).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    PATHS.iter().find(is_of).copied().unwrap_or("")
}

impl Default for Series {
    fn default() -> Self {
        Self { codes: Default::default(), took: Histogram::new(SECONDS), long: AtomicI64::default() }
    }
}

impl Requests {
    /// Counts an answered request; how long it took only if it does not last.
    pub(crate) fn answered(&self, key: &Key, code: u16, took: Option<Duration>) {
        let series = self.series(key);
        let place = CODES.binary_search(&code).unwrap_or_default();
        series.codes[place].fetch_add(1, Ordering::Relaxed);
        if let Some(took) = took {
            series.took.observe(took);
        }
    }

    /// A request is worked on.
    pub(crate) fn in_flight(&self, key: &Key) -> InFlight<'_> {
        let count = if key.is_reading() { &self.reading } else { &self.writing };
        count.fetch_add(1, Ordering::Relaxed);
        InFlight(count)
    }

    /// A request lasts.
    pub(crate) fn lasts(&self, key: &Key) -> Long {
        let series = self.series(key);
        series.long.fetch_add(1, Ordering::Relaxed);
        Long(series)
    }

    /// Forgets what is counted of kinds that are not served any more.
    pub(crate) fn keep_only(&self, kinds: &Kinds) {
        let is_served = |key: &Key| {
            key.resource.is_empty() || kinds.by_resource(&key.group, &key.version, &key.resource).is_some()
        };
        self.series.write().retain(|key, _| is_served(key));
    }

    fn series(&self, key: &Key) -> Arc<Series> {
        if let Some(series) = self.series.read().get(key) {
            return Arc::clone(series);
        }
        Arc::clone(self.series.write().entry(key.clone()).or_default())
    }

    pub(super) fn write(&self, text: &mut Text) {
        let mut all: Vec<_> =
            self.series.read().iter().map(|(key, series)| (key.clone(), Arc::clone(series))).collect();
        all.sort_by(|(one, _), (other, _)| one.cmp(other));
        let name = "apiserver_request_total";
        text.head(name, "counter", "Requests by what they were about and how they were answered.");
        for (key, series) in &all {
            for (code, count) in CODES.iter().zip(&series.codes) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    let code = code.to_string();
                    let labels: Vec<_> = [("code", code.as_str())].into_iter().chain(key.labels()).collect();
                    text.value(name, &labels, count);
                }
            }
        }
        let name = "apiserver_request_duration_seconds";
        text.head(name, "histogram", "How long requests took until their answer began.");
        all.iter().for_each(|(key, series)| series.took.write(text, name, &key.labels()));
        let name = "apiserver_longrunning_requests";
        text.head(name, "gauge", "Watches, logs and sessions that run.");
        for (key, series) in &all {
            let labels = key.labels();
            let labels: Vec<_> = labels.into_iter().filter(|(label, _)| *label != "dry_run").collect();
            if !key.is_dry_run {
                text.value(name, &labels, series.long.load(Ordering::Relaxed));
            }
        }
        let name = "apiserver_current_inflight_requests";
        text.head(name, "gauge", "Requests of clients that are worked on now.");
        for (kind, count) in [("mutating", &self.writing), ("readOnly", &self.reading)] {
            text.value(name, &[("request_kind", kind)], count.load(Ordering::Relaxed));
        }
        let errors = self.tls_errors.load(Ordering::Relaxed);
        text.single("apiserver_tls_handshake_errors_total", "counter", "TLS handshakes that failed.", errors);
    }
}

impl Drop for Long {
    fn drop(&mut self) {
        self.0.long.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
