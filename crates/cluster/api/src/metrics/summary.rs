//! Durations, told by how long most of them are.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::text::Text;

/// What shares are told of.
const QUANTILES: [f64; 3] = [0.5, 0.9, 0.99];
/// How long a duration counts at least, and at most twice that: upstream's five hours.
const HALF_LIFE: Duration = Duration::from_secs(9_000);
/// Each bound is that much larger than the one before, from a microsecond on.
const STEP: f64 = 1.2;
/// Up to 40 seconds.
const BOUNDS: usize = 96;

/// Durations of the last hours.
#[derive(Debug)]
pub(crate) struct Summary(Mutex<State>);

#[derive(Debug)]
struct State {
    began: Instant,
    /// By their bounds: those since the window began, and those of the one before.
    counts: [Box<[u32]>; 2],
    all: u64,
    micros: u64,
}

impl Default for Summary {
    fn default() -> Self {
        let none = || vec![0; BOUNDS].into_boxed_slice();
        Self(Mutex::new(State { began: Instant::now(), counts: [none(), none()], all: 0, micros: 0 }))
    }
}

impl Summary {
    pub(crate) fn observe(&self, took: Duration) {
        let micros = took.as_secs_f64() * 1e6;
        // Below a microsecond the logarithm is negative, which is the first bound too.
        let bound = (micros.ln() / STEP.ln()).ceil().clamp(0.0, (BOUNDS - 1) as f64) as usize;
        let mut state = self.0.lock();
        state.turn(Instant::now());
        state.counts[0][bound] = state.counts[0][bound].saturating_add(1);
        state.all += 1;
        state.micros = state.micros.saturating_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
    }

    /// Its samples with these labels, if there are any.
    pub(crate) fn write(&self, text: &mut Text, name: &str, labels: &[(&str, &str)]) {
        let mut state = self.0.lock();
        if state.all == 0 {
            return;
        }
        state.turn(Instant::now());
        for share in QUANTILES {
            let value = state.quantile(share).map_or("NaN".to_owned(), |seconds| seconds.to_string());
            text.sample(name, labels, Some(("quantile", &share.to_string())), value);
        }
        let sum = Duration::from_micros(state.micros).as_secs_f64();
        text.sample(&format!("{name}_sum"), labels, None, sum);
        text.sample(&format!("{name}_count"), labels, None, state.all);
    }
}

impl State {
    /// Begins a new window where the old one is over.
    fn turn(&mut self, now: Instant) {
        let age = now.saturating_duration_since(self.began);
        if age < HALF_LIFE {
            return;
        }
        self.counts.swap(0, 1);
        self.counts[0].fill(0);
        if age >= 2 * HALF_LIFE {
            self.counts[1].fill(0);
        }
        self.began = now;
    }

    /// Seconds that so many did not take longer than.
    fn quantile(&self, share: f64) -> Option<f64> {
        let at = |bound: usize| u64::from(self.counts[0][bound]) + u64::from(self.counts[1][bound]);
        let all: u64 = (0..BOUNDS).map(at).sum();
        let wanted = (all as f64 * share).ceil();
        let mut seen = 0;
        (0..BOUNDS).find_map(|bound| {
            seen += at(bound);
            (all > 0 && seen as f64 >= wanted).then(|| STEP.powi(bound as i32) / 1e6)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_told_within_a_step_and_what_is_old_counts_no_more() {
        let summary = Summary::default();
        for millis in 1..=100 {
            summary.observe(Duration::from_millis(millis));
        }
        let told = |share: f64| summary.0.lock().quantile(share);
        for (share, seconds) in [(0.5, 0.050), (0.9, 0.090), (0.99, 0.099)] {
            let told = told(share).unwrap();
            assert!((seconds..seconds * STEP).contains(&told), "{share}: {told}");
        }
        let mut text = Text::default();
        summary.write(&mut text, "s", &[("a", "b")]);
        let text = text.finish();
        assert!(
            text.contains("s{a=\"b\",quantile=\"0.99\"} ") && text.contains("s_count{a=\"b\"} 100\n"),
            "{text}"
        );
        let later = |windows: u32| Instant::now() + windows * HALF_LIFE;
        summary.0.lock().turn(later(1));
        assert!(told(0.5).is_some(), "of the window before");
        summary.0.lock().turn(later(3));
        assert_eq!(told(0.5), None);
        for extreme in [Duration::ZERO, Duration::MAX] {
            summary.observe(extreme);
        }
        assert!(told(0.99).is_some());
    }
}
