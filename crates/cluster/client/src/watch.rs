//! Decoding of watch streams: one JSON object a line, cut anywhere by the transport.

use std::fmt;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, BytesMut};
use futures::Stream;
use hako_error::{Error, Kind, Result};
use hako_kube::Status;
use http_body::Body as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::client::{decode, string_at};
use crate::transport::Body;

/// The longest line taken: an object and its frame.
const LINE_LIMIT_BYTES: usize = 16 << 20;

/// One thing that happened.
#[derive(Clone, Debug)]
pub enum WatchEvent<K> {
    /// The object came to exist, or into the selection.
    Added(K),
    /// The object changed.
    Modified(K),
    /// The object is gone, or out of the selection; this is its last state.
    Deleted(K),
    /// Nothing selected changed up to this version.
    Bookmark {
        /// Go on from here after a break.
        resource_version: String,
        /// The present state, asked for with `send_initial_events`, has been sent.
        initial_events_end: bool,
    },
}

/// The events of one watch request. An `Err` is the last item; [`crate::is_expired`] tells a 410.
pub struct WatchStream<K> {
    body: Body,
    buffer: BytesMut,
    /// How much of `buffer` has no newline.
    scanned: usize,
    ended: bool,
    kind: PhantomData<fn() -> K>,
}

impl<K> fmt::Debug for WatchStream<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchStream").field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<K> WatchStream<K> {
    pub(crate) fn new(body: Body) -> Self {
        Self { body, buffer: BytesMut::new(), scanned: 0, ended: false, kind: PhantomData }
    }

    fn line(&mut self) -> Option<BytesMut> {
        let at = self.buffer[self.scanned..].iter().position(|byte| *byte == b'\n');
        match at {
            Some(at) => {
                let line = self.buffer.split_to(self.scanned + at);
                self.buffer.advance(1);
                self.scanned = 0;
                Some(line)
            }
            None => {
                self.scanned = self.buffer.len();
                None
            }
        }
    }
}

impl<K: DeserializeOwned> Stream for WatchStream<K> {
    type Item = Result<WatchEvent<K>>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if self.ended {
                return Poll::Ready(None);
            }
            if let Some(line) = self.line() {
                if line.iter().all(u8::is_ascii_whitespace) {
                    continue;
                }
                let event = decode_event(&line);
                self.ended = event.is_err();
                return Poll::Ready(Some(event));
            }
            if self.buffer.len() > LINE_LIMIT_BYTES {
                self.ended = true;
                let text = format!("watch event is longer than {LINE_LIMIT_BYTES} bytes; list again");
                return Poll::Ready(Some(Err(Error::new(Kind::Exhausted, text))));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(error)) => {
                    self.ended = true;
                    return Poll::Ready(Some(Err(error)));
                }
                None => self.ended = true,
            }
        }
    }
}

#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

fn decode_event<K: DeserializeOwned>(line: &[u8]) -> Result<WatchEvent<K>> {
    let frame: Frame<'_> = serde_json::from_slice(line)
        .map_err(|source| crate::error::ClientError::Decode { what: "watch event".into(), source })?;
    let object = frame.object.get().as_bytes();
    match &*frame.kind {
        "ADDED" => decode("watch event", object).map(WatchEvent::Added),
        "MODIFIED" => decode("watch event", object).map(WatchEvent::Modified),
        "DELETED" => decode("watch event", object).map(WatchEvent::Deleted),
        "BOOKMARK" => decode::<Value>("bookmark", object).map(|object| bookmark(&object)),
        "ERROR" => {
            let status: Status = decode("status of a watch", object)?;
            Err(status.to_error())
        }
        other => Err(Error::new(Kind::Internal, format!("watch event type {other:?} is unknown"))),
    }
}

fn bookmark<K>(object: &Value) -> WatchEvent<K> {
    let end = object.pointer("/metadata/annotations/k8s.io~1initial-events-end").and_then(Value::as_str);
    WatchEvent::Bookmark {
        resource_version: string_at(object, "/metadata/resourceVersion").unwrap_or_default().to_owned(),
        initial_events_end: end == Some("true"),
    }
}
