//! The store on an etcd cluster that others run.
//!
//! Owns: how our keys lie in etcd's ([`Layout`]), its answers as ours, and one watch of all our keys that every
//! watcher shares ([`hub`]).
//! Does not own: etcd's history, which is all its users'. It is compacted by callers of [`Store::compact`] and, if that is
//! asked for, every so often: an etcd that nobody compacts fills up.
//!
//! Follows etcd's API v3 (`etcdserverpb`), tested with 3.4. Revisions are etcd's: keys of others use some up.

mod convert;
mod hub;
mod source;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use etcd_client::{
    AlarmAction, AlarmType, Certificate, Client, Compare, CompareOp, ConnectOptions, DeleteOptions,
    GetOptions, GetResponse, Identity, PutOptions, TlsOptions, Txn, TxnOp, TxnOpResponse,
};
use tokio::task::JoinHandle;

use self::convert::{Layout, Refusal, lease_id, revision};
use self::hub::Hub;
use self::source::Source;
use crate::Store;
use crate::error::{Result, StoreError};
use crate::types::{Entry, Expect, Lease, LeaseId, Op, Page, Range, Read, Revision, Status, Write, Written};
use crate::watch::Watch;

/// How long a request may take before the cluster counts as gone.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Entries asked for at once; each may have up to 1.5 MiB.
const PAGE: usize = 500;
/// What an answer may have: a page of the largest entries.
const MAX_ANSWER_BYTES: usize = PAGE * (3 << 19) + (1 << 20);
/// How often a quiet connection is tried, and how long its answer may take.
const KEEP_ALIVE: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(5));

/// Which cluster, and how it is reached.
#[derive(Clone)]
pub struct EtcdConfig {
    /// Client addresses of its members: `https://host:2379`.
    pub endpoints: Vec<String>,
    /// What all keys are below, so that others may use the same cluster; ends with `/`.
    pub prefix: String,
    /// PEM certificates of the authority that signed the members'.
    pub authority: Option<Vec<u8>>,
    /// PEM certificate and key that show who we are.
    pub identity: Option<(Vec<u8>, Vec<u8>)>,
    /// Name and password, where the cluster asks for them.
    pub user: Option<(String, String)>,
    /// How many bytes of events are kept for watchers that are behind.
    pub history_bytes: usize,
    /// How often a quiet watch reports how far it has come.
    pub progress_interval: Duration,
    /// How often the cluster is told to forget what is older than that; `None` if others do so.
    pub compact_every: Option<Duration>,
}

impl EtcdConfig {
    /// The defaults for a cluster.
    pub fn new(endpoints: Vec<String>) -> Self {
        Self {
            endpoints,
            prefix: "/hako/".to_owned(),
            authority: None,
            identity: None,
            user: None,
            history_bytes: 64 << 20,
            progress_interval: Duration::from_secs(5),
            compact_every: None,
        }
    }

    fn options(&self) -> ConnectOptions {
        let mut options = ConnectOptions::new()
            .with_timeout(TIMEOUT)
            .with_connect_timeout(TIMEOUT)
            .with_keep_alive(KEEP_ALIVE.0, KEEP_ALIVE.1)
            .with_keep_alive_while_idle(true)
            .with_require_leader(true);
        if let Some((name, password)) = &self.user {
            options = options.with_user(name, password).with_auto_token_refresh(true);
        }
        if self.endpoints.iter().any(|endpoint| endpoint.starts_with("https:")) {
            let mut tls = TlsOptions::new();
            if let Some(authority) = &self.authority {
                tls = tls.ca_certificate(Certificate::from_pem(authority));
            }
            if let Some((certificate, key)) = &self.identity {
                tls = tls.identity(Identity::from_pem(certificate, key));
            }
            options = options.with_tls(tls);
        }
        options
    }
}

/// Without the password and the key.
impl fmt::Debug for EtcdConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdConfig")
            .field("endpoints", &self.endpoints)
            .field("prefix", &self.prefix)
            .finish_non_exhaustive()
    }
}

/// A [`Store`] on an etcd cluster. Any number of processes may use one cluster at once.
pub struct Etcd {
    client: Client,
    layout: Layout,
    refusal: Refusal,
    hub: Arc<Hub>,
    reader: JoinHandle<()>,
    compactor: Option<JoinHandle<()>>,
}

