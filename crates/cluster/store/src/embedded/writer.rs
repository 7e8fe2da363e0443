//! The writer thread: the only place that decides about writes.
//!
//! One round: drain the queue; check every command in order against what the ones before it will have done; one
//! durable commit for all; show the result to readers and watchers; answer. While a commit waits for the disk the
//! next round's commands gather, so the load itself sets the size of a group.
//!
//! Invariant: nothing is answered or shown before its commit, refusals included: a conflict with a write that
//! then fails would not have been one.

use std::collections::HashMap;
use std::os::unix::fs::PermissionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot};

use super::Shared;
use super::load::{FORMAT, Loaded, VALUE_COMPACTED, VALUE_FORMAT, VALUE_LAST_LEASE, lease_value, load};
use super::log::{Log, LogBatch, LogError, Opener};
use super::record;
use super::state::{Past, State};
use super::turn;
use crate::error::{Result, StoreError};
use crate::types::{Entry, Event, EventKind, Expect, Guard, Lease, LeaseId, Op, Revision, Write, Written};

/// Commands in one commit.
const MAX_GROUP: usize = 1024;
/// Bytes of values in one commit.
const MAX_GROUP_BYTES: usize = 8 << 20;
/// With this many writers at once, a round waits a moment for those that the last one answered: else they fall into
/// two halves that take turns, and every commit carries half of what it could. Lone writers never wait.
const LINGER_FROM: usize = 8;
const LINGER: Duration = Duration::from_micros(100);
const LINGER_STEP: Duration = Duration::from_micros(20);
/// Rounds in a row with fewer writers than that, after which it is calm. Only then does the thread have precedence, and work
/// ahead: among many writers it would commit what the first of them brought, instead of what they all do, for a fifth more CPU.
const CALM_AFTER: u32 = 16;
/// Events forgotten in one round: few when writes trim as they go, many when asked to compact.
const TRIM_STEP: usize = 64;
const COMPACT_STEP: usize = 8192;
/// A database that is larger than so many times what is in it is written anew. Its pages are half full
/// at the worst, and a commit needs room beside what it replaces: a factor of 4 is only passed by what was deleted.
const SLACK_FACTOR: u64 = 4;
/// Wait between attempts to open a database that failed.
const REOPEN_AFTER: Duration = Duration::from_millis(200);

/// Where an answer goes.
pub type Reply<T> = oneshot::Sender<Result<T>>;

/// What the writer is asked to do.
pub enum Command {
    Write(Write, Reply<Written>),
    Compact(Revision, Reply<()>),
    Grant(Duration, Reply<Lease>),
    /// A revocation, or the end of a lease whose clock has run out and which accepts nothing any more.
    Revoke(LeaseId, Reply<()>),
    Expire(LeaseId, Reply<()>),
    /// Writes the database anew.
    Rebuild(Reply<()>),
    Close(Reply<()>),
}

impl Command {
    fn bytes(&self) -> usize {
        match self {
            Self::Write(write, _) => {
                let along = write.along.iter().map(|change| &change.op);
                along.chain([&write.op]).map(Op::bytes).sum()
            }
            _ => 0,
        }
    }
}

/// The writer's side of the store.
pub struct Writer {
    shared: Arc<Shared>,
    opener: Opener,
    log: Option<Box<dyn Log>>,
    failed_at: Option<Instant>,
    last_group: usize,
    calm_rounds: u32,
    last_lease: u64,
    compacting: Vec<(Revision, Reply<()>)>,
    rebuilding: Vec<Reply<()>>,
    /// How large the database was when it had last been written anew, and what was in it then.
    rebuilt: (u64, u64),
    closing: Option<Reply<()>>,
}

/// An answer that waits for the commit.
enum Answer {
    Write(Reply<Written>, Result<Written>),
    Grant(Reply<Lease>, Lease),
    End(Reply<()>, LeaseId),
}

