//! `GET /hako/v1/store/snapshot`: everything at one revision, sealed as it is kept.

use futures::stream;
use hako_client::Body;
use hako_store::snapshot::Snapshot;
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;

use crate::http::Outcome;
use crate::sealing;
use crate::server::Inner;

pub(super) async fn answer(server: &Inner) -> Outcome {
    let snapshot = Snapshot::take(&**sealing::beneath(server)).await?;
    let chunks = snapshot.into_chunks().map(|chunk| Ok(Frame::data(chunk)));
    let body: Body = StreamBody::new(stream::iter(chunks)).boxed_unsync();
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    Ok(response)
}
