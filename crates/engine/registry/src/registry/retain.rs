//! Retention: what the configuration says should not stay.

use super::Registry;
use crate::clock::now_unix_s;
use crate::config::{Retention, any};
use crate::error::RegistryError;
use crate::metadata::AgedTag;
use crate::name::Repository;
use hako_names::Digest;

/// Repositories that are looked at in one piece.
const PIECE: usize = 256;

/// What one rule says of one repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Retired {
    /// Tags that went, or would go.
    pub tags: usize,
    /// Manifests without tags that went, or would go.
    pub manifests: usize,
}

impl Registry {
    /// Applies every retention rule to every repository. Of caches only tags are looked at: what their indexes name is not
    /// in the records, and goes when nobody pulls it.
    pub async fn retain(&self, is_cache: impl Fn(&Repository) -> bool) -> Result<Retired, RegistryError> {
        let mut sum = Retired::default();
        let mut last: Option<String> = None;
        while !self.inner.policy.retention.is_empty() {
            let page = self.inner.metadata.repositories(last.as_deref(), PIECE, &|_| true)?;
            for repository in &page.items {
                let has_records = !is_cache(repository);
                for rule in &self.inner.policy.retention {
                    let retired = self.apply(rule, repository, has_records).await?;
                    sum.tags += retired.tags;
                    sum.manifests += retired.manifests;
                }
            }
            last = page.items.last().map(ToString::to_string);
            if !page.has_more {
                break;
            }
        }
        Ok(sum)
    }

    async fn apply(
        &self,
        rule: &Retention,
        repository: &Repository,
        has_records: bool,
    ) -> Result<Retired, RegistryError> {
        let mut retired = Retired::default();
        if !any(&rule.of.repositories, repository.as_str()) {
            return Ok(retired);
        }
        let now = now_unix_s();
        let tags = self.inner.metadata.aged_tags(repository)?;
        for aged in old_tags(rule, self.of_rule(rule, repository, tags), now) {
            tracing::info!(%repository, tag = %aged.tag, digest = %aged.digest, dry_run = rule.dry_run, "retention: tag goes");
            let name = repository.clone();
            if rule.dry_run || self.change(move |metadata| metadata.delete_aged_tag(&name, &aged)).await? {
                retired.tags += 1;
            }
        }
        if rule.untagged && has_records {
            let before = now.saturating_sub(self.inner.limits.lease.as_secs());
            for digest in self.inner.metadata.loose_manifests(repository, before)? {
                tracing::info!(%repository, %digest, dry_run = rule.dry_run, "retention: manifest without tags goes");
                if rule.dry_run || self.retire_manifest(repository, digest, before).await? {
                    retired.manifests += 1;
                }
            }
        }
        Ok(retired)
    }

    async fn retire_manifest(
        &self,
        repository: &Repository,
        digest: Digest,
        pushed_before_unix_s: u64,
    ) -> Result<bool, RegistryError> {
        let (name, until) = (repository.clone(), self.lease_end());
        self.change(move |metadata| {
            metadata.delete_loose_manifest(&name, digest, pushed_before_unix_s, until)
        })
        .await
    }

    /// The tags that a rule is about.
    fn of_rule(&self, rule: &Retention, repository: &Repository, tags: Vec<AgedTag>) -> Vec<AgedTag> {
        let is_about = |aged: &AgedTag| {
            any(&rule.of.tags, aged.tag.as_str())
                && !any(&rule.except, aged.tag.as_str())
                && !self.inner.policy.is_immutable(repository, &aged.tag)
        };
        tags.into_iter().filter(is_about).collect()
    }
}

