//! Audit: a record of who asked for what, and what came of it.
//!
//! Owns: the policy ([`policy`]), events ([`event`]), and the file ([`log`]) and the webhook ([`webhook`]) they go to.
//! Does not own: what admission and authorization have to say, which they note in the request.
//!
//! Invariant: a request is answered only when the log has taken what is recorded of it so far; what is recorded at the
//! end of a body cannot wait and is counted as lost where there is no room, and nothing waits for the webhook. Bodies of what is secret are recorded only
//! where a rule names that.

mod event;
mod log;
mod policy;
mod webhook;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hako_client::Body;
use hako_error::{Classify, Kind};
use http::{HeaderName, HeaderValue, header};
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt as _;

use crate::admission::Notes;
use crate::auth::ExternalError;
use crate::http::{Answer, Info, Request};
use crate::metrics::Text;
use event::Draft;
use log::Log;
use policy::{Level, Policy, Stage};
use webhook::Webhook;

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
/// Of a body no more than this is recorded, which is more than any object is long.
const BODY_BYTES: usize = 8 << 20;

/// Why there is no audit.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The policy cannot be read.
    #[error("read the audit policy {path}")]
    Read {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The policy is none.
    #[error("the audit policy {path} cannot be used: {problem}")]
    Policy {
        /// The file.
        path: String,
        /// All that is wrong with it.
        problem: String,
    },
    /// The log cannot be written.
    #[error("open the audit log {path}")]
    Open {
        /// The file.
        path: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The webhook cannot be asked.
    #[error("the audit webhook cannot be used")]
    Webhook(#[source] ExternalError),
    /// There is a policy, and nowhere to record to.
    #[error(
        "an audit policy is given and no audit log: say where with --audit-log-path or --audit-webhook-config-file"
    )]
    NoLog,
}

impl Classify for AuditError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

/// Where the policy and the log are.
#[derive(Clone, Debug, Default)]
pub struct AuditOptions {
    /// The policy; without one the metadata of every request is recorded.
    pub policy: Option<PathBuf>,
    /// The log; `-` is standard output.
    pub log: Option<PathBuf>,
    /// A kubeconfig of the webhook.
    pub webhook: Option<PathBuf>,
    /// How long an event waits for others to be sent with; 30 s by default.
    pub webhook_wait: Option<Duration>,
}

/// The audit of a server.
#[derive(Debug)]
pub struct Audit {
    policy: Policy,
    log: Option<Log>,
    webhook: Option<Webhook>,
    events: AtomicU64,
    lost: AtomicU64,
}

impl Audit {
    /// Reads the policy and opens log and webhook, inside of a runtime; nothing if neither is asked for.
    ///
    /// # Errors
    /// [`AuditError`] says which file, and all that is wrong with it.
    pub fn open(options: &AuditOptions) -> Result<Option<Arc<Self>>, AuditError> {
        let AuditOptions { policy, log, webhook, webhook_wait } = options;
        if log.is_none() && webhook.is_none() {
            return if policy.is_some() { Err(AuditError::NoLog) } else { Ok(None) };
        }
        let policy = policy.as_deref().map_or_else(|| Ok(Policy::metadata()), Policy::load)?;
        let webhook = webhook.as_deref().map(|path| Webhook::open(path, *webhook_wait)).transpose()?;
        let log = log.as_deref().map(Log::open).transpose()?;
        let (events, lost) = (AtomicU64::default(), AtomicU64::default());
        Ok(Some(Arc::new(Self { policy, log, webhook, events, lost })))
    }

    /// Begins the record of a request whose sender is known, if there is to be one.
    pub(crate) async fn begin(audit: &Arc<Self>, request: &mut Request) -> Option<Record> {
        let choice = audit.policy.choose(&request.identity, &Info::of(request));
        if choice.level == Level::None {
            return None;
        }
        let draft = Draft::of(request, choice);
        if draft.takes_answers() {
            // What is recorded is what is sent.
            request.headers.remove(header::ACCEPT_ENCODING);
        }
        if draft.is_told(Stage::RequestReceived) {
            audit.tell(draft.line(Stage::RequestReceived)).await;
        }
        Some(Record { audit: Arc::clone(audit), notes: Arc::clone(&request.notes), draft })
    }

