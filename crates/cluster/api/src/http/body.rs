//! Reading of bodies.

use bytes::{Bytes, BytesMut};
use hako_kube::Status;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::{Failure, Outcome};
use crate::config::Limits;

/// Reads a whole body within the limits of size and time.
pub(crate) async fn read(body: Incoming, limits: &Limits) -> Outcome<Bytes> {
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

async fn collect(mut body: Incoming, limit: usize) -> Outcome<Bytes> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::bad_request("the request body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > limit {
            return Err(too_large(limit));
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

fn too_large(limit: usize) -> Failure {
    let text = format!("Request entity too large: limit is {limit}");
    Status::failure(413, "RequestEntityTooLarge", text).into()
}
