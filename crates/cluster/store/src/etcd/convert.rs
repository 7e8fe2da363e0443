//! etcd's words as ours.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use etcd_client::{EventType, KeyValue, ResponseHeader};
use tonic::{Code, Status};

use crate::error::StoreError;
use crate::types::{Entry, Event, EventKind, Lease, LeaseId, Revision, Write};

/// What etcd takes in one request, by its own default.
const MAX_REQUEST_BYTES: usize = 3 << 19;

/// Where our keys lie: below `PREFIXk/`, beside the fence of watches that catch up.
#[derive(Clone, Debug)]
pub struct Layout {
    root: Arc<[u8]>,
    keys: Arc<[u8]>,
}

impl Layout {
    pub fn new(prefix: &str) -> Self {
        Self { root: prefix.as_bytes().into(), keys: [prefix.as_bytes(), b"k/"].concat().into() }
    }

    /// A key as etcd has it.
    pub fn inside(&self, key: &[u8]) -> Vec<u8> {
        [&self.keys, key].concat()
    }

    /// Everything of ours, the fence too.
    pub fn root(&self) -> Vec<u8> {
        self.root.to_vec()
    }

    /// A key that is written to have an event, and never read.
    pub fn fence(&self) -> Vec<u8> {
        [&self.root, &b"fence"[..]].concat()
    }

    /// First key and end of what is below a prefix of ours.
    pub fn range(&self, prefix: &[u8], after: Option<&[u8]>) -> (Vec<u8>, Vec<u8>) {
        let start =
            after.map_or_else(|| self.inside(prefix), |after| [&self.inside(after), &b"\0"[..]].concat());
        (start, end(self.inside(prefix)))
    }

    /// `None` for what is not among our keys.
    fn outside(&self, key: &[u8]) -> Option<Bytes> {
        key.strip_prefix(&*self.keys).map(Bytes::copy_from_slice)
    }

    pub fn entry(&self, kv: KeyValue) -> Entry {
        let (created, modified, lease) = (kv.create_revision(), kv.mod_revision(), kv.lease());
        let (key, value) = kv.into_key_value();
        Entry {
            key: self.outside(&key).unwrap_or_else(|| key.into()),
            value: value.into(),
            created: from(created),
            modified: from(modified),
            lease: (lease != 0).then(|| LeaseId(lease.cast_unsigned())),
        }
    }

    /// `None` for events of what is not among our keys.
    pub fn event(&self, event: &etcd_client::Event) -> Option<Arc<Event>> {
        let kv = event.kv()?;
        self.outside(kv.key())?;
        let kind = match event.event_type() {
            EventType::Put => EventKind::Put,
            EventType::Delete => EventKind::Delete,
        };
        let previous = event.prev_kv().map(|kv| Arc::new(self.entry(kv.clone())));
        let mut entry = self.entry(kv.clone());
        if let (EventKind::Delete, Some(previous)) = (kind, &previous) {
            // A tombstone has a key and the delete's revision alone.
            entry.created = previous.created;
        }
        Some(Arc::new(Event { kind, entry: Arc::new(entry), previous }))
    }
}

/// The first key after all that start with a prefix; `\0` is etcd's word for the end of all keys.
fn end(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if last < 0xff {
            prefix.push(last + 1);
            return prefix;
        }
    }
    vec![0]
}

/// etcd's numbers are signed and never negative.
pub fn from(number: i64) -> Revision {
    Revision(u64::try_from(number).unwrap_or_default())
}

pub fn number(revision: Revision) -> i64 {
    i64::try_from(revision.0).unwrap_or(i64::MAX)
}

pub fn revision(header: Option<&ResponseHeader>) -> Revision {
    from(header.map_or(0, ResponseHeader::revision))
}

pub fn lease_id(id: LeaseId) -> i64 {
    id.0.cast_signed()
}

pub fn lease(id: i64, ttl: i64) -> Lease {
    Lease {
        id: LeaseId(id.cast_unsigned()),
        ttl: Duration::from_secs(u64::try_from(ttl).unwrap_or_default()),
    }
}

/// A cluster's errors as ours, with its name in them.
#[derive(Clone)]
pub struct Refusal {
    endpoints: Arc<str>,
}

impl fmt::Debug for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.endpoints.fmt(f)
    }
}

impl Refusal {
    pub fn new(endpoints: &[String]) -> Self {
        Self { endpoints: endpoints.join(",").into() }
    }

    pub fn of(&self, what: &'static str, error: etcd_client::Error) -> StoreError {
        let endpoints = Arc::clone(&self.endpoints);
        if status(&error)
            .is_some_and(|status| status.code() == Code::ResourceExhausted && says(status, "space"))
        {
            return StoreError::RemoteFull { endpoints };
        }
        let reason = match status(&error) {
            Some(status) => format!("{what}: {}", status.message()),
            None => format!("{what}: {error}"),
        };
        StoreError::Remote { endpoints, reason: reason.into() }
    }

    /// A stream that ended without a word.
    pub fn ended(&self) -> StoreError {
        StoreError::Remote { endpoints: Arc::clone(&self.endpoints), reason: "a watch was ended".into() }
    }

    pub fn of_write(&self, write: &Write, lease: Option<LeaseId>, error: etcd_client::Error) -> StoreError {
        let size = match &write.op {
            crate::Op::Put { value, .. } => value.len(),
            crate::Op::Delete => 0,
        };
        match (status(&error), lease) {
            // etcd's own limit, then that of its transport.
            (Some(status), _)
                if says(status, "request is too large")
                    || says(status, "received message larger than max") =>
            {
                StoreError::TooLarge { what: "value", size, limit: MAX_REQUEST_BYTES }
            }
            (_, Some(lease)) => self.of_lease("write", lease, error),
            _ => self.of("write", error),
        }
    }

    pub fn of_lease(&self, what: &'static str, id: LeaseId, error: etcd_client::Error) -> StoreError {
        let is_gone = match &error {
            etcd_client::Error::LeaseKeepAliveError(_) => true,
            other => status(other).is_some_and(|status| says(status, "requested lease not found")),
        };
        match is_gone {
            true => StoreError::LeaseNotFound { id },
            false => self.of(what, error),
        }
    }

    pub fn is_compacted(&self, error: &etcd_client::Error) -> bool {
        status(error).is_some_and(|status| says(status, "has been compacted"))
    }

    pub fn is_future(&self, error: &etcd_client::Error) -> bool {
        status(error).is_some_and(|status| says(status, "is a future revision"))
    }
}

fn status(error: &etcd_client::Error) -> Option<&Status> {
    match error {
        etcd_client::Error::GRpcStatus(status) => Some(status),
        _ => None,
    }
}

/// etcd tells its errors apart by their texts: one code has many.
fn says(status: &Status, text: &str) -> bool {
    status.message().contains(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_after_all_keys_of_its_prefix() {
        assert_eq!(end(b"/a/".to_vec()), b"/a0");
        assert_eq!(end(b"a\xff\xff".to_vec()), b"b");
        assert_eq!(end(b"\xff".to_vec()), b"\0");
        let layout = Layout::new("/p/");
        assert_eq!(layout.range(b"", None), (b"/p/k/".to_vec(), b"/p/k0".to_vec()));
        assert_eq!(layout.range(b"a", Some(b"ab")), (b"/p/k/ab\0".to_vec(), b"/p/k/b".to_vec()));
    }
}
