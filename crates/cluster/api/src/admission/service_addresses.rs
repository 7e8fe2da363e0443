//! IPAddresses: which service has which address, and that they agree.
//!
//! They come and go with services in one step of the store. What differs all the same, because somebody deletes one or
//! the services are older, is repaired: at the start, when an IPAddress goes, and from time to time.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use hako_store::{Entry, Expect, Guard, Page, Range, Revision, StoreError, Write};
use serde::Deserialize;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::http::{Failure, Outcome};
use crate::kinds;
use crate::resource::{encode_stored, random_uid};
use crate::server::Inner;

const PREFIX: &str = "/registry/networking.k8s.io/ipaddresses/";
const SERVICES: &str = "/registry/core/services/";
const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const MANAGER: &str = "ipallocator.k8s.io";
/// Between two looks at all of them, as upstream has it.
const PERIOD: Duration = Duration::from_secs(180);

/// The key of an IPAddress.
pub(super) fn key(ip: Ipv4Addr) -> Bytes {
    Bytes::from(format!("{PREFIX}{ip}"))
}

/// The address of a key.
pub(super) fn ip_of(key: &[u8]) -> Option<Ipv4Addr> {
    std::str::from_utf8(key).ok()?.strip_prefix(PREFIX)?.parse().ok()
}

/// All there are, now or at a revision.
pub(super) async fn all(server: &Inner, at: Option<Revision>) -> Result<Page, StoreError> {
    server.config.store.range(Range { at, ..Range::all(PREFIX) }).await
}

/// A new IPAddress of a service, as it is stored.
pub(super) fn encoded(ip: Ipv4Addr, namespace: &str, name: &str) -> Outcome<Bytes> {
    let row =
        kinds::by_resource("networking.k8s.io", "v1", "ipaddresses").ok_or_else(Failure::no_such_path)?;
    let mut object = json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": ip.to_string(),
            "uid": random_uid().to_string(),
            "creationTimestamp": hako_kube::time::now(),
            "labels": {FAMILY: "IPv4", MANAGED_BY: MANAGER},
        },
        "spec": {"parentRef": {"group": "", "resource": "services", "namespace": namespace, "name": name}},
    });
    encode_stored(row, &mut object)
}

/// An IPAddress as it is stored.
#[derive(Deserialize)]
pub(super) struct Found {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
struct Metadata {
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    finalizers: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Spec {
    parent_ref: Parent,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Parent {
    group: String,
    resource: String,
    namespace: String,
    name: String,
}

impl Found {
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        serde_json::from_slice(bytes).ok()
    }

    /// Whether it is that of a service, by its namespace and name.
    pub(super) fn is_of(&self, owner: &str) -> bool {
        let Parent { group, resource, namespace, name } = &self.spec.parent_ref;
        group.is_empty() && resource == "services" && owner.split_once('/') == Some((namespace, name))
    }

    /// Whether somebody holds it by a finalizer.
    pub(super) fn is_held(&self) -> bool {
        !self.metadata.finalizers.is_empty()
    }

    fn is_managed(&self) -> bool {
        self.metadata.labels.get(MANAGED_BY).is_some_and(|manager| manager == MANAGER)
    }

    fn is_sound(&self, owner: &str) -> bool {
        let family = self.metadata.labels.get(FAMILY).map(String::as_str);
        self.is_of(owner) && self.is_managed() && family == Some("IPv4")
    }
}

/// The addresses of a service as it is stored.
#[derive(Deserialize)]
struct Service {
    #[serde(default)]
    spec: Addresses,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Addresses {
    #[serde(rename = "clusterIPs")]
    cluster_ips: Vec<String>,
}

/// Keeps IPAddresses in accord with services until the server ends.
pub(crate) async fn keep_addresses(server: Weak<Inner>, stop: CancellationToken) {
    loop {
        let Some(inner) = server.upgrade() else { return };
        if let Err(error) = repair(&inner).await {
            tracing::warn!(%error, "addresses of services could not be compared with IPAddresses");
        }
        let changed = Arc::clone(&inner.allocations.changed);
        drop(inner);
        // Either is a reason to look again.
        let next = tokio::time::timeout(PERIOD, changed.notified());
        if stop.run_until_cancelled(next).await.is_none() {
            return;
        }
    }
}

/// Who has which address, at one moment.
struct Owner {
    service: Arc<Entry>,
    name: String,
}

/// Makes what is missing, makes anew what is wrong, and removes what nobody has.
async fn repair(server: &Inner) -> Result<(), StoreError> {
    let services = server.config.store.range(Range::all(SERVICES)).await?;
    let found = all(server, Some(services.revision)).await?;
    let mut owners = owners(services.entries);
    for entry in found.entries {
        let (Some(ip), Some(address)) = (ip_of(&entry.key), Found::parse(&entry.value)) else { continue };
        match owners.remove(&ip) {
            Some(owner) if !address.is_sound(&owner.name) => {
                make(server, ip, &owner, Expect::At(entry.modified)).await?
            }
            None if address.is_managed() && !address.is_held() => {
                tracing::warn!(%ip, "an IPAddress of no service is removed");
                let write = Write::delete(entry.key.clone(), Expect::At(entry.modified));
                if done(server.config.store.write(write).await)? {
                    server.allocations.free_others(ip);
                }
            }
            _ => {}
        }
    }
    for (ip, owner) in owners {
        make(server, ip, &owner, Expect::Absent).await?;
    }
    Ok(())
}

fn owners(services: Vec<Arc<Entry>>) -> BTreeMap<Ipv4Addr, Owner> {
    let mut owners = BTreeMap::new();
    for entry in services {
        let Ok(service) = serde_json::from_slice::<Service>(&entry.value) else { continue };
        let name = String::from_utf8_lossy(&entry.key).trim_start_matches(SERVICES).to_owned();
        for ip in service.spec.cluster_ips.iter().filter_map(|ip| ip.parse().ok()) {
            let owner = || Owner { service: Arc::clone(&entry), name: name.clone() };
            let known: &mut Owner = owners.entry(ip).or_insert_with(owner);
            if known.name != name {
                tracing::warn!(%ip, service = name, other = known.name, "an address is that of two services");
            }
        }
    }
    owners
}

/// Stores the IPAddress of a service, if that is there as it was read.
async fn make(server: &Inner, ip: Ipv4Addr, owner: &Owner, expect: Expect) -> Result<(), StoreError> {
    let (namespace, name) = owner.name.split_once('/').unwrap_or_default();
    let Ok(value) = encoded(ip, namespace, name) else { return Ok(()) };
    let guard = Guard { key: owner.service.key.clone(), at: owner.service.modified };
    let write = Write::put(key(ip), value, expect).guarded(vec![guard]);
    done(server.config.store.write(write).await).map(drop)
}

/// Whether it was done; what has changed meanwhile is looked at the next time.
fn done<T>(written: Result<T, StoreError>) -> Result<bool, StoreError> {
    match written {
        Ok(_) => Ok(true),
        Err(
            StoreError::Outdated { .. }
            | StoreError::Conflict { .. }
            | StoreError::AlreadyExists { .. }
            | StoreError::NotFound { .. },
        ) => Ok(false),
        Err(error) => Err(error),
    }
}
