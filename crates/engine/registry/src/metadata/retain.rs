//! What retention asks and changes.

use super::tables::{MANIFESTS, TAGGED, TAGS, decode, get_link, refuse};
use super::{ManifestRecord, Metadata};
use crate::error::RegistryError;
use crate::name::{Repository, Tag};
use hako_names::Digest;
use redb::ReadableTable;

/// A tag with its age.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgedTag {
    pub tag: Tag,
    pub digest: Digest,
    pub set_unix_s: u64,
}

impl Metadata {
    /// All tags of a repository with the time when they were set.
    pub(crate) fn aged_tags(&self, repository: &Repository) -> Result<Vec<AgedTag>, RegistryError> {
        self.read("list tags with their age", |transaction| {
            let name = repository.as_str();
            let mut found = Vec::new();
            for entry in transaction.open_table(TAGGED)?.range((name, "", "")..)? {
                let (key, set) = entry?;
                let (in_repository, digest, tag) = key.value();
                if in_repository != name {
                    break;
                }
                if let (Ok(tag), Ok(digest)) = (tag.parse(), digest.parse()) {
                    found.push(AgedTag { tag, digest, set_unix_s: set.value() });
                }
            }
            Ok(Ok(found))
        })
    }

    /// The manifests without a tag that no index names, that refer to nothing that is here, and that came before
    /// `pushed_before_unix_s`.
    pub(crate) fn loose_manifests(
        &self,
        repository: &Repository,
        pushed_before_unix_s: u64,
    ) -> Result<Vec<Digest>, RegistryError> {
        self.read("list manifests without tags", |transaction| {
            let name = repository.as_str();
            let manifests = transaction.open_table(MANIFESTS)?;
            let (tagged, links) =
                (transaction.open_table(TAGGED)?, transaction.open_table(super::tables::LINKS)?);
            let mut found = Vec::new();
            for entry in manifests.range((name, "")..)? {
                let (key, value) = entry?;
                let (in_repository, digest) = key.value();
                if in_repository != name {
                    break;
                }
                let record: ManifestRecord = refuse!(decode("manifests", value.value()));
                let next = tagged.range((name, digest, "")..)?.next().transpose()?;
                let is_tagged = next.is_some_and(|(key, _)| (key.value().0, key.value().1) == (name, digest));
                let refers = match record.subject {
                    Some(subject) => manifests.get((name, subject.to_string().as_str()))?.is_some(),
                    None => false,
                };
                if is_tagged || refers || record.pushed_unix_s >= pushed_before_unix_s {
                    continue;
                }
                let Some(link) = links.get((name, digest))? else { continue };
                let link: super::LinkRecord = refuse!(decode("links", link.value()));
                if link.holds <= 1 {
                    found.extend(digest.parse::<Digest>().ok());
                }
            }
            Ok(Ok(found))
        })
    }

    /// The manifests that were last touched before `touched_before_unix_s`.
    pub(crate) fn untouched_manifests(
        &self,
        repository: &Repository,
        touched_before_unix_s: u64,
    ) -> Result<Vec<Digest>, RegistryError> {
        self.read("list old manifests", |transaction| {
            let name = repository.as_str();
            let mut found = Vec::new();
            for entry in transaction.open_table(MANIFESTS)?.range((name, "")..)? {
                let (key, value) = entry?;
                let (in_repository, digest) = key.value();
                if in_repository != name {
                    break;
                }
                let record: ManifestRecord = refuse!(decode("manifests", value.value()));
                if record.pushed_unix_s < touched_before_unix_s {
                    found.extend(digest.parse::<Digest>().ok());
                }
            }
            Ok(Ok(found))
        })
    }

    /// Removes a tag if it is still as it was seen; whether it was.
    pub(crate) fn delete_aged_tag(
        &self,
        repository: &Repository,
        aged: &AgedTag,
    ) -> Result<bool, RegistryError> {
        self.write("delete an old tag", |transaction| {
            let (name, tag, digest) = (repository.as_str(), aged.tag.as_str(), aged.digest.to_string());
            let mut tagged = transaction.open_table(TAGGED)?;
            let set = tagged.get((name, digest.as_str(), tag))?.map(|set| set.value());
            if set != Some(aged.set_unix_s) {
                return Ok(Ok(false));
            }
            tagged.remove((name, digest.as_str(), tag))?;
            transaction.open_table(TAGS)?.remove((name, tag))?;
            Ok(Ok(true))
        })
    }

    /// Removes a manifest if it still has no tag, no index names it, and nobody pushed it again since
    /// `pushed_before_unix_s`; whether it was so.
    pub(crate) fn delete_loose_manifest(
        &self,
        repository: &Repository,
        digest: Digest,
        pushed_before_unix_s: u64,
        leased_until_unix_s: u64,
    ) -> Result<bool, RegistryError> {
        self.write("delete a manifest without tags", |transaction| {
            let (name, text) = (repository.as_str(), digest.to_string());
            let link = refuse!(get_link(transaction, name, &text)?);
            let is_tagged = !super::delete::tags_of(transaction, name, &text)?.is_empty();
            let is_young = match transaction.open_table(MANIFESTS)?.get((name, text.as_str()))? {
                Some(found) => {
                    let record: ManifestRecord = refuse!(decode("manifests", found.value()));
                    record.pushed_unix_s >= pushed_before_unix_s
                }
                None => false,
            };
            if is_tagged || is_young || link.is_some_and(|link| link.holds > 1) {
                return Ok(Ok(false));
            }
            let deleted = super::delete::delete_manifest(
                transaction,
                repository,
                digest,
                leased_until_unix_s,
                &|_| false,
            )?;
            Ok(deleted.map(|deleted| deleted.is_some()))
        })
    }
}