impl fmt::Debug for Etcd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Etcd").field("cluster", &self.refusal).finish_non_exhaustive()
    }
}

impl Etcd {
    /// Connects and begins to follow the cluster.
    ///
    /// # Errors
    /// [`StoreError::Remote`] if no member answers, or refuses us.
    pub async fn connect(config: EtcdConfig) -> Result<Self> {
        let refusal = Refusal::new(&config.endpoints);
        let client = Client::connect(&config.endpoints, Some(config.options()))
            .await
            .map_err(|error| refusal.of("connect", error))?;
        let layout = Layout::new(&config.prefix);
        let source = Source::new(client.clone(), layout.clone(), refusal.clone());
        let start = source.revision().await?;
        let hub = Arc::new(Hub::new(start, config.history_bytes, config.progress_interval));
        let compactor = config.compact_every.map(|every| tokio::spawn(compact(source.clone(), every)));
        let reader = tokio::spawn(hub::follow(Arc::clone(&hub), source));
        Ok(Self { client, layout, refusal, hub, reader, compactor })
    }

    fn source(&self) -> Source {
        Source::new(self.client.clone(), self.layout.clone(), self.refusal.clone())
    }

    async fn read(&self, key: Vec<u8>, options: GetOptions) -> Result<GetResponse, etcd_client::Error> {
        self.client.kv_client().max_decoding_message_size(MAX_ANSWER_BYTES).get(key, Some(options)).await
    }

    /// One page, as etcd answers it.
    async fn page(&self, range: &Range) -> Result<Page> {
        let (start, end) = self.layout.range(&range.prefix, range.start_after.as_deref());
        let limit = i64::try_from(range.limit).unwrap_or(i64::MAX);
        let at = range.at.unwrap_or_default();
        let options = GetOptions::new().with_range(end).with_limit(limit).with_revision(convert::number(at));
        let mut answer = match self.read(start, options).await {
            Ok(answer) => answer,
            Err(error) => return Err(self.outside("list", at, error).await),
        };
        let entries: Vec<_> =
            answer.take_kvs().into_iter().map(|kv| Arc::new(self.layout.entry(kv))).collect();
        let all = u64::try_from(answer.count()).unwrap_or_default();
        Ok(Page {
            more: answer.more(),
            remaining: all.saturating_sub(entries.len() as u64),
            revision: range.at.unwrap_or_else(|| revision(answer.header())),
            entries,
        })
    }

    /// Revisions of reads and compactions that etcd does not have.
    async fn outside(&self, what: &'static str, at: Revision, error: etcd_client::Error) -> StoreError {
        if !self.refusal.is_compacted(&error) && !self.refusal.is_future(&error) {
            return self.refusal.of(what, error);
        }
        match self.source().check(at).await {
            Err(error) => error,
            // The future came meanwhile.
            Ok(()) => self.refusal.of(what, error),
        }
    }

    /// The condition that etcd checks; [`Expect::Any`] has none but for a delete.
    fn conditions(&self, key: &[u8], write: &Write) -> Vec<Compare> {
        let mut all: Vec<Compare> = condition(key, write.expect, &write.op).into_iter().collect();
        all.extend(
            write
                .along
                .iter()
                .filter_map(|change| condition(&self.layout.inside(&change.key), change.expect, &change.op)),
        );
        all.extend(write.guards.iter().map(|guard| {
            let key = self.layout.inside(&guard.key);
            Compare::mod_revision(key, CompareOp::Equal, convert::number(guard.at))
        }));
        all
    }

    /// Why a condition did not hold: that of the write, of what was to happen along with it, or of what it relies on.
    fn unmet(
        write: &Write,
        current: Option<Entry>,
        others: impl Iterator<Item = Option<Entry>>,
    ) -> StoreError {
        if is_met(write.expect, &write.op, current.as_ref()) {
            let unmet = write.along.iter().zip(others);
            let mut unmet = unmet.filter(|(change, is)| !is_met(change.expect, &change.op, is.as_ref()));
            let key = unmet.next().map(|(change, _)| &change.key);
            if let Some(key) = key.or(write.guards.first().map(|guard| &guard.key)) {
                return StoreError::Outdated { key: key.clone() };
            }
        }
        match (write.expect, current.map(Arc::new)) {
            (Expect::Absent, Some(current)) => StoreError::AlreadyExists { current },
            (Expect::At(expected), Some(current)) => StoreError::Conflict { expected, current },
            _ => StoreError::NotFound { key: write.key.clone() },
        }
    }
}

