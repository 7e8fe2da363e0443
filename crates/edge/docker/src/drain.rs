//! Reading what a refused request still sends.
//!
//! A client such as the docker CLI reads our answer only when it has sent its body; closing the connection before
//! shows its user a broken pipe instead of the reason.

use axum::body::Body;
use bytes::Bytes;
use http::Request;
use http_body::{Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use parking_lot::Mutex;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

/// What is read for the sake of an error message at most.
const MOST_BYTES: usize = 1 << 30;
const MOST_TIME: Duration = Duration::from_secs(30);

/// A body that its handler and, after it, the connection read.
#[derive(Clone, Debug)]
pub(crate) struct Shared(Arc<Mutex<Incoming>>);

impl http_body::Body for Shared {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        Pin::new(&mut *self.0.lock()).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

/// The request for its handler, and the hold on what the handler leaves unread.
pub(crate) fn split(request: Request<Incoming>) -> (Request<Body>, Shared) {
    let (parts, body) = request.into_parts();
    let shared = Shared(Arc::new(Mutex::new(body)));
    (Request::from_parts(parts, Body::new(shared.clone())), shared)
}

impl Shared {
    /// Reads the rest, within bounds.
    pub(crate) async fn drain(mut self) {
        let read = async {
            let mut total = 0;
            while let Some(Ok(frame)) = self.frame().await {
                total += frame.data_ref().map_or(0, Bytes::len);
                if total > MOST_BYTES {
                    return;
                }
            }
        };
        // A client that stops sending gets its answer all the same.
        let _ = tokio::time::timeout(MOST_TIME, read).await;
    }
}
