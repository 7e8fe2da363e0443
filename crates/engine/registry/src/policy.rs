//! What the configuration says about repositories and tags.

use crate::config::{Config, Quota, Retention, Selection, any};
use crate::name::{Repository, Tag};

/// Quotas, immutable tags, retention.
#[derive(Clone, Debug, Default)]
pub(crate) struct Policy {
    quotas: Vec<Quota>,
    immutable: Vec<Selection>,
    pub retention: Vec<Retention>,
}

impl Policy {
    pub(crate) fn of(config: &Config) -> Self {
        Self {
            quotas: config.quotas.clone(),
            immutable: config.immutable.clone(),
            retention: config.retention.clone(),
        }
    }

    /// How many bytes the repository may have.
    pub(crate) fn quota_bytes(&self, repository: &Repository) -> Option<u64> {
        let quota = self.quotas.iter().find(|quota| any(&quota.repositories, repository.as_str()));
        quota.map(|quota| quota.bytes)
    }

    /// Whether the tag never moves and is never deleted.
    pub(crate) fn is_immutable(&self, repository: &Repository, tag: &Tag) -> bool {
        self.immutable.iter().any(|selection| selection.has(repository, tag))
    }
}

impl Selection {
    /// Whether the tag is one of them.
    pub(crate) fn has(&self, repository: &Repository, tag: &Tag) -> bool {
        any(&self.repositories, repository.as_str()) && any(&self.tags, tag.as_str())
    }
}
