//! `GET /hako/v1/store`: how much there is of what.

use std::collections::BTreeMap;

use hako_store::Range;
use http::StatusCode;
use serde::Serialize;

use crate::http::{Outcome, answer};
use crate::sealing;
use crate::server::Inner;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Report {
    revision: u64,
    /// Older revisions cannot be read or watched from any more.
    compacted: u64,
    objects: u64,
    bytes: u64,
    /// Left out by a store that does not know.
    #[serde(skip_serializing_if = "Option::is_none")]
    history: Option<Size>,
    disk_bytes: u64,
    /// Why writes are refused, if they are.
    #[serde(skip_serializing_if = "Option::is_none")]
    refusing: Option<String>,
    /// Largest first.
    kinds: Vec<Kind>,
}

#[derive(Serialize)]
struct Size {
    events: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Kind {
    group: String,
    resource: String,
    objects: u64,
    bytes: u64,
}

pub(super) async fn answer(server: &Inner) -> Outcome {
    let store = sealing::beneath(server);
    let status = store.status().await?;
    let mut sums: BTreeMap<(String, String), (u64, u64)> = BTreeMap::new();
    let (mut objects, mut bytes) = (0, 0);
    for entry in store.range(Range::all("")).await?.entries {
        let size = (entry.key.len() + entry.value.len()) as u64;
        (objects, bytes) = (objects + 1, bytes + size);
        let sum = sums.entry(kind_of(&entry.key)).or_default();
        *sum = (sum.0 + 1, sum.1 + size);
    }
    let mut kinds: Vec<Kind> = sums
        .into_iter()
        .map(|((group, resource), (objects, bytes))| Kind { group, resource, objects, bytes })
        .collect();
    kinds.sort_by_key(|kind| std::cmp::Reverse(kind.bytes));
    let report = Report {
        revision: status.revision.0,
        compacted: status.compacted.0,
        objects,
        bytes,
        history: status.history.map(|history| Size { events: history.events, bytes: history.bytes }),
        disk_bytes: status.disk_bytes,
        refusing: status.refusing,
        kinds,
    };
    Ok(answer::json(StatusCode::OK, &report))
}

/// `/registry/GROUP/RESOURCE/…`, where the core group has a name; what is kept beside objects has no group.
fn kind_of(key: &[u8]) -> (String, String) {
    let text = String::from_utf8_lossy(key);
    let mut segments = text.trim_start_matches('/').split('/');
    match (segments.next(), segments.next(), segments.next()) {
        (Some("registry"), Some(group), Some(resource)) => {
            (if group == "core" { String::new() } else { group.to_owned() }, resource.to_owned())
        }
        (first, ..) => (String::new(), first.unwrap_or_default().to_owned()),
    }
}
