//! How long expressions take to compile and to evaluate, wherever they are written, in upstream's names.

use std::sync::LazyLock;
use std::time::Instant;

use super::{Histogram, Text};

const SECONDS: &[f64] = &[0.000_1, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5];

static COMPILATION: LazyLock<Histogram> = LazyLock::new(|| Histogram::new(SECONDS));
static EVALUATION: LazyLock<Histogram> = LazyLock::new(|| Histogram::new(SECONDS));

/// Compiles, and counts how long that took.
pub(crate) fn compiling<T>(compile: impl FnOnce() -> T) -> T {
    timed(&COMPILATION, compile)
}

/// Evaluates, and counts how long that took.
pub(crate) fn evaluating<T>(evaluate: impl FnOnce() -> T) -> T {
    timed(&EVALUATION, evaluate)
}

fn timed<T>(histogram: &Histogram, act: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let made = act();
    histogram.observe(began.elapsed());
    made
}

pub(super) fn write(text: &mut Text) {
    for (what, histogram, help) in [
        ("compilation", &COMPILATION, "How long expressions took to compile."),
        ("evaluation", &EVALUATION, "How long the expressions of a rule, condition or schema took."),
    ] {
        let name = format!("apiserver_cel_{what}_duration_seconds");
        text.head(&name, "histogram", help);
        histogram.write(text, &name, &[]);
    }
}
