//! Lists with paging: OCI distribution, "Listing Tags" and "Listing Referrers".

use super::tables::{MANIFESTS, REFERRERS, REPOSITORIES, TAGS, decode, refuse};
use super::{ManifestRecord, Metadata};
use crate::error::RegistryError;
use crate::name::{Repository, Tag};
use hako_names::Digest;
use std::ops::{Bound, ControlFlow};

/// One page.
#[derive(Debug, PartialEq)]
pub(crate) struct Page<T> {
    /// In lexical order.
    pub items: Vec<T>,
    /// Whether there are more behind it.
    pub has_more: bool,
}

impl Metadata {
    /// At most `limit` tags behind `last`.
    pub(crate) fn tags(
        &self,
        repository: &Repository,
        last: Option<&str>,
        limit: usize,
    ) -> Result<Page<Tag>, RegistryError> {
        self.read("list tags", |transaction| {
            let name = repository.as_str();
            let tags = transaction.open_table(TAGS)?;
            let from = last.map_or(Bound::Included((name, "")), |last| Bound::Excluded((name, last)));
            let mut page = Page { items: Vec::new(), has_more: false };
            for entry in tags.range::<(&str, &str)>((from, Bound::Unbounded))? {
                let (key, _) = entry?;
                let (in_repository, tag) = key.value();
                if in_repository != name {
                    break;
                }
                if page.items.len() == limit {
                    page.has_more = true;
                    break;
                }
                page.items.extend(tag.parse::<Tag>().ok());
            }
            Ok(Ok(page))
        })
    }

    /// At most `limit` repositories behind `last` that `is_visible`.
    pub(crate) fn repositories(
        &self,
        last: Option<&str>,
        limit: usize,
        is_visible: &dyn Fn(&Repository) -> bool,
    ) -> Result<Page<Repository>, RegistryError> {
        self.read("list repositories", |transaction| {
            let repositories = transaction.open_table(REPOSITORIES)?;
            let from = last.map_or(Bound::Unbounded, Bound::Excluded);
            let mut page = Page { items: Vec::new(), has_more: false };
            for entry in repositories.range::<&str>((from, Bound::Unbounded))? {
                let (key, _) = entry?;
                let Ok(repository) = key.value().parse::<Repository>() else { continue };
                if !is_visible(&repository) {
                    continue;
                }
                if page.items.len() == limit {
                    page.has_more = true;
                    break;
                }
                page.items.push(repository);
            }
            Ok(Ok(page))
        })
    }

    /// Shows the manifests that refer to `subject`, in the order of their digests and behind `after`, until `show` breaks.
    pub(crate) fn referrers(
        &self,
        repository: &Repository,
        subject: Digest,
        after: Option<Digest>,
        show: &mut dyn FnMut(Digest, ManifestRecord) -> ControlFlow<()>,
    ) -> Result<(), RegistryError> {
        self.read("list referrers", |transaction| {
            let (name, subject) = (repository.as_str(), subject.to_string());
            let after = after.map(|after| after.to_string());
            let referrers = transaction.open_table(REFERRERS)?;
            let manifests = transaction.open_table(MANIFESTS)?;
            let from = match &after {
                None => Bound::Included((name, subject.as_str(), "")),
                Some(after) => Bound::Excluded((name, subject.as_str(), after.as_str())),
            };
            for entry in referrers.range::<(&str, &str, &str)>((from, Bound::Unbounded))? {
                let (key, ()) = entry.map(|(key, value)| (key, value.value()))?;
                let (in_repository, to, digest) = key.value();
                if (in_repository, to) != (name, subject.as_str()) {
                    break;
                }
                let Some(record) = manifests.get((name, digest))? else { continue };
                let record = refuse!(decode("manifests", record.value()));
                let Ok(digest) = digest.parse() else { continue };
                if show(digest, record).is_break() {
                    break;
                }
            }
            Ok(Ok(()))
        })
    }

    /// Whether a manifest that is here refers to `subject`.
    pub(crate) fn is_referrer(
        &self,
        repository: &Repository,
        subject: Digest,
        digest: Digest,
    ) -> Result<bool, RegistryError> {
        self.read("look for a referrer", |transaction| {
            let (subject, digest) = (subject.to_string(), digest.to_string());
            let key = (repository.as_str(), subject.as_str(), digest.as_str());
            Ok(Ok(transaction.open_table(REFERRERS)?.get(key)?.is_some()))
        })
    }
}
