//! The webhook events go to, many at a time (kube-apiserver, `--audit-webhook-mode=batch`).

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout_at};

use super::AuditError;
use crate::auth::external::Hook;

/// Events that may be on their way; one more is lost.
const QUEUE: usize = 10_000;
/// Events that are sent at once.
const BATCH: usize = 400;
/// How long the first of them waits for others.
const WAIT: Duration = Duration::from_secs(30);
/// How often it is tried, and how long after the first time: half as much more each time.
const ATTEMPTS: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(10);

/// Where events are handed in.
#[derive(Debug)]
pub(super) struct Webhook {
    queue: mpsc::Sender<String>,
    lost: Arc<AtomicU64>,
}

impl Webhook {
    /// Reads the kubeconfig that says where it is.
    pub(super) fn open(path: &Path, wait: Option<Duration>) -> Result<Self, AuditError> {
        let hook = Hook::open(path).map_err(AuditError::Webhook)?;
        let (queue, events) = mpsc::channel(QUEUE);
        let lost = Arc::new(AtomicU64::default());
        tokio::spawn(send_all(hook, events, wait.unwrap_or(WAIT), Arc::clone(&lost)));
        Ok(Self { queue, lost })
    }

    /// Hands in an event; nobody waits for a webhook.
    pub(super) fn write(&self, event: String) {
        if self.queue.try_send(event).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Events that it never got.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }
}

async fn send_all(hook: Hook, mut events: mpsc::Receiver<String>, wait: Duration, lost: Arc<AtomicU64>) {
    let mut batch = Vec::new();
    while let Some(first) = events.recv().await {
        let until = Instant::now() + wait;
        batch.push(first);
        while batch.len() < BATCH
            && let Ok(Some(event)) = timeout_at(until, events.recv()).await
        {
            batch.push(event);
        }
        if !deliver(&hook, list(&batch), FIRST_PAUSE).await {
            lost.fetch_add(batch.len() as u64, Ordering::Relaxed);
        }
        batch.clear();
    }
}

/// An `EventList`: the events are JSON already.
fn list(events: &[String]) -> Bytes {
    const HEAD: &str = r#"{"kind":"EventList","apiVersion":"audit.k8s.io/v1","metadata":{},"items":["#;
    format!("{HEAD}{}]}}", events.join(",")).into()
}

/// Whether the webhook has taken it, in the end.
async fn deliver(hook: &Hook, events: Bytes, mut pause: Duration) -> bool {
    for attempt in 1..=ATTEMPTS {
        let Err(refused) = hook.send(events.clone()).await else { return true };
        if !refused.may_pass || attempt == ATTEMPTS {
            tracing::error!(why = refused.why, "audit events are lost: the webhook does not take them");
            return false;
        }
        tracing::warn!(why = refused.why, attempt, "the audit webhook did not take events");
        sleep(pause).await;
        pause = pause * 3 / 2;
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    #[test]
    fn events_become_one_list() {
        let text = list(&[r#"{"auditID":"a"}"#.to_owned(), r#"{"auditID":"b"}"#.to_owned()]);
        let list: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!(
            (list["kind"].as_str(), list["items"].as_array().map(Vec::len)),
            (Some("EventList"), Some(2))
        );
        assert_eq!(list["items"][1]["auditID"], "b");
    }

    /// A webhook that answers with these codes, one connection each, and how often it was asked.
    async fn hook(codes: &'static [u16]) -> (Hook, Arc<AtomicU64>, tempfile::TempDir) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::new(AtomicU64::default());
        let count = Arc::clone(&asked);
        tokio::spawn(async move {
            for code in codes {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = Vec::new();
                while !request.ends_with(b"]}") {
                    stream.read_buf(&mut request).await.unwrap();
                }
                count.fetch_add(1, Ordering::Relaxed);
                let head = format!("HTTP/1.1 {code} x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.write_all(head.as_bytes()).await.unwrap();
            }
        });
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("config");
        let config = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "s", "cluster": {"server": server}}], "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "c", "context": {"cluster": "s", "user": "u"}}],
        });
        std::fs::write(&path, config.to_string()).unwrap();
        (Hook::open(&path).unwrap(), asked, dir)
    }

    #[tokio::test]
    async fn what_may_be_taken_later_is_sent_again_and_what_never_will_be_is_not() {
        for (codes, is_taken, asked) in [
            (&[500, 429, 200][..], true, 3),
            (&[400][..], false, 1),
            (&[503, 503, 503, 503, 503][..], false, u64::from(ATTEMPTS)),
        ] {
            let (hook, count, _dir) = hook(codes).await;
            assert_eq!(deliver(&hook, list(&["{}".to_owned()]), Duration::ZERO).await, is_taken, "{codes:?}");
            assert_eq!(count.load(Ordering::Relaxed), asked, "{codes:?}");
        }
    }
}
