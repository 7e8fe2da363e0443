//! What a push changes.

use super::records::{LinkRecord, ManifestRecord};
use super::tables::{
    MANIFESTS, REFERRERS, Step, TAGGED, TAGS, count_bytes, count_links, decode, encode, get_link, put_link,
    refuse,
};
use super::{Metadata, tables};
use crate::clock::now_unix_s;
use crate::condition::Conditions;
use crate::error::RegistryError;
use crate::name::{Reference, Repository, Tag};
use hako_names::Digest;
use redb::{ReadableTable, WriteTransaction};

/// A manifest to be put.
#[derive(Debug)]
pub(crate) struct NewManifest<'a> {
    pub repository: &'a Repository,
    pub digest: Digest,
    pub record: ManifestRecord,
    /// What it says of the sizes of what it names.
    pub sizes: &'a [(Digest, u64)],
    pub target: &'a Target,
    /// Which of those tags must not move when they lead elsewhere already.
    pub immutable: &'a [Tag],
    /// The quota of the repository.
    pub quota_bytes: Option<u64>,
}

/// As what a manifest is put.
#[derive(Debug, Default)]
pub(crate) struct Target {
    /// Tags that lead to it from now on.
    pub tags: Vec<Tag>,
    /// What must be so of a tag or digest just before.
    pub presumed: Option<(Reference, Conditions)>,
}

impl Metadata {
    /// Records that a repository has a blob whose bytes are there; a link that is there gets a longer lease.
    pub(crate) fn add_link(
        &self,
        repository: &Repository,
        digest: Digest,
        size: u64,
        leased_until_unix_s: u64,
        quota_bytes: Option<u64>,
    ) -> Result<(), RegistryError> {
        self.write("add a blob", |transaction| {
            add_link(transaction, repository, digest, size, leased_until_unix_s, quota_bytes)
        })
    }

    /// Gives `to` the blob that `from` has; `None` if `from` does not have it.
    pub(crate) fn mount(
        &self,
        from: &Repository,
        to: &Repository,
        digest: Digest,
        leased_until_unix_s: u64,
        quota_bytes: Option<u64>,
    ) -> Result<Option<()>, RegistryError> {
        self.write("mount a blob", |transaction| {
            let found = refuse!(get_link(transaction, from.as_str(), &digest.to_string())?);
            let Some(found) = found else { return Ok(Ok(None)) };
            let added = add_link(transaction, to, digest, found.size, leased_until_unix_s, quota_bytes)?;
            Ok(added.map(Some))
        })
    }

    /// Makes a link's lease longer, if it has no holds; `None` if there is no link.
    pub(crate) fn renew(
        &self,
        repository: &Repository,
        digest: Digest,
        leased_until_unix_s: u64,
    ) -> Result<Option<()>, RegistryError> {
        self.write("renew a lease", |transaction| {
            let text = digest.to_string();
            let Some(old) = refuse!(get_link(transaction, repository.as_str(), &text)?) else {
                return Ok(Ok(None));
            };
            let until = old.leased_until_unix_s.max(leased_until_unix_s);
            let new = LinkRecord { leased_until_unix_s: until, ..old.clone() };
            Ok(put_link(transaction, repository.as_str(), &text, Some(&old), &new)?.map(Some))
        })
    }

    /// Makes a manifest as young as `now_unix_s`, for caches.
    pub(crate) fn touch_manifest(
        &self,
        repository: &Repository,
        digest: Digest,
        now_unix_s: u64,
    ) -> Result<(), RegistryError> {
        self.write("touch a manifest", |transaction| {
            touch(transaction, repository.as_str(), &digest.to_string(), now_unix_s)
        })
    }

    /// Puts a manifest whose bytes are there, all of it or nothing.
    pub(crate) fn put_manifest(&self, new: &NewManifest<'_>) -> Result<(), RegistryError> {
        self.write("put a manifest", |transaction| {
            let missing = refuse!(missing_of(transaction, new)?);
            if !missing.is_empty() {
                let repository = new.repository.clone();
                return Ok(Err(RegistryError::ManifestBlobUnknown { repository, missing }));
            }
            refuse!(compare_sizes(transaction, new)?);
            let presumed = match &new.target.presumed {
                Some((reference, conditions)) => {
                    let current = current(transaction, new.repository.as_str(), reference)?;
                    conditions.before_change(new.repository, reference, current)
                }
                None => Ok(()),
            };
            refuse!(record_manifest(transaction, new)?);
            for tag in &new.target.tags {
                refuse!(set_tag(transaction, new, tag)?);
            }
            // Said last, and nothing is done then: what is refused whatever is presumed is refused for that (RFC 9110,
            // section 13.2.1).
            Ok(presumed)
        })
    }
}

