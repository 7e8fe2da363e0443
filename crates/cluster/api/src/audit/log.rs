//! The file events go to, one line each, written by a thread of its own.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tokio::sync::mpsc;

use super::AuditError;

/// Events that may be on their way to the file; whoever has one more waits.
const QUEUE: usize = 10_000;
/// How often it is looked whether the file was moved away.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Where events are handed in.
#[derive(Clone, Debug)]
pub(super) struct Log(mpsc::Sender<String>);

impl Log {
    /// Opens the file for appending, or standard output where it is `-`.
    pub(super) fn open(path: &Path) -> Result<Self, AuditError> {
        let fault = |source| AuditError::Open { path: path.display().to_string(), source };
        let target = Target::open(path).map_err(fault)?;
        let (send, receive) = mpsc::channel(QUEUE);
        let thread = std::thread::Builder::new().name("audit".to_owned());
        thread.spawn(move || write_all(target, receive)).map_err(fault)?;
        Ok(Self(send))
    }

    /// Hands in an event; returns when there is room for it.
    pub(super) async fn write(&self, line: String) {
        // The thread ends only when nobody can hand in any more.
        let _ = self.0.send(line).await;
    }

    /// Hands in an event where nobody can wait; whether there was room.
    pub(super) fn try_write(&self, line: String) -> bool {
        self.0.try_send(line).is_ok()
    }
}

/// What is written to.
enum Target {
    Stdout(BufWriter<io::Stdout>),
    File { path: PathBuf, out: BufWriter<File>, inode: u64, looked: Instant },
}

impl Target {
    fn open(path: &Path) -> io::Result<Self> {
        if path.as_os_str() == "-" {
            return Ok(Self::Stdout(BufWriter::new(io::stdout())));
        }
        let file = File::options().create(true).append(true).mode(0o600).open(path)?;
        let inode = file.metadata()?.ino();
        Ok(Self::File { path: path.to_owned(), out: BufWriter::new(file), inode, looked: Instant::now() })
    }

    fn write(&mut self, line: &str, is_last: bool) -> io::Result<()> {
        self.look()?;
        let out: &mut dyn Write = match self {
            Self::Stdout(out) => out,
            Self::File { out, .. } => out,
        };
        writeln!(out, "{line}")?;
        if is_last { out.flush() } else { Ok(()) }
    }

    /// Begins a new file where the old one was moved away, as programs that rotate logs do.
    fn look(&mut self) -> io::Result<()> {
        let Self::File { path, out, inode, looked } = self else { return Ok(()) };
        if looked.elapsed() < LOOK_EVERY {
            return Ok(());
        }
        *looked = Instant::now();
        if fs::metadata(&*path).is_ok_and(|there| there.ino() == *inode) {
            return Ok(());
        }
        out.flush()?;
        *self = Self::open(&path.clone())?;
        Ok(())
    }
}

fn write_all(mut target: Target, mut lines: mpsc::Receiver<String>) {
    let mut is_failing = false;
    while let Some(line) = lines.blocking_recv() {
        let written = target.write(&line, lines.is_empty());
        // Once for each time that it begins to fail.
        if let Err(error) = &written
            && !is_failing
        {
            tracing::error!(%error, "audit events are lost");
        }
        is_failing = written.is_err();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let (path, old) = (dir.path().join("log"), dir.path().join("log.1"));
        let mut target = Target::open(&path).unwrap();
        target.write("first", true).unwrap();
        fs::rename(&path, &old).unwrap();
        if let Target::File { looked, .. } = &mut target {
            *looked -= LOOK_EVERY;
        }
        target.write("second", true).unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "first\n");
        assert_eq!(fs::read_to_string(&path).unwrap(), "second\n");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
    }
}
