//! Pull-through: repositories that are caches of other registries.
//!
//! Owns: when an upstream is asked, and what is answered when it is away or wants to be left alone. Does not own: the
//! client ([`hako_image::remote`]).
//!
//! A tag is fresh for a while after it was compared with the upstream; then the next pull compares again, once for all
//! who ask meanwhile. An upstream that is away or says 429 is left alone until the time it named, and what is here is
//! served, marked as stale. A digest that is here is never asked for again.
//!
//! A cached manifest holds no blobs: blobs come when they are pulled and stay leased as long as they are pulled now
//! and then.

mod blob;
mod flights;

pub(crate) use blob::Fetched;

use crate::clock::now_unix_s;
use crate::condition::Conditions;
use crate::config::UpstreamConfig;
use crate::error::RegistryError;
use crate::name::{Reference, Repository, Tag};
use crate::registry::Registry;
use flights::Flights;
use hako_error::{Classify as _, Error, Kind};
use hako_image::remote::{RemoteClient, RemoteError};
use hako_names::Digest;
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long an upstream that is away is not asked again.
const AWAY: Duration = Duration::from_secs(5);
/// The same for one that says 429 and not for how long.
const BUSY: Duration = Duration::from_secs(30);
/// Repositories that are looked at in one piece.
const PIECE: usize = 256;
/// Tags whose last comparison is remembered.
const COMPARED: usize = 100_000;

/// All upstreams.
#[derive(Debug, Default)]
pub(crate) struct Upstreams {
    upstreams: Vec<Arc<Upstream>>,
}

/// One upstream.
#[derive(Debug)]
pub(crate) struct Upstream {
    prefix: String,
    client: RemoteClient,
    fresh: Duration,
    keep: Duration,
    /// Until when it is left alone.
    quiet: Mutex<Option<Quiet>>,
    compared: Mutex<HashMap<String, Instant>>,
    flights: Flights,
}

/// Why an upstream is left alone, and until when.
#[derive(Clone, Copy, Debug)]
enum Quiet {
    /// It said 429.
    Busy(Instant),
    /// It could not be reached.
    Away(Instant),
}

/// Where a repository is cached from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    upstream: Arc<Upstream>,
    name: String,
}

/// How good an answer from the cache is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// As the upstream has it, or had it just now.
    Fresh,
    /// As it was; the upstream could not be asked.
    Stale,
}

impl Upstreams {
    pub(crate) fn open(configs: &[UpstreamConfig]) -> hako_error::Result<Self> {
        let open = |config: &UpstreamConfig| -> hako_error::Result<Arc<Upstream>> {
            Ok(Arc::new(Upstream {
                prefix: config.prefix.clone(),
                client: RemoteClient::new(&config.registry, config.options()?)?,
                fresh: config.fresh,
                keep: config.keep,
                quiet: Mutex::new(None),
                compared: Mutex::new(HashMap::new()),
                flights: Flights::default(),
            }))
        };
        let mut upstreams: Vec<_> = configs.iter().map(open).collect::<hako_error::Result<_>>()?;
        // The longest prefix counts.
        upstreams.sort_by_key(|upstream| std::cmp::Reverse(upstream.prefix.len()));
        Ok(Self { upstreams })
    }

    /// Where the repository is cached from, if it is a cache.
    pub(crate) fn origin(&self, repository: &Repository) -> Option<Origin> {
        self.upstreams.iter().find_map(|upstream| {
            let rest = match upstream.prefix.as_str() {
                "" => repository.as_str(),
                prefix => repository.as_str().strip_prefix(prefix)?.strip_prefix('/')?,
            };
            Some(Origin { upstream: Arc::clone(upstream), name: rest.to_owned() })
        })
    }

    /// Removes the manifests of caches that nobody wanted for as long as their upstream's `keep`.
    pub(crate) async fn expire(&self, registry: &Registry) -> Result<usize, RegistryError> {
        let (mut count, mut last) = (0, None::<String>);
        while !self.upstreams.is_empty() {
            let page = registry.metadata().repositories(last.as_deref(), PIECE, &|_| true)?;
            for repository in &page.items {
                let Some(origin) = self.origin(repository) else { continue };
                let before = now_unix_s().saturating_sub(origin.keep().as_secs());
                for digest in registry.metadata().untouched_manifests(repository, before)? {
                    match registry
                        .delete_manifest(repository, Reference::Digest(digest), Conditions::default())
                        .await
                    {
                        Ok(_) => count += 1,
                        // It has an immutable tag, or an index pushed before this was a cache names it; it may have gone.
                        Err(
                            RegistryError::Denied { .. }
                            | RegistryError::ManifestHeld { .. }
                            | RegistryError::ManifestUnknown { .. },
                        ) => {}
                        Err(error) => return Err(error),
                    }
                }
            }
            last = page.items.last().map(ToString::to_string);
            if !page.has_more {
                break;
            }
        }
        Ok(count)
    }
}

