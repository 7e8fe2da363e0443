//! Counting everything again: what the records promise, held against the records.

use super::records::{BlobRecord, RepositoryRecord};
use super::tables::{
    BLOBS, EXPIRING, LINKS, MANIFESTS, REFERRERS, REPOSITORIES, TAGGED, TAGS, UNLINKED, decode, held_by,
    refuse,
};
use super::{LinkRecord, ManifestRecord, Metadata};
use crate::error::RegistryError;
use hako_names::Digest;
use redb::{ReadTransaction, ReadableTable, ReadableTableMetadata};
use std::collections::BTreeMap;

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// Blobs that have records, with size and whether somebody has them.
    pub blobs: BTreeMap<Digest, (u64, bool)>,
    /// What does not fit together.
    pub faults: Vec<String>,
}

impl Counted {
    fn expect(&mut self, is_so: bool, fault: impl FnOnce() -> String) {
        if !is_so {
            self.faults.push(fault());
        }
    }
}

type Read<T> = Result<Result<T, RegistryError>, redb::Error>;

impl Metadata {
    /// Counts links, holds and bytes, and compares. Takes memory for every link: meant for checks, not for serving.
    pub(crate) fn verify(&self) -> Result<Counted, RegistryError> {
        self.read("verify", |transaction| {
            let mut counted = Counted::default();
            let holds = refuse!(count_manifests(transaction, &mut counted)?);
            refuse!(compare_links(transaction, holds, &mut counted)?);
            Ok(Ok(counted))
        })
    }
}

type Holds = BTreeMap<(String, String), u64>;

/// Counts holds; checks tags and referrers on the way.
fn count_manifests(transaction: &ReadTransaction, counted: &mut Counted) -> Read<Holds> {
    let mut holds = Holds::new();
    let manifests = transaction.open_table(MANIFESTS)?;
    for entry in manifests.iter()? {
        let (key, value) = entry?;
        let (repository, digest) = key.value();
        let record: ManifestRecord = refuse!(decode("manifests", value.value()));
        let Ok(parsed) = digest.parse() else { continue };
        for held in held_by(parsed, &record) {
            *holds.entry((repository.to_owned(), held.to_string())).or_default() += 1;
        }
        if let Some(subject) = record.subject {
            let referrers = transaction.open_table(REFERRERS)?;
            let is_listed = referrers.get((repository, subject.to_string().as_str(), digest))?.is_some();
            counted.expect(is_listed, || {
                format!("{repository}: {digest} is not listed as a referrer of {subject}")
            });
        }
    }
    let (tags, tagged) = (transaction.open_table(TAGS)?, transaction.open_table(TAGGED)?);
    counted.expect(tags.len()? == tagged.len()?, || "tags and their index differ in number".into());
    for entry in tags.iter()? {
        let (key, digest) = entry?;
        let ((repository, tag), digest) = (key.value(), digest.value());
        let is_known = manifests.get((repository, digest))?.is_some();
        counted.expect(is_known, || format!("{repository}: tag {tag} leads to {digest}, which is not there"));
        let is_indexed = tagged.get((repository, digest, tag))?.is_some();
        counted.expect(is_indexed, || format!("{repository}: tag {tag} is not in the index"));
    }
    Ok(Ok(holds))
}

fn compare_links(transaction: &ReadTransaction, mut holds: Holds, counted: &mut Counted) -> Read<()> {
    let mut links_of: BTreeMap<String, u64> = BTreeMap::new();
    let mut bytes_of: BTreeMap<String, u64> = BTreeMap::new();
    let (mut leased, expiring) = (0, transaction.open_table(EXPIRING)?);
    for entry in transaction.open_table(LINKS)?.iter()? {
        let (key, value) = entry?;
        let (repository, digest) = key.value();
        let link: LinkRecord = refuse!(decode("links", value.value()));
        *links_of.entry(digest.to_owned()).or_default() += 1;
        *bytes_of.entry(repository.to_owned()).or_default() += link.size;
        let expected = holds.remove(&(repository.to_owned(), digest.to_owned())).unwrap_or_default();
        counted.expect(link.holds == expected, || {
            format!("{repository}: {digest} has {} holds, {expected} manifests name it", link.holds)
        });
        if link.holds == 0 {
            leased += 1;
            let is_listed = expiring.get((link.leased_until_unix_s, repository, digest))?.is_some();
            counted.expect(is_listed, || format!("{repository}: the lease of {digest} would never end"));
        }
    }
    counted.expect(expiring.len()? == leased, || "leases and links without holds differ in number".into());
    for (repository, digest) in holds.keys() {
        counted
            .faults
            .push(format!("{repository}: a manifest names {digest}, which the repository does not have"));
    }
    for entry in transaction.open_table(REPOSITORIES)?.iter()? {
        let (name, value) = entry?;
        let record: RepositoryRecord = refuse!(decode("repositories", value.value()));
        let expected = bytes_of.remove(name.value()).unwrap_or_default();
        counted.expect(record.bytes == expected, || {
            format!("{} counts {} bytes, it has {expected}", name.value(), record.bytes)
        });
    }
    compare_blobs(transaction, links_of, counted)
}

fn compare_blobs(
    transaction: &ReadTransaction,
    mut links_of: BTreeMap<String, u64>,
    counted: &mut Counted,
) -> Read<()> {
    let unlinked = transaction.open_table(UNLINKED)?;
    for entry in transaction.open_table(BLOBS)?.iter()? {
        let (key, value) = entry?;
        let record: BlobRecord = refuse!(decode("blobs", value.value()));
        let expected = links_of.remove(key.value()).unwrap_or_default();
        counted.expect(record.links == expected, || {
            format!("{} counts {} links, there are {expected}", key.value(), record.links)
        });
        let is_listed = unlinked.get(key.value())?.is_some();
        counted.expect(is_listed == (expected == 0), || {
            format!("{} is wrongly (not) listed as unlinked", key.value())
        });
        if let Ok(digest) = key.value().parse() {
            counted.blobs.insert(digest, (record.size, expected > 0));
        }
    }
    for digest in links_of.keys() {
        counted.faults.push(format!("{digest} has links but no record"));
    }
    Ok(Ok(()))
}
