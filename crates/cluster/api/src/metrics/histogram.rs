//! Durations, counted by how long they are.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::text::Text;

/// Counts of durations up to some bounds, in seconds.
#[derive(Debug)]
pub(crate) struct Histogram {
    bounds: &'static [f64],
    /// One for each bound and one for what is longer; not cumulated.
    counts: Box<[AtomicU64]>,
    micros: AtomicU64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::default()).collect();
        Self { bounds, counts, micros: AtomicU64::default() }
    }

    pub(crate) fn observe(&self, took: Duration) {
        let seconds = took.as_secs_f64();
        let place = self.bounds.partition_point(|bound| *bound < seconds);
        self.counts[place].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// How many there were.
    pub(crate) fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Ordering::Relaxed)).sum()
    }

    /// Its samples, with these labels.
    pub(crate) fn write(&self, text: &mut Text, name: &str, labels: &[(&str, &str)]) {
        let mut sum = 0;
        let bounds = self.bounds.iter().map(f64::to_string).chain(["+Inf".to_owned()]);
        for (count, bound) in self.counts.iter().zip(bounds) {
            sum += count.load(Ordering::Relaxed);
            text.sample(&format!("{name}_bucket"), labels, Some(("le", &bound)), sum);
        }
        let micros = self.micros.load(Ordering::Relaxed);
        text.sample(&format!("{name}_sum"), labels, None, Duration::from_micros(micros).as_secs_f64());
        text.sample(&format!("{name}_count"), labels, None, sum);
    }
}
