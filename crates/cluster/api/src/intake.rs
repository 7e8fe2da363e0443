//! The way in for requests of clients outside: who sends them, whether there is room, whether they may be made, what
//! they say; and out again, counted.

use std::sync::Arc;
use std::time::{Duration, Instant};

use ::http::header;
use hako_kube::{Status, StatusDetails};
use hyper::body::{Body as _, Incoming};

use crate::aside::aside_between_waits;
use crate::audit::{Audit, Record};
use crate::auth::authenticate;
use crate::flow::{Hold, Ticket};
use crate::http::{self, Answer, Failure, Info, Known, Outcome, Request, body};
use crate::metrics::{Key, Objects};
use crate::route::Permit;
use crate::server::Inner;
use crate::{proxy, route};

/// A list takes a seat for so many objects.
const OBJECTS_OF_A_SEAT: u64 = 100;
const SEATS_MAX: u64 = 10;
/// An answer that is not longer is as good as sent: it fits the buffers of its connection.
const SENT_BYTES: u64 = 64 << 10;
/// A body that is longer is read and checked aside.
const COSTLY_BYTES: usize = 64 << 10;

/// What is known of a request on its way.
#[derive(Debug, Default)]
struct Visit {
    ticket: Ticket,
    record: Option<Record>,
    /// Whether whoever sends it is somebody.
    is_known: bool,
}

impl Inner {
    /// Answers a client outside, whose body has not been read.
    pub(crate) async fn receive(self: &Arc<Self>, mut request: Box<Request>, mut body: Incoming) -> Answer {
        let began = Instant::now();
        let key = Key::of(&self.kinds, &request, &Info::of(&request));
        let is_long = route::is_long_running(&request);
        let encoding = request.encoding();
        let _working = (!is_long).then(|| self.requests.in_flight(&key));
        let mut visit = Visit::default();
        let outcome = match self.begin() {
            Err(failure) => Err(failure),
            Ok(()) if proxy::is_meant(&request.path) => {
                request.incoming = Some(body);
                self.admit(request, None, &mut visit).await
            }
            Ok(()) => {
                let outcome = self.in_time(is_long, request, &mut body, &mut visit).await;
                if outcome.as_ref().is_err_and(|failure| !failure.is(408)) {
                    body::drain(body, self.config.limits.body_time);
                }
                outcome
            }
        };
        let mut answer = self.finish(outcome, encoding).await;
        visit.ticket.label(&mut answer);
        if let Some(record) = visit.record {
            answer = record.answered(answer, is_long).await;
        }
        if visit.is_known {
            answer.extensions_mut().insert(Known);
        }
        self.requests.answered(&key, answer.status().as_u16(), (!is_long).then(|| began.elapsed()));
        if is_long && answer.status().is_success() {
            let lasts = self.requests.lasts(&key);
            return answer.map(|body| http::until_sent(body, lasts));
        }
        hold(answer, visit.ticket.hold)
    }

    /// Answers within the time that the request asks for, and within the limit. What lasts has no such time.
    async fn in_time(
        self: &Arc<Self>,
        is_long: bool,
        request: Box<Request>,
        body: &mut Incoming,
        visit: &mut Visit,
    ) -> Outcome {
        if is_long {
            return self.admit(request, Some(body), visit).await;
        }
        let time = time_of(&request, self.config.limits.request_time)?;
        let answer = tokio::time::timeout(time, self.admit(request, Some(body), visit)).await;
        answer.unwrap_or_else(|_| {
            let text = "Timeout: request did not complete within the allotted timeout";
            let mut status = Status::failure(504, "Timeout", text);
            status.details = Some(StatusDetails::default());
            Err(status.into())
        })
    }

    /// Lets in as many as the limits say. Who may not do what it asks for is told so before its body is read.
    async fn admit(
        self: &Arc<Self>,
        mut request: Box<Request>,
        body: Option<&mut Incoming>,
        visit: &mut Visit,
    ) -> Outcome {
        let authenticated = authenticate(self, &mut request).await;
        visit.record = self.begin_record(&mut request).await;
        authenticated?;
        visit.is_known = !request.identity.is_anonymous();
        let is_long = route::is_long_running(&request);
        let slot = match is_long {
            true => Some(self.long.take(&request.identity).ok_or_else(too_many)?),
            false => None,
        };
        let is_watch = is_long && route::is_watch(&request);
        if is_watch || !is_long {
            self.enter(&request, &mut visit.ticket).await?;
        }
        let permit = self.permit(&request, visit.record.is_some()).await?;
        if let Some(body) = body {
            request.body = body::read(body, &self.config.limits).await?;
            if let Some(record) = &mut visit.record {
                record.read(&request);
            }
        }
        let Some(slot) = slot else {
            if is_costly(&request) {
                let server = Arc::clone(self);
                return aside_between_waits(async move { route::carry_out(&server, request, permit).await })
                    .await;
            }
            return route::carry_out(self, request, permit).await;
        };
        if request.upgrade.is_some() {
            request.slot = Some(slot);
            return route::carry_out(self, request, permit).await;
        }
        let answer = route::carry_out(self, request, permit).await?;
        // What a watch begins with has been read; from now on it waits more than it works.
        visit.ticket.hold = Hold::Nothing;
        Ok(answer.map(|body| http::until_sent(body, slot)))
    }

