//! One step of a namespace's end.

use super::Controller;
use super::remains::{self, Remains};
use crate::discovery::{self, Served};
use crate::wiring::Key;
use hako_client::{Api, DeleteOptions, ListParams, Propagation};
use hako_error::Result;
use k8s_openapi::api::core::v1::Namespace;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use std::time::Duration;

/// How often the contents are looked at until they are gone: pods take their grace period. What lasts is looked at
/// less often.
const AGAIN: Duration = Duration::from_millis(100);
const AGAIN_LAST: Duration = Duration::from_secs(5);
const FINALIZER: &str = "kubernetes";

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let Some(namespace) = self.namespaces.get("", &key.1) else {
            return Ok(None);
        };
        let has_ours = namespace
            .spec
            .iter()
            .flat_map(|spec| spec.finalizers.iter().flatten())
            .any(|one| one == FINALIZER);
        let Some(since) = namespace.metadata.deletion_timestamp.as_ref().filter(|_| has_ours) else {
            return Ok(None);
        };
        let remains = self.empty(&key.1).await?;
        let api: Api<Namespace> = self.client.all();
        // Read again: the step may have taken long.
        let Some(mut present) = api.get_opt(&key.1).await? else {
            return Ok(None);
        };
        let is_news = remains::report(&mut present, &remains);
        if remains.is_nothing() {
            present
                .spec
                .get_or_insert_default()
                .finalizers
                .get_or_insert_default()
                .retain(|one| one != FINALIZER);
            return match api.replace_subresource(&key.1, "finalize", &present).await {
                Err(error) if !error.is_not_found() => Err(error),
                _ => Ok(None),
            };
        }
        if is_news {
            api.replace_status(&key.1, &present).await?;
        }
        Ok(Some(pause(since.0.duration_until(Timestamp::now()))))
    }

    /// Deletes everything that is not being deleted yet; says what is still there.
    ///
    /// Pods go first and alone: policies and accounts that hold for them stay as long as they run.
    async fn empty(&self, namespace: &str) -> Result<Remains> {
        let found = discovery::resources(&self.client).await?;
        let mut remains = Remains::default();
        for (version, error) in found.failures {
            remains.undiscovered.push(format!("{version}: {}", error.chain()));
        }
        let mut served: Vec<Served> = found.served.into_iter().filter(can_be_emptied).collect();
        served.sort_by_key(|one| !is_pods(one));
        for one in served {
            if !is_pods(&one) && remains.counts.contains_key("pods.") {
                break;
            }
            match self.empty_of(&one, namespace).await {
                Ok(items) if items.is_empty() => {}
                Ok(items) => remains.count(&one.resource.plural, &one.resource.group, &items),
                Err(error) => remains.failures.push(format!("{}: {}", one.resource.plural, error.chain())),
            }
        }
        Ok(remains)
    }

    /// Deletes the objects of one resource; gives those that are still there.
    async fn empty_of(&self, served: &Served, namespace: &str) -> Result<Vec<Value>> {
        let api = self.client.dynamic(&served.resource, Some(namespace));
        let items = api.list(&ListParams::default()).await?.items;
        let stays = |item: &&Value| item["metadata"]["deletionTimestamp"].is_null();
        if !items.iter().any(|item| stays(&item)) {
            return Ok(items);
        }
        // Nothing is to be left as an orphan, whatever is customary for its kind.
        let options =
            DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
        if served.can("deletecollection") {
            api.delete_collection(&ListParams::default(), &options).await?;
        } else {
            for item in items.iter().filter(stays) {
                match api.delete(item["metadata"]["name"].as_str().unwrap_or_default(), &options).await {
                    Err(error) if !error.is_not_found() => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(api.list(&ListParams::default()).await?.items)
    }
}

fn can_be_emptied(one: &Served) -> bool {
    one.is_namespaced && ["list", "delete"].iter().all(|verb| one.can(verb))
}

fn is_pods(one: &Served) -> bool {
    one.resource.group.is_empty() && one.resource.plural == "pods"
}

/// A tenth of the time it has taken so far.
fn pause(since: SignedDuration) -> Duration {
    Duration::try_from(since / 10).unwrap_or(AGAIN).clamp(AGAIN, AGAIN_LAST)
}
