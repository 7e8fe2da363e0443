//! Answers, good and bad.

use bytes::Bytes;
use hako_client::{Body, body_from};
use hako_error::{Error, Kind};
use hako_kube::status::{self, Subject};
use hako_kube::{Status, StatusCause, StatusDetails};
use hako_store::StoreError;
use http::{HeaderValue, Response, StatusCode, header};

/// What every operation comes to.
pub(crate) type Outcome<T = Answer> = Result<T, Failure>;

/// The cause of a failure that is about a version still to come.
pub(crate) const TOO_LARGE: &str = "ResourceVersionTooLarge";

/// A good answer.
pub(crate) type Answer = Response<Body>;

/// A bad one, as a `Status`, with what is said to the client besides.
#[derive(Debug)]
pub(crate) struct Failure(Box<Status>, Vec<String>);

impl Failure {
    /// An error about an object or a collection.
    pub(crate) fn about(error: &Error, subject: &Subject) -> Self {
        Self(Box::new(Status::from_error(error, Some(subject))), Vec::new())
    }

    /// A request that makes no sense.
    pub(crate) fn bad_request(message: impl Into<String>) -> Self {
        Error::new(Kind::Invalid, message).into()
    }

    /// A verb that this path does not have.
    pub(crate) fn method_not_allowed() -> Self {
        let text = "the server does not allow this method on the requested resource";
        Self::generic(405, "MethodNotAllowed", text)
    }

    /// A creation in a kind whose definition is deleted.
    pub(crate) fn kind_is_ending() -> Self {
        Self::method_not_allowed()
            .saying("create not allowed while custom resource definition is terminating")
    }

    /// A path that there is not.
    pub(crate) fn no_such_path() -> Self {
        Self::generic(404, "NotFound", "the server could not find the requested resource")
    }

    /// A version of a kind that is not served any more.
    pub(crate) fn no_longer_served(group: &str, version: &str, plural: &str, instead: &str) -> Self {
        let text = format!(
            "the server could not find the requested resource: {plural} of {group}/{version} are no longer served, use \
             {instead}"
        );
        Self::generic(404, "NotFound", &text)
    }

    /// A failure of ours, or of somebody we asked, which counts as ours.
    pub(crate) fn internal(why: &str) -> Self {
        let mut status = Status::failure(500, "InternalError", format!("Internal error occurred: {why}"));
        let cause = StatusCause { message: why.to_owned(), ..StatusCause::default() };
        status.details = Some(StatusDetails { causes: vec![cause], ..StatusDetails::default() });
        status.into()
    }

    /// A failure about no object. Its details are there and empty: kubectl looks into them unasked.
    fn generic(code: u16, reason: &str, text: &str) -> Self {
        let mut status = Status::failure(code, reason, text);
        status.details = Some(StatusDetails::default());
        status.into()
    }

    pub(crate) fn status(&self) -> &Status {
        &self.0
    }

    pub(crate) fn is(&self, code: u16) -> bool {
        self.0.code == code
    }

    /// The same in other words.
    pub(crate) fn saying(mut self, text: &str) -> Self {
        text.clone_into(&mut self.0.message);
        self
    }

    /// Says something to the client besides.
    pub(crate) fn warn(&mut self, warnings: Vec<String>) {
        self.1.extend(warnings);
    }

    /// Says what the failure is about, unless it says so itself.
    pub(crate) fn of(mut self, subject: &Subject) -> Self {
        let says_nothing = self.0.details.as_ref().is_none_or(|details| *details == StatusDetails::default());
        if says_nothing && !subject.resource.is_empty() {
            self.0.details = Some(StatusDetails {
                name: subject.name.clone(),
                group: subject.group.clone(),
                kind: subject.resource.clone(),
                ..Default::default()
            });
        }
        self
    }

    pub(crate) fn into_response(self) -> Answer {
        let code = StatusCode::from_u16(self.0.code).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry = self.0.details.as_ref().and_then(|details| details.retry_after_seconds);
        let mut response = json_response(code, encode(&*self.0));
        warn(&mut response, &self.1);
        if let Some(seconds) = retry {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self(Box::new(status), Vec::new())
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(Box::new(Status::from_error(&error, None)), Vec::new())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        match &error {
            StoreError::Compacted { requested, compacted } => {
                status::expired(format!("too old resource version: {requested} ({compacted})")).into()
            }
            StoreError::FutureRevision { requested, current } => {
                let text = format!("Timeout: Too large resource version: {requested}, current: {current}");
                let mut status = Status::failure(504, "Timeout", text);
                status.details = Some(StatusDetails {
                    retry_after_seconds: Some(1),
                    causes: vec![hako_kube::StatusCause {
                        reason: TOO_LARGE.into(),
                        message: "Too large resource version".into(),
                        field: String::new(),
                    }],
                    ..Default::default()
                });
                status.into()
            }
            _ => Error::from(error).into(),
        }
    }
}

/// JSON bytes as an answer.
pub(crate) fn json_response(code: StatusCode, body: Bytes) -> Answer {
    respond(code, "application/json", body)
}

/// A value as a JSON answer.
pub(crate) fn json(code: StatusCode, value: &impl serde::Serialize) -> Answer {
    json_response(code, encode(value))
}

/// Text as an answer.
pub(crate) fn text(code: StatusCode, text: impl Into<Bytes>) -> Answer {
    respond(code, "text/plain; charset=utf-8", text.into())
}

/// Bytes of any type as an answer.
pub(crate) fn respond(code: StatusCode, content_type: &'static str, body: Bytes) -> Answer {
    let mut response = Response::new(body_from(body));
    *response.status_mut() = code;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// Bytes of warnings that one answer brings: more headers than clients take, or than there may be, are soon written of
/// unknown fields.
const WARNINGS_MAX: usize = 4096;
/// Bytes of each where all together are too long.
const WARNING_CUT: usize = 256;

/// Adds `Warning` headers, one per text, as clients print them.
pub(crate) fn warn(response: &mut Answer, warnings: &[String]) {
    let said: usize = response.headers().get_all(header::WARNING).iter().map(HeaderValue::len).sum();
    let mut room = WARNINGS_MAX.saturating_sub(said);
    let is_cut = warnings.iter().map(String::len).sum::<usize>() > room;
    for warning in warnings {
        if room == 0 {
            return;
        }
        let end = if is_cut { WARNING_CUT } else { warning.len() };
        let warning = &warning[..warning.floor_char_boundary(end)];
        room = room.saturating_sub(warning.len());
        let quoted = warning.replace('\\', "\\\\").replace('"', "\\\"");
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(header::WARNING, value);
        }
    }
}

fn encode(value: &impl serde::Serialize) -> Bytes {
    // INVARIANT: what is encoded here has string keys only and no failing Serialize.
    serde_json::to_vec(value).map(Bytes::from).unwrap_or_default()
}
