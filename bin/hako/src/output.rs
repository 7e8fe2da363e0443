//! All that is printed: results on standard output, everything else on standard error.

use crate::cli::OutputFormat;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

/// Logs go to standard error; `HAKO_LOG` (a tracing filter) decides over `-v`.
pub(crate) fn init_logging(verbose: u8) {
    let default = match verbose {
        0 => "warn",
        1 => "info",
        2 => "debug",
        _ => "trace",
    };
    let filter = tracing_subscriber::EnvFilter::try_from_env("HAKO_LOG").unwrap_or_else(|_| default.into());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        // A failed write would be reported on the same standard error by a macro that panics: with the log on a
        // full disk that would end whoever logs, the store's writer first.
        .log_internal_errors(false)
        .init();
}

/// One line of result. A closed pipe ends the program quietly, as `head` expects.
pub(crate) fn line(text: &str) {
    bytes(format!("{text}\n").as_bytes());
}

/// Whether a closed standard output ends the program.
static ENDS_WITH_READER: AtomicBool = AtomicBool::new(true);

/// What a shell says of a program that this signal has ended, as it ends most that write to a closed pipe.
const ENDED_BY_SIGPIPE: i32 = 128 + 13;

/// From now on a closed standard output is nobody's concern: what runs or has to be taken down counts for more.
pub(crate) fn outlive_reader() {
    ENDS_WITH_READER.store(false, Ordering::Relaxed);
}

/// Bytes of result, such as a container's output.
pub(crate) fn bytes(bytes: &[u8]) {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    if written.is_err() && ENDS_WITH_READER.load(Ordering::Relaxed) {
        std::process::exit(0);
    }
}

/// A container's standard error.
pub(crate) fn error_bytes(bytes: &[u8]) {
    let mut out = std::io::stderr().lock();
    // Nobody is left to tell.
    let _ = out.write_all(bytes).and_then(|()| out.flush());
}

/// How far something has come, for people. A closed pipe ends the program, and with it what it asked for.
pub(crate) fn progress(bytes: &[u8]) {
    let mut out = std::io::stderr().lock();
    let written = out.write_all(bytes).and_then(|()| out.flush());
    let is_closed = written.is_err_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe);
    if is_closed && ENDS_WITH_READER.load(Ordering::Relaxed) {
        std::process::exit(ENDED_BY_SIGPIPE);
    }
}

/// One line for people: a failure or a note. Where standard error is the log of a background process, and its disk is full,
/// whoever started that is told on standard output.
pub(crate) fn error(text: &str) {
    let line = format!("{text}\n");
    let mut out = std::io::stderr().lock();
    let written = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    if written.is_err_and(|error| error.kind() == std::io::ErrorKind::StorageFull) {
        let mut out = std::io::stdout().lock();
        // Nobody else is left to tell.
        let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
    }
}

/// What [`not_ready`] begins its lines with; whoever waits for a background process finds them by it in its log.
pub(crate) const NOT_READY: &str = "hako: not ready yet: ";

/// What a start waits for that people can do something about.
pub(crate) fn not_ready(why: &str) {
    error(&format!("{NOT_READY}{why}"));
}

/// JSON of result, indented.
pub(crate) fn json(value: &serde_json::Value) {
    line(&format!("{value:#}"));
}

/// Left-aligned columns, three spaces apart, as kubectl and docker print them.
pub(crate) fn table(header: &[&str], rows: &[Vec<String>]) {
    let mut widths: Vec<usize> = header.iter().map(|cell| cell.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    line(&aligned(header.iter().copied(), &widths));
    for row in rows {
        line(&aligned(row.iter().map(String::as_str), &widths));
    }
}

fn aligned<'a>(cells: impl Iterator<Item = &'a str>, widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, width) in cells.zip(widths) {
        line.push_str(cell);
        line.extend(std::iter::repeat_n(' ', width - cell.chars().count() + 3));
    }
    line.truncate(line.trim_end().len());
    line
}

pub(crate) fn version(format: OutputFormat) -> anyhow::Result<ExitCode> {
    let version = env!("CARGO_PKG_VERSION");
    match format {
        OutputFormat::Json => json(&serde_json::json!({ "version": version, "kubernetes": "v1.36" })),
        _ => line(&format!("hako {version} (Kubernetes API v1.36)")),
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_align_and_nothing_trails() {
        assert_eq!(aligned(["a", "bb"].into_iter(), &[3, 2]), "a     bb");
        assert_eq!(aligned(["a", ""].into_iter(), &[3, 2]), "a");
    }
}