fn add_link(
    transaction: &WriteTransaction,
    repository: &Repository,
    digest: Digest,
    size: u64,
    leased_until_unix_s: u64,
    quota_bytes: Option<u64>,
) -> Step<()> {
    let text = digest.to_string();
    let old = refuse!(get_link(transaction, repository.as_str(), &text)?);
    let holds = old.as_ref().map_or(0, |old| old.holds);
    let leased_until_unix_s = old.as_ref().map_or(0, |old| old.leased_until_unix_s).max(leased_until_unix_s);
    if old.is_none() {
        refuse!(count_links(transaction, &text, size, true)?);
        refuse!(count_bytes(transaction, repository.as_str(), |bytes| {
            let sum = bytes.saturating_add(size);
            match quota_bytes.filter(|quota| sum > *quota) {
                Some(quota) => Err(RegistryError::Denied {
                    problem: format!(
                        "repository {repository} may have {quota} bytes; it has {bytes} and {size} more were pushed"
                    ),
                }),
                None => Ok(sum),
            }
        })?);
    }
    let new = LinkRecord { size, holds, leased_until_unix_s };
    put_link(transaction, repository.as_str(), &text, old.as_ref(), &new)
}

/// What the manifest names and the repository lacks.
fn missing_of(transaction: &WriteTransaction, new: &NewManifest<'_>) -> Step<Vec<Digest>> {
    let repository = new.repository.as_str();
    let mut missing = Vec::new();
    for digest in &new.record.blobs {
        if refuse!(get_link(transaction, repository, &digest.to_string())?).is_none() {
            missing.push(*digest);
        }
    }
    let manifests = transaction.open_table(MANIFESTS)?;
    for digest in &new.record.manifests {
        if manifests.get((repository, digest.to_string().as_str()))?.is_none() {
            missing.push(*digest);
        }
    }
    Ok(Ok(missing))
}

/// Refuses a manifest that says another size than what is stored has: clients would refuse its image, or cut it.
fn compare_sizes(transaction: &WriteTransaction, new: &NewManifest<'_>) -> Step<()> {
    for (digest, said) in new.sizes {
        let link = refuse!(get_link(transaction, new.repository.as_str(), &digest.to_string())?);
        if let Some(link) = link.filter(|link| link.size != *said) {
            let problem = format!("it says that {digest} has {said} bytes, but it has {}", link.size);
            return Ok(Err(RegistryError::ManifestInvalid { problem }));
        }
    }
    Ok(Ok(()))
}

/// What a tag leads to, or the digest itself if such a manifest is there.
fn current(
    transaction: &WriteTransaction,
    repository: &str,
    reference: &Reference,
) -> Result<Option<Digest>, redb::Error> {
    match reference {
        Reference::Tag(tag) => {
            let tags = transaction.open_table(TAGS)?;
            let found = tags.get((repository, tag.as_str()))?;
            Ok(found.and_then(|digest| digest.value().parse().ok()))
        }
        Reference::Digest(digest) => {
            let manifests = transaction.open_table(MANIFESTS)?;
            let found = manifests.get((repository, digest.to_string().as_str()))?;
            Ok(found.map(|_| *digest))
        }
    }
}

/// Makes a manifest that is there as young as `now_unix_s`.
fn touch(transaction: &WriteTransaction, repository: &str, digest: &str, now_unix_s: u64) -> Step<()> {
    let mut manifests = transaction.open_table(MANIFESTS)?;
    let mut record: ManifestRecord = match manifests.get((repository, digest))? {
        Some(found) => refuse!(decode("manifests", found.value())),
        None => return Ok(Ok(())),
    };
    record.pushed_unix_s = now_unix_s;
    let bytes = refuse!(encode("manifests", &record));
    manifests.insert((repository, digest), bytes.as_slice())?;
    Ok(Ok(()))
}

/// Stores the record and takes the holds, unless the manifest is there already.
fn record_manifest(transaction: &WriteTransaction, new: &NewManifest<'_>) -> Step<()> {
    let (repository, text) = (new.repository.as_str(), new.digest.to_string());
    let known = transaction.open_table(MANIFESTS)?.get((repository, text.as_str()))?.is_some();
    if known {
        // It is as young as one that came now: whoever pushes it goes on to push what names it.
        return touch(transaction, repository, &text, new.record.pushed_unix_s);
    }
    refuse!(add_link(transaction, new.repository, new.digest, new.record.size, 0, new.quota_bytes)?);
    for held in tables::held_by(new.digest, &new.record) {
        refuse!(tables::hold(transaction, repository, &held.to_string())?);
    }
    if let Some(subject) = new.record.subject {
        let mut referrers = transaction.open_table(REFERRERS)?;
        referrers.insert((repository, subject.to_string().as_str(), text.as_str()), ())?;
    }
    let bytes = refuse!(encode("manifests", &new.record));
    transaction.open_table(MANIFESTS)?.insert((repository, text.as_str()), bytes.as_slice())?;
    Ok(Ok(()))
}

fn set_tag(transaction: &WriteTransaction, new: &NewManifest<'_>, tag: &Tag) -> Step<()> {
    let (repository, digest) = (new.repository.as_str(), new.digest.to_string());
    let mut tags = transaction.open_table(TAGS)?;
    let mut tagged = transaction.open_table(TAGGED)?;
    let old = tags.insert((repository, tag.as_str()), digest.as_str())?.map(|old| old.value().to_owned());
    if let Some(old) = old.filter(|old| *old != digest) {
        if new.immutable.contains(tag) {
            let problem =
                format!("tag {tag} of {repository} is immutable and leads to {old}; push another tag");
            return Ok(Err(RegistryError::Denied { problem }));
        }
        tagged.remove((repository, old.as_str(), tag.as_str()))?;
    }
    tagged.insert((repository, digest.as_str(), tag.as_str()), now_unix_s())?;
    Ok(Ok(()))
}
