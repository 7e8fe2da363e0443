//! One step of a quota: counts, and writes what is new.

use super::Controller;
use crate::discovery;
use crate::wiring::Key;
use hako_client::{Api, Informer, ListParams, Object, ResourceType};
use hako_error::{Error, Kind, Result};
use hako_kube::quota::{self, Usage, add, counted_by, is_selected};
use hako_names::Quantity;
use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ResourceQuota, ResourceQuotaStatus};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use serde_json::Value;
use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// For how long a quota has to stay as it is until less is taken for used: longer than from a charge to the object that
/// it was for, on a busy machine too.
const SETTLING: Duration = Duration::from_millis(200);
/// How many objects are asked for at once.
const PAGE: u32 = 500;
/// What no change told of is found by then.
const AGAIN: Duration = Duration::from_secs(300);

/// Where pods, claims and services are counted.
#[derive(Clone, Copy)]
enum Source {
    /// In the caches, which may be behind.
    Caches,
    /// In what the API has now.
    Api,
}

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let Some(quota) = self.quotas.get(&key.0, &key.1) else {
            self.surplus.lock().remove(&key);
            return Ok(None);
        };
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
        let spec = to_value(&quota.spec)?;
        let used = self.used(&key.0, &hard, &spec, Source::Caches).await?;
        let mut status = ResourceQuotaStatus { hard: Some(hard), used: Some(used) };
        if is_less(&status, quota.status.as_ref()) {
            if !self.has_settled(&key, &quota) {
                return Ok(Some(SETTLING));
            }
            let hard = status.hard.as_ref().unwrap_or(const { &BTreeMap::new() });
            status.used = Some(self.used(&key.0, hard, &spec, Source::Api).await?);
        }
        if !is_same(quota.status.as_ref(), &status) {
            let mut changed = (*quota).clone();
            changed.status = Some(status);
            let api: Api<ResourceQuota> = self.client.namespaced(&key.0);
            match api.replace_status(&key.1, &changed).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(Some(AGAIN))
    }

    /// Whether nothing was charged for a while: admission charges before it stores. To take less than was charged for
    /// used would let in more than there may be; what is charged from now on makes the write of the status fail.
    fn has_settled(&self, key: &Key, quota: &ResourceQuota) -> bool {
        let version = quota.metadata.resource_version.clone().unwrap_or_default();
        let mut surplus = self.surplus.lock();
        let (seen, since) = surplus.entry(key.clone()).or_insert_with(|| (version.clone(), Instant::now()));
        if *seen != version {
            (*seen, *since) = (version, Instant::now());
        }
        let is_over = since.elapsed() >= SETTLING;
        if is_over {
            surplus.remove(key);
        }
        is_over
    }

    /// What is used of each limit that counts something.
    async fn used(
        &self,
        namespace: &str,
        hard: &BTreeMap<String, Text>,
        spec: &Value,
        source: Source,
    ) -> Result<BTreeMap<String, Text>> {
        let kinds: BTreeSet<(&str, &str)> = hard.keys().filter_map(|name| counted_by(name)).collect();
        let mut total = Usage::new();
        for kind in kinds {
            let one = match kind {
                ("", "pods") => self.of_known(&self.pods, namespace, kind, spec, source).await?,
                ("", "persistentvolumeclaims") => {
                    self.of_known(&self.claims, namespace, kind, spec, source).await?
                }
                ("", "services") => self.of_known(&self.services, namespace, kind, spec, source).await?,
                kind => self.of_listed(namespace, kind, spec).await?,
            };
            add(&mut total, one);
        }
        let of = |name: &String| {
            counted_by(name)?;
            let amount = total.get(name).cloned().unwrap_or(Quantity::ZERO);
            Some((name.clone(), Text(amount.to_string())))
        };
        Ok(hard.keys().filter_map(of).collect())
    }

    /// Of kinds that there are caches of.
    async fn of_known<K: Object<Scope = NamespaceResourceScope>>(
        &self,
        cache: &Informer<K>,
        namespace: &str,
        kind: (&str, &str),
        spec: &Value,
        source: Source,
    ) -> Result<Usage> {
        match source {
            Source::Caches => sum::<K>(cache.list_in(namespace), kind, spec),
            Source::Api => {
                let api: Api<K> = self.client.namespaced(namespace);
                sum::<K>(api.list_all(&ListParams::default().limit(PAGE)).await?.items, kind, spec)
            }
        }
    }

    /// Of kinds that are only counted, the number is asked for, not the objects.
    async fn of_listed(&self, namespace: &str, kind: (&str, &str), spec: &Value) -> Result<Usage> {
        if !is_selected(spec, kind, &Value::Null) {
            return Ok(Usage::new());
        }
        let Some(resource) = self.resource(kind).await? else { return Ok(Usage::new()) };
        let api = self.client.dynamic(&resource, Some(namespace));
        let page = match api.list(&ListParams::default().limit(1)).await {
            Err(error) if error.is_not_found() => return Ok(Usage::new()),
            other => other?,
        };
        let first = i64::try_from(page.items.len()).unwrap_or(1);
        let count = first.saturating_add(page.remaining.unwrap_or(0));
        let one = quota::usage(kind, &Value::Null);
        Ok(one.into_keys().map(|name| (name, Quantity::from_units(count))).collect())
    }

    async fn resource(&self, (group, plural): (&str, &str)) -> Result<Option<ResourceType>> {
        if group.is_empty() {
            return Ok(Some(ResourceType::new("", "v1", plural)));
        }
        let served = discovery::resources(&self.client).await?.served;
        let is_it = |one: &discovery::Served| one.resource.group == group && one.resource.plural == plural;
        Ok(served.into_iter().find(is_it).map(|one| one.resource))
    }
}

