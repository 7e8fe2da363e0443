//! The API role of a bench's own, in a process of its own.

use anyhow::Context as _;
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

pub struct Role {
    child: Child,
    /// Where it is reached, by whom, and who vouches for it.
    pub url: String,
    pub token: String,
    pub authority: String,
    /// Where it keeps its state; goes last.
    _directory: tempfile::TempDir,
}

impl Role {
    pub fn start() -> anyhow::Result<Self> {
        let directory = tempfile::Builder::new().prefix("hako-bench-api-").tempdir()?;
        let mut command = Command::new(std::env::current_exe()?);
        command.arg("serve").arg(directory.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("{command:?}"))?;
        let mut line = String::new();
        BufReader::new(child.stdout.take().context("its output")?).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line).context("it ended before it served")?;
        let text = |name: &str| said[name].as_str().map(str::to_owned).context("what it said");
        let (url, token, authority) = (text("url")?, text("token")?, text("ca")?);
        Ok(Self { child, url, token, authority, _directory: directory })
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
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
