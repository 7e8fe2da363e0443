//! The tables' names and keys. Digests are keys as text, `sha256:…`: one can read a dump.

use super::records::{BlobRecord, LinkRecord, ManifestRecord};
use crate::error::RegistryError;
use hako_names::Digest;
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

/// repository → [`RepositoryRecord`](super::records::RepositoryRecord)
pub(super) const REPOSITORIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("repositories");
/// digest → [`BlobRecord`]
pub(super) const BLOBS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("blobs");
/// repository, digest → [`LinkRecord`]
pub(super) const LINKS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("links");
/// end of lease, repository, digest: exactly the links without holds, in the order in which they end
pub(super) const EXPIRING: TableDefinition<'_, (u64, &str, &str), ()> = TableDefinition::new("expiring");
/// digest: exactly the blobs without links
pub(super) const UNLINKED: TableDefinition<'_, &str, ()> = TableDefinition::new("unlinked");
/// repository, digest → [`ManifestRecord`](super::records::ManifestRecord)
pub(super) const MANIFESTS: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("manifests");
/// repository, tag → digest
pub(super) const TAGS: TableDefinition<'_, (&str, &str), &str> = TableDefinition::new("tags");
/// repository, digest, tag → when it was set, in seconds since 1970
pub(super) const TAGGED: TableDefinition<'_, (&str, &str, &str), u64> = TableDefinition::new("tagged");
/// repository, subject, digest of the manifest that refers to it
pub(super) const REFERRERS: TableDefinition<'_, (&str, &str, &str), ()> = TableDefinition::new("referrers");

pub(super) fn decode<T: DeserializeOwned>(table: &'static str, bytes: &[u8]) -> Result<T, RegistryError> {
    serde_json::from_slice(bytes).map_err(|source| RegistryError::Record { table, source })
}

pub(super) fn encode<T: Serialize>(table: &'static str, record: &T) -> Result<Vec<u8>, RegistryError> {
    serde_json::to_vec(record).map_err(|source| RegistryError::Record { table, source })
}

/// The outer error is the database's, the inner one a refusal that rolls the transaction back.
pub(super) type Step<T> = Result<Result<T, RegistryError>, redb::Error>;

/// Leaves a function that returns [`Step`] when the inner result is a refusal.
macro_rules! refuse {
    ($result:expr) => {
        match $result {
            Ok(value) => value,
            Err(refused) => return Ok(Err(refused)),
        }
    };
}
pub(super) use refuse;

/// Reads a link inside a transaction that may change it.
pub(super) fn get_link(
    transaction: &WriteTransaction,
    repository: &str,
    digest: &str,
) -> Step<Option<LinkRecord>> {
    let links = transaction.open_table(LINKS)?;
    let found = links.get((repository, digest))?;
    Ok(found.map(|found| decode("links", found.value())).transpose())
}

/// Stores a link and keeps [`EXPIRING`] equal to it.
pub(super) fn put_link(
    transaction: &WriteTransaction,
    repository: &str,
    digest: &str,
    old: Option<&LinkRecord>,
    new: &LinkRecord,
) -> Step<()> {
    let mut expiring = transaction.open_table(EXPIRING)?;
    if let Some(old) = old.filter(|old| old.holds == 0) {
        expiring.remove((old.leased_until_unix_s, repository, digest))?;
    }
    if new.holds == 0 {
        expiring.insert((new.leased_until_unix_s, repository, digest), ())?;
    }
    let bytes = refuse!(encode("links", new));
    transaction.open_table(LINKS)?.insert((repository, digest), bytes.as_slice())?;
    Ok(Ok(()))
}

/// Changes a blob's count of links by one; keeps [`UNLINKED`] equal to it.
pub(super) fn count_links(
    transaction: &WriteTransaction,
    digest: &str,
    size: u64,
    is_more: bool,
) -> Step<()> {
    let mut blobs = transaction.open_table(BLOBS)?;
    let found = match blobs.get(digest)? {
        Some(found) => refuse!(decode("blobs", found.value())),
        None => BlobRecord { size, links: 0 },
    };
    let links = if is_more { found.links + 1 } else { found.links.saturating_sub(1) };
    let bytes = refuse!(encode("blobs", &BlobRecord { size: found.size, links }));
    blobs.insert(digest, bytes.as_slice())?;
    let mut unlinked = transaction.open_table(UNLINKED)?;
    if links == 0 {
        unlinked.insert(digest, ())?;
    } else {
        unlinked.remove(digest)?;
    }
    Ok(Ok(()))
}

/// Adds to or takes from what a repository's quota counts; creates the repository.
pub(super) fn count_bytes(
    transaction: &WriteTransaction,
    repository: &str,
    change: impl FnOnce(u64) -> Result<u64, RegistryError>,
) -> Step<()> {
    let mut repositories = transaction.open_table(REPOSITORIES)?;
    let mut record = match repositories.get(repository)? {
        Some(found) => refuse!(decode("repositories", found.value())),
        None => super::records::RepositoryRecord { created_unix_s: crate::clock::now_unix_s(), bytes: 0 },
    };
    record.bytes = refuse!(change(record.bytes));
    let bytes = refuse!(encode("repositories", &record));
    repositories.insert(repository, bytes.as_slice())?;
    Ok(Ok(()))
}

/// Every link of the repository that a manifest holds, its own among them, each once.
pub(super) fn held_by(digest: Digest, record: &ManifestRecord) -> BTreeSet<Digest> {
    record.blobs.iter().chain(&record.manifests).copied().chain([digest]).collect()
}

/// Adds a hold to a link.
pub(super) fn hold(transaction: &WriteTransaction, repository: &str, digest: &str) -> Step<()> {
    match refuse!(get_link(transaction, repository, digest)?) {
        Some(old) => {
            let new = LinkRecord { holds: old.holds + 1, ..old.clone() };
            put_link(transaction, repository, digest, Some(&old), &new)
        }
        None => Ok(Ok(())),
    }
}

/// Takes a hold from a link; the last one leaves a lease until `leased_until_unix_s`.
pub(super) fn release(
    transaction: &WriteTransaction,
    repository: &str,
    digest: &str,
    leased_until_unix_s: u64,
) -> Step<()> {
    match refuse!(get_link(transaction, repository, digest)?) {
        Some(old) => {
            let until = old.leased_until_unix_s.max(leased_until_unix_s);
            let new =
                LinkRecord { holds: old.holds.saturating_sub(1), leased_until_unix_s: until, ..old.clone() };
            put_link(transaction, repository, digest, Some(&old), &new)
        }
        None => Ok(Ok(())),
    }
}

/// Removes a link; the blob may become unlinked.
pub(super) fn remove_link(
    transaction: &WriteTransaction,
    repository: &str,
    digest: &str,
    old: &LinkRecord,
) -> Step<()> {
    transaction.open_table(EXPIRING)?.remove((old.leased_until_unix_s, repository, digest))?;
    transaction.open_table(LINKS)?.remove((repository, digest))?;
    refuse!(count_links(transaction, digest, old.size, false)?);
    count_bytes(transaction, repository, |bytes| Ok(bytes.saturating_sub(old.size)))
}
