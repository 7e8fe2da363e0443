//! A result on standard output: the builder writes into a pipe of ours, which it finds by our process's number.

use anyhow::{Context, bail};
use hako_build::Output;
use std::io::{self, IsTerminal, PipeWriter};
use std::os::fd::AsRawFd;
use std::thread::JoinHandle;

/// Copies to standard output what the builder writes.
pub(super) struct Stdout {
    writer: PipeWriter,
    copying: JoinHandle<io::Result<u64>>,
}

impl Stdout {
    /// Gives an output that is meant for standard output the pipe as its file; `None` if none is.
    pub(super) fn take(outputs: &mut [Output]) -> anyhow::Result<Option<Self>> {
        let Some(dest) = super::request::to_stdout(outputs)? else { return Ok(None) };
        if io::stdout().is_terminal() {
            bail!("standard output is a terminal: send it to a file, or name one with dest=FILE");
        }
        let (mut reader, writer) = io::pipe().context("open a pipe")?;
        *dest = format!("/proc/{}/fd/{}", std::process::id(), writer.as_raw_fd()).into();
        let copying = std::thread::spawn(move || io::copy(&mut reader, &mut io::stdout().lock()));
        Ok(Some(Self { writer, copying }))
    }

    /// Waits for the rest, when the builder has written all.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        drop(self.writer);
        let copied = self.copying.join().unwrap_or_else(|_| Err(io::ErrorKind::Other.into()));
        copied.context("write the result to standard output")?;
        Ok(())
    }
}