impl Answer {
    fn send(self, shared: &Shared, failed: Option<&StoreError>) {
        match (self, failed) {
            (Self::Write(reply, _), Some(error)) => drop(reply.send(Err(error.clone()))),
            (Self::Grant(reply, _), Some(error)) => drop(reply.send(Err(error.clone()))),
            (Self::End(reply, id), Some(error)) => {
                shared.leases.undo_end(id);
                drop(reply.send(Err(error.clone())));
            }
            (Self::Write(reply, result), None) => drop(reply.send(result)),
            (Self::Grant(reply, lease), None) => {
                shared.leases.start(lease.id, lease.ttl);
                drop(reply.send(Ok(lease)));
            }
            (Self::End(reply, id), None) => {
                shared.leases.remove(id);
                drop(reply.send(Ok(())));
            }
        }
    }
}

/// A round before its commit: what the commands so far will have done.
struct Round {
    revision: Revision,
    now_ms: u64,
    changed: HashMap<Bytes, Option<Arc<Entry>>>,
    events: Vec<Past>,
    batch: LogBatch,
    answers: Vec<Answer>,
}

impl Round {
    fn new(revision: Revision) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            revision,
            now_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            changed: HashMap::new(),
            events: Vec::new(),
            batch: LogBatch::default(),
            answers: Vec::new(),
        }
    }

    fn current(&self, state: &State, key: &[u8]) -> Option<Arc<Entry>> {
        match self.changed.get(key) {
            Some(entry) => entry.clone(),
            None => state.get(key).cloned(),
        }
    }

    fn write(&mut self, shared: &Shared, state: &State, write: &Write) -> Result<Written> {
        let previous = self.current(state, &write.key);
        check(&write.key, write.expect, &write.op, previous.as_ref())?;
        let is_outdated =
            |guard: &&Guard| self.current(state, &guard.key).is_none_or(|entry| entry.modified != guard.at);
        if let Some(guard) = write.guards.iter().find(is_outdated) {
            return Err(StoreError::Outdated { key: guard.key.clone() });
        }
        let mut along = Vec::with_capacity(write.along.len());
        for change in &write.along {
            let current = self.current(state, &change.key);
            check(&change.key, change.expect, &change.op, current.as_ref())
                .map_err(|_| StoreError::Outdated { key: change.key.clone() })?;
            along.push((&change.key, &change.op, current));
        }
        let changes = along.into_iter().chain([(&write.key, &write.op, previous.clone())]);
        let is_gone = |id: &LeaseId| !shared.leases.is_live(*id);
        if let Some(id) = changes.clone().filter_map(|(_, op, _)| op.lease()).find(is_gone) {
            return Err(StoreError::LeaseNotFound { id });
        }
        // All is checked before the first is noted.
        for (key, op, previous) in changes {
            match op {
                Op::Put { value, lease } => self.push(EventKind::Put, key, value, *lease, previous),
                Op::Delete => self.push(EventKind::Delete, key, &[], None, previous),
            }
        }
        Ok(Written { revision: self.revision, previous })
    }

    fn push(
        &mut self,
        kind: EventKind,
        key: &[u8],
        value: &[u8],
        lease: Option<LeaseId>,
        previous: Option<Arc<Entry>>,
    ) {
        self.revision = self.revision.next();
        let created = previous.as_ref().map_or(self.revision, |entry| entry.created);
        let (bytes, entry) = record::encode(kind, key, value, created, self.revision, lease, self.now_ms);
        let entry = Arc::new(entry);
        self.batch.appends.push((self.revision.0, bytes));
        let live = (kind == EventKind::Put).then(|| Arc::clone(&entry));
        self.changed.insert(entry.key.clone(), live);
        self.events.push(Past { event: Arc::new(Event { kind, entry, previous }), at_ms: self.now_ms });
    }

    /// Deletes the keys of a lease, those attached earlier in this round included.
    fn end_lease(&mut self, state: &State, id: LeaseId, reply: Reply<()>) {
        let mut keys: Vec<Bytes> = state.leased(id).cloned().collect();
        keys.extend(self.changed.keys().cloned());
        keys.sort_unstable();
        keys.dedup();
        for key in keys {
            let current = self.current(state, &key);
            if current.as_ref().is_some_and(|entry| entry.lease == Some(id)) {
                self.push(EventKind::Delete, &key, &[], None, current);
            }
        }
        self.batch.values.push((lease_value(id), None));
        self.answers.push(Answer::End(reply, id));
    }

    /// Adds the removal of records that are obsolete once history up to `to` is forgotten.
    fn compact(&mut self, state: &State, to: Revision) {
        for past in state.until(to) {
            self.batch.removes.extend(past.obsolete_records());
        }
        self.batch.values.push((VALUE_COMPACTED.to_vec(), Some(to.0.to_be_bytes().to_vec())));
    }
}