/// A change as etcd takes it.
fn change(key: &[u8], op: &Op) -> TxnOp {
    match op {
        Op::Put { value, lease } => {
            let lease = lease.map_or(0, |lease| lease.0.cast_signed());
            let options = PutOptions::new().with_prev_key().with_lease(lease);
            TxnOp::put(key, value.to_vec(), Some(options))
        }
        Op::Delete => TxnOp::delete(key, Some(DeleteOptions::new().with_prev_key())),
    }
}

fn condition(key: &[u8], expect: Expect, op: &Op) -> Option<Compare> {
    match (expect, op) {
        (Expect::Absent, _) => Some(Compare::create_revision(key, CompareOp::Equal, 0)),
        (Expect::At(at), _) => Some(Compare::mod_revision(key, CompareOp::Equal, convert::number(at))),
        (Expect::Any, Op::Put { .. }) => None,
        (Expect::Any, Op::Delete) => Some(Compare::create_revision(key, CompareOp::Greater, 0)),
    }
}

fn is_met(expect: Expect, op: &Op, current: Option<&Entry>) -> bool {
    match (expect, current) {
        (Expect::Absent, current) => current.is_none(),
        (Expect::At(at), current) => current.is_some_and(|current| current.modified == at),
        (Expect::Any, current) => *op != Op::Delete || current.is_some(),
    }
}

/// Forgets what is older than an interval, for ever. Any number of processes may do so: the slowest decides nothing.
async fn compact(source: Source, every: Duration) {
    let mut before = None;
    loop {
        match source.revision().await {
            Ok(now) => {
                if let Some(before) = before
                    && let Err(error) = source.compact(before).await
                {
                    tracing::warn!(%error, "etcd does not compact, trying again");
                }
                before = Some(now);
            }
            Err(error) => tracing::debug!(%error, "etcd is not compacted now"),
        }
        tokio::time::sleep(every).await;
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        self.reader.abort();
        if let Some(compactor) = &self.compactor {
            compactor.abort();
        }
        self.hub.close();
    }
}

#[async_trait]
impl Store for Etcd {
    async fn get(&self, key: &[u8]) -> Result<Read> {
        let answer = self.read(self.layout.inside(key), GetOptions::new()).await;
        let mut answer = answer.map_err(|error| self.refusal.of("read", error))?;
        let entry = answer.take_kvs().into_iter().next().map(|kv| Arc::new(self.layout.entry(kv)));
        Ok(Read { entry, revision: revision(answer.header()) })
    }

    async fn range(&self, mut range: Range) -> Result<Page> {
        if range.limit > 0 {
            return self.page(&range).await;
        }
        // An answer's size has a limit, so all comes in pages of one revision.
        range.limit = PAGE;
        let mut whole = self.page(&range).await?;
        while whole.more {
            range.start_after = whole.entries.last().map(|entry| entry.key.clone());
            range.at = Some(whole.revision);
            let next = self.page(&range).await?;
            whole.entries.extend(next.entries);
            (whole.more, whole.remaining) = (next.more, next.remaining);
        }
        Ok(whole)
    }

    async fn write(&self, write: Write) -> Result<Written> {
        let key = self.layout.inside(&write.key);
        let lease = write.op.lease();
        // The write itself comes first, in what happens and in what is asked for if nothing does.
        let along: Vec<_> =
            write.along.iter().map(|change| (self.layout.inside(&change.key), change)).collect();
        let changes = along.iter().map(|(key, change)| (key, &change.op));
        let changes: Vec<TxnOp> =
            std::iter::once((&key, &write.op)).chain(changes).map(|(key, op)| change(key, op)).collect();
        let keys = std::iter::once(&key).chain(along.iter().map(|(key, _)| key));
        let asked: Vec<TxnOp> = keys.map(|key| TxnOp::get(key.clone(), None)).collect();
        let txn = Txn::new().when(self.conditions(&key, &write)).and_then(changes).or_else(asked);
        let answer = self.client.kv_client().txn(txn).await;
        let answer = answer.map_err(|error| self.refusal.of_write(&write, lease, error))?;
        let responses = answer.op_responses().into_iter().map(|response| match response {
            TxnOpResponse::Put(mut put) => put.take_prev_key(),
            TxnOpResponse::Delete(mut delete) => delete.take_prev_kvs().into_iter().next(),
            TxnOpResponse::Get(mut get) => get.take_kvs().into_iter().next(),
            TxnOpResponse::Txn(_) => None,
        });
        let mut found = responses.map(|kv| kv.map(|kv| self.layout.entry(kv)));
        let previous = found.next().flatten();
        match answer.succeeded() {
            true => Ok(Written { revision: revision(answer.header()), previous: previous.map(Arc::new) }),
            false => Err(Self::unmet(&write, previous, found)),
        }
    }

