//! A build's progress: a live view, or plain lines that are the same every time.

use super::args::ProgressStyle;
use crate::output;
use hako_build::check::Finding;
use hako_build::{BuildEvent, StepOutcome};
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::io::IsTerminal;
use std::time::Instant;

/// The most steps that the live view shows at the same time.
const SHOWN: usize = 12;

/// How many lines of a failed step stay on the terminal, where its output was only passing by.
const KEPT: usize = 20;

/// Shows events as they come.
pub(super) struct Show {
    style: ProgressStyle,
    running: BTreeMap<usize, Running>,
    total: usize,
    /// How many characters each line of the live part has that stands on the terminal now.
    drawn: Vec<usize>,
    /// Columns that lines are cut to, whatever the terminal has.
    columns: Option<usize>,
    size: Size,
    /// The image that a failed step left.
    pub kept: Option<String>,
    /// Whether a program failed whose step's files a shell could be started in.
    pub has_failed_run: bool,
}

/// What fits on the terminal.
#[derive(Clone, Copy, Debug)]
struct Size {
    width: usize,
    height: usize,
}

impl Size {
    fn of_terminal(columns: Option<usize>) -> Self {
        let size = rustix::termios::tcgetwinsize(std::io::stderr()).ok();
        let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
        let width = columns.or(size.map(|size| size.ws_col.into())).unwrap_or(100);
        Self { width, height: size.map_or(usize::MAX, |size| size.ws_row.into()) }
    }

    /// How many rows lines of so many characters take: a terminal that became narrower has broken them.
    fn rows(self, lines: &[usize]) -> usize {
        lines.iter().map(|length| length.div_ceil(self.width.max(1)).max(1)).sum()
    }
}

struct Running {
    title: String,
    began: Instant,
    /// What the step wrote since the last end of a line.
    partial: String,
    /// The last lines.
    tail: VecDeque<String>,
}

impl Show {
    pub(super) fn new(style: ProgressStyle) -> Self {
        let is_terminal = std::io::stderr().is_terminal();
        let style = match style {
            ProgressStyle::Auto if is_terminal => ProgressStyle::Tty,
            ProgressStyle::Auto => ProgressStyle::Plain,
            style => style,
        };
        let columns = std::env::var("COLUMNS").ok().and_then(|text| text.parse().ok());
        Self {
            style,
            running: BTreeMap::new(),
            total: 0,
            drawn: Vec::new(),
            columns,
            size: Size::of_terminal(columns),
            kept: None,
            has_failed_run: false,
        }
    }

    pub(super) fn event(&mut self, event: &BuildEvent) {
        if let BuildEvent::Kept { image } = event {
            self.kept = Some(image.clone());
        }
        let lines = self.lines(event);
        if self.style == ProgressStyle::Rawjson {
            told(&serde_json::to_string(event).unwrap_or_default());
        } else if self.style == ProgressStyle::Quiet {
            let is_failure = matches!(event, BuildEvent::StepEnded { outcome: StepOutcome::Failed, .. });
            lines.iter().filter(|_| is_failure).for_each(|line| output::error(line));
        } else if self.style == ProgressStyle::Plain {
            lines.iter().for_each(|line| told(line));
        } else {
            self.draw(&lines);
        }
    }

    /// The lines that stay.
    fn lines(&mut self, event: &BuildEvent) -> Vec<String> {
        // What a step writes is passing by, and stays where it failed.
        let is_live = matches!(self.style, ProgressStyle::Tty | ProgressStyle::Quiet);
        match event {
            BuildEvent::Planned { steps } => {
                self.total = *steps;
                Vec::new()
            }
            BuildEvent::StepStarted { step, stage, text } => {
                let title = format!("[{stage} {step}/{}] {text}", self.total);
                let line = format!("#{step} {title}");
                let (partial, tail) = (String::new(), VecDeque::new());
                self.running.insert(*step, Running { title, began: Instant::now(), partial, tail });
                if is_live { Vec::new() } else { vec![line] }
            }
            BuildEvent::Output { step, bytes, .. } => self.written(*step, bytes, is_live),
            BuildEvent::StepEnded { step, outcome, took } => {
                let Some(run) = self.running.remove(step) else { return Vec::new() };
                let word = match outcome {
                    StepOutcome::Done => format!("DONE {:.1}s", took.as_secs_f64()),
                    StepOutcome::Cached => "CACHED".to_owned(),
                    StepOutcome::Failed => "FAILED".to_owned(),
                };
                if is_live {
                    let of_failed = (*outcome == StepOutcome::Failed).then_some((run.tail, run.partial));
                    let tail =
                        of_failed.into_iter().flat_map(|(tail, partial)| tail.into_iter().chain([partial]));
                    let head = format!(" => {word} {}", run.title);
                    return std::iter::once(head).chain(tail.filter(|line| !line.is_empty())).collect();
                }
                let rest = (!run.partial.is_empty()).then(|| format!("#{step} {}", run.partial));
                rest.into_iter().chain([format!("#{step} {word}")]).collect()
            }
            BuildEvent::Warning { line: 0, message } => vec![format!("warning: {message}")],
            BuildEvent::Warning { line, message } => vec![format!("warning: line {line}: {message}")],
            BuildEvent::Checked { report } => {
                let line = |finding: &Finding| {
                    let Finding { rule, message, line, .. } = finding;
                    format!("warning: {}:{line}: {}: {message}", report.file, rule.name())
                };
                report.findings.iter().map(line).collect()
            }
            BuildEvent::RunFailed { .. } => {
                self.has_failed_run = true;
                Vec::new()
            }
            BuildEvent::Kept { .. } => Vec::new(),
        }
    }

