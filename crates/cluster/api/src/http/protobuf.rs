//! Answers in protobuf for clients that ask for it.
//!
//! An answer of one object is made in JSON first. Lists and watches, which are long, are made of messages at once.

use bytes::Bytes;
use hako_client::body_from;
use hako_error::Error;
use http::{HeaderValue, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;

use super::{Answer, Failure};
use crate::protobuf;

/// The same answer in protobuf, if it is JSON that has such a form.
pub(crate) async fn in_protobuf(answer: Answer) -> Answer {
    let is_json = answer.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == "application/json");
    if !is_json || answer.body().size_hint().exact().is_none() {
        return answer;
    }
    let (head, body) = answer.into_parts();
    // It is there as a whole: nothing is waited for.
    let text = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    match protobuf::converted(&text) {
        Ok(Some(message)) => of_message(Answer::from_parts(head, body_from(Bytes::from(message)))),
        Ok(None) => Answer::from_parts(head, body_from(text)),
        Err(error) => {
            tracing::warn!(%error, "an answer in protobuf");
            Failure::from(Error::from(error)).into_response()
        }
    }
}

/// Says that it is one.
fn of_message(mut answer: Answer) -> Answer {
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_LENGTH);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(protobuf::MEDIA_TYPE));
    // Whoever keeps answers for others has to know that another client gets another one.
    headers.append(header::VARY, HeaderValue::from_static("Accept"));
    answer
}