fn check(key: &Bytes, expect: Expect, op: &Op, current: Option<&Arc<Entry>>) -> Result<()> {
    let not_found = || StoreError::NotFound { key: key.clone() };
    match (expect, current) {
        (Expect::Absent, Some(current)) => Err(StoreError::AlreadyExists { current: Arc::clone(current) }),
        (Expect::At(_), None) => Err(not_found()),
        (Expect::At(expected), Some(current)) if current.modified != expected => {
            Err(StoreError::Conflict { expected, current: Arc::clone(current) })
        }
        (_, None) if *op == Op::Delete => Err(not_found()),
        _ => Ok(()),
    }
}

/// Logs. Where the log is on the disk that just filled up, the subscriber may panic, and no write may die of that.
fn note(log: impl FnOnce()) {
    let _ = catch_unwind(AssertUnwindSafe(log));
}

impl Writer {
    /// Opens the log and loads what is in it.
    pub fn open(shared: Arc<Shared>, opener: Opener) -> Result<Self, LogError> {
        // It holds secrets.
        std::fs::create_dir_all(&shared.config.dir)?;
        std::fs::set_permissions(&shared.config.dir, std::fs::Permissions::from_mode(0o700))?;
        let mut log = opener(&shared.config.dir)?;
        let Loaded { last_lease, fresh } = load(&shared, log.as_ref())?;
        if fresh {
            log.commit(&LogBatch {
                values: vec![(VALUE_FORMAT.to_vec(), Some(FORMAT.to_be_bytes().to_vec()))],
                ..LogBatch::default()
            })?;
        }
        shared.disk_bytes.store(log.disk_bytes(), Ordering::Relaxed);
        Ok(Self {
            shared,
            opener,
            log: Some(log),
            failed_at: None,
            last_group: 0,
            calm_rounds: CALM_AFTER,
            last_lease,
            compacting: Vec::new(),
            rebuilding: Vec::new(),
            rebuilt: (0, 0),
            closing: None,
        })
    }