/// Those that neither number nor age keeps.
fn old_tags(rule: &Retention, mut tags: Vec<AgedTag>, now_unix_s: u64) -> Vec<AgedTag> {
    if rule.keep_last.is_none() && rule.keep_for.is_none() {
        return Vec::new();
    }
    tags.sort_by(|a, b| b.set_unix_s.cmp(&a.set_unix_s).then_with(|| b.tag.cmp(&a.tag)));
    let by_number = rule.keep_last.map_or(0, |number| usize::try_from(number).unwrap_or(usize::MAX));
    let is_young = |aged: &AgedTag| {
        rule.keep_for.is_some_and(|age| now_unix_s.saturating_sub(aged.set_unix_s) < age.as_secs())
    };
    tags.into_iter().skip(by_number).filter(|aged| !is_young(aged)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::LocalBlobs;
    use crate::config::{Config, Pattern, Selection};
    use crate::metadata::{Metadata, Target};
    use crate::policy::Policy;
    use crate::registry::Limits;
    use bytes::Bytes;
    use hako_content::ContentStore;
    use std::sync::Arc;
    use std::time::Duration;

    #[tokio::test]
    async fn a_manifest_that_is_pushed_again_is_as_young_as_a_new_one() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = LocalBlobs::new(ContentStore::open(dir.path().join("content")).unwrap());
        let metadata = Metadata::open(dir.path()).unwrap();
        let everything = vec![Pattern::new("**")];
        let retention = Retention {
            of: Selection { repositories: everything.clone(), tags: everything },
            except: Vec::new(),
            keep_last: None,
            keep_for: None,
            untagged: true,
            dry_run: false,
        };
        let config = Config { retention: vec![retention], ..Config::default() };
        let limits = Limits::default();
        let registry = Registry::new(metadata.clone(), Arc::new(blobs), limits, Policy::of(&config));
        let repository: Repository = "a".parse().unwrap();
        let index = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
        let digest = Digest::of(&index);
        let push = async || {
            let pushed = registry.put_manifest(
                &repository,
                digest,
                Target::default(),
                Some(crate::manifest::OCI_INDEX),
                index.clone(),
            );
            pushed.await.unwrap();
        };
        let grow_old = || {
            let long_ago = now_unix_s() - 2 * limits.lease.as_secs();
            metadata.touch_manifest(&repository, digest, long_ago).unwrap();
        };
        push().await;
        grow_old();
        // Whoever pushes it goes on with the index that names it.
        push().await;
        assert_eq!(registry.retain(|_| false).await.unwrap().manifests, 0);
        grow_old();
        assert_eq!(registry.retain(|_| true).await.unwrap().manifests, 0, "that of a cache stays");
        let found_old = now_unix_s() - limits.lease.as_secs();
        push().await;
        let retired = registry.retire_manifest(&repository, digest, found_old).await.unwrap();
        assert!(!retired, "it was pushed after it was found to be old");
        grow_old();
        assert_eq!(registry.retain(|_| false).await.unwrap().manifests, 1);
    }

    #[test]
    fn what_number_or_age_keeps_stays() {
        let all = vec![Pattern::new("**")];
        let rule = |keep_last: Option<u64>, keep_s: Option<u64>| Retention {
            of: Selection { repositories: all.clone(), tags: all.clone() },
            except: Vec::new(),
            keep_last,
            keep_for: keep_s.map(Duration::from_secs),
            untagged: false,
            dry_run: false,
        };
        let tags: Vec<AgedTag> = [("a", 10), ("b", 20), ("c", 30)]
            .into_iter()
            .map(|(tag, set_unix_s)| AgedTag {
                tag: tag.parse().unwrap(),
                digest: Digest::of(b""),
                set_unix_s,
            })
            .collect();
        let old = |keep_last, keep_s| -> Vec<String> {
            old_tags(&rule(keep_last, keep_s), tags.clone(), 40)
                .iter()
                .map(|aged| aged.tag.to_string())
                .collect()
        };
        assert_eq!(old(Some(2), None), ["a"]);
        assert_eq!(old(Some(0), None), ["c", "b", "a"]);
        assert_eq!(old(None, Some(25)), ["a"]);
        assert_eq!(old(Some(1), Some(25)), ["a"]);
        assert!(old(None, None).is_empty());
    }
}
