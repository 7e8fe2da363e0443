//! API Priority and Fairness: how many requests of whom are worked on at the same time, who waits, who is turned away.
//!
//! Owns: the flow schemas and priority levels in effect, which follow the stored objects ([`keep`]), the seats of each
//! level ([`seats`]), and what both came to ([`usage`]).
//! Does not own: limits of connections and of requests that last, which `Limits` bounds.
//!
//! Invariant: what a client holds besides a connection while it waits here is its place in a queue, and queues are
//! bounded; its body has not been read.

mod deal;
mod dump;
mod keep;
mod level;
mod schema;
mod seats;
mod suggested;
mod usage;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::auth::Identity;
use crate::http::{Answer, Info};
use crate::metrics::Text;

pub(crate) use dump::Dump;
pub(crate) use keep::{Kept, note, start};
use schema::SchemaSpec;
use seats::{Asked, Seat, Seats};
use usage::{Reject, Usage};

const SCHEMA_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-flowschema-uid");
const LEVEL_UID: HeaderName = HeaderName::from_static("x-kubernetes-pf-prioritylevel-uid");

/// A server's flow control.
#[derive(Debug)]
pub(crate) struct Flow {
    /// The schemas in effect, those that are asked first first.
    schemas: RwLock<Vec<Arc<Schema>>>,
    /// The names of the levels there are.
    levels: RwLock<HashSet<String>>,
    /// What was said in the condition of each schema, by its UID.
    said: Mutex<HashMap<String, keep::Said>>,
    seats: Arc<Seats>,
    /// Requests of exempt levels: bounded too, if far above all others, so that they cannot take all memory.
    exempt: Arc<Semaphore>,
    /// By level and schema; what is gone keeps its counts.
    usages: Mutex<HashMap<(String, String), Arc<Usage>>>,
    total: u32,
    wait: Duration,
}

/// A flow schema in effect, with its level.
#[derive(Debug)]
pub(crate) struct Schema {
    name: String,
    uid: HeaderValue,
    spec: SchemaSpec,
    level: String,
    level_uid: HeaderValue,
    /// The level's place among the seats; none if it is exempt.
    place: Option<usize>,
    usage: Arc<Usage>,
}

/// By which schema a request came in, and its place while it runs.
#[derive(Debug, Default)]
pub(crate) struct Ticket {
    schema: Option<Arc<Schema>>,
    pub hold: Hold,
}

/// What a request holds while it runs.
#[derive(Debug, Default)]
pub(crate) enum Hold {
    #[default]
    Nothing,
    Seat(#[expect(dead_code, reason = "held until it is dropped")] Seat),
    Exempt(#[expect(dead_code, reason = "held until it is dropped")] Running),
}

/// An exempt request that runs.
#[derive(Debug)]
pub(crate) struct Running {
    usage: Arc<Usage>,
    since: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.usage.ended(1, self.since.elapsed());
    }
}

impl Flow {
    /// Nothing is let in before [`start`] has read what is stored.
    pub(crate) fn new(total: usize, exempt: usize, wait: Duration) -> Self {
        Self {
            schemas: RwLock::default(),
            levels: RwLock::default(),
            said: Mutex::default(),
            seats: Arc::default(),
            exempt: Arc::new(Semaphore::new(exempt)),
            usages: Mutex::default(),
            total: u32::try_from(total).unwrap_or(u32::MAX),
            wait,
        }
    }

    /// Finds the first schema that a request matches. The schema `catch-all` matches everything.
    pub(crate) fn classify(&self, ticket: &mut Ticket, identity: &Identity, info: &Info<'_>) {
        let schemas = self.schemas.read();
        let found = schemas.iter().find(|schema| schema.spec.matches(identity, info));
        ticket.schema = found.or(schemas.last()).cloned();
    }

    /// Waits for a place for the request; whether there is one.
    pub(crate) async fn enter(
        &self,
        ticket: &mut Ticket,
        identity: &Identity,
        info: &Info<'_>,
        width: u32,
    ) -> bool {
        let Some(schema) = &ticket.schema else { return true };
        let Some(place) = schema.place else {
            let Ok(permit) = Arc::clone(&self.exempt).try_acquire_owned() else {
                schema.usage.rejected(Reject::ConcurrencyLimit);
                return false;
            };
            schema.usage.started(1);
            let usage = Arc::clone(&schema.usage);
            ticket.hold = Hold::Exempt(Running { usage, since: Instant::now(), _permit: permit });
            return true;
        };
        let distinguisher = schema.spec.distinguisher(identity, info);
        let flow = deal::flow_hash(&schema.name, distinguisher);
        let arrival = || dump::Arrival::of(&schema.name, distinguisher, identity, info);
        match self.wait_for(place, flow, width, &schema.usage, arrival).await {
            Ok(seat) => {
                ticket.hold = Hold::Seat(seat);
                true
            }
            Err(why) => {
                schema.usage.rejected(why);
                tracing::debug!(schema = schema.name, level = schema.level, ?why, "a request is turned away");
                false
            }
        }
    }

    async fn wait_for(
        &self,
        place: usize,
        flow: u64,
        width: u32,
        usage: &Arc<Usage>,
        arrival: impl FnOnce() -> dump::Arrival,
    ) -> Result<Seat, Reject> {
        let mut waiting = match self.seats.ask(place, flow, width, usage, arrival) {
            Asked::Seat(seat) => return Ok(seat),
            Asked::NoSeat => return Err(Reject::ConcurrencyLimit),
            Asked::QueueFull => return Err(Reject::QueueFull),
            Asked::Waiting(waiting) => waiting,
        };
        let since = Instant::now();
        let seat = tokio::time::timeout(self.wait, &mut waiting.receive).await;
        usage.waited.observe(since.elapsed());
        match seat {
            Ok(Ok(seat)) => Ok(seat),
            _ => {
                waiting.is_timed_out = true;
                Err(Reject::TimeOut)
            }
        }
    }

    fn usage(&self, level: &str, schema: &str) -> Arc<Usage> {
        let mut usages = self.usages.lock();
        Arc::clone(usages.entry((level.to_owned(), schema.to_owned())).or_default())
    }

    /// What all of it came to.
    pub(crate) fn write(&self, text: &mut Text) {
        let mut all: Vec<_> =
            self.usages.lock().iter().map(|(key, usage)| (key.clone(), Arc::clone(usage))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        usage::write(text, &all);
        seats::write(text, &self.seats.levels());
    }
}

impl Ticket {
    /// Whether it needs a seat.
    pub(crate) fn is_limited(&self) -> bool {
        self.schema.as_ref().is_some_and(|schema| schema.place.is_some())
    }

    /// Says in an answer by which schema and level it was let in or turned away.
    pub(crate) fn label(&self, answer: &mut Answer) {
        if let Some(schema) = &self.schema {
            answer.headers_mut().insert(SCHEMA_UID, schema.uid.clone());
            answer.headers_mut().insert(LEVEL_UID, schema.level_uid.clone());
        }
    }
}