    async fn tell(&self, line: String) {
        self.tell_webhook(&line);
        if let Some(log) = &self.log {
            log.write(line).await;
        }
    }

    /// The same where nobody can wait.
    fn try_tell(&self, line: String) {
        self.tell_webhook(&line);
        if self.log.as_ref().is_some_and(|log| !log.try_write(line)) {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn tell_webhook(&self, line: &str) {
        self.events.fetch_add(1, Ordering::Relaxed);
        if let Some(webhook) = &self.webhook {
            webhook.write(line.to_owned());
        }
    }

    pub(crate) fn write_metrics(&self, text: &mut Text) {
        let (events, lost) = (self.events.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed));
        text.single("apiserver_audit_event_total", "counter", "Audit events.", events);
        text.head("apiserver_audit_error_total", "counter", "Audit events that were lost.");
        text.value("apiserver_audit_error_total", &[("plugin", "log")], lost);
        if let Some(webhook) = &self.webhook {
            text.value("apiserver_audit_error_total", &[("plugin", "webhook")], webhook.lost());
        }
    }
}

/// The record of a request.
#[derive(Debug)]
pub(crate) struct Record {
    audit: Arc<Audit>,
    notes: Arc<Notes>,
    draft: Draft,
}

impl Record {
    /// The body has been read.
    pub(crate) fn read(&mut self, request: &Request) {
        self.draft.set_request(&request.body, request.header(header::CONTENT_TYPE));
    }

    /// The request is answered; it is complete when the whole answer is sent.
    pub(crate) async fn answered(mut self, answer: Answer, is_long: bool) -> Answer {
        let mut annotations = self.notes.annotations();
        if self.draft.choice.level >= Level::Request {
            annotations.extend(self.notes.body_annotations());
        }
        self.draft.set_annotations(annotations);
        let code = answer.status().as_u16();
        let (mut head, body) = answer.into_parts();
        if let Ok(id) = HeaderValue::from_str(self.draft.id()) {
            head.headers.insert(AUDIT_ID, id);
        }
        if is_long && code < 400 {
            self.draft.set_status(code, None);
            if self.draft.is_told(Stage::ResponseStarted) {
                self.audit.tell(self.draft.line(Stage::ResponseStarted)).await;
            }
            let body = Told { body, record: Some(self), taken: None };
            return Answer::from_parts(head, body.boxed_unsync());
        }
        if self.draft.takes_answers() || code >= 400 {
            let taken = Some((BytesMut::new(), code));
            return Answer::from_parts(head, Told { body, record: Some(self), taken }.boxed_unsync());
        }
        self.draft.set_status(code, None);
        if self.draft.is_told(Stage::ResponseComplete) {
            self.audit.tell(self.draft.line(Stage::ResponseComplete)).await;
        }
        Answer::from_parts(head, body)
    }

    fn complete(&mut self, taken: Option<(BytesMut, u16)>) {
        if let Some((body, code)) = taken {
            let body = body.freeze();
            self.draft.set_status(code, Some(&body));
            self.draft.set_answer(&body);
        }
        if self.draft.is_told(Stage::ResponseComplete) {
            self.audit.try_tell(self.draft.line(Stage::ResponseComplete));
        }
    }
}

/// A body that is recorded when it has been sent or given up.
struct Told {
    body: Body,
    record: Option<Record>,
    /// What was sent so far, where that is recorded, and the code it came with.
    taken: Option<(BytesMut, u16)>,
}

impl http_body::Body for Told {
    type Data = Bytes;
    type Error = hako_error::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        if let (Poll::Ready(Some(Ok(frame))), Some((taken, _))) = (&polled, &mut self.taken)
            && let Some(data) = frame.data_ref()
            && taken.len() + data.len() <= BODY_BYTES
        {
            taken.extend_from_slice(data);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(mut record) = self.record.take() {
            record.complete(self.taken.take());
        }
    }
}
