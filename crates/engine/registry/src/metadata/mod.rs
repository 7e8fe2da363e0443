//! The registry's own records, in one redb file.
//!
//! Owns: which repository has which blob, manifest, tag and referrer; the counts that make garbage visible.
//! Does not own: bytes. Invariant: every function that changes something is one durable transaction, and after
//! each of them the counts equal what can be counted ([`Metadata::verify`] counts).

mod collect;
mod delete;
mod file;
mod lists;
mod push;
mod records;
mod retain;
mod tables;
mod verify;

pub(crate) use push::{NewManifest, Target};
pub(crate) use records::{LinkRecord, ManifestRecord};
pub(crate) use retain::AgedTag;

use crate::error::RegistryError;
use crate::name::{Reference, Repository};
use file::File;
use hako_names::Digest;
use records::RepositoryRecord;
use redb::ReadableDatabase as _;
use std::path::Path;
use std::sync::Arc;
use tables::{BLOBS, EXPIRING, LINKS, MANIFESTS, REFERRERS, REPOSITORIES, TAGGED, TAGS, UNLINKED, decode};

/// The records. Cheap to clone; one process has a file open at a time.
#[derive(Clone, Debug)]
pub(crate) struct Metadata {
    file: Arc<File>,
}

impl Metadata {
    /// Opens or creates the file in `dir`; the file is locked while it is open.
    pub(crate) fn open(dir: &Path) -> Result<Self, RegistryError> {
        let metadata = Self { file: Arc::new(File::create(dir)?) };
        metadata.write("create tables", |transaction| {
            transaction.open_table(REPOSITORIES)?;
            transaction.open_table(BLOBS)?;
            transaction.open_table(LINKS)?;
            transaction.open_table(EXPIRING)?;
            transaction.open_table(UNLINKED)?;
            transaction.open_table(MANIFESTS)?;
            transaction.open_table(TAGS)?;
            transaction.open_table(TAGGED)?;
            transaction.open_table(REFERRERS)?;
            Ok(Ok(()))
        })?;
        Ok(metadata)
    }

    /// Whether the repository exists.
    pub(crate) fn has_repository(&self, repository: &Repository) -> Result<bool, RegistryError> {
        self.read("look for a repository", |transaction| {
            Ok(Ok(transaction.open_table(REPOSITORIES)?.get(repository.as_str())?.is_some()))
        })
    }

    /// How many bytes the repository has: what a quota counts.
    pub(crate) fn used_bytes(&self, repository: &Repository) -> Result<u64, RegistryError> {
        self.read("count a repository's bytes", |transaction| {
            let repositories = transaction.open_table(REPOSITORIES)?;
            let record = match repositories.get(repository.as_str())? {
                Some(found) => decode::<RepositoryRecord>("repositories", found.value()),
                None => return Ok(Ok(0)),
            };
            Ok(record.map(|record| record.bytes))
        })
    }

    /// The repository's link to a blob.
    pub(crate) fn link(
        &self,
        repository: &Repository,
        digest: Digest,
    ) -> Result<Option<LinkRecord>, RegistryError> {
        self.read("look for a blob", |transaction| {
            let links = transaction.open_table(LINKS)?;
            let found = links.get((repository.as_str(), digest.to_string().as_str()))?;
            Ok(found.map(|found| decode("links", found.value())).transpose())
        })
    }

    /// What a tag or a digest leads to.
    pub(crate) fn manifest(
        &self,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Option<(Digest, ManifestRecord)>, RegistryError> {
        self.read("look for a manifest", |transaction| {
            let digest = match reference {
                Reference::Digest(digest) => Some(digest.to_string()),
                Reference::Tag(tag) => {
                    let tags = transaction.open_table(TAGS)?;
                    tags.get((repository.as_str(), tag.as_str()))?.map(|digest| digest.value().to_owned())
                }
            };
            let Some(digest) = digest else { return Ok(Ok(None)) };
            let manifests = transaction.open_table(MANIFESTS)?;
            let found = manifests.get((repository.as_str(), digest.as_str()))?;
            let found = found.map(|found| decode("manifests", found.value())).transpose();
            Ok(found.map(|found| found.zip(digest.parse().ok()).map(|(record, digest)| (digest, record))))
        })
    }

    /// Runs one read.
    fn read<T>(
        &self,
        action: &'static str,
        body: impl FnOnce(&redb::ReadTransaction) -> Result<Result<T, RegistryError>, redb::Error>,
    ) -> Result<T, RegistryError> {
        self.file.with(action, |database| {
            let transaction = database.begin_read()?;
            body(&transaction)
        })
    }

    /// Runs one durable transaction; what the body refuses is rolled back.
    fn write<T>(
        &self,
        action: &'static str,
        body: impl FnOnce(&redb::WriteTransaction) -> Result<Result<T, RegistryError>, redb::Error>,
    ) -> Result<T, RegistryError> {
        self.file.with(action, |database| {
            let transaction = database.begin_write()?;
            let done = body(&transaction)?;
            match done {
                Ok(_) => transaction.commit()?,
                Err(_) => transaction.abort()?,
            }
            Ok(done)
        })
    }
}
