//! A transfer's events as Docker's stream of JSON objects.

use crate::error::{Answer, status};
use axum::body::Body;
use axum::response::IntoResponse;
use bytes::Bytes;
use futures::stream;
use hako_error::{Error, Result};
use hako_image::transfer::LayerState;
use hako_names::Digest;
use http::{StatusCode, header};
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// A layer's bytes are told this often at most: more no eye can follow.
const PACE: Duration = Duration::from_millis(100);

/// Where the lines of one answer go. Never blocks: a transfer does not wait for who watches it.
#[derive(Clone, Debug)]
pub(super) struct Lines {
    sender: mpsc::UnboundedSender<Line>,
    paced: Arc<Mutex<HashMap<Digest, Instant>>>,
    /// What was there already is not done a second time.
    present: Arc<Mutex<HashSet<Digest>>>,
}

/// One line of the answer.
#[derive(Debug)]
enum Line {
    Object(Value),
    /// Why it ended early.
    Failure(StatusCode, String),
}

impl Line {
    /// A failure has no code here: clients make "authentication is required" of 401 and drop the reason.
    fn bytes(self) -> Bytes {
        let object = match self {
            Self::Object(object) => object,
            Self::Failure(_, text) => json!({ "errorDetail": { "message": text }, "error": text }),
        };
        Bytes::from(format!("{object}\r\n"))
    }
}

/// Which way layers go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Pull,
    Push,
    Load,
}

impl Lines {
    pub(super) fn send(&self, line: Value) {
        // A client that went away is noticed by the answer's body.
        let _ = self.sender.send(Line::Object(line));
    }

    pub(super) fn status(&self, text: impl Into<String>) {
        self.send(json!({ "status": text.into() }));
    }

    /// One layer's state; bytes are told at a pace.
    pub(super) fn layer(&self, way: Way, digest: Digest, state: &LayerState) {
        let is_count = matches!(
            state,
            LayerState::Downloading { .. } | LayerState::Extracting { .. } | LayerState::Uploading { .. }
        );
        if is_count {
            let mut paced = self.paced.lock();
            if paced.get(&digest).is_some_and(|last| last.elapsed() < PACE) {
                return;
            }
            paced.insert(digest, Instant::now());
        }
        match state {
            LayerState::Exists => drop(self.present.lock().insert(digest)),
            LayerState::Done { .. } if self.present.lock().contains(&digest) => return,
            _ => {}
        }
        self.send(line(way, digest, state));
    }
}

/// Docker's words for a layer's state.
fn line(way: Way, digest: Digest, state: &LayerState) -> Value {
    let (words, count) = match state {
        LayerState::Extracting { done, total } if way == Way::Load => {
            ("Loading layer".to_owned(), Some((*done, *total)))
        }
        LayerState::Done { .. } if way == Way::Load => ("Loaded".to_owned(), None),
        LayerState::Exists if way == Way::Load => ("Layer already exists".to_owned(), None),
        LayerState::Waiting if way == Way::Pull => ("Pulling fs layer".to_owned(), None),
        LayerState::Waiting => ("Preparing".to_owned(), None),
        LayerState::Downloading { done, total } => ("Downloading".to_owned(), Some((*done, *total))),
        LayerState::Resuming { at } => (format!("Resuming at byte {at}"), None),
        LayerState::Verifying => ("Verifying Checksum".to_owned(), None),
        LayerState::Extracting { done, total } => ("Extracting".to_owned(), Some((*done, *total))),
        LayerState::Exists if way == Way::Pull => ("Already exists".to_owned(), None),
        LayerState::Exists => ("Layer already exists".to_owned(), None),
        LayerState::Mounted { from } => (format!("Mounted from {from}"), None),
        LayerState::Uploading { done, total } => ("Pushing".to_owned(), Some((*done, *total))),
        LayerState::Done { .. } if way == Way::Pull => ("Pull complete".to_owned(), None),
        LayerState::Done { .. } => ("Pushed".to_owned(), None),
    };
    let mut line = json!({ "status": words, "progressDetail": {}, "id": digest.short() });
    if let Some((done, total)) = count {
        line["progressDetail"] = json!({ "current": done, "total": total });
        line["progress"] = json!(bar(done, total));
    }
    line
}

