//! The services and their endpoint slices, by what they are looked up by.

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::discovery::v1::EndpointSlice;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::Ipv4Addr;
use std::sync::Arc;

/// Namespace and name of a service.
pub(crate) type ServiceKey = (String, String);

/// What the caches hold, and which addresses take no new connections.
#[derive(Debug, Default)]
pub(crate) struct Index {
    services: HashMap<ServiceKey, Arc<Service>>,
    slices: HashMap<ServiceKey, BTreeMap<String, Arc<EndpointSlice>>>,
    by_cluster_ip: HashMap<Ipv4Addr, ServiceKey>,
    pub(crate) withdrawn: HashSet<Ipv4Addr>,
}

impl Index {
    pub(crate) fn service(&self, key: &ServiceKey) -> Option<&Arc<Service>> {
        self.services.get(key)
    }

    pub(crate) fn slices(&self, key: &ServiceKey) -> impl Iterator<Item = &Arc<EndpointSlice>> {
        self.slices.get(key).into_iter().flat_map(BTreeMap::values)
    }

    pub(crate) fn by_cluster_ip(&self, ip: Ipv4Addr) -> Option<&ServiceKey> {
        self.by_cluster_ip.get(&ip)
    }

    /// All services that exist or have slices.
    pub(crate) fn keys(&self) -> HashSet<ServiceKey> {
        self.services.keys().chain(self.slices.keys()).cloned().collect()
    }

    /// The services that `ip` is an endpoint of.
    pub(crate) fn services_of(&self, ip: Ipv4Addr) -> Vec<ServiceKey> {
        let text = ip.to_string();
        let names = |slice: &Arc<EndpointSlice>| {
            slice.endpoints.iter().flatten().any(|endpoint| endpoint.addresses.contains(&text))
        };
        self.slices
            .iter()
            .filter(|(_, slices)| slices.values().any(names))
            .map(|(key, _)| key.clone())
            .collect()
    }

    pub(crate) fn has_namespace(&self, namespace: &str) -> bool {
        self.services.keys().any(|(found, _)| found == namespace)
    }

    /// Headless services that `ip` is an endpoint of, with the endpoint's host name there.
    pub(crate) fn headless_names_of(&self, ip: Ipv4Addr) -> Vec<(ServiceKey, String)> {
        let mut names: Vec<_> = self
            .services_of(ip)
            .into_iter()
            .filter(|key| self.services.get(key).is_some_and(|service| is_headless(service)))
            .flat_map(|key| {
                let all = crate::endpoints::endpoints_of(self, &key);
                all.into_iter()
                    .filter(|endpoint| endpoint.ip == ip)
                    .map(move |endpoint| (key.clone(), endpoint.label()))
            })
            .collect();
        names.sort();
        names.dedup();
        names
    }

    pub(crate) fn put_service(&mut self, service: Arc<Service>) -> ServiceKey {
        let key = key_of(&service.metadata);
        self.remove_service(&key);
        for ip in cluster_ips(&service) {
            self.by_cluster_ip.insert(ip, key.clone());
        }
        self.services.insert(key.clone(), service);
        key
    }

    pub(crate) fn remove_service(&mut self, key: &ServiceKey) {
        let Some(service) = self.services.remove(key) else {
            return;
        };
        for ip in cluster_ips(&service) {
            if self.by_cluster_ip.get(&ip) == Some(key) {
                self.by_cluster_ip.remove(&ip);
            }
        }
    }

    /// Returns the service it belongs to, if it says so.
    pub(crate) fn put_slice(&mut self, slice: Arc<EndpointSlice>) -> Option<ServiceKey> {
        let (key, name) = owner_of(&slice)?;
        self.slices.entry(key.clone()).or_default().insert(name, slice);
        Some(key)
    }

    pub(crate) fn remove_slice(&mut self, slice: &EndpointSlice) -> Option<ServiceKey> {
        let (key, name) = owner_of(slice)?;
        if let Some(slices) = self.slices.get_mut(&key) {
            slices.remove(&name);
            if slices.is_empty() {
                self.slices.remove(&key);
            }
        }
        Some(key)
    }

    pub(crate) fn clear_services(&mut self) {
        self.services.clear();
        self.by_cluster_ip.clear();
    }

    pub(crate) fn clear_slices(&mut self) {
        self.slices.clear();
    }
}

fn key_of(meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> ServiceKey {
    (meta.namespace.clone().unwrap_or_default(), meta.name.clone().unwrap_or_default())
}

/// The key of the slice's service and the slice's own name.
fn owner_of(slice: &EndpointSlice) -> Option<(ServiceKey, String)> {
    let (namespace, name) = key_of(&slice.metadata);
    let service = slice.metadata.labels.as_ref()?.get("kubernetes.io/service-name")?;
    Some(((namespace, service.clone()), name))
}

/// The IPv4 cluster addresses of a service; none if it is headless or an alias.
pub(crate) fn cluster_ips(service: &Service) -> Vec<Ipv4Addr> {
    let Some(spec) = &service.spec else {
        return Vec::new();
    };
    let mut ips: Vec<Ipv4Addr> = spec
        .cluster_ip
        .iter()
        .chain(spec.cluster_ips.iter().flatten())
        .filter_map(|text| text.parse().ok())
        .collect();
    ips.sort();
    ips.dedup();
    ips
}

pub(crate) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| spec.cluster_ip.as_deref() == Some("None"))
}

/// The name that a service of type `ExternalName` is an alias of.
pub(crate) fn external_name(service: &Service) -> Option<&str> {
    let spec = service.spec.as_ref()?;
    if spec.type_.as_deref() == Some("ExternalName") { spec.external_name.as_deref() } else { None }
}
