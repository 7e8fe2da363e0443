//! List: pages of one consistent state.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hako_kube::status;
use hako_store::{Entry, Page, Range, Revision, StoreError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::render::{self, ListHead};
use super::selection::Selection;
use super::target::{Target, registry_prefix};
use crate::http::{Failure, Outcome, Request};
use crate::server::Inner;

/// Where a list goes on: the last key looked at, and the revision of the first page.
#[derive(Debug, Deserialize, Serialize)]
struct Continue {
    v: u8,
    rev: u64,
    start: String,
}

/// Entries read at a time while looking for those selected.
const CHUNK: usize = 500;

/// Reads a collection.
pub(crate) async fn list(server: &Inner, request: &Request, target: &Target) -> Outcome {
    let form = request.accept()?.form;
    let selection = Selection::parse(&request.query, target)?;
    let limit: usize = request.query.number("limit")?.unwrap_or(0);
    let start = Start::parse(request)?;
    let (entries, head) = start.read(server, target, &selection, limit).await?;
    let entries: Vec<&Entry> = entries.iter().map(|entry| &**entry).collect();
    render::list(target, form, &head, &entries)
}

/// The selected entries now, for operations on a whole collection.
pub(super) async fn selected(
    server: &Inner,
    request: &Request,
    target: &Target,
) -> Outcome<(Vec<Arc<Entry>>, ListHead)> {
    let selection = Selection::parse(&request.query, target)?;
    Start { after: None, at: None, not_older: None }.read(server, target, &selection, 0).await
}

struct Start {
    after: Option<Bytes>,
    at: Option<Revision>,
    not_older: Option<Revision>,
}

impl Start {
    fn parse(request: &Request) -> Outcome<Self> {
        let mut start = Self { after: None, at: None, not_older: None };
        if let Some(token) = request.query.text("continue") {
            let bad = || Failure::bad_request("continue key is not valid: list again without it");
            let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
            let token: Continue = serde_json::from_slice(&bytes).map_err(|_| bad())?;
            start.after = Some(Bytes::from(token.start));
            start.at = Some(Revision(token.rev));
            return Ok(start);
        }
        let version: Option<u64> = request.query.number("resourceVersion")?;
        match (request.query.text("resourceVersionMatch"), version) {
            (None, version) => start.not_older = version.map(Revision),
            (Some("NotOlderThan"), Some(version)) => start.not_older = Some(Revision(version)),
            (Some("Exact"), Some(version)) if version > 0 => start.at = Some(Revision(version)),
            (Some(rule), _) => {
                let text =
                    format!("resourceVersionMatch {rule:?} is forbidden without a fitting resourceVersion");
                return Err(Failure::bad_request(text));
            }
        }
        Ok(start)
    }

    async fn read(
        self,
        server: &Inner,
        target: &Target,
        selection: &Selection,
        limit: usize,
    ) -> Outcome<(Vec<Arc<Entry>>, ListHead)> {
        let prefix = Bytes::from(registry_prefix(target.row, &target.namespace));
        let mut range = Range { prefix: prefix.clone(), start_after: self.after, limit, at: self.at };
        if let Some(after) = &mut range.start_after
            && !after.starts_with(&prefix)
        {
            return Err(Failure::bad_request("continue key is not of this collection"));
        }
        let mut found = Vec::new();
        loop {
            if !selection.is_everything() && limit > 0 {
                range.limit = CHUNK.max(limit);
            }
            let page = self::page(server, &range).await?;
            self.not_older.map_or(Ok(()), |wanted| not_older(&page, wanted))?;
            let mut cut_at = None;
            for entry in &page.entries {
                if selection.matches(&entry.key, &entry.value) {
                    found.push(Arc::clone(entry));
                }
                if limit > 0 && found.len() == limit {
                    cut_at = Some(entry.key.clone());
                    break;
                }
            }
            let last = page.entries.last().map(|entry| entry.key.clone());
            let is_last_of_page = cut_at == last;
            if let Some(key) = cut_at.filter(|_| page.more || !is_last_of_page) {
                let remaining = selection.is_everything().then_some(page.remaining);
                return Ok((found, head(page.revision, Some(&key), remaining)));
            }
            let Some(last) = last.filter(|_| page.more && (limit == 0 || found.len() < limit)) else {
                return Ok((found, head(page.revision, None, None)));
            };
            range.start_after = Some(last);
            range.at = Some(page.revision);
        }
    }
}

fn head(revision: Revision, key: Option<&Bytes>, remaining: Option<u64>) -> ListHead {
    let token = key.map(|key| {
        let token = Continue { v: 1, rev: revision.0, start: String::from_utf8_lossy(key).into_owned() };
        URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
    });
    ListHead { revision, continue_token: token, remaining }
}

async fn page(server: &Inner, range: &Range) -> Outcome<Page> {
    match server.config.store.range(range.clone()).await {
        Err(StoreError::Compacted { .. }) if range.start_after.is_some() => Err(status::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list \
             without the continue parameter.",
        )
        .into()),
        other => Ok(other?),
    }
}

fn not_older(page: &Page, wanted: Revision) -> Outcome<()> {
    if page.revision < wanted {
        return Err(StoreError::FutureRevision { requested: wanted, current: page.revision }.into());
    }
    Ok(())
}
