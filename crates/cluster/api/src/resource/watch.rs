//! Watch: what happens to a collection after a revision, as a stream of lines.
//!
//! A watcher is *starting* (the present state as ADDED lines, if asked for), *following* the store, or *ended*:
//! by its time limit, by the server's stop, or by an ERROR line when it fell behind compaction.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use futures::stream;
use hako_client::Body;
use hako_kube::Status;
use hako_store::{Batch, Entry, Event, EventKind, Range, Revision, StoreError};
use http::{HeaderValue, Response, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tokio::time::{Instant, Interval, MissedTickBehavior};

use super::convert;
use super::frames::{Told, View, failed, line};
use super::render;
use super::selection::Selection;
use super::target::{Target, registry_prefix};
use super::unreadable;
use super::versions::{check_watch, listing_numbers, of_watch};
use crate::http::{Encoding, Failure, Form, Outcome, Request, TOO_LARGE};
use crate::protobuf;
use crate::server::Inner;

const BOOKMARK_EVERY: Duration = Duration::from_secs(30);
/// How much is told at once at least, if so much is there.
const LINES_BYTES: usize = 32 << 10;
const LAST_BY_DEFAULT: Duration = Duration::from_secs(40 * 60);
/// A year, which is as good as for ever and can still be added to a time.
const LAST_AT_MOST_SECONDS: u64 = 365 * 86_400;

/// So long it is waited for what had become of the objects of a kind that is gone.
const REST_MOST: Duration = Duration::from_secs(1);

/// Starts a watch.
pub(crate) async fn watch(server: &Arc<Inner>, request: &Request, target: &Target) -> Outcome {
    let options = Options::parse(request, target)?;
    let encoding = options.encoding;
    let prefix = options.selection.prefix(target);
    let mut watcher = Watcher {
        store: None,
        present: Vec::new().into_iter(),
        lines: VecDeque::new(),
        sent: Revision::ZERO,
        seen: Revision::ZERO,
        begun: None,
        awaited: Revision::ZERO,
        bookmarks: interval(),
        ends: Instant::now() + options.lasts,
        is_over: false,
        columns_sent: false,
        server: Arc::clone(server),
        target: target.clone(),
        options,
    };
    match watcher.begin(prefix).await {
        Ok(store) => {
            watcher.store = Some(store);
            server.counts.watches.fetch_add(1, Ordering::Relaxed);
        }
        // Clients look for it among the events, and some nowhere else.
        Err(failure) if failure.is(410) || is_too_large(&failure) => {
            watcher.lines.push_back(failed(encoding, &failure));
        }
        Err(failure) => return Err(failure),
    }
    let frames = stream::unfold(watcher, |mut watcher| async move {
        let line = watcher.next().await?;
        Some((Ok(Frame::data(line)), watcher))
    });
    let mut response = Response::new(body(frames));
    let headers = response.headers_mut();
    let content_type = match encoding {
        Encoding::Json | Encoding::Yaml => "application/json",
        Encoding::Protobuf => protobuf::STREAM_TYPE,
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    if encoding == Encoding::Protobuf {
        headers.append(header::VARY, HeaderValue::from_static("Accept"));
    }
    Ok(response)
}

/// Whether a version was asked for that is still to come.
fn is_too_large(failure: &Failure) -> bool {
    let details = failure.status().details.as_ref();
    details.is_some_and(|details| details.causes.iter().any(|cause| cause.reason == TOO_LARGE))
}

fn body(frames: impl stream::Stream<Item = hako_error::Result<Frame<Bytes>>> + Send + 'static) -> Body {
    StreamBody::new(frames).boxed_unsync()
}

fn interval() -> Interval {
    let mut interval = tokio::time::interval_at(Instant::now() + BOOKMARK_EVERY, BOOKMARK_EVERY);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval
}

/// What the client accepts most has no form for events that come one by one.
fn not_streamed(has_protobuf: bool) -> Failure {
    let others = if has_protobuf { ", application/vnd.kubernetes.protobuf;stream=watch" } else { "" };
    let text = format!("only the following media types are accepted: application/json;stream=watch{others}");
    Status::failure(406, "NotAcceptable", text).into()
}

struct Options {
    selection: Selection,
    form: Form,
    encoding: Encoding,
    /// Where to start; none is now.
    after: Option<Revision>,
    /// Whether to begin with the present state.
    initial: bool,
    /// Whether that state is followed by a bookmark saying so.
    initial_bookmark: bool,
    bookmarks: bool,
    lasts: Duration,
}

impl Options {
    fn parse(request: &Request, target: &Target) -> Outcome<Self> {
        let query = &request.query;
        let seconds = listing_numbers(query)?.seconds;
        let bookmarks = query.flag("allowWatchBookmarks");
        let asks_initial = query.get("sendInitialEvents").is_some();
        let wants_initial = query.flag("sendInitialEvents");
        check_watch(query)?;
        let version = of_watch(query)?;
        let accept = request.accept_of(target.row.has_protobuf)?;
        // As upstream has it: no other form of those that are accepted is looked for.
        if accept.encoding == Encoding::Yaml {
            return Err(not_streamed(target.row.has_protobuf));
        }
        let lasts = seconds.filter(|seconds| *seconds != 0).map_or(LAST_BY_DEFAULT, |seconds| {
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(LAST_AT_MOST_SECONDS))
        });
        Ok(Self {
            selection: Selection::parse(query, target)?,
            form: accept.form,
            encoding: accept.encoding,
            after: version.filter(|version| *version > Revision::ZERO),
            initial: wants_initial || !asks_initial && version.unwrap_or(Revision::ZERO) == Revision::ZERO,
            initial_bookmark: wants_initial && bookmarks,
            bookmarks,
            lasts,
        })
    }
}

struct Watcher {
    store: Option<hako_store::Watch>,
    /// What is still to be told of the present state.
    present: std::vec::IntoIter<Arc<Entry>>,
    /// What is to be told after that.
    lines: VecDeque<Bytes>,
    /// The revision of the last line.
    sent: Revision,
    /// Everything up to here has been looked at.
    seen: Revision,
    /// The revision of which the client has been told one object at least, until that one is met.
    begun: Option<Revision>,
    /// Nothing is told of what comes up to here: the client has asked for what follows a version that is still to come.
    awaited: Revision,
    bookmarks: Interval,
    ends: Instant,
    is_over: bool,
    columns_sent: bool,
    server: Arc<Inner>,
    target: Target,
    options: Options,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        if self.store.is_some() {
            self.server.counts.watches.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// What the store says, in the version of the kind.
async fn converted(server: &Arc<Inner>, target: &Target, batch: hako_store::Result<Batch>) -> Outcome<Batch> {
    match batch {
        Ok(batch) => convert::batch_shown(server, &target.row, batch).await,
        Err(error) => Err(unreadable::of_watch(error)),
    }
}

impl Watcher {
    /// Reads what is to be told first, and follows the store from there.
    async fn begin(&mut self, prefix: Bytes) -> Outcome<hako_store::Watch> {
        let begun = self.options.after.filter(|_| !self.options.initial);
        let after = match begun {
            Some(after) => after,
            None => self.initial(prefix.clone(), self.options.after).await?,
        };
        self.seen = after;
        self.sent = after;
        match self.open(prefix.clone(), after, begun.is_some()).await {
            Err(StoreError::FutureRevision { requested, current }) if begun.is_some() => {
                self.awaited = requested;
                self.seen = current;
                Ok(self.server.config.store.watch(prefix, current).await?)
            }
            other => Ok(other?),
        }
    }

    /// Follows the store after a revision. Where one revision may be that of several objects, who goes on after it may
    /// have been told the first of them only: then the others are told again.
    async fn open(
        &mut self,
        prefix: Bytes,
        after: Revision,
        is_going_on: bool,
    ) -> hako_store::Result<hako_store::Watch> {
        let store = &self.server.config.store;
        let watch = store.watch(prefix.clone(), after).await?;
        if !is_going_on || after == Revision::ZERO || !store.has_shared_revisions() {
            return Ok(watch);
        }
        // If what was before is forgotten, so is whether there was more than one.
        let Ok(earlier) = store.watch(prefix, Revision(after.0 - 1)).await else { return Ok(watch) };
        self.begun = Some(after);
        Ok(earlier)
    }

    /// Begins with the present state, if that is asked for; answers its revision.
    async fn initial(&mut self, prefix: Bytes, not_older: Option<Revision>) -> Outcome<Revision> {
        let page = self.server.config.store.range(Range::all(prefix)).await?;
        if let Some(requested) = not_older
            && page.revision < requested
        {
            return Err(StoreError::FutureRevision { requested, current: page.revision }.into());
        }
        if !self.options.initial {
            return Ok(page.revision);
        }
        let present = convert::all_shown(&self.server, &self.target.row, page.entries).await?;
        self.present = present.into_iter();
        if self.options.initial_bookmark {
            self.lines.push_back(self.bookmark(page.revision, true));
        }
        Ok(page.revision)
    }

    /// Lines that are there: of the present state as many as are sent at once, of what came after all.
    fn ready(&mut self) -> Option<Bytes> {
        let mut all = Vec::new();
        while all.len() < LINES_BYTES
            && let Some(entry) = self.present.next()
        {
            if self.options.selection.matches(&entry.key, &entry.value) {
                let line = self.view().frame(Told::Added, &entry.value, entry.modified);
                all.extend_from_slice(&line);
            }
        }
        if self.present.len() == 0 {
            // It lasts, and what it began with may have been much.
            self.present = Vec::new().into_iter();
        }
        if all.is_empty() {
            let first = self.lines.pop_front()?;
            if self.lines.is_empty() {
                return Some(first);
            }
            all.extend_from_slice(&first);
        }
        while self.present.len() == 0
            && all.len() < LINES_BYTES
            && let Some(line) = self.lines.pop_front()
        {
            all.extend_from_slice(&line);
        }
        Some(Bytes::from(all))
    }

    /// The next lines; none ends the watch.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(lines) = self.ready() {
                return Some(lines);
            }
            let store = self.store.as_mut().filter(|_| !self.is_over)?;
            tokio::select! {
                biased;
                batch = store.next() => {
                    let batch = converted(&self.server, &self.target, batch?).await;
                    self.take(batch);
                }
                () = self.server.stop.cancelled() => return None,
                () = self.target.row.gone() => self.rest().await,
                () = tokio::time::sleep_until(self.ends) => self.end(),
                _ = self.bookmarks.tick(), if self.options.bookmarks => {
                    self.look();
                    self.mark();
                }
            }
        }
    }

    /// The kind is gone: what had become of its objects by then is told before the watch ends.
    async fn rest(&mut self) {
        self.is_over = true;
        let prefix = Bytes::from(registry_prefix(&self.target.row, ""));
        let Ok(page) = self.server.config.store.range(Range { limit: 1, ..Range::all(prefix) }).await else {
            return;
        };
        while self.seen < page.revision {
            let Some(store) = self.store.as_mut() else { return };
            let batch = match store.progress() {
                Some(batch) => Some(batch),
                None => tokio::time::timeout(REST_MOST, store.next()).await.ok().flatten(),
            };
            let Some(batch) = batch else { return };
            let batch = converted(&self.server, &self.target, batch).await;
            self.take(batch);
        }
    }

    fn take(&mut self, batch: Outcome<Batch>) {
        match batch {
            Ok(batch) => {
                let awaited = self.awaited;
                for event in batch.events.iter().filter(|event| event.revision() > awaited) {
                    if let Some(told) = self.told(event) {
                        if self.begun.take_if(|begun| event.revision() == *begun).is_some() {
                            continue;
                        }
                        let view = self.view();
                        self.lines.push_back(self.server.frames.frame(&view, told, event));
                        self.sent = event.revision();
                    }
                }
                self.seen = self.seen.max(batch.revision);
            }
            Err(error) => {
                self.store = None;
                self.server.counts.watches.fetch_sub(1, Ordering::Relaxed);
                self.lines.push_back(failed(self.options.encoding, &error));
            }
        }
    }

    /// Finds out how far the store has come: who watches one object is not woken by others, and is told all the same
    /// in bookmarks how versions move on.
    fn look(&mut self) {
        if let Some(batch) = self.store.as_mut().and_then(hako_store::Watch::progress) {
            self.take(batch.map_err(unreadable::of_watch));
        }
    }

    /// Says up to where everything has been told, unless the client waits for what comes later.
    fn mark(&mut self) {
        if self.store.is_some() && self.seen >= self.awaited {
            self.sent = self.seen;
            self.lines.push_back(self.bookmark(self.seen, false));
        }
    }

    /// Its time is over: the last it tells is where to go on.
    fn end(&mut self) {
        self.is_over = true;
        if self.options.bookmarks {
            self.look();
            if self.seen > self.sent {
                self.mark();
            }
        }
    }

    /// What this watcher is told of an event: coming into and going out of the selection are its additions and
    /// deletions.
    fn told(&self, event: &Event) -> Option<Told> {
        let selection = &self.options.selection;
        let was = event.previous.as_ref().is_some_and(|entry| selection.matches(&entry.key, &entry.value));
        let is = event.kind == EventKind::Put && selection.matches(&event.entry.key, &event.entry.value);
        match (was, is) {
            (false, true) => Some(Told::Added),
            (true, true) => Some(Told::Modified),
            (true, false) => Some(Told::Deleted),
            (false, false) => None,
        }
    }

    /// How the next object is shown.
    fn view(&mut self) -> View {
        let form = self.options.form;
        let is_table = matches!(form, Form::Table(_));
        let with_columns = is_table && !std::mem::replace(&mut self.columns_sent, true);
        View { row: Arc::clone(&self.target.row), form, encoding: self.options.encoding, with_columns }
    }

    fn bookmark(&self, revision: Revision, initial_events_end: bool) -> Bytes {
        let row = &*self.target.row;
        let mut metadata = json!({"resourceVersion": revision.0.to_string()});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        let object = match self.options.form {
            Form::Object => json!({"kind": row.kind, "apiVersion": row.api_version(), "metadata": metadata}),
            Form::Metadata(version) => render::partial(&json!({"metadata": metadata}), version),
            Form::Table(rows) => render::table(row, rows, &[], metadata, false),
        };
        line(self.options.encoding, "BOOKMARK", &object)
    }
}
