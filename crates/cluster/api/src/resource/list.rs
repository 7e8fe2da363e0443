//! List: pages of one consistent state.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hako_kube::{Status, status};
use hako_store::{Entry, Page, Range, Revision, Sections, StoreError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

use super::convert;
use super::items;
use super::render::ListHead;
use super::sections;
use super::selection::Selection;
use super::target::Target;
use super::unreadable;
use super::versions::{Version, listing_numbers};
use crate::http::{Encoding, Failure, Form, Outcome, Request};
use crate::server::Inner;

/// Where a list goes on: the last key looked at, and the revision of the first page; none of a list that goes on with
/// the newest state, because that of its first page is gone.
#[derive(Debug, Deserialize, Serialize)]
struct Continue {
    v: u8,
    rev: Option<u64>,
    start: String,
}

/// Entries read at a time while looking for those selected.
const CHUNK: usize = 500;

/// Reads a collection.
pub(crate) async fn list(server: &Inner, request: &Request, target: &Target) -> Outcome {
    // It takes its time: others on the connection go on meanwhile.
    tokio::task::yield_now().await;
    let accept = request.accept_of(target.row.has_protobuf)?;
    let limit = listing_numbers(&request.query)?.limit;
    let selection = Selection::parse(&request.query, target)?;
    let start = Start::parse(request, limit)?;
    let is_plain = accept.form == Form::Object && accept.encoding != Encoding::Protobuf;
    if is_plain
        && limit == 0
        && selection.is_everything()
        && let Some(sections) = start.sections(server, target, &selection).await?
    {
        let head = head(sections.revision, None, None);
        return sections::list(target, &server.texts, &head, sections.sections);
    }
    let (entries, head) = start.read(server, target, &selection, limit).await?;
    items::list(target, accept, &head, entries).await
}

/// The selected entries now, for operations on a whole collection.
pub(super) async fn selected(
    server: &Inner,
    request: &Request,
    target: &Target,
) -> Outcome<(Vec<Arc<Entry>>, ListHead)> {
    let selection = Selection::parse(&request.query, target)?;
    Start { after: None, version: Version::Newest }.read(server, target, &selection, 0).await
}

struct Start {
    after: Option<Bytes>,
    version: Version,
}

impl Start {
    fn parse(request: &Request, limit: usize) -> Outcome<Self> {
        let version = Version::of_list(&request.query, limit)?;
        let Some(token) = request.query.text("continue") else { return Ok(Self { after: None, version }) };
        let bad = || {
            Failure::bad_request("invalid continue token: continue key is not valid: list again without it")
        };
        let bytes = URL_SAFE_NO_PAD.decode(token).map_err(|_| bad())?;
        let token: Continue = serde_json::from_slice(&bytes).map_err(|_| bad())?;
        let version = token.rev.map_or(Version::Newest, |revision| Version::Exact(Revision(revision)));
        Ok(Self { after: Some(Bytes::from(token.start)), version })
    }

    /// All there is now, in the pieces that the store has, if that is asked for and nobody else converts it.
    async fn sections(
        &self,
        server: &Inner,
        target: &Target,
        selection: &Selection,
    ) -> Outcome<Option<Sections>> {
        let is_all = self.after.is_none() && self.version.exactly().is_none();
        if !is_all || target.row.strategy().converter().is_some() {
            return Ok(None);
        }
        let sections = server.config.store.sections(&selection.prefix(target)).await?;
        if let Some(sections) = &sections {
            self.version.allows(sections.revision)?;
        }
        Ok(sections)
    }

    async fn read(
        self,
        server: &Inner,
        target: &Target,
        selection: &Selection,
        limit: usize,
    ) -> Outcome<(Vec<Arc<Entry>>, ListHead)> {
        let prefix = selection.prefix(target);
        let mut range =
            Range { prefix: prefix.clone(), start_after: self.after, limit, at: self.version.exactly() };
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
            let page = self::page(server, target, &range).await?;
            self.version.allows(page.revision)?;
            let mut cut_at = None;
            let entries = match selection.is_everything() {
                true => page.entries,
                // What is selected by is what is shown.
                false => convert::all_shown(server, &target.row, page.entries).await?,
            };
            for entry in &entries {
                if selection.matches(&entry.key, &entry.value) {
                    found.push(Arc::clone(entry));
                }
                if limit > 0 && found.len() == limit {
                    cut_at = Some(entry.key.clone());
                    break;
                }
            }
            let last = entries.last().map(|entry| entry.key.clone());
            let is_last_of_page = cut_at == last;
            if let Some(key) = cut_at.filter(|_| page.more || !is_last_of_page) {
                let remaining = selection.is_everything().then_some(page.remaining);
                let found = convert::all_shown(server, &target.row, found).await?;
                return Ok((found, head(page.revision, Some(&key), remaining)));
            }
            let Some(last) = last.filter(|_| page.more && (limit == 0 || found.len() < limit)) else {
                let found = convert::all_shown(server, &target.row, found).await?;
                return Ok((found, head(page.revision, None, None)));
            };
            range.start_after = Some(last);
            range.at = Some(page.revision);
        }
    }
}

fn head(revision: Revision, key: Option<&Bytes>, remaining: Option<u64>) -> ListHead {
    ListHead { revision, continue_token: key.map(|key| token(Some(revision), key)), remaining }
}

fn token(revision: Option<Revision>, key: &Bytes) -> String {
    let rev = revision.map(|revision| revision.0);
    let token = Continue { v: 1, rev, start: String::from_utf8_lossy(key).into_owned() };
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

async fn page(server: &Inner, target: &Target, range: &Range) -> Outcome<Page> {
    match (server.config.store.range(range.clone()).await, &range.start_after) {
        (Err(StoreError::Compacted { .. }), Some(after)) => Err(too_late(after)),
        (Err(StoreError::Unreadable { .. }), _) => Err(unreadable::of_list(server, target, range).await?),
        (other, _) => Ok(other?),
    }
}

/// A client that pages too slowly may begin again, or take the rest as it is now.
fn too_late(after: &Bytes) -> Failure {
    let error = status::expired(
        "The provided continue parameter is too old to display a consistent list result. You can start a new list \
         without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
         results. Continuing with the provided token results in an inconsistent list - objects that were created, \
         modified, or deleted between the time the first chunk was returned and now may show up in the list.",
    );
    let mut status = Status::from_error(&error, None);
    status.metadata.insert("continue".to_owned(), token(None, after).into());
    status.into()
}
