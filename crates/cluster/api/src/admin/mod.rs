//! What whoever runs the cluster asks of its store: its size, a snapshot, another key for what is sealed.
//!
//! Owns: the paths below `/hako/v1/store`. They are paths like `/metrics`: roles grant them by `nonResourceURLs`,
//! and by default administrators alone have them.
//! Does not own: access (`route` has asked), what `hako` makes of the answers.
//!
//! Invariant: nothing here opens what is sealed, nor tells a key.

mod size;
mod snapshot;

use std::sync::Arc;

use http::{Method, StatusCode};
use serde_json::json;

use crate::http::{Failure, Outcome, Request, answer};
use crate::server::Inner;

const KEYS: &str = "/hako/v1/store/keys";
const SNAPSHOT: &str = "/hako/v1/store/snapshot";

/// What a path asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum About {
    Size,
    Snapshot,
    Keys,
}

/// What a path asks for, if it is one of these.
pub(crate) fn about(segments: &[&str]) -> Option<About> {
    match segments {
        ["hako", "v1", "store"] => Some(About::Size),
        ["hako", "v1", "store", "snapshot"] => Some(About::Snapshot),
        ["hako", "v1", "store", "keys"] => Some(About::Keys),
        _ => None,
    }
}

/// Whether a path takes more than reading.
pub(crate) fn takes_post(path: &str) -> bool {
    path == KEYS
}

/// Whether an answer takes as long as there is something to send.
pub(crate) fn lasts(path: &str) -> bool {
    path == SNAPSHOT
}

/// Answers, access having been asked for.
pub(crate) async fn answer(server: &Arc<Inner>, request: &Request, about: About) -> Outcome {
    match (about, &request.method) {
        (About::Size, &Method::GET) => size::answer(server).await,
        (About::Snapshot, &Method::GET) => snapshot::answer(server).await,
        (About::Keys, &Method::GET) => keys(server, StatusCode::OK).await,
        (About::Keys, &Method::POST) => change_key(server).await,
        _ => Err(Failure::method_not_allowed()),
    }
}

/// The names of the keys, the one that seals first, and whether others are still needed.
async fn keys(server: &Inner, code: StatusCode) -> Outcome {
    let keys = server.sealing.store.key_ids().await?;
    let is_settled = keys.len() == 1 && server.sealing.fault().is_none();
    Ok(answer::json(code, &json!({"keys": keys, "settled": is_settled, "fault": server.sealing.fault()})))
}

/// Begins a change of keys, one at a time.
async fn change_key(server: &Inner) -> Outcome {
    if server.sealing.store.key_ids().await?.len() > 1 {
        let text = "the key is being changed already: wait until that is done";
        return Err(hako_error::Error::new(hako_error::Kind::Conflict, text).into());
    }
    server.sealing.change_key().await?;
    keys(server, StatusCode::ACCEPTED).await
}
