//! Aggregated API servers: versions of groups that a service of this cluster serves, as its APIService says.
//!
//! Owns: who serves what besides this server ([`Services`]), whether it answers ([`check`]), requests handed on
//! ([`serve`]), what is told of its kinds, and the APIServices of what this server serves itself ([`locals`]).
//! Does not own: who may do what; that is decided before anything is handed on.
//!
//! Invariant: what this server serves itself is never handed on, and nobody waits for an aggregated server but who asks
//! for what it serves.

mod check;
mod follow;
mod headers;
mod locals;
mod merged;
mod resources;
mod serve;
mod service;
mod tls;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;

use crate::http::Outcome;
use crate::kinds::Kinds;
use crate::metrics::Text;
use crate::openapi::Document;
pub(crate) use follow::start;
pub(crate) use merged::{Group, groups, openapi_index, swaggers};
pub(crate) use serve::serve;
pub(crate) use service::{ApiService, Remote};

/// Documents that are made of the kinds and of what aggregated servers say: the forms of `/api` and of `/apis`, and the
/// index of OpenAPI.
const DOCUMENTS: usize = OPENAPI_INDEX + 1;
/// The place of the last one.
pub(crate) const OPENAPI_INDEX: usize = 6;

/// What a document was made of, and the document.
type Told = Option<(Arc<Kinds>, u64, Arc<Document>)>;

/// All APIServices by name, at one moment.
pub(crate) type Services = BTreeMap<String, Arc<ApiService>>;

/// The APIServices as they are now.
#[derive(Default)]
pub(crate) struct Aggregated {
    services: RwLock<Arc<Services>>,
    /// Counts changes of what is told of them.
    edition: AtomicU64,
    told: Mutex<[Told; DOCUMENTS]>,
    /// Woken when the kinds of this server, or the APIServices, are others.
    changed: Arc<Notify>,
    /// How often an APIService has come to be unavailable, by its name and the reason.
    unavailable: Mutex<BTreeMap<(String, &'static str), u64>>,
}

/// Counts that are kept; what comes later is not counted.
const SERIES: usize = 4096;

impl fmt::Debug for Aggregated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregated").field("services", &self.services.read().len()).finish_non_exhaustive()
    }
}

impl Aggregated {
    pub(crate) fn now(&self) -> Arc<Services> {
        Arc::clone(&self.services.read())
    }

    /// Says that kinds of this server have come or gone.
    pub(crate) fn kinds_changed(&self) {
        self.changed.notify_one();
    }

    fn set(&self, services: Services) {
        *self.services.write() = Arc::new(services);
        self.say_otherwise();
        self.changed.notify_one();
    }

    /// What is told of them has changed.
    fn say_otherwise(&self) {
        self.edition.fetch_add(1, Ordering::AcqRel);
    }

    fn count_unavailable(&self, name: &str, reason: &'static str) {
        let (mut all, key) = (self.unavailable.lock(), (name.to_owned(), reason));
        if all.len() < SERIES || all.contains_key(&key) {
            *all.entry(key).or_default() += 1;
        }
    }

    /// Writes how APIServices stand, in upstream's names.
    pub(crate) fn write_metrics(&self, text: &mut Text) {
        let name = "aggregator_unavailable_apiservice";
        text.head(name, "gauge", "Whether an APIService is unavailable.");
        for (service, it) in self.now().iter() {
            let is_away = it.remote.as_ref().is_some_and(|remote| !remote.is_available());
            text.value(name, &[("name", service)], u8::from(is_away));
        }
        let name = "aggregator_unavailable_apiservice_total";
        text.head(name, "counter", "How often an APIService has come to be unavailable, and why.");
        for ((service, reason), count) in self.unavailable.lock().iter() {
            text.value(name, &[("name", service), ("reason", reason)], count);
        }
    }

    /// Who serves a path that is of no kind of this server.
    pub(crate) fn serving(&self, kinds: &Kinds, segments: &[&str]) -> Option<Arc<Remote>> {
        let (["apis", group, version, ..] | ["openapi", "v3", "apis", group, version]) = segments else {
            return None;
        };
        let services = self.now();
        if services.is_empty() || kinds.of(group, version).next().is_some() {
            return None;
        }
        services.get(&format!("{version}.{group}"))?.remote.clone()
    }

    /// A document, made once for all who ask before something changes.
    pub(crate) fn told(
        &self,
        place: usize,
        kinds: &Arc<Kinds>,
        make: impl FnOnce() -> Outcome<Document>,
    ) -> Outcome<Arc<Document>> {
        let edition = self.edition.load(Ordering::Acquire);
        if let Some(Some((its, its_edition, document))) = self.told.lock().get(place)
            && Arc::ptr_eq(its, kinds)
            && *its_edition == edition
        {
            return Ok(Arc::clone(document));
        }
        // Not under the lock: others need not wait for this one.
        let document = Arc::new(make()?);
        if let Some(told) = self.told.lock().get_mut(place) {
            *told = Some((Arc::clone(kinds), edition, Arc::clone(&document)));
        }
        Ok(document)
    }
}
