//! What a database holds after damage: a store opens on it and tells the same of itself by every question, goes on with
//! the next revision, and opens as the same again; or it says what is wrong.
//!
//! ```text
//! | 0 | name length 1 | name | value length 2 | value |       a named value
//! | 1 | revision 8 | length 2 | bytes |                     a record       integers big endian
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;

use hako_store::log::{Log, LogBatch, LogError, Opener, VisitRecord, VisitValue};
use hako_store::{Embedded, EmbeddedConfig, Expect, Range, Store as _, StoreError, Write};
use tokio::runtime::{Builder, Runtime};

static RUNTIME: LazyLock<Runtime> =
    LazyLock::new(|| Builder::new_current_thread().enable_all().build().expect("a runtime"));

pub fn run(data: &[u8]) {
    let rows = Rows(Arc::new(Mutex::new(Held::read(data))));
    let Some(first) = told(&rows, false) else { return };
    let again = told(&rows, true).expect("what was opened opens again");
    assert_eq!(again, first);
}

/// Everything a store tells of what it found; none if it found damage. It may write something then.
fn told(rows: &Rows, writes: bool) -> Option<Vec<String>> {
    // Nothing is in it, but it is made and gets the mode of a store's.
    let dir = tempfile::tempdir().expect("a directory");
    // Outside of the runtime no lease ends.
    let opened = Embedded::open_on(EmbeddedConfig::new(dir.path()), rows.opener());
    let store = match opened {
        Ok(store) => store,
        Err(StoreError::Damaged { reason, .. } | StoreError::Disk { reason, .. }) => {
            assert!(!reason.to_string().is_empty());
            return None;
        }
        Err(other) => panic!("{other}"),
    };
    Some(RUNTIME.block_on(questioned(&store, rows, writes)))
}

async fn questioned(store: &Embedded, rows: &Rows, writes: bool) -> Vec<String> {
    let page = store.range(Range::all("")).await.expect("a page");
    let status = store.status().await.expect("a status");
    assert_eq!((status.entries, status.revision), (page.entries.len() as u64, page.revision));
    assert!(page.entries.is_sorted_by(|one, next| one.key < next.key));
    let mut bytes = 0;
    for entry in &page.entries {
        assert!(entry.modified <= page.revision, "{entry:?}");
        let read = store.get(&entry.key).await.expect("a read");
        assert_eq!(read.entry.as_ref(), Some(entry));
        bytes += entry.key.len() + entry.value.len();
    }
    assert!(bytes <= rows.bytes());
    // How old history is decides how much of it is kept, and is no question.
    let told = vec![format!("{page:?}"), format!("{:?}", ids(store).await)];
    if writes {
        let written = store.write(Write::put("after", "x", Expect::Any)).await.expect("it goes on");
        assert!(written.revision > page.revision);
        store.lease_grant(Duration::from_secs(60)).await.expect("a lease");
    }
    store.close().await;
    told
}

/// The leases, without the clocks.
async fn ids(store: &Embedded) -> Vec<u64> {
    let mut ids: Vec<u64> = store.leases().await.expect("leases").iter().map(|lease| lease.id.0).collect();
    ids.sort_unstable();
    ids
}

/// A database in memory.
#[derive(Clone, Default)]
pub struct Rows(Arc<Mutex<Held>>);

#[derive(Default)]
struct Held {
    values: BTreeMap<Vec<u8>, Vec<u8>>,
    records: BTreeMap<u64, Vec<u8>>,
}

impl Held {
    fn read(mut data: &[u8]) -> Self {
        let mut held = Self::default();
        while let Some(()) = held.row(&mut data) {}
        held
    }

    fn row(&mut self, data: &mut &[u8]) -> Option<()> {
        if take(data, 1)?[0] % 2 == 0 {
            let name = usize::from(take(data, 1)?[0]);
            let name = take(data, name)?.to_vec();
            self.values.insert(name, long(data)?);
        } else {
            let revision = u64::from_be_bytes(take(data, 8)?.try_into().ok()?);
            self.records.insert(revision, long(data)?);
        }
        Some(())
    }
}

/// What is left, if less is there.
fn take<'a>(data: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    if data.is_empty() && count > 0 {
        return None;
    }
    let (taken, rest) = data.split_at(count.min(data.len()));
    *data = rest;
    Some(taken).filter(|taken| taken.len() == count)
}

fn long(data: &mut &[u8]) -> Option<Vec<u8>> {
    let length = u16::from_be_bytes(take(data, 2)?.try_into().ok()?);
    Some(take(data, usize::from(length).min(data.len()))?.to_vec())
}

impl Rows {
    pub fn opener(&self) -> Opener {
        let rows = self.clone();
        Box::new(move |_| Ok(Box::new(rows.clone())))
    }

    /// In the form that [`run`] reads.
    pub fn written(&self) -> Vec<u8> {
        let held = self.0.lock().expect("nobody panicked");
        let mut data = Vec::new();
        let counted = |bytes: &[u8]| [&(bytes.len() as u16).to_be_bytes(), bytes].concat();
        for (name, value) in &held.values {
            data.extend([0, name.len() as u8]);
            data.extend_from_slice(name);
            data.extend(counted(value));
        }
        for (revision, bytes) in &held.records {
            data.push(1);
            data.extend(revision.to_be_bytes());
            data.extend(counted(bytes));
        }
        data
    }

    fn bytes(&self) -> usize {
        self.0.lock().expect("nobody panicked").records.values().map(Vec::len).sum()
    }
}

impl Log for Rows {
    fn load(&self, record: VisitRecord<'_>, value: VisitValue<'_>) -> Result<(), LogError> {
        let held = self.0.lock().expect("nobody panicked");
        held.values.iter().try_for_each(|(name, bytes)| value(name, bytes))?;
        held.records.iter().try_for_each(|(revision, bytes)| record(*revision, bytes))
    }

    fn commit(&mut self, batch: &LogBatch) -> Result<(), LogError> {
        let mut held = self.0.lock().expect("nobody panicked");
        if let Some(from) = batch.truncate_from {
            held.records.split_off(&from);
        }
        held.records.extend(batch.appends.iter().map(|(revision, bytes)| (*revision, bytes.to_vec())));
        for revision in &batch.removes {
            held.records.remove(revision);
        }
        for (name, value) in &batch.values {
            match value {
                Some(value) => held.values.insert(name.clone(), value.clone()),
                None => held.values.remove(name),
            };
        }
        Ok(())
    }

    fn disk_bytes(&self) -> u64 {
        0
    }
}