fn sum<K: Object>(
    objects: impl IntoIterator<Item = impl Borrow<K>>,
    kind: (&str, &str),
    spec: &Value,
) -> Result<Usage> {
    let mut total = Usage::new();
    for object in objects {
        let value = to_value(object.borrow())?;
        if is_selected(spec, kind, &value) {
            add(&mut total, quota::usage(kind, &value));
        }
    }
    Ok(total)
}

/// Whether some quota of a namespace counts objects of a kind.
pub(super) fn counts(quotas: &Informer<ResourceQuota>, namespace: &str, resource: &ResourceType) -> bool {
    let kind = (resource.group.as_str(), resource.plural.as_str());
    quotas.list_in(namespace).iter().any(|quota| {
        let hard = quota.spec.iter().flat_map(|spec| spec.hard.iter().flatten());
        hard.into_iter().any(|(name, _)| counted_by(name) == Some(kind))
    })
}

fn to_value<T: serde::Serialize>(object: &T) -> Result<Value> {
    serde_json::to_value(object)
        .map_err(|error| Error::new(Kind::Internal, "an object cannot be encoded").with_source(error))
}

fn read(list: &Option<BTreeMap<String, Text>>) -> BTreeMap<String, Option<Quantity>> {
    list.iter().flatten().map(|(name, text)| (name.clone(), text.0.parse().ok())).collect()
}

/// Whether less of something is used than the status says so far.
fn is_less(seen: &ResourceQuotaStatus, said: Option<&ResourceQuotaStatus>) -> bool {
    let (seen, said) = (read(&seen.used), said.map(|said| read(&said.used)).unwrap_or_default());
    seen.iter().any(|(name, amount)| said.get(name).is_some_and(|said| amount < said))
}

/// Whether all amounts are the same, however they are written.
fn is_same(is: Option<&ResourceQuotaStatus>, wanted: &ResourceQuotaStatus) -> bool {
    is.is_some_and(|is| read(&is.hard) == read(&wanted.hard) && read(&is.used) == read(&wanted.used))
}
