//! The API role of a bench's own, in a process of its own.

use anyhow::Context as _;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

pub struct Role {
    child: Child,
    /// Where it is reached, by whom, and who vouches for it.
    pub url: String,
    pub token: String,
    pub authority: String,
    started_in: Duration,
    /// Where it keeps its state; goes last.
    directory: tempfile::TempDir,
}

impl Role {
    pub fn start() -> anyhow::Result<Self> {
        Self::start_in(tempfile::Builder::new().prefix("hako-bench-api-").tempdir()?)
    }

    /// Ends it without a warning and starts it with what it has stored.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        let directory = std::mem::replace(&mut self.directory, tempfile::tempdir()?);
        *self = Self::start_in(directory)?;
        Ok(())
    }

    fn start_in(directory: tempfile::TempDir) -> anyhow::Result<Self> {
        let began = Instant::now();
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg(directory.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        let started_in = began.elapsed();
        let said: Value = serde_json::from_str(&line).context("it ended before it served")?;
        let text = |name: &str| said[name].as_str().map(str::to_owned).context("what it said");
        let (url, token, authority) = (text("url")?, text("token")?, text("ca")?);
        Ok(Self { child, url, token, authority, started_in, directory })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How long it took until it served; milliseconds.
    pub fn start_ms(&self) -> f64 {
        hako_benches::ms(self.started_in)
    }

    /// User and system time so far, which the kernel counts in ticks of 10 ms; microseconds.
    pub fn cpu_us(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid()))?;
        let fields = stat.rsplit(')').next().context("stat makes no sense")?;
        let ticks = fields.split_whitespace().skip(11).take(2);
        Ok(ticks.map(str::parse::<f64>).sum::<Result<f64, _>>()? * 10_000.0)
    }

    /// A field of /proc/PID/status in MiB.
    pub fn memory_mib(&self, field: &str) -> anyhow::Result<f64> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.pid()))?;
        let line = text.lines().find(|line| line.starts_with(field)).context("no such field")?;
        let kib: f64 = line.split_whitespace().nth(1).context("no figure")?.parse()?;
        Ok(kib / 1024.0)
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
