//! What the benches share: rows that put our figure beside the peer's, medians, and running commands.
//!
//! Invariant: a ratio is printed only from figures of the same run, or says that the peer's are recorded ones.
#![expect(clippy::print_stdout, reason = "a bench's result is what it prints")]

pub mod bare;
pub mod load;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// One line of result.
#[derive(Debug)]
pub struct Row {
    /// What was measured.
    pub what: String,
    /// Ours.
    pub ours: f64,
    /// The peer's name and figure, where one ran here.
    pub peer: Option<(String, f64)>,
    /// The unit of both.
    pub unit: &'static str,
    /// What the figure has to be.
    pub target: Target,
    /// Why it is what it is and what would change it, from measurements of the same run; empty where that is not known.
    pub why: String,
}

/// What a figure has to be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// At most this.
    AtMost(f64),
    /// At least this.
    AtLeast(f64),
    /// At most this share of the peer's.
    RatioAtMost(f64),
    /// At least this many times the peer's.
    RatioAtLeast(f64),
    /// Nothing is promised.
    None,
}

impl Row {
    /// Whether the promise is kept; `None` where it cannot be told.
    #[must_use]
    pub fn is_kept(&self) -> Option<bool> {
        match self.target {
            Target::AtMost(bound) => Some(self.ours <= bound),
            Target::AtLeast(bound) => Some(self.ours >= bound),
            Target::RatioAtLeast(bound) => self.peer.as_ref().map(|(_, peer)| self.ours >= bound * peer),
            Target::RatioAtMost(bound) => self.peer.as_ref().map(|(_, peer)| self.ours <= bound * peer),
            Target::None => None,
        }
    }

    /// Prints the row.
    pub fn print(&self) {
        let peer = match &self.peer {
            Some((name, figure)) => {
                format!("{name} {figure:.2} {} ratio {:.2}", self.unit, self.ours / figure)
            }
            None => "no peer here".to_owned(),
        };
        let target = match self.target {
            Target::AtMost(bound) => format!("<= {bound} {}", self.unit),
            Target::AtLeast(bound) => format!(">= {bound} {}", self.unit),
            Target::RatioAtMost(bound) => format!("ratio <= {bound}"),
            Target::RatioAtLeast(bound) => format!("ratio >= {bound}"),
            Target::None => "-".to_owned(),
        };
        let verdict = match self.is_kept() {
            Some(true) => "kept",
            Some(false) => "MISSED",
            None => "-",
        };
        println!(
            "{:<58} ours {:>10.2} {:<6} | {peer:<44} | {target:<16} {verdict}",
            self.what, self.ours, self.unit
        );
        if self.is_kept() == Some(false) && !self.why.is_empty() {
            println!("    why: {}", self.why);
        }
    }
}

/// The middle of the samples.
///
/// # Panics
/// Without samples.
#[must_use]
pub fn median(mut samples: Vec<f64>) -> f64 {
    assert!(!samples.is_empty(), "no samples");
    samples.sort_by(f64::total_cmp);
    samples[samples.len() / 2]
}

/// Milliseconds of a duration.
#[must_use]
pub fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Runs a command quietly; its wall time in milliseconds, or its error output.
pub fn time(command: &mut Command) -> anyhow::Result<f64> {
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output()?;
    let took = ms(began.elapsed());
    if !output.status.success() {
        anyhow::bail!("{command:?}: {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(took)
}

/// Whether a program is installed.
#[must_use]
pub fn has(program: &str) -> bool {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&paths).any(|directory| directory.join(program).is_file())
}
