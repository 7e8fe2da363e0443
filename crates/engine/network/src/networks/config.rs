//! Networks that hold settings for others: made with `--config-only`, taken over by `--config-from`.

use super::spec::{DEFAULT_IPAM, Driver, Families, NetworkRequest, NetworkSpec};
use super::table::Table;
use crate::error::{NetworkError, Result};
use jiff::Timestamp;

/// The request with the settings of the network that it is made from, if it is from one.
pub(super) fn inherit(table: &Table, request: NetworkRequest) -> Result<NetworkRequest> {
    if request.config_from.is_empty() {
        return Ok(request);
    }
    let from = table.nets().find(|net| net.config_only.is_some() && net.name == request.config_from);
    let from = from.ok_or_else(|| NetworkError::NoConfig { name: request.config_from.clone() })?;
    Ok(NetworkRequest {
        ipv4: from.has_ipv4(),
        ipv6: from.has_ipv6(),
        ipam: from.ipam.clone(),
        ipam_driver: from.ipam_driver.clone(),
        ipam_options: from.ipam_options.clone(),
        options: from.options.clone(),
        labels: from.labels.clone(),
        ..request
    })
}

/// A network of settings. What they are good for shows when a network is made from them.
pub(super) fn settings(id: String, request: NetworkRequest) -> NetworkSpec {
    NetworkSpec {
        id,
        name: request.name,
        driver: Driver::Null,
        internal: false,
        attachable: false,
        ipam: request.ipam,
        options: request.options,
        labels: request.labels,
        created: Timestamp::now(),
        bridge: String::new(),
        ipam_driver: ipam_driver(request.ipam_driver),
        ipam_options: request.ipam_options,
        config_only: Some(Families { ipv4: request.ipv4, ipv6: request.ipv6 }),
        config_from: String::new(),
        has_own_parent: false,
    }
}

/// Whether a network was made from this one.
pub(super) fn is_used(table: &Table, net: &NetworkSpec) -> bool {
    net.config_only.is_some() && table.nets().any(|other| other.config_from == net.name)
}

pub(super) fn ipam_driver(said: String) -> String {
    if said.is_empty() { DEFAULT_IPAM.to_owned() } else { said }
}