    /// Works until the store is closed.
    pub fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut group = Vec::new();
        turn::set_precedence(true);
        while self.closing.is_none() && self.gather(&mut commands, &mut group) {
            self.round(&mut group);
        }
        self.log = None;
        self.shared.closed.store(true, Ordering::Release);
        self.shared.watchers.close();
        self.shared.leases.close();
        if let Some(reply) = self.closing.take() {
            let _ = reply.send(Ok(()));
        }
    }

    /// Waits for work and drains the queue; false if there is none and never will be.
    fn gather(&mut self, commands: &mut mpsc::Receiver<Command>, group: &mut Vec<Command>) -> bool {
        let expected = self.last_group + commands.len();
        if self.compacting.is_empty() {
            let next = commands.try_recv().ok().or_else(|| {
                if self.is_calm() {
                    self.prepare();
                }
                commands.blocking_recv()
            });
            match next {
                Some(command) => group.push(command),
                None => return false,
            }
        }
        let mut bytes = group.iter().map(Command::bytes).sum::<usize>();
        let mut linger_until = None;
        while group.len() < MAX_GROUP && bytes < MAX_GROUP_BYTES {
            if let Ok(command) = commands.try_recv() {
                bytes += command.bytes();
                group.push(command);
                continue;
            }
            if self.last_group < LINGER_FROM || group.len() >= expected {
                break;
            }
            if Instant::now() >= *linger_until.get_or_insert_with(|| Instant::now() + LINGER) {
                break;
            }
            // Not by yielding: nobody else has this thread's priority.
            std::thread::sleep(LINGER_STEP);
        }
        self.last_group = group.len();
        self.note_calm();
        true
    }

    fn is_calm(&self) -> bool {
        self.calm_rounds >= CALM_AFTER
    }

    fn note_calm(&mut self) {
        let was_calm = self.is_calm();
        self.calm_rounds = if self.last_group < LINGER_FROM { self.calm_rounds.saturating_add(1) } else { 0 };
        if self.is_calm() != was_calm {
            turn::set_precedence(self.is_calm());
        }
    }

    /// While nobody waits.
    fn prepare(&mut self) {
        let Some(log) = self.log.as_mut() else { return };
        if catch_unwind(AssertUnwindSafe(|| log.prepare())).is_err() {
            self.panicked();
        }
    }

    fn round(&mut self, group: &mut Vec<Command>) {
        let (mut round, compact_to) = self.decide(group);
        let failed = self.commit_caught(&mut round.batch).err();
        if failed.is_none() {
            self.publish(round.events, compact_to);
        }
        for answer in round.answers {
            answer.send(&self.shared, failed.as_ref());
        }
        self.answer_compactions(failed.as_ref());
        self.rebuild();
    }

    /// Checks the commands in order; nothing is visible yet.
    fn decide(&mut self, group: &mut Vec<Command>) -> (Round, Revision) {
        let shared = Arc::clone(&self.shared);
        let state = shared.state.read();
        let mut round = Round::new(state.revision);
        for command in group.drain(..) {
            match command {
                Command::Write(write, reply) => {
                    let result = round.write(&shared, &state, &write);
                    round.answers.push(Answer::Write(reply, result));
                }
                Command::Compact(to, reply) if to > state.revision => {
                    let _ = reply
                        .send(Err(StoreError::FutureRevision { requested: to, current: state.revision }));
                }
                Command::Compact(to, reply) => self.compacting.push((to, reply)),
                Command::Grant(ttl, reply) => self.grant(&mut round, ttl, reply),
                Command::Revoke(id, reply) => match shared.leases.begin_end(id) {
                    Err(error) => drop(reply.send(Err(error))),
                    Ok(()) => round.end_lease(&state, id, reply),
                },
                Command::Expire(id, reply) => round.end_lease(&state, id, reply),
                Command::Rebuild(reply) => self.rebuilding.push(reply),
                Command::Close(reply) => self.closing = Some(reply),
            }
        }
        let compact_to = self.compact_target(&state, &round);
        if compact_to > state.compacted {
            round.compact(&state, compact_to);
        }
        (round, compact_to)
    }

    fn grant(&mut self, round: &mut Round, ttl: Duration, reply: Reply<Lease>) {
        self.last_lease += 1;
        let id = LeaseId(self.last_lease);
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        let values = &mut round.batch.values;
        values.push((lease_value(id), Some(ttl_ms.to_be_bytes().to_vec())));
        values.push((VALUE_LAST_LEASE.to_vec(), Some(id.0.to_be_bytes().to_vec())));
        round.answers.push(Answer::Grant(reply, Lease { id, ttl }));
    }

    /// How far this round compacts: what was asked for, or what the limits of history ask for.
    fn compact_target(&self, state: &State, round: &Round) -> Revision {
        let asked = self.compacting.iter().map(|(to, _)| *to).max();
        let asked =
            asked.map_or(state.compacted, |to| to.min(Revision(state.compacted.0 + COMPACT_STEP as u64)));
        let step = TRIM_STEP.max(2 * round.events.len());
        let limits = &self.shared.config.history;
        asked.max(state.trim_target(limits, round.events.len(), round.now_ms, step))
    }

    /// A panic below is a failure of the database like any other: it refuses this round and not all that follow.
    fn commit_caught(&mut self, batch: &mut LogBatch) -> Result<()> {
        catch_unwind(AssertUnwindSafe(|| self.commit(batch))).unwrap_or_else(|_panic| Err(self.panicked()))
    }

    fn commit(&mut self, batch: &mut LogBatch) -> Result<()> {
        if batch.is_empty() {
            return Ok(());
        }
        let shared = Arc::clone(&self.shared);
        let log = self.writable(batch)?;
        let result = log.commit(batch);
        match result {
            Ok(()) => {
                shared.disk_bytes.store(log.disk_bytes(), Ordering::Relaxed);
                if shared.refusing.lock().take().is_some() {
                    note(|| {
                        tracing::info!(dir = %shared.config.dir.display(), "the store accepts writes again");
                    });
                }
                Ok(())
            }
            Err(error) => Err(self.fail(error)),
        }
    }

    /// The log, opened again if it failed before. Then the failed batch may or may not be in it; whoever was told
    /// that it failed must not find it there later, so it is cut off by the same commit that goes on.
    fn writable(&mut self, batch: &mut LogBatch) -> Result<&mut Box<dyn Log>> {
        if let Some(failed_at) = self.failed_at {
            let refusing = self.shared.refusing.lock().clone();
            if let Some(error) = refusing
                && failed_at.elapsed() < REOPEN_AFTER
            {
                return Err(error);
            }
            match (self.opener)(&self.shared.config.dir) {
                Ok(log) => self.log = Some(log),
                Err(error) => return Err(self.fail(error)),
            }
            batch.truncate_from = Some(self.shared.state.read().revision.next().0);
            self.failed_at = None;
        }
        self.log.as_mut().ok_or(StoreError::Closed)
    }

    fn fail(&mut self, error: LogError) -> StoreError {
        self.log = None;
        self.failed_at = Some(Instant::now());
        let error = self.shared.disk_error(error);
        let before = self.shared.refusing.lock().replace(error.clone());
        if before.is_none() {
            note(|| tracing::error!(%error, "the store refuses writes"));
        }
        error
    }

    fn publish(&self, events: Vec<Past>, compact_to: Revision) {
        let mut state = self.shared.state.write();
        let woken = self.shared.watchers.publish(&events);
        for past in events {
            state.apply(past);
        }
        state.compact(compact_to);
        drop(state);
        woken.wake();
    }

    /// Writes the database anew if that was asked for, or much of it is free: `SLACK_FACTOR` says what it may be.
    fn rebuild(&mut self) {
        let replies = std::mem::take(&mut self.rebuilding);
        if replies.is_empty() && !self.is_slack() {
            return;
        }
        turn::set_precedence(false);
        let result = self.rebuild_caught();
        turn::set_precedence(self.is_calm());
        self.rebuilt = (self.shared.disk_bytes.load(Ordering::Relaxed), self.content());
        for reply in replies {
            let _ = reply.send(result.clone());
        }
    }

    /// Whether most of the database is free, and writing it anew would halve it at least, going by the last time.
    fn is_slack(&self) -> bool {
        let on_disk = self.shared.disk_bytes.load(Ordering::Relaxed);
        if on_disk < self.shared.config.rebuild_from {
            return false;
        }
        let content = self.content();
        let (size_then, content_then) = self.rebuilt;
        let expected = u128::from(content) * u128::from(size_then) / u128::from(content_then.max(1));
        on_disk > content.saturating_mul(SLACK_FACTOR) && u128::from(on_disk) >= 2 * expected
    }

    /// Bytes of keys and values, those of history included.
    fn content(&self) -> u64 {
        let state = self.shared.state.read();
        state.bytes + state.history_size().bytes
    }

    fn rebuild_caught(&mut self) -> Result<()> {
        let log = self.log.as_mut().ok_or(StoreError::Closed)?;
        let Ok(result) = catch_unwind(AssertUnwindSafe(|| log.rebuild())) else {
            return Err(self.panicked());
        };
        self.shared.disk_bytes.store(log.disk_bytes(), Ordering::Relaxed);
        result.map_err(|error| {
            let error = self.shared.disk_error(error);
            // Writes go on in the old one.
            note(|| tracing::warn!(%error, "the database could not be written anew to free its space"));
            error
        })
    }

    fn panicked(&mut self) -> StoreError {
        let log = self.log.take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(log)));
        self.fail(LogError::Failed("the database panicked".into()))
    }

    fn answer_compactions(&mut self, failed: Option<&StoreError>) {
        if self.compacting.is_empty() {
            return;
        }
        let compacted = self.shared.state.read().compacted;
        for (to, reply) in std::mem::take(&mut self.compacting) {
            match failed {
                Some(error) => drop(reply.send(Err(error.clone()))),
                None if to <= compacted => drop(reply.send(Ok(()))),
                None => self.compacting.push((to, reply)),
            }
        }
    }
}
