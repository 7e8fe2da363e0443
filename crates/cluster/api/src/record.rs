//! Telling what was asked and answered, for the table of the API that tests make.

use std::fmt;
use std::sync::Arc;

use http::{Method, StatusCode, header};

use crate::http::{Answer, Request};
use crate::route;

/// A request and how it was answered.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The request's method.
    pub method: Method,
    /// Its path, as it was sent.
    pub path: String,
    /// Whether it asked for a watch.
    pub is_watch: bool,
    /// What it said its body is; of a patch, which of the four formats.
    pub content_type: String,
    /// What it was answered with.
    pub status: StatusCode,
}

/// Who is told of each exchange when its answer begins.
#[derive(Clone)]
pub struct Recorder(Arc<dyn Fn(Exchange) + Send + Sync>);

impl fmt::Debug for Recorder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recorder")
    }
}

impl Recorder {
    /// One that hands every exchange to `told`.
    pub fn new(told: impl Fn(Exchange) + Send + Sync + 'static) -> Self {
        Self(Arc::new(told))
    }

    /// What is asked, before it is.
    pub(crate) fn asked(&self, request: &Request) -> Asked {
        let exchange = Exchange {
            method: request.method.clone(),
            path: request.path.clone(),
            is_watch: route::asks_to_watch(request),
            content_type: request.header(header::CONTENT_TYPE).to_owned(),
            status: StatusCode::default(),
        };
        Asked { recorder: self.clone(), exchange }
    }
}

/// An exchange that has begun.
pub(crate) struct Asked {
    recorder: Recorder,
    exchange: Exchange,
}

impl Asked {
    pub(crate) fn answered(self, answer: &Answer) {
        (self.recorder.0)(Exchange { status: answer.status(), ..self.exchange });
    }
}
