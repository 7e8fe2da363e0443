//! Reading of bodies.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use hako_kube::Status;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};

use super::{Failure, Outcome};

/// The largest body taken.
pub(crate) const LIMIT_BYTES: usize = 3 << 20;
/// How long a client may take to send it.
const LIMIT_TIME: Duration = Duration::from_secs(30);

/// Reads a whole body within the limits of size and time.
pub(crate) async fn read(body: Incoming) -> Outcome<Bytes> {
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    if body.size_hint().lower() > LIMIT_BYTES as u64 {
        return Err(too_large());
    }
    match tokio::time::timeout(LIMIT_TIME, collect(body)).await {
        Ok(outcome) => outcome,
        Err(_) => {
            let text = format!("the request body did not arrive within {} s", LIMIT_TIME.as_secs());
            Err(Status::failure(408, "Timeout", text).into())
        }
    }
}

async fn collect(mut body: Incoming) -> Outcome<Bytes> {
    let mut all = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Failure::bad_request("the request body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        if all.len() + data.len() > LIMIT_BYTES {
            return Err(too_large());
        }
        all.extend_from_slice(&data);
    }
    Ok(all.freeze())
}

fn too_large() -> Failure {
    let text = format!("Request entity too large: limit is {LIMIT_BYTES}");
    Status::failure(413, "RequestEntityTooLarge", text).into()
}
