//! HTTP around the API: listening, limits, negotiation, bodies, answers.
//!
//! Owns: connections ([`listen`]) and their TLS ([`tls`]), what a request is once it has been read ([`Request`]),
//! formats a client accepts ([`Accept`]) and answers ([`answer`]).
//! Does not own: what a request means.
//!
//! Invariant: nothing a client sends makes the server hold more than [`Limits`](crate::Limits) and the limits in
//! `listen` say.

pub(crate) mod answer;
pub(crate) mod body;
pub(crate) mod compress;
mod connections;
mod gathered;
mod info;
mod inline;
pub(crate) mod listen;
mod long;
mod negotiate;
mod pieces;
mod protobuf;
mod query;
pub(crate) mod tls;
mod turns;
pub(crate) mod web_socket;
pub(crate) mod yaml;

use std::net::IpAddr;
use std::sync::Arc;

use bytes::Bytes;
use hako_client::Body;
use http::{HeaderMap, Method};
use http_body_util::BodyExt as _;

use crate::admission::Notes;
use crate::auth::Identity;

pub(crate) use answer::{Answer, Failure, Outcome, TOO_LARGE};
pub(crate) use info::{Info, ResourceInfo, is_watch_path};
pub(crate) use long::{LongPlace, LongPlaces};
pub(crate) use negotiate::{Accept, Encoding, Form, Meta, RowObject, Rows, first_of};
pub(crate) use pieces::{Piece, Pieces, SHARED_BYTES, json_pieces, protobuf_pieces};
pub(crate) use protobuf::in_protobuf;
pub(crate) use query::Query;
use yaml::in_yaml;

/// Names of managers are no longer.
const MANAGER_MAX: usize = 128;

/// A request that was read and whose sender is known.
#[derive(Debug)]
pub(crate) struct Request {
    pub identity: Identity,
    pub method: Method,
    pub path: String,
    pub query: Query,
    pub headers: HeaderMap,
    pub body: Bytes,
    /// Instead of `body` where it is handed on as it comes.
    pub incoming: Option<hyper::body::Incoming>,
    /// Present on HTTP/1.1 requests that ask to upgrade.
    pub upgrade: Option<hyper::upgrade::OnUpgrade>,
    /// Of a session: its share of the limit, which whoever runs the session holds until it ends.
    pub slot: Option<LongPlace>,
    /// What admission has to say to the client.
    pub notes: Arc<Notes>,
    /// From a proxy, which says in headers for whom it asks.
    pub is_proxied: bool,
    /// Where it comes from, if from outside.
    pub peer: Option<IpAddr>,
    /// Who sends it, if in the name of somebody else.
    pub impersonator: Option<Identity>,
    /// From a component in this process: its objects are encoded from their types, their fields need no check.
    pub is_inside: bool,
}

/// In the extensions of an answer: that somebody asked for it whom the server knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known;

/// The same body, which keeps `guard` until it was sent or given up.
pub(crate) fn until_sent(body: Body, guard: impl Send + 'static) -> Body {
    let keep = move |error| {
        let _ = &guard;
        error
    };
    body.map_err(keep).boxed_unsync()
}

/// An answer that was made in JSON, as its client wants it.
pub(crate) async fn encoded(answer: Answer, encoding: Encoding) -> Answer {
    match encoding {
        Encoding::Json => answer,
        Encoding::Yaml => in_yaml(answer).await,
        Encoding::Protobuf => in_protobuf(answer).await,
    }
}

impl Request {
    /// A header's text, empty if absent or not text.
    pub(crate) fn header(&self, name: http::header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("")
    }

    /// What the client accepts of an object that may have no form in protobuf, with what it wants in the rows of a table.
    pub(crate) fn accept_of(&self, has_protobuf: bool) -> Result<Accept, Failure> {
        let mut accept = Accept::parse(self.header(http::header::ACCEPT), has_protobuf)?;
        if let Form::Table(rows) = &mut accept.form {
            rows.object = RowObject::parse(self.query.text("includeObject"))?;
        }
        Ok(accept)
    }

    /// In what an answer that is made in JSON is to be sent, where it has such a form.
    pub(crate) fn encoding(&self) -> Encoding {
        let header = self.header(http::header::ACCEPT);
        if !header.contains(crate::protobuf::MEDIA_TYPE) && !header.contains(yaml::MEDIA_TYPE) {
            return Encoding::Json;
        }
        let is_root = matches!(self.path.trim_end_matches('/'), "/api" | "/apis");
        let parsed = if is_root { Accept::parse_of_discovery(header) } else { Accept::parse(header, true) };
        match parsed {
            // What is told besides objects has its own forms.
            Ok(accept) if accept.encoding == Encoding::Yaml && !self.path.starts_with("/api") => {
                Encoding::Json
            }
            Ok(accept) => accept.encoding,
            Err(_) => Encoding::Json,
        }
    }

    /// The name changes are recorded under, if the request gives none: the client's name.
    pub(crate) fn manager(&self) -> String {
        match self.query.get("fieldManager") {
            Some(manager) if !manager.is_empty() => manager.to_owned(),
            _ => {
                let agent = self.header(http::header::USER_AGENT);
                let name = agent.split('/').next().filter(|name| !name.is_empty()).unwrap_or("unknown");
                let name: String = name.chars().filter(|letter| !letter.is_control()).collect();
                name[..name.floor_char_boundary(MANAGER_MAX)].to_owned()
            }
        }
    }
}
