//! Sessions and streams: exec, attach, logs.

use crate::TerminalSize;
use bytes::Bytes;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use hako_error::Result;
use jiff::Timestamp;
use std::fmt;
use tokio::io::AsyncWrite;

/// Which stream a piece of output came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    /// Standard output, and everything of a terminal.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A writer into a process; shutting it down (or dropping it) is end of file.
pub type Input = Box<dyn AsyncWrite + Send + Unpin>;

/// Pieces of output in the order they were read; ends when all writers have closed.
pub type Output = BoxStream<'static, Result<(Stream, Bytes)>>;

/// Sets the size of a terminal.
pub type Resize = Box<dyn Fn(TerminalSize) -> Result<()> + Send + Sync>;

/// A process started by [`exec`](crate::ContainerEngine::exec).
pub struct ExecSession {
    /// The exec's id.
    pub id: String,
    /// Process id on the host.
    pub pid: u32,
    /// Standard input, when asked for.
    pub stdin: Option<Input>,
    /// What it writes.
    pub output: Output,
    /// Present with a terminal.
    pub resize: Option<Resize>,
    /// The exit code, 128 + signal when killed by one.
    pub exit: BoxFuture<'static, Result<i32>>,
}

impl fmt::Debug for ExecSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ExecSession").field("id", &self.id).field("pid", &self.pid).finish_non_exhaustive()
    }
}

/// What to connect to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AttachOptions {
    /// Standard input, where the container has it open.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// The container's own streams.
pub struct AttachSession {
    /// Standard input, when asked for and open. Dropping it leaves the container's input open
    /// unless the container was made with `stdin_once`.
    pub stdin: Option<Input>,
    /// What it writes from now on; ends when the container exits.
    pub output: Output,
    /// Whether the container has a terminal.
    pub tty: bool,
}

impl fmt::Debug for AttachSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AttachSession").field("tty", &self.tty).finish_non_exhaustive()
    }
}

/// Which part of the log, and how long.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// Go on as the container writes, until it has exited.
    pub follow: bool,
    /// Nothing older.
    pub since: Option<Timestamp>,
    /// Nothing newer.
    pub until: Option<Timestamp>,
    /// Only so many of the last lines.
    pub tail: Option<u64>,
    /// End after so many bytes of content.
    pub limit_bytes: Option<u64>,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            follow: false,
            since: None,
            until: None,
            tail: None,
            limit_bytes: None,
            stdout: true,
            stderr: true,
        }
    }
}

/// One line of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// When it was read from the container.
    pub time: Timestamp,
    /// Where it came from.
    pub stream: Stream,
    /// Whether the line goes on in the next one of the same stream; if not, `bytes` ends with a newline.
    pub partial: bool,
    /// The content.
    pub bytes: Bytes,
}

/// Lines of a log, oldest first.
pub type LogStream = BoxStream<'static, Result<LogLine>>;