    fn has_shared_revisions(&self) -> bool {
        true
    }

    async fn watch(&self, prefix: Bytes, after: Revision) -> Result<Watch> {
        let source = self.source();
        source.check(after).await?;
        Ok(hub::watch(Arc::clone(&self.hub), source, prefix, after))
    }

    async fn compact(&self, to: Revision) -> Result<()> {
        match self.client.kv_client().compact(convert::number(to), None).await {
            Ok(_) => Ok(()),
            Err(error) if self.refusal.is_compacted(&error) => Ok(()),
            Err(error) => Err(self.outside("compact", to, error).await),
        }
    }

    async fn lease_grant(&self, ttl: Duration) -> Result<Lease> {
        let seconds = ttl.as_secs() + u64::from(ttl.subsec_nanos() > 0);
        let seconds = i64::try_from(seconds.max(1)).unwrap_or(i64::MAX);
        let answer = self.client.lease_client().grant(seconds, None).await;
        let answer = answer.map_err(|error| self.refusal.of("grant a lease", error))?;
        Ok(convert::lease(answer.id(), answer.ttl()))
    }

    async fn lease_keepalive(&self, id: LeaseId) -> Result<Lease> {
        let mut leases = self.client.lease_client();
        let refused = |error| self.refusal.of_lease("keep a lease alive", id, error);
        // The first answer is read by the call; it has no time in it, so the next is asked for.
        let (mut keeper, mut answers) = leases.keep_alive(lease_id(id)).await.map_err(refused)?;
        keeper.keep_alive().await.map_err(refused)?;
        match answers.message().await.map_err(refused)? {
            Some(answer) if answer.ttl() > 0 => Ok(convert::lease(answer.id(), answer.ttl())),
            _ => Err(StoreError::LeaseNotFound { id }),
        }
    }

    async fn lease_revoke(&self, id: LeaseId) -> Result<()> {
        let answer = self.client.lease_client().revoke(lease_id(id)).await;
        answer.map(drop).map_err(|error| self.refusal.of_lease("revoke a lease", id, error))
    }

    async fn leases(&self) -> Result<Vec<Lease>> {
        let mut client = self.client.lease_client();
        let refused = |error| self.refusal.of("list leases", error);
        let mut leases = Vec::new();
        for status in client.leases().await.map_err(refused)?.leases() {
            let answer = client.time_to_live(status.id(), None).await.map_err(refused)?;
            // What expired meanwhile has no time.
            if answer.ttl() > 0 {
                leases.push(convert::lease(status.id(), answer.granted_ttl()));
            }
        }
        Ok(leases)
    }

    async fn revision(&self) -> Result<Revision> {
        self.source().revision().await
    }

    async fn status(&self) -> Result<Status> {
        let refused = |error| self.refusal.of("ask for the status", error);
        let (start, end) = self.layout.range(b"", None);
        let count = GetOptions::new().with_range(end).with_count_only();
        let counted = self.read(start, count).await.map_err(refused)?;
        let mut maintenance = self.client.maintenance_client();
        let status = maintenance.status().await.map_err(refused)?;
        let alarms = maintenance.alarm(AlarmAction::Get, AlarmType::None, None).await.map_err(refused)?;
        let refusing = alarms.alarms().first().map(|alarm| match alarm.alarm() {
            AlarmType::Nospace => {
                "etcd is over its quota of space: compact, defragment and disarm its alarm".to_owned()
            }
            other => format!("etcd raises the alarm {other:?}"),
        });
        Ok(Status {
            revision: revision(counted.header()),
            compacted: self.source().compacted().await?,
            entries: u64::try_from(counted.count()).unwrap_or_default(),
            bytes: u64::try_from(status.raft_used_db_size()).unwrap_or_default(),
            disk_bytes: u64::try_from(status.db_size()).unwrap_or_default(),
            history: None,
            refusing,
        })
    }
}
