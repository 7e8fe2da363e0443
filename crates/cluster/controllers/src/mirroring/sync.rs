//! One step of Endpoints: their slices as they should be, and no others of ours.

use super::{Controller, slices};
use crate::endpointslice::converge;
use crate::wiring::Key;
use hako_client::Api;
use hako_error::Result;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::sync::Arc;
use std::time::Duration;

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let api: Api<EndpointSlice> = self.client.namespaced(&key.0);
        let is_ours = |slice: &Arc<EndpointSlice>| slices::source_of(slice).as_ref() == Some(&key);
        let present: Vec<Arc<EndpointSlice>> =
            self.slices.list_in(&key.0).into_iter().filter(is_ours).collect();
        let service = self.services.get(&key.0, &key.1);
        let endpoints = self.endpoints.get(&key.0, &key.1);
        let mirrored =
            endpoints.zip(service).filter(|(endpoints, service)| slices::is_mirrored(endpoints, service));
        let desired = mirrored.map(|(endpoints, _)| slices::desired(&endpoints)).unwrap_or_default();
        converge(&api, &desired, present).await?;
        Ok(None)
    }
}
