//! Reading of bodies.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hako_kube::Status;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::{Failure, Outcome};
use crate::config::Limits;

/// How much of a refused body is still taken off the wire.
const DRAINED_BYTES: usize = 64 << 20;

/// Reads a whole body within the limits of size and time; what is left of it after a fault stays in `body`.
pub(crate) async fn read(body: &mut Incoming, limits: &Limits) -> Outcome<Bytes> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > limits.body_bytes as u64 {
        return Err(too_large(limits.body_bytes));
    }
    match tokio::time::timeout(limits.body_time, collect(body, limits.body_bytes)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let text = format!("the request body did not arrive within {} s", limits.body_time.as_secs());
            Err(Status::failure(408, "Timeout", text).into())
        }
    }
}

/// Takes what a client still sends after it was refused and throws it away, within limits: given up at once, an
/// HTTP/2 stream is reset, and clients show that instead of the answer (RFC 9113, 8.1).
pub(crate) fn drain(mut body: Incoming, time: Duration) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(async move {
        let rest = async {
            let mut left = DRAINED_BYTES;
            while let Some(Ok(frame)) = body.frame().await {
                let length = frame.data_ref().map_or(0, Bytes::len);
                let Some(after) = left.checked_sub(length) else { return };
                left = after;
            }
        };
        // Whoever takes longer meets a reset after all.
        let _ = tokio::time::timeout(time, rest).await;
    });
}

async fn collect(body: &mut Incoming, limit: usize) -> Outcome<Bytes> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::bad_request("the request body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        if all.is_empty() && body.is_end_stream() {
            // As most are, it came in one piece.
            return Ok(data);
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

fn too_large(limit: usize) -> Failure {
    let text = format!("Request entity too large: limit is {limit}");
    Status::failure(413, "RequestEntityTooLarge", text).into()
}
