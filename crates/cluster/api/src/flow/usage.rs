//! What a flow schema and its level came to, counted.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use crate::metrics::{Histogram, Text};

const SECONDS: &[f64] = &[0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];

/// Why a request got no seat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reject {
    QueueFull,
    ConcurrencyLimit,
    TimeOut,
}

/// All of them, in the order of their counters.
pub(crate) const REJECTS: [(Reject, &str); 3] = [
    (Reject::QueueFull, "queue-full"),
    (Reject::ConcurrencyLimit, "concurrency-limit"),
    (Reject::TimeOut, "time-out"),
];

/// Of requests of one schema on one level.
#[derive(Debug)]
pub(crate) struct Usage {
    pub dispatched: AtomicU64,
    rejected: [AtomicU64; 3],
    /// Of those that waited, whose sender went away.
    pub cancelled: AtomicU64,
    pub waiting: AtomicI64,
    pub executing: AtomicI64,
    pub seats: AtomicI64,
    pub waited: Histogram,
    pub ran: Histogram,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            dispatched: AtomicU64::default(),
            rejected: Default::default(),
            cancelled: AtomicU64::default(),
            waiting: AtomicI64::default(),
            executing: AtomicI64::default(),
            seats: AtomicI64::default(),
            waited: Histogram::new(SECONDS),
            ran: Histogram::new(SECONDS),
        }
    }
}

impl Usage {
    pub(super) fn started(&self, width: u32) {
        self.dispatched.fetch_add(1, Ordering::Relaxed);
        self.executing.fetch_add(1, Ordering::Relaxed);
        self.seats.fetch_add(i64::from(width), Ordering::Relaxed);
    }

    pub(super) fn ended(&self, width: u32, ran: Duration) {
        self.executing.fetch_sub(1, Ordering::Relaxed);
        self.seats.fetch_sub(i64::from(width), Ordering::Relaxed);
        self.ran.observe(ran);
    }

    pub(super) fn queued(&self) {
        self.waiting.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn left_queue(&self) {
        self.waiting.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn rejected(&self, why: Reject) {
        self.rejected[why as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn rejections(&self, why: Reject) -> u64 {
        self.rejected[why as usize].load(Ordering::Relaxed)
    }
}

/// All usages by level and schema.
pub(super) fn write(text: &mut Text, all: &[((String, String), Arc<Usage>)]) {
    type Gauge = fn(&Usage) -> i64;
    let gauges: [(&str, &str, Gauge); 3] = [
        ("current_inqueue_requests", "Requests waiting in queues.", |usage| load(&usage.waiting)),
        ("current_executing_requests", "Requests being worked on; of watches, their beginnings.", |usage| {
            load(&usage.executing)
        }),
        ("current_executing_seats", "Seats taken by requests being worked on.", |usage| load(&usage.seats)),
    ];
    for (name, help, gauge) in gauges {
        let name = format!("apiserver_flowcontrol_{name}");
        text.head(&name, "gauge", help);
        each(all, |labels, usage| text.value(&name, labels, gauge(usage)));
    }
    let name = "apiserver_flowcontrol_dispatched_requests_total";
    text.head(name, "counter", "Requests that got a seat.");
    each(all, |labels, usage| text.value(name, labels, usage.dispatched.load(Ordering::Relaxed)));
    let name = "apiserver_flowcontrol_rejected_requests_total";
    text.head(name, "counter", "Requests that were turned away.");
    each(all, |labels, usage| {
        for (why, reason) in REJECTS {
            text.value(name, &[labels[0], labels[1], ("reason", reason)], usage.rejections(why));
        }
    });
    let name = "apiserver_flowcontrol_request_wait_duration_seconds";
    text.head(name, "histogram", "How long requests waited for a seat.");
    each(all, |labels, usage| usage.waited.write(text, name, labels));
    let name = "apiserver_flowcontrol_request_execution_seconds";
    text.head(name, "histogram", "How long requests kept their seats.");
    each(all, |labels, usage| usage.ran.write(text, name, labels));
}

fn load(number: &AtomicI64) -> i64 {
    number.load(Ordering::Relaxed)
}

fn each(all: &[((String, String), Arc<Usage>)], mut write: impl FnMut(&[(&str, &str); 2], &Usage)) {
    for ((level, schema), usage) in all {
        write(&[("priority_level", level), ("flow_schema", schema)], usage);
    }
}