impl Origin {
    /// How long what nobody pulls stays.
    pub(crate) fn keep(&self) -> Duration {
        self.upstream.keep
    }

    /// Makes the manifest be here and, for a tag, as the upstream has it; it is wanted still.
    pub(crate) async fn manifest(
        &self,
        registry: &Registry,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Freshness, RegistryError> {
        let freshness = self.compare(registry, repository, reference).await?;
        if let Some((digest, record)) = registry.metadata().manifest(repository, reference)? {
            let age = now_unix_s().saturating_sub(record.pushed_unix_s);
            // Not each time: it is a write.
            if age > self.keep().as_secs() / 2 {
                registry.touch_manifest(repository, digest).await?;
            }
        }
        Ok(freshness)
    }

    async fn compare(
        &self,
        registry: &Registry,
        repository: &Repository,
        reference: &Reference,
    ) -> Result<Freshness, RegistryError> {
        let known = registry.metadata().manifest(repository, reference)?.map(|(digest, _)| digest);
        let key = format!("{repository} {reference}");
        let is_good = |known: Option<Digest>| match reference {
            Reference::Digest(_) => known.is_some(),
            Reference::Tag(_) => known.is_some() && self.is_fresh(&key),
        };
        if is_good(known) {
            return Ok(Freshness::Fresh);
        }
        let _flight = self.upstream.flights.join(&key).await;
        let known = registry.metadata().manifest(repository, reference)?.map(|(digest, _)| digest);
        if is_good(known) {
            return Ok(Freshness::Fresh);
        }
        match self.fetch_manifest(registry, repository, reference, known).await {
            Ok(()) => {
                self.remember(key);
                Ok(Freshness::Fresh)
            }
            Err(RegistryError::Upstream { source }) if known.is_some() && !source.is_not_found() => {
                tracing::warn!(%repository, %reference, error = %source.chain(), "serving what the cache has");
                Ok(Freshness::Stale)
            }
            Err(RegistryError::TooMany { .. }) if known.is_some() => Ok(Freshness::Stale),
            Err(error) => Err(error),
        }
    }

    async fn fetch_manifest(
        &self,
        registry: &Registry,
        repository: &Repository,
        reference: &Reference,
        known: Option<Digest>,
    ) -> Result<(), RegistryError> {
        self.upstream.may_ask()?;
        let text = reference.to_string();
        let got = self.upstream.client.get_manifest_unless(&self.name, &text, known).await;
        match (self.upstream.judge(got)?, known) {
            (Some(manifest), _) => {
                let tags = match reference {
                    Reference::Tag(tag) => vec![tag.clone()],
                    Reference::Digest(_) => Vec::new(),
                };
                let media_type = Some(manifest.media_type.as_str());
                registry.cache_manifest(repository, manifest.digest, tags, media_type, manifest.bytes).await
            }
            (None, Some(known)) => registry.touch_manifest(repository, known).await,
            (None, None) => Ok(()),
        }
    }

    /// A page of the upstream's tags, and after which one the next page begins.
    pub(crate) async fn tags(
        &self,
        limit: usize,
        last: Option<&str>,
    ) -> Result<(Vec<String>, Option<String>), RegistryError> {
        self.upstream.may_ask()?;
        let count = u32::try_from(limit).ok();
        let page = self.upstream.judge(self.upstream.client.list_tags(&self.name, count, last).await)?;
        let tags: Vec<String> = page.items.into_iter().filter(|tag| tag.parse::<Tag>().is_ok()).collect();
        // A registry that gives the same page again and again is not followed.
        let next = page.next.filter(|next| Some(next.as_str()) != last && next.parse::<Tag>().is_ok());
        Ok((tags, next))
    }

    /// What the upstream says refers to a manifest.
    pub(crate) async fn referrers(&self, subject: Digest) -> Result<Vec<serde_json::Value>, RegistryError> {
        self.upstream.may_ask()?;
        self.upstream.judge(self.upstream.client.referrers(&self.name, subject).await)
    }

    fn is_fresh(&self, key: &str) -> bool {
        self.upstream.compared.lock().get(key).is_some_and(|at| at.elapsed() < self.upstream.fresh)
    }

    fn remember(&self, key: String) {
        let mut compared = self.upstream.compared.lock();
        if compared.len() >= COMPARED {
            compared.retain(|_, at| at.elapsed() < self.upstream.fresh);
        }
        if compared.len() < COMPARED {
            compared.insert(key, Instant::now());
        }
    }
}

impl Upstream {
    /// Refuses while the upstream is left alone.
    fn may_ask(&self) -> Result<(), RegistryError> {
        let (now, host) = (Instant::now(), self.client.host());
        match *self.quiet.lock() {
            Some(Quiet::Busy(until)) if until > now => Err(RegistryError::TooMany {
                what: format!("registry {host} asked for fewer requests and is left alone"),
                retry_after: until - now,
            }),
            Some(Quiet::Away(until)) if until > now => Err(RegistryError::Upstream {
                source: Error::new(
                    Kind::Unavailable,
                    format!("registry {host} could not be reached just now"),
                ),
            }),
            _ => Ok(()),
        }
    }