    /// Begins to record a request, where requests are recorded.
    pub(crate) async fn begin_record(&self, request: &mut Request) -> Option<Record> {
        let audit = self.config.audit.as_ref()?;
        Audit::begin(audit, request).await
    }

    /// Whether a request may be made; where it is recorded, so is why.
    pub(crate) async fn permit(&self, request: &Request, is_recorded: bool) -> Outcome<Permit> {
        let permit = route::may(self, request).await;
        if is_recorded {
            let is_forbidden = permit.as_ref().is_err_and(|failure| failure.is(403));
            let decision = if is_forbidden { "forbid" } else { "allow" };
            request.notes.annotate("authorization.k8s.io/decision", decision);
            let reason = if is_forbidden { String::new() } else { route::reason(self, request) };
            request.notes.annotate("authorization.k8s.io/reason", reason);
        }
        permit
    }

    async fn enter(self: &Arc<Self>, request: &Request, ticket: &mut Ticket) -> Outcome<()> {
        let info = Info::of(request);
        self.flow.classify(ticket, &request.identity, &info);
        let width = if ticket.is_limited() { self.width(request, &info) } else { 1 };
        if self.flow.enter(ticket, &request.identity, &info, width).await { Ok(()) } else { Err(too_many()) }
    }

    /// How many seats a request takes: a list as many as fit what it may find.
    fn width(self: &Arc<Self>, request: &Request, info: &Info<'_>) -> u32 {
        let Some(resource) = &info.resource else { return 1 };
        let is_list = match info.verb {
            "list" => true,
            "watch" => request.query.flag("sendInitialEvents"),
            _ => false,
        };
        if !is_list {
            return 1;
        }
        let objects = Objects::about(self, resource.group, resource.version, resource.resource);
        let limit = request.query.integer("limit").ok().flatten();
        let limit = limit.and_then(|limit| u64::try_from(limit).ok()).filter(|limit| *limit > 0);
        let seats = limit.map_or(objects, |limit| limit.min(objects)).div_ceil(OBJECTS_OF_A_SEAT);
        u32::try_from(seats.clamp(1, SEATS_MAX)).unwrap_or(1)
    }
}

/// Whether what a request says may take so long to read and check that others would wait for it: the longest that are
/// sent every day are checked within a millisecond. YAML is not told by its length.
fn is_costly(request: &Request) -> bool {
    let content_type = request.header(header::CONTENT_TYPE);
    request.body.len() > COSTLY_BYTES || (!request.body.is_empty() && content_type.contains("yaml"))
}

/// The time that a request gives itself, at most `limit`. None at all is as long as there is.
fn time_of(request: &Request, limit: Duration) -> Outcome<Duration> {
    let Some(text) = request.query.text("timeout") else { return Ok(limit) };
    let nanos = hako_cel::parse_duration(text).ok_or_else(|| {
        let fault = format!("time: invalid duration {text:?}");
        Failure::bad_request(format!("invalid timeout specified in the request URL - {fault}"))
    })?;
    let asked = u64::try_from(nanos).map_or(Duration::ZERO, Duration::from_nanos);
    Ok(if asked.is_zero() { limit } else { asked.min(limit) })
}

/// Keeps a request's place until its answer has been sent.
fn hold(answer: Answer, hold: Hold) -> Answer {
    let is_short = answer.body().size_hint().upper().is_some_and(|bytes| bytes <= SENT_BYTES);
    match hold {
        Hold::Nothing => answer,
        _ if is_short => answer,
        hold => answer.map(|body| http::until_sent(body, hold)),
    }
}

/// All places of a kind are taken.
pub(crate) fn too_many() -> Failure {
    let text = "Too many requests, please try again later.";
    let mut status = Status::failure(429, "TooManyRequests", text);
    status.details = Some(StatusDetails { retry_after_seconds: Some(1), ..StatusDetails::default() });
    status.into()
}
