//! The audit log: one JSON line for each request about a repository, and for each token.

use super::{Happened, Metrics};
use hako_error::{Error, Kind, Result};
use std::fs::OpenOptions;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use tokio::sync::mpsc;

/// Lines that wait for the disk.
const QUEUE: usize = 8192;

/// The log's front end.
#[derive(Debug)]
pub(super) struct Audit(mpsc::Sender<String>);

impl Audit {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).mode(0o640).open(path).map_err(|error| {
            Error::new(Kind::Invalid, format!("cannot open the audit log {}", path.display()))
                .with_source(error)
        })?;
        let (sender, mut receiver) = mpsc::channel::<String>(QUEUE);
        let path = path.to_path_buf();
        std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || {
                let mut file = BufWriter::new(file);
                while let Some(line) = receiver.blocking_recv() {
                    let mut written = writeln!(file, "{line}");
                    while let (Ok(()), Ok(line)) = (&written, receiver.try_recv()) {
                        written = writeln!(file, "{line}");
                    }
                    if let Err(error) = written.and_then(|()| file.flush()) {
                        tracing::error!(%error, path = %path.display(), "the audit log cannot be written");
                    }
                }
            })
            .map_err(|error| Error::new(Kind::Internal, "cannot start the audit log").with_source(error))?;
        Ok(Self(sender))
    }

    /// Adds a line; what the disk is too slow for is counted.
    pub(super) fn tell(&self, happened: &Happened, metrics: &Metrics) {
        if self.0.try_send(line(happened)).is_err() {
            metrics.lost("audit");
        }
    }
}

fn line(happened: &Happened) -> String {
    let mut line = serde_json::json!({
        "time": jiff::Timestamp::now().to_string(),
        "user": happened.who.user,
        "address": happened.peer.map(|peer| peer.to_string()),
        "action": happened.action(),
        "method": happened.method.as_str(),
        "kind": happened.route,
        "repository": happened.repository,
        "reference": happened.reference.as_ref().map(ToString::to_string),
        "digest": happened.digest,
        "status": happened.status,
        "milliseconds": u64::try_from(happened.took.as_millis()).unwrap_or(u64::MAX),
    });
    if let Some(tried) = happened.who.tried().filter(|_| happened.status == 401) {
        line["tried"] = tried.into();
    }
    line.to_string()
}