/// What a transfer took, and what it did not have to move.
pub(super) fn traffic(moved: u64, saved: u64) -> String {
    let size = crate::human::size;
    match moved + saved {
        0 => "Moved nothing".to_owned(),
        all => {
            let percent = u128::from(saved) * 100 / u128::from(all);
            format!("Moved {}, saved {} ({percent} %)", size(moved), size(saved))
        }
    }
}

/// The bar that clients print which do not draw their own: `[====>     ]  1.5MB/3MB`.
fn bar(done: u64, total: u64) -> String {
    const WIDTH: usize = 50;
    if total == 0 {
        return crate::human::size(done);
    }
    let filled =
        usize::try_from(u128::from(done) * WIDTH as u128 / u128::from(total)).unwrap_or(WIDTH).min(WIDTH);
    let (full, empty) = ("=".repeat(filled), " ".repeat(WIDTH - filled));
    format!("[{full}>{empty}] {:>8}/{}", crate::human::size(done), crate::human::size(total))
}

/// Runs `work` and streams its lines. What fails before the first line is an ordinary error answer, later an
/// error object that ends the stream. A client that goes away ends the work.
pub(super) async fn streamed<W>(
    work: impl FnOnce(Lines) -> W,
    refusal: fn(Error) -> (StatusCode, Error),
) -> Answer
where
    W: Future<Output = Result<()>> + Send + 'static,
{
    let (sender, mut receiver) = mpsc::unbounded_channel();
    let lines = Lines { sender: sender.clone(), paced: Arc::default(), present: Arc::default() };
    let work = work(lines);
    let running = tokio::spawn(async move {
        if let Err(error) = work.await {
            let (code, error) = refusal(error);
            // Nobody listens any more if this fails.
            let _ = sender.send(Line::Failure(code, error.chain()));
        }
    });
    let guard = AbortOnDrop(running.abort_handle());
    let first = match receiver.recv().await {
        Some(Line::Failure(code, text)) => return Ok(crate::error::message(code, &text)),
        first => first,
    };
    let rest = stream::unfold((first, receiver, guard), |(next, mut receiver, guard)| async move {
        let line = match next {
            Some(line) => line,
            None => receiver.recv().await?,
        };
        Some((Ok::<_, Infallible>(line.bytes()), (None, receiver, guard)))
    });
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(rest)).into_response())
}

/// The error as it is, with its kind's status.
pub(super) fn plain(error: Error) -> (StatusCode, Error) {
    (status(error.kind()), error)
}

/// Ends the work when its client goes away.
struct AbortOnDrop(tokio::task::AbortHandle);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layers_speak_dockers_words() {
        let digest = Digest::of(b"layer");
        let shown = line(Way::Pull, digest, &LayerState::Downloading { done: 1_500_000, total: 3_000_000 });
        assert_eq!(shown["status"], "Downloading");
        assert_eq!(shown["progressDetail"], json!({ "current": 1_500_000, "total": 3_000_000 }));
        let expected = format!("[{}>{}]    1.5MB/3MB", "=".repeat(25), " ".repeat(25));
        assert_eq!(shown["progress"], json!(expected));
        assert_eq!(line(Way::Push, digest, &LayerState::Exists)["status"], "Layer already exists");
        assert_eq!(bar(9, 3).matches('=').count(), 50);
        assert_eq!(bar(9, 0), "9B");
        assert_eq!(traffic(1_000_000, 99_000_000), "Moved 1MB, saved 99MB (99 %)");
        assert_eq!(traffic(0, 0), "Moved nothing");
    }

    #[tokio::test]
    async fn what_fails_at_once_is_an_error_answer_and_later_an_error_line() {
        use http_body_util::BodyExt;
        let fail = || Error::new(hako_error::Kind::NotFound, "no such thing");
        let early = streamed(|_| async move { Err(fail()) }, plain).await.unwrap();
        assert_eq!(early.status(), StatusCode::NOT_FOUND);
        let late = |lines: Lines| async move {
            lines.status("Pulling");
            Err(fail())
        };
        let late = streamed(late, plain).await.unwrap();
        assert_eq!(late.status(), StatusCode::OK);
        let body = late.into_body().collect().await.unwrap().to_bytes();
        let text = String::from_utf8_lossy(&body);
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().nth(1).unwrap().contains("\"error\":\"no such thing\""), "{text}");
    }
}
