//! What happens in a build, in BuildKit's words.

use super::news::Teller;
use super::wire::{News, Timestamp, Vertex, VertexLog, VertexStatus, VertexWarning};
use hako_build::check::{Finding, Report};
use hako_build::{BuildEvent, OutputStream, StepOutcome};
use hako_names::Digest;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// How often a number that grows is told.
const TOLD_EVERY: Duration = Duration::from_millis(100);
/// BuildKit's numbers of the streams.
const STDOUT: i64 = 1;
const STDERR: i64 = 2;

/// Where the news of one build go. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    build: Arc<str>,
    out: Teller,
}

/// A step that goes on.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    progress: Progress,
    vertex: Vertex,
    told: Arc<Mutex<HashMap<String, (Timestamp, Instant)>>>,
}

impl Progress {
    pub(crate) fn new(build: &str, out: Teller) -> Self {
        Self { build: build.into(), out }
    }

    /// Begins a step.
    pub(crate) fn begin(&self, name: &str) -> Task {
        // Clients tell steps apart by the digest; the same step of two builds is two.
        let digest = Digest::of(format!("{} {name}", self.build).as_bytes()).to_string();
        let vertex = Vertex { digest, name: name.to_owned(), started: Some(now()), ..Vertex::default() };
        self.tell(News { vertexes: vec![vertex.clone()], ..News::default() });
        Task { progress: self.clone(), vertex, told: Arc::default() }
    }

    fn tell(&self, news: News) {
        self.out.tell(news);
    }
}

impl Task {
    /// A number that grows, in bytes.
    pub(crate) fn count(&self, what: &str, current: u64) {
        let mut told = self.told.lock();
        let started = match told.get(what) {
            Some((_, last)) if last.elapsed() < TOLD_EVERY => return,
            Some((started, _)) => *started,
            None => now(),
        };
        told.insert(what.to_owned(), (started, Instant::now()));
        self.status(what, current, started, None);
    }

    /// The number's last value.
    pub(crate) fn counted(&self, what: &str, current: u64) {
        let started = self.told.lock().remove(what).map_or_else(now, |(started, _)| started);
        self.status(what, current, started, Some(now()));
    }

    fn status(&self, what: &str, current: u64, started: Timestamp, completed: Option<Timestamp>) {
        let status = VertexStatus {
            id: what.to_owned(),
            vertex: self.vertex.digest.clone(),
            current: i64::try_from(current).unwrap_or(i64::MAX),
            timestamp: Some(now()),
            started: Some(started),
            completed,
            ..VertexStatus::default()
        };
        self.progress.tell(News { statuses: vec![status], ..News::default() });
    }

    pub(crate) fn log(&self, stream: i64, message: Vec<u8>) {
        let log = VertexLog { vertex: self.vertex.digest.clone(), timestamp: Some(now()), stream, message };
        self.progress.tell(News { logs: vec![log], ..News::default() });
    }

    pub(crate) fn warn(&self, text: &str) {
        self.log(STDERR, format!("{text}\n").into_bytes());
    }

    /// What the checks found; clients show it below all steps.
    fn found(&self, report: &Report) {
        let warning = |finding: &Finding| VertexWarning {
            vertex: self.vertex.digest.clone(),
            level: 1,
            short: format!("{}: {} (line {})", finding.rule.name(), finding.message, finding.line)
                .into_bytes(),
            detail: vec![finding.description.clone().into_bytes()],
            ..VertexWarning::default()
        };
        let warnings = report.findings.iter().map(warning).collect();
        self.progress.tell(News { warnings, ..News::default() });
    }

    pub(crate) fn end(mut self, is_cached: bool, error: Option<&str>) {
        self.vertex.cached = is_cached;
        self.vertex.completed = Some(now());
        error.unwrap_or_default().clone_into(&mut self.vertex.error);
        self.progress.tell(News { vertexes: vec![self.vertex], ..News::default() });
    }

    /// Ends as `result` says, and gives it back.
    pub(crate) fn ends<T>(self, result: hako_error::Result<T>) -> hako_error::Result<T> {
        let error = result.as_ref().err().map(hako_error::Error::chain);
        self.end(false, error.as_deref());
        result
    }
}

