//! One step of a service's endpoints.

use super::slices::{self, MANAGER, MANAGER_LABEL, SERVICE_LABEL};
use super::{Controller, Pods};
use crate::wiring::Key;
use futures::future::try_join_all;
use hako_client::{Api, DeleteOptions};
use hako_error::{Error, Kind, Result};
use k8s_openapi::api::core::v1::{Endpoints, Pod, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let service = self.services.get(&key.0, &key.1).filter(|service| has_selector(service));
        let api: Api<EndpointSlice> = self.client.namespaced(&key.0);
        let is_ours = |slice: &Arc<EndpointSlice>| service_of(slice).as_ref() == Some(&key);
        let present: Vec<Arc<EndpointSlice>> =
            self.slices.list_in(&key.0).into_iter().filter(is_ours).collect();
        let Some(service) = service else {
            // Slices of a service that is gone go by their owner; here goes what a lost selector leaves, and what is
            // of the older kind, which has no owner.
            if self.services.get(&key.0, &key.1).is_some() {
                try_join_all(present.iter().map(|slice| remove(&api, slice))).await?;
            } else {
                self.remove_legacy(&key).await?;
            }
            return Ok(None);
        };
        let selected: Pods =
            self.pods.list_in(&key.0).into_iter().filter(|pod| selects(&service, pod)).collect();
        let desired = slices::desired(&service, &selected);
        converge(&api, &desired, present).await?;
        self.write_legacy(&service, &slices::endpoints(&service, &desired), &key).await?;
        Ok(None)
    }

    async fn remove_legacy(&self, key: &Key) -> Result<()> {
        let api: Api<Endpoints> = self.client.namespaced(&key.0);
        match api.delete(&key.1, &DeleteOptions::default()).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }

    async fn write_legacy(&self, service: &Service, wanted: &Endpoints, key: &Key) -> Result<()> {
        let api: Api<Endpoints> = self.client.namespaced(&key.0);
        match api.get_opt(&key.1).await? {
            None => match api.create(wanted).await {
                Err(error) if !is_settled(&error) => Err(error),
                _ => Ok(()),
            },
            Some(there)
                if there.subsets == wanted.subsets && there.metadata.labels == service.metadata.labels =>
            {
                Ok(())
            }
            Some(mut there) => {
                there.subsets.clone_from(&wanted.subsets);
                there.metadata.labels.clone_from(&wanted.metadata.labels);
                api.replace(&key.1, &there).await.map(drop)
            }
        }
    }
}

/// Makes slices what they should be, and removes all others of those there are.
pub(crate) async fn converge(
    api: &Api<EndpointSlice>,
    desired: &BTreeMap<String, EndpointSlice>,
    mut present: Vec<Arc<EndpointSlice>>,
) -> Result<()> {
    // Slices with endpoints that are wanted come before those that go: no endpoint is ever in none.
    for (name, slice) in desired {
        let there = present
            .iter()
            .position(|one| one.metadata.name.as_ref() == Some(name))
            .map(|index| present.remove(index));
        write(api, name, slice, there.as_deref()).await?;
    }
    try_join_all(present.iter().map(|slice| remove(api, slice))).await.map(drop)
}

/// Makes a slice what it should be.
async fn write(
    api: &Api<EndpointSlice>,
    name: &str,
    wanted: &EndpointSlice,
    there: Option<&EndpointSlice>,
) -> Result<()> {
    let Some(there) = there else {
        return match api.create(wanted).await {
            // Made by an earlier step and not in the cache yet: its arrival wakes this key again.
            Err(error) if !is_settled(&error) => Err(error),
            _ => Ok(()),
        };
    };
    if there.endpoints.as_deref().unwrap_or_default() == wanted.endpoints.as_deref().unwrap_or_default()
        && there.ports.as_deref().unwrap_or_default() == wanted.ports.as_deref().unwrap_or_default()
        && there.metadata.labels == wanted.metadata.labels
    {
        return Ok(());
    }
    let mut changed = wanted.clone();
    changed.metadata.resource_version.clone_from(&there.metadata.resource_version);
    changed.metadata.uid.clone_from(&there.metadata.uid);
    api.replace(name, &changed).await.map(drop)
}

/// Exists already, or its namespace is going: nothing to try again.
fn is_settled(error: &Error) -> bool {
    matches!(error.kind(), Kind::AlreadyExists | Kind::Forbidden | Kind::NotFound)
}

/// Removes a slice; one that is gone is a success.
async fn remove(api: &Api<EndpointSlice>, slice: &EndpointSlice) -> Result<()> {
    match api.delete(slice.metadata.name.as_deref().unwrap_or_default(), &DeleteOptions::default()).await {
        Err(error) if !error.is_not_found() => Err(error),
        _ => Ok(()),
    }
}

fn has_selector(service: &Service) -> bool {
    let spec = service.spec.as_ref();
    let is_external = spec.and_then(|spec| spec.type_.as_deref()) == Some("ExternalName");
    !is_external && spec.and_then(|spec| spec.selector.as_ref()).is_some_and(|selector| !selector.is_empty())
}

pub(super) fn selects(service: &Service, pod: &Pod) -> bool {
    let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    let labels = pod.metadata.labels.as_ref();
    has_selector(service)
        && selector.is_some_and(|selector| {
            selector.iter().all(|(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value))
        })
}

/// The key of the service that a slice of ours is for.
pub(super) fn service_of(slice: &EndpointSlice) -> Option<Key> {
    let labels = slice.metadata.labels.as_ref()?;
    if labels.get(MANAGER_LABEL).map(String::as_str) != Some(MANAGER) {
        return None;
    }
    Some((slice.metadata.namespace.clone().unwrap_or_default(), labels.get(SERVICE_LABEL)?.clone()))
}