    fn written(&mut self, step: usize, bytes: &[u8], is_live: bool) -> Vec<String> {
        let Some(run) = self.running.get_mut(&step) else { return Vec::new() };
        run.partial.push_str(&String::from_utf8_lossy(bytes));
        let Some(end) = run.partial.rfind('\n') else { return Vec::new() };
        let whole: String = run.partial.drain(..=end).collect();
        run.tail.extend(whole.lines().map(str::to_owned));
        run.tail.drain(..run.tail.len().saturating_sub(KEPT));
        if is_live {
            return Vec::new();
        }
        whole.lines().map(|line| format!("#{step} {line}")).collect()
    }

    /// Takes the live part away, writes what stays, and draws the live part anew.
    fn draw(&mut self, lines: &[String]) {
        // It may have another size by now.
        self.size = Size::of_terminal(self.columns);
        let mut text = String::new();
        if !self.drawn.is_empty() {
            // What has left the terminal at its top cannot be taken away any more.
            let above = self.size.rows(&self.drawn).min(self.size.height.saturating_sub(1).max(1));
            let _ = write!(text, "\x1b[{above}A\x1b[J");
        }
        for line in lines {
            let _ = writeln!(text, "{}", self.cut(line));
        }
        self.drawn = Vec::new();
        for run in self.running.values().take(SHOWN) {
            if self.drawn.len() + 3 > self.size.height {
                break;
            }
            let head = format!(" => {:.1}s {}", run.began.elapsed().as_secs_f64(), run.title);
            for line in std::iter::once(head).chain(run.tail.back().map(|last| format!("      {last}"))) {
                let line = self.cut(&line);
                let _ = writeln!(text, "{line}");
                self.drawn.push(line.chars().count());
            }
        }
        output::progress(text.as_bytes());
    }

    /// What fits on one line; control characters would move the cursor.
    fn cut(&self, line: &str) -> String {
        line.chars().filter(|c| !c.is_control()).take(self.size.width.saturating_sub(1)).collect()
    }

    /// Draws the live part anew: time goes on also while nothing is said.
    pub(super) fn tick(&mut self) {
        if self.style == ProgressStyle::Tty && !self.running.is_empty() {
            self.draw(&[]);
        }
    }

    /// Takes the live part away.
    pub(super) fn finish(&mut self) {
        if self.style == ProgressStyle::Tty {
            self.running.clear();
            self.draw(&[]);
        }
    }
}

fn told(line: &str) {
    output::progress(format!("{line}\n").as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use hako_build::OutputStream;
    use hako_build::check::{Report, Rule};
    use std::time::Duration;

    #[test]
    fn lines_that_a_narrower_terminal_has_broken_are_counted_as_it_shows_them() {
        let rows = |width| Size { width, height: 24 }.rows(&[79, 0, 40]);
        assert_eq!([rows(80), rows(40), rows(39), rows(1)], [3, 4, 6, 120]);
    }

    #[test]
    fn what_the_checks_found_is_a_line_each_with_its_place_in_the_file() {
        let finding = |line, message: &str| Finding {
            rule: Rule::StageNameCasing,
            description: String::new(),
            message: message.to_owned(),
            line,
            text: String::new(),
        };
        let findings = vec![finding(1, "one"), finding(7, "two")];
        let report = Report { file: "a.Dockerfile".into(), findings, is_error: false };
        let lines = Show::new(ProgressStyle::Plain).lines(&BuildEvent::Checked { report });
        assert_eq!(
            lines,
            [
                "warning: a.Dockerfile:1: StageNameCasing: one",
                "warning: a.Dockerfile:7: StageNameCasing: two"
            ]
        );
    }

    #[test]
    fn plain_lines_name_their_step_and_are_whole() {
        let mut show = Show::new(ProgressStyle::Plain);
        let mut lines = Vec::new();
        let stream = OutputStream::Stdout;
        for event in [
            BuildEvent::Planned { steps: 2 },
            BuildEvent::StepStarted { step: 1, stage: "a".into(), text: "RUN x".into() },
            BuildEvent::Output { step: 1, stream, bytes: b"one\ntw".to_vec() },
            BuildEvent::Output { step: 1, stream, bytes: b"o\nend".to_vec() },
            BuildEvent::StepEnded { step: 1, outcome: StepOutcome::Done, took: Duration::from_millis(1234) },
        ] {
            lines.extend(show.lines(&event));
        }
        assert_eq!(lines, ["#1 [a 1/2] RUN x", "#1 one", "#1 two", "#1 end", "#1 DONE 1.2s"]);
    }
}