    /// Turns the client's failure into ours, and remembers to leave the upstream alone.
    fn judge<T>(&self, result: Result<T, RemoteError>) -> Result<T, RegistryError> {
        result.map_err(|error| {
            let now = Instant::now();
            let quiet = match &error {
                RemoteError::TooManyRequests { retry_after, .. } => {
                    Some(Quiet::Busy(now + retry_after.unwrap_or(BUSY)))
                }
                other if matches!(other.kind(), Kind::Unavailable | Kind::DeadlineExceeded) => {
                    Some(Quiet::Away(now + AWAY))
                }
                _ => None,
            };
            if quiet.is_some() {
                *self.quiet.lock() = quiet;
            }
            match error {
                RemoteError::TooManyRequests { retry_after, .. } => RegistryError::TooMany {
                    what: format!("registry {} asks for fewer requests", self.client.host()),
                    retry_after: retry_after.unwrap_or(BUSY),
                },
                other => RegistryError::Upstream { source: other.into() },
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blobs::LocalBlobs;
    use crate::metadata::Metadata;
    use crate::policy::Policy;
    use crate::registry::Limits;
    use bytes::Bytes;
    use hako_content::ContentStore;

    #[tokio::test]
    async fn what_is_pulled_by_digest_or_while_the_upstream_is_away_is_as_young_as_its_last_pull() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = LocalBlobs::new(ContentStore::open(dir.path().join("content")).unwrap());
        let metadata = Metadata::open(dir.path()).unwrap();
        let registry = Registry::new(metadata.clone(), Arc::new(blobs), Limits::default(), Policy::default());
        let mut config = UpstreamConfig::new("", "127.0.0.1:1");
        config.fresh = Duration::ZERO;
        let upstreams = Upstreams::open(&[config.clone()]).unwrap();
        let repository: Repository = "a".parse().unwrap();
        let origin = upstreams.origin(&repository).unwrap();
        let index = Bytes::from_static(br#"{"schemaVersion":2,"manifests":[]}"#);
        let (digest, tag) = (Digest::of(&index), "v1".parse::<Tag>().unwrap());
        registry
            .cache_manifest(&repository, digest, vec![tag.clone()], Some(crate::manifest::OCI_INDEX), index)
            .await
            .unwrap();
        let pulls = [(Reference::Digest(digest), Freshness::Fresh), (Reference::Tag(tag), Freshness::Stale)];
        for (reference, freshness) in pulls {
            let began = now_unix_s();
            metadata.touch_manifest(&repository, digest, began - config.keep.as_secs()).unwrap();
            let was = origin.manifest(&registry, &repository, &reference).await.unwrap();
            assert_eq!(was, freshness, "{reference}");
            let (_, record) = metadata.manifest(&repository, &reference).unwrap().unwrap();
            assert!(record.pushed_unix_s >= began, "{reference}: its end came nearer");
        }
    }
}
