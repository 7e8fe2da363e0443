//! What a deletion changes.

use super::Metadata;
use super::tables::{
    MANIFESTS, REFERRERS, Step, TAGGED, TAGS, decode, get_link, held_by, refuse, release, remove_link,
};
use crate::condition::Conditions;
use crate::error::RegistryError;
use crate::name::{Reference, Repository, Tag};
use hako_names::Digest;
use redb::{ReadableTable, WriteTransaction};
use std::collections::BTreeSet;

impl Metadata {
    /// Removes a tag, if what is presumed of it is so; what it led to stays. `None` if there is no such tag.
    pub(crate) fn delete_tag(
        &self,
        repository: &Repository,
        tag: &Tag,
        presumed: &Conditions,
    ) -> Result<Option<Digest>, RegistryError> {
        self.write("delete a tag", |transaction| {
            let removed = transaction
                .open_table(TAGS)?
                .remove((repository.as_str(), tag.as_str()))?
                .map(|digest| digest.value().to_owned());
            let Some(digest) = removed else { return Ok(Ok(None)) };
            transaction.open_table(TAGGED)?.remove((repository.as_str(), digest.as_str(), tag.as_str()))?;
            let digest = digest.parse().ok();
            refuse!(presumed.before_change(repository, &Reference::Tag(tag.clone()), digest));
            Ok(Ok(digest))
        })
    }

    /// Removes a manifest with the tags that lead to it, unless one of them is immutable, an index names it, or what is
    /// presumed of it is not so; what only it named stays until `leased_until_unix_s`. `None` if there is no such manifest.
    pub(crate) fn delete_manifest(
        &self,
        repository: &Repository,
        digest: Digest,
        leased_until_unix_s: u64,
        is_immutable: &dyn Fn(&Tag) -> bool,
        presumed: &Conditions,
    ) -> Result<Option<Vec<Tag>>, RegistryError> {
        self.write("delete a manifest", |transaction| {
            refuse!(refuse_held(transaction, repository, digest, is_immutable)?);
            let deleted =
                delete_manifest(transaction, repository, digest, leased_until_unix_s, is_immutable)?;
            if matches!(deleted, Ok(Some(_))) {
                refuse!(presumed.before_change(repository, &Reference::Digest(digest), Some(digest)));
            }
            Ok(deleted)
        })
    }

    /// Removes a link that no manifest holds; `None` if there is none.
    pub(crate) fn delete_link(
        &self,
        repository: &Repository,
        digest: Digest,
    ) -> Result<Option<()>, RegistryError> {
        self.write("delete a blob", |transaction| {
            let text = digest.to_string();
            let Some(link) = refuse!(get_link(transaction, repository.as_str(), &text)?) else {
                return Ok(Ok(None));
            };
            if link.holds > 0 {
                let (repository, manifests) = (repository.clone(), link.holds);
                return Ok(Err(RegistryError::BlobHeld { repository, digest, manifests }));
            }
            Ok(remove_link(transaction, repository.as_str(), &text, &link)?.map(Some))
        })
    }
}

/// The tags that lead to a manifest.
pub(super) fn tags_of(
    transaction: &WriteTransaction,
    repository: &str,
    digest: &str,
) -> Result<Vec<Tag>, redb::Error> {
    let tagged = transaction.open_table(TAGGED)?;
    let mut tags = Vec::new();
    for entry in tagged.range((repository, digest, "")..)? {
        let (key, _) = entry?;
        let (in_repository, of_digest, tag) = key.value();
        if (in_repository, of_digest) != (repository, digest) {
            break;
        }
        tags.extend(tag.parse::<Tag>().ok());
    }
    Ok(tags)
}

/// Refuses to delete a manifest that an index of the repository names: as part of an immutable tag's image, be it through
/// several indexes, or because the index would name what is not there.
fn refuse_held(
    transaction: &WriteTransaction,
    repository: &Repository,
    digest: Digest,
    is_immutable: &dyn Fn(&Tag) -> bool,
) -> Step<()> {
    let link = refuse!(get_link(transaction, repository.as_str(), &digest.to_string())?);
    // One hold is the manifest's own.
    if link.is_none_or(|link| link.holds <= 1) {
        return Ok(Ok(()));
    }
    let indexes = refuse!(indexes_of(transaction, repository.as_str())?);
    let naming = |digest: Digest| {
        indexes.iter().filter(move |(_, named)| named.contains(&digest)).map(|(index, _)| *index)
    };
    let Some(first) = naming(digest).next() else { return Ok(Ok(())) };
    let (mut above, mut seen) = (vec![digest], BTreeSet::new());
    while let Some(one) = above.pop() {
        for index in naming(one).filter(|index| seen.insert(*index)) {
            let tags = tags_of(transaction, repository.as_str(), &index.to_string())?;
            if let Some(tag) = tags.iter().find(|tag| is_immutable(tag)) {
                let problem = format!(
                    "manifest {digest} of {repository} is part of index {index}, which has the immutable tag {tag}"
                );
                return Ok(Err(RegistryError::Denied { problem }));
            }
            above.push(index);
        }
    }
    Ok(Err(RegistryError::ManifestHeld { repository: repository.clone(), digest, index: first }))
}

/// The indexes of a repository with what they name. Reads all its manifests: only for one that has a hold too many.
fn indexes_of(transaction: &WriteTransaction, repository: &str) -> Step<Vec<(Digest, Vec<Digest>)>> {
    let manifests = transaction.open_table(MANIFESTS)?;
    let mut indexes = Vec::new();
    for entry in manifests.range((repository, "")..)? {
        let (key, value) = entry?;
        let (in_repository, digest) = key.value();
        if in_repository != repository {
            break;
        }
        let record: super::ManifestRecord = refuse!(decode("manifests", value.value()));
        if let (false, Ok(digest)) = (record.manifests.is_empty(), digest.parse::<Digest>()) {
            indexes.push((digest, record.manifests));
        }
    }
    Ok(Ok(indexes))
}

/// The one way in which a manifest goes.
pub(super) fn delete_manifest(
    transaction: &WriteTransaction,
    repository: &Repository,
    digest: Digest,
    leased_until_unix_s: u64,
    is_immutable: &dyn Fn(&Tag) -> bool,
) -> Step<Option<Vec<Tag>>> {
    let (name, text) = (repository.as_str(), digest.to_string());
    let record = match transaction.open_table(MANIFESTS)?.remove((name, text.as_str()))? {
        Some(found) => refuse!(decode::<super::ManifestRecord>("manifests", found.value())),
        None => return Ok(Ok(None)),
    };
    let tags = tags_of(transaction, name, &text)?;
    if let Some(tag) = tags.iter().find(|tag| is_immutable(tag)) {
        let problem = format!("manifest {digest} of {repository} has the immutable tag {tag}");
        return Ok(Err(RegistryError::Denied { problem }));
    }
    for tag in &tags {
        transaction.open_table(TAGS)?.remove((name, tag.as_str()))?;
        transaction.open_table(TAGGED)?.remove((name, text.as_str(), tag.as_str()))?;
    }
    if let Some(subject) = record.subject {
        let subject = subject.to_string();
        transaction.open_table(REFERRERS)?.remove((name, subject.as_str(), text.as_str()))?;
    }
    for held in held_by(digest, &record) {
        refuse!(release(transaction, name, &held.to_string(), leased_until_unix_s)?);
    }
    Ok(Ok(Some(tags)))
}
