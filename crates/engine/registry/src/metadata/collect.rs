//! What the collector asks and changes, a bounded piece at a time.

use super::Metadata;
use super::tables::{BLOBS, EXPIRING, UNLINKED, get_link, refuse, remove_link};
use crate::error::RegistryError;
use hako_names::Digest;
use redb::ReadableTable;

impl Metadata {
    /// Removes at most `limit` links whose lease is over; returns how many.
    pub(crate) fn expire(&self, now_unix_s: u64, limit: usize) -> Result<usize, RegistryError> {
        if self.first_expiry()?.is_none_or(|first| first > now_unix_s) {
            return Ok(0);
        }
        self.write("end leases", |transaction| {
            let mut over = Vec::new();
            for entry in
                transaction.open_table(EXPIRING)?.range(..=(now_unix_s, "\u{10ffff}", ""))?.take(limit)
            {
                let (key, ()) = entry.map(|(key, value)| (key, value.value()))?;
                let (_, repository, digest) = key.value();
                over.push((repository.to_owned(), digest.to_owned()));
            }
            for (repository, digest) in &over {
                if let Some(link) = refuse!(get_link(transaction, repository, digest)?) {
                    refuse!(remove_link(transaction, repository, digest, &link)?);
                }
            }
            Ok(Ok(over.len()))
        })
    }

    /// When the next lease is over, in seconds since 1970.
    pub(crate) fn first_expiry(&self) -> Result<Option<u64>, RegistryError> {
        self.read("look for leases", |transaction| {
            Ok(Ok(transaction.open_table(EXPIRING)?.first()?.map(|(key, _)| key.value().0)))
        })
    }

    /// At most `limit` blobs that no repository has.
    pub(crate) fn unlinked(&self, limit: usize) -> Result<Vec<Digest>, RegistryError> {
        self.read("look for unlinked blobs", |transaction| {
            let mut found = Vec::new();
            for entry in transaction.open_table(UNLINKED)?.iter()?.take(limit) {
                found.extend(entry?.0.value().parse::<Digest>().ok());
            }
            Ok(Ok(found))
        })
    }

    /// Whether the blob is in the list of those that no repository has. Ask with the digest's lock held.
    pub(crate) fn is_unlinked(&self, digest: Digest) -> Result<bool, RegistryError> {
        self.read("look for an unlinked blob", |transaction| {
            Ok(Ok(transaction.open_table(UNLINKED)?.get(digest.to_string().as_str())?.is_some()))
        })
    }

    /// Whether there is any record of the blob. Ask with the digest's lock held.
    pub(crate) fn has_blob(&self, digest: Digest) -> Result<bool, RegistryError> {
        self.read("look for a blob", |transaction| {
            Ok(Ok(transaction.open_table(BLOBS)?.get(digest.to_string().as_str())?.is_some()))
        })
    }

    /// Forgets a blob whose bytes are gone. Call with the digest's lock held.
    pub(crate) fn forget(&self, digest: Digest) -> Result<(), RegistryError> {
        self.write("forget a blob", |transaction| {
            let text = digest.to_string();
            if transaction.open_table(UNLINKED)?.remove(text.as_str())?.is_some() {
                transaction.open_table(BLOBS)?.remove(text.as_str())?;
            }
            Ok(Ok(()))
        })
    }
}