/// Tells the builder's events as steps until there are no more; what has no step of its own belongs to `file`, which
/// ends when the Dockerfile is understood. Returns it if it never was.
pub(crate) async fn follow(
    progress: Progress,
    file: Task,
    mut events: mpsc::UnboundedReceiver<BuildEvent>,
) -> Option<Task> {
    let mut steps: HashMap<usize, Task> = HashMap::new();
    let (mut total, mut is_understood) = (0, false);
    while let Some(event) = events.recv().await {
        match event {
            BuildEvent::Planned { steps } => {
                total = steps;
                is_understood = true;
                file.clone().end(false, None);
            }
            BuildEvent::StepStarted { step, stage, text } => {
                // A stage without a name is called by its number.
                let kind = if stage.bytes().all(|byte| byte.is_ascii_digit()) { "stage-" } else { "" };
                steps.insert(step, progress.begin(&format!("[{kind}{stage} {step}/{total}] {text}")));
            }
            BuildEvent::Output { step, stream, bytes } => {
                let stream = if stream == OutputStream::Stdout { STDOUT } else { STDERR };
                if let Some(task) = steps.get(&step) {
                    task.log(stream, bytes);
                }
            }
            BuildEvent::StepEnded { step, outcome, .. } => {
                if let Some(task) = steps.remove(&step) {
                    let error = (outcome == StepOutcome::Failed).then_some("the step failed");
                    task.end(outcome == StepOutcome::Cached, error);
                }
            }
            BuildEvent::Warning { line: 0, message } => file.warn(&format!("warning: {message}")),
            BuildEvent::Warning { line, message } => file.warn(&format!("warning: line {line}: {message}")),
            BuildEvent::Checked { report } => file.found(&report),
            BuildEvent::Kept { .. } | BuildEvent::RunFailed { .. } => {}
        }
    }
    // What a build that failed left unfinished.
    steps.into_values().for_each(|task| task.end(false, Some("the build ended before this step")));
    (!is_understood).then_some(file)
}

fn now() -> Timestamp {
    let now = jiff::Timestamp::now();
    Timestamp { seconds: now.as_second(), nanos: now.subsec_nanosecond() }
}

#[cfg(test)]
mod tests {
    use super::super::news;
    use super::*;
    use futures::StreamExt;
    use hako_build::check::Rule;

    #[tokio::test]
    async fn what_the_checks_found_is_a_warning_of_the_file_each() {
        let (out, mut news) = news::channel();
        let progress = Progress::new("b", out);
        let file = progress.begin("[internal] load build definition from Dockerfile");
        let (sender, events) = mpsc::unbounded_channel();
        let finding = Finding {
            rule: Rule::StageNameCasing,
            description: "why".into(),
            message: "no".into(),
            line: 3,
            text: "FROM a AS B".into(),
        };
        let report = Report { file: "Dockerfile".into(), findings: vec![finding], is_error: false };
        sender.send(BuildEvent::Planned { steps: 0 }).unwrap();
        sender.send(BuildEvent::Checked { report }).unwrap();
        drop(sender);
        assert!(follow(progress, file, events).await.is_none());
        let (mut vertex, mut warnings) = (String::new(), Vec::new());
        while let Some(one) = news.next().await {
            vertex = one.vertexes.into_iter().next().map_or(vertex, |vertex| vertex.digest);
            warnings.extend(one.warnings);
        }
        let [warning] = warnings.as_slice() else { panic!("{warnings:?}") };
        assert_eq!((warning.vertex.as_str(), warning.level), (vertex.as_str(), 1));
        assert_eq!(warning.short, b"StageNameCasing: no (line 3)");
        assert_eq!(warning.detail, [b"why".to_vec()]);
    }

    #[tokio::test]
    async fn steps_begin_write_and_end() {
        let (out, mut news) = news::channel();
        let progress = Progress::new("b", out);
        let file = progress.begin("[internal] load build definition from Dockerfile");
        let (sender, events) = mpsc::unbounded_channel();
        let took = Duration::from_secs(1);
        for event in [
            BuildEvent::Planned { steps: 2 },
            BuildEvent::StepStarted { step: 1, stage: "0".into(), text: "FROM a".into() },
            BuildEvent::StepEnded { step: 1, outcome: StepOutcome::Cached, took },
            BuildEvent::StepStarted { step: 2, stage: "0".into(), text: "RUN b".into() },
            BuildEvent::Output { step: 2, stream: OutputStream::Stderr, bytes: b"no".to_vec() },
            BuildEvent::StepEnded { step: 2, outcome: StepOutcome::Failed, took },
        ] {
            sender.send(event).unwrap();
        }
        drop(sender);
        assert!(follow(progress, file, events).await.is_none());
        let mut all = News::default();
        while let Some(one) = news.next().await {
            all.vertexes.extend(one.vertexes);
            all.logs.extend(one.logs);
        }
        let shown: Vec<_> =
            all.vertexes.iter().map(|v| (v.name.as_str(), v.cached, v.error.as_str())).collect();
        assert_eq!(shown[2..4], [("[stage-0 1/2] FROM a", false, ""), ("[stage-0 1/2] FROM a", true, "")]);
        assert_eq!(shown[5], ("[stage-0 2/2] RUN b", false, "the step failed"));
        assert_eq!(all.vertexes[4].digest, all.logs[0].vertex);
        assert_eq!((all.logs[0].stream, all.logs[0].message.as_slice()), (STDERR, &b"no"[..]));
    }
}
