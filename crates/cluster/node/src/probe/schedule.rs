//! When a probe asks, and when its answers count.

use super::ProbeKind;
use crate::pod::Verdict;
use k8s_openapi::api::core::v1::Probe;
use std::time::Duration;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// The first pause between early attempts; a program that has just started is often ready milliseconds later.
const EARLY_FIRST: Duration = Duration::from_millis(5);
const EARLY_MAX: Duration = Duration::from_millis(500);

/// The numbers of a probe, with Kubernetes' defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    kind: ProbeKind,
    initial_delay: Duration,
    period: Duration,
    timeout: Duration,
    success_threshold: u32,
    failure_threshold: u32,
}

impl Schedule {
    /// The numbers of `probe`.
    pub(crate) fn new(kind: ProbeKind, probe: &Probe) -> Self {
        let positive = |value: Option<i32>, default: u32| {
            let value = value.and_then(|value| u32::try_from(value).ok());
            value.filter(|value| *value > 0).unwrap_or(default)
        };
        let seconds = |value: Option<i32>, default| Duration::from_secs(positive(value, default).into());
        Self {
            kind,
            initial_delay: seconds(probe.initial_delay_seconds, 0),
            period: seconds(probe.period_seconds, 10),
            timeout: seconds(probe.timeout_seconds, 1),
            success_threshold: positive(probe.success_threshold, 1),
            failure_threshold: positive(probe.failure_threshold, 3),
        }
    }
}

/// Counts answers in a row.
#[derive(Debug)]
struct Counter {
    schedule: Schedule,
    in_a_row: u32,
    last: Option<bool>,
    /// What was told last.
    is_success: Option<bool>,
}

impl Counter {
    fn new(schedule: Schedule) -> Self {
        Self { schedule, in_a_row: 0, last: None, is_success: None }
    }

    /// What the answer means, `None` when nothing changes.
    fn count(&mut self, answer: Result<(), String>) -> Option<Verdict> {
        let is_success = answer.is_ok();
        self.in_a_row = if self.last == Some(is_success) { self.in_a_row + 1 } else { 1 };
        self.last = Some(is_success);
        let threshold = match is_success {
            true => self.schedule.success_threshold,
            false => self.schedule.failure_threshold,
        };
        let is_reached = self.in_a_row >= threshold;
        match answer {
            Ok(()) if !is_reached || self.is_success == Some(true) => None,
            Ok(()) => {
                self.is_success = Some(true);
                Some(Verdict::Success)
            }
            Err(message) if !is_reached => Some(Verdict::Failing(message)),
            Err(message) => {
                self.is_success = Some(false);
                Some(Verdict::Failure(message))
            }
        }
    }
}

/// Asks until `tell` says that nobody listens.
///
/// Before the first period is over, readiness and startup probes that fail are asked again soon and those failures
/// do not count: the pod is not ready anyway, and a program that is up after 20 ms should not wait 10 s for the
/// next period to be found.
pub(crate) async fn run<F>(schedule: Schedule, ask: impl Fn() -> F, mut tell: impl FnMut(Verdict) -> bool)
where
    F: Future<Output = Result<(), String>>,
{
    let mut counter = Counter::new(schedule);
    let mut next = Instant::now() + schedule.initial_delay;
    sleep_until(next).await;
    let mut answer = early(&schedule, &ask, next).await;
    loop {
        if let Some(verdict) = counter.count(answer)
            && !tell(verdict)
        {
            return;
        }
        if schedule.kind == ProbeKind::Startup && counter.is_success == Some(true) {
            return;
        }
        next += schedule.period;
        let now = Instant::now();
        // A probe that took longer than its period is asked again at the next whole period.
        while next < now {
            next += schedule.period;
        }
        sleep_until(next).await;
        answer = once(&schedule, &ask).await;
    }
}

async fn once<F: Future<Output = Result<(), String>>>(
    schedule: &Schedule,
    ask: &impl Fn() -> F,
) -> Result<(), String> {
    match timeout(schedule.timeout, ask()).await {
        Ok(answer) => answer,
        Err(_) => Err(format!("timed out after {:?}", schedule.timeout)),
    }
}

async fn early<F: Future<Output = Result<(), String>>>(
    schedule: &Schedule,
    ask: &impl Fn() -> F,
    started: Instant,
) -> Result<(), String> {
    let mut pause = EARLY_FIRST;
    loop {
        let answer = once(schedule, ask).await;
        let is_over = started.elapsed() + pause >= schedule.period;
        if answer.is_ok() || is_over || schedule.kind == ProbeKind::Liveness {
            return answer;
        }
        sleep(pause).await;
        pause = (pause * 2).min(EARLY_MAX);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::{Cell, RefCell};

    fn schedule(kind: ProbeKind, success: i32, failure: i32) -> Schedule {
        let probe = Probe {
            period_seconds: Some(10),
            success_threshold: Some(success),
            failure_threshold: Some(failure),
            ..Probe::default()
        };
        Schedule::new(kind, &probe)
    }

    #[test]
    fn thresholds_count_answers_in_a_row() {
        let mut counter = Counter::new(schedule(ProbeKind::Readiness, 2, 3));
        let bad = || Err("no".to_owned());
        let told: Vec<_> = [Ok(()), Ok(()), Ok(()), bad(), bad(), Ok(()), bad(), bad(), bad(), bad()]
            .into_iter()
            .map(|answer| match counter.count(answer) {
                None => '.',
                Some(Verdict::Success) => 'S',
                Some(Verdict::Failing(_)) => 'f',
                Some(Verdict::Failure(_)) => 'F',
            })
            .collect();
        assert_eq!(told.iter().collect::<String>(), ".S.ff.ffFF");
    }

    #[tokio::test(start_paused = true)]
    async fn a_program_that_is_up_after_some_milliseconds_is_found_at_once() {
        let begin = Instant::now();
        let told = RefCell::new(Vec::new());
        run(
            schedule(ProbeKind::Readiness, 1, 3),
            async || match begin.elapsed() > Duration::from_millis(30) {
                true => Ok(()),
                false => Err("refused".to_owned()),
            },
            |verdict| {
                told.borrow_mut().push(verdict);
                false
            },
        )
        .await;
        assert_eq!(told.into_inner(), [Verdict::Success]);
        assert!(begin.elapsed() < Duration::from_millis(100), "{:?}", begin.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_count_once_a_period_and_a_slow_probe_times_out() {
        let begin = Instant::now();
        let told = RefCell::new(Vec::new());
        run(
            schedule(ProbeKind::Liveness, 1, 3),
            async || {
                sleep(Duration::from_secs(5)).await;
                Ok(())
            },
            |verdict| {
                let is_over = matches!(verdict, Verdict::Failure(_));
                told.borrow_mut().push((begin.elapsed().as_secs(), verdict));
                !is_over
            },
        )
        .await;
        let text = "timed out after 1s".to_owned();
        let want = [
            (1, Verdict::Failing(text.clone())),
            (11, Verdict::Failing(text.clone())),
            (21, Verdict::Failure(text)),
        ];
        assert_eq!(told.into_inner(), want);
    }

    #[tokio::test(start_paused = true)]
    async fn a_startup_probe_ends_with_its_first_success() {
        let asked = Cell::new(0);
        run(
            schedule(ProbeKind::Startup, 1, 3),
            async || {
                asked.set(asked.get() + 1);
                Ok(())
            },
            |_| true,
        )
        .await;
        assert_eq!(asked.get(), 1);
    }
}
