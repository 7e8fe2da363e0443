//! How often conversion webhooks were asked, how long it took and how it ended, in upstream's names.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::metrics::{Histogram, Text};

const SECONDS: &[f64] = &[0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 45.0, 60.0];

/// Why a conversion came to nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unconverted {
    NotAnswered,
    Malformed,
    NoObjects,
    TooFew,
    InvalidObject,
}

impl Unconverted {
    const fn name(self) -> &'static str {
        match self {
            Self::NotAnswered => "conversion_webhook_call_failure",
            Self::Malformed => "conversion_webhook_malformed_response_failure",
            Self::NoObjects => "conversion_webhook_no_objects_returned_failure",
            Self::TooFew => "conversion_webhook_partial_response_failure",
            Self::InvalidObject => "conversion_webhook_invalid_converted_object_failure",
        }
    }
}

/// The calls by how they ended.
#[derive(Debug, Default)]
pub(crate) struct ConversionCounts(Mutex<BTreeMap<Option<Unconverted>, (u64, Histogram)>>);

impl ConversionCounts {
    pub(super) fn asked(&self, failure: Option<Unconverted>, took: Duration) {
        let mut all = self.0.lock();
        let (count, histogram) = all.entry(failure).or_insert_with(|| (0, Histogram::new(SECONDS)));
        *count += 1;
        histogram.observe(took);
    }

    pub(crate) fn write(&self, text: &mut Text) {
        let all = self.0.lock();
        let labels = |failure: &Option<Unconverted>| {
            let result = if failure.is_none() { "success" } else { "failure" };
            [("failure_type", failure.map_or("", Unconverted::name)), ("result", result)]
        };
        let name = "apiserver_conversion_webhook_request_total";
        text.head(name, "counter", "Calls of conversion webhooks.");
        for (failure, (count, _)) in all.iter() {
            text.value(name, &labels(failure), count);
        }
        let name = "apiserver_conversion_webhook_duration_seconds";
        text.head(name, "histogram", "How long conversion webhooks took.");
        for (failure, (_, histogram)) in all.iter() {
            histogram.write(text, name, &labels(failure));
        }
    }
}
