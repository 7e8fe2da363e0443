//! Fields of the pod and of its resources that containers may ask for (the "downward API").

use super::EnvError;
use hako_names::Quantity;
use k8s_openapi::api::core::v1::{Container, Pod, ResourceFieldSelector};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

/// What is known about a pod when a container of it is configured.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodFacts<'a> {
    /// The pod as the API has it.
    pub(crate) pod: &'a Pod,
    /// The pod's address, known once its sandbox is up.
    pub(crate) pod_ip: Option<IpAddr>,
    /// The node's address.
    pub(crate) host_ip: IpAddr,
    /// What the node can give in all: stands in for limits that are not set.
    pub(crate) allocatable: &'a BTreeMap<String, Quantity>,
}

/// The value at `path`, such as `metadata.labels['app']`.
pub(crate) fn field(facts: &PodFacts<'_>, path: &str) -> Result<String, EnvError> {
    let meta = &facts.pod.metadata;
    let spec = facts.pod.spec.as_ref();
    if let Some((map, key)) = subscript(path) {
        let values = match map {
            "metadata.labels" => meta.labels.as_ref(),
            "metadata.annotations" => meta.annotations.as_ref(),
            _ => return Err(EnvError::Field(path.to_owned())),
        };
        return Ok(values.and_then(|values| values.get(key)).cloned().unwrap_or_default());
    }
    let text = |value: Option<&String>| value.cloned().unwrap_or_default();
    let ip = |ip: Option<IpAddr>| ip.map(|ip| ip.to_string()).unwrap_or_default();
    Ok(match path {
        "metadata.name" => text(meta.name.as_ref()),
        "metadata.namespace" => text(meta.namespace.as_ref()),
        "metadata.uid" => text(meta.uid.as_ref()),
        "metadata.labels" => lines(meta.labels.as_ref()),
        "metadata.annotations" => lines(meta.annotations.as_ref()),
        "spec.nodeName" => text(spec.and_then(|spec| spec.node_name.as_ref())),
        "spec.serviceAccountName" => text(spec.and_then(|spec| spec.service_account_name.as_ref())),
        "status.podIP" | "status.podIPs" => ip(facts.pod_ip),
        "status.hostIP" | "status.hostIPs" => facts.host_ip.to_string(),
        _ => return Err(EnvError::Field(path.to_owned())),
    })
}

/// Splits `map['key']`.
fn subscript(path: &str) -> Option<(&str, &str)> {
    let (map, rest) = path.split_once("['")?;
    Some((map, rest.strip_suffix("']")?))
}

/// All labels or annotations as `key="value"` lines, the way a downward volume shows them.
fn lines(values: Option<&BTreeMap<String, String>>) -> String {
    let mut out = String::new();
    for (key, value) in values.into_iter().flatten() {
        if !out.is_empty() {
            out.push('\n');
        }
        let _ = write!(out, "{key}={value:?}");
    }
    out
}

/// The value of `limits.cpu` and its kind, in units of the divisor and rounded up.
pub(crate) fn resource(
    facts: &PodFacts<'_>,
    container: &Container,
    reference: &ResourceFieldSelector,
) -> Result<String, EnvError> {
    let unknown = || EnvError::Resource(reference.resource.clone());
    let container = named(facts.pod, reference.container_name.as_deref()).unwrap_or(container);
    let (list, name) = reference.resource.split_once('.').ok_or_else(unknown)?;
    let is_known = matches!(name, "cpu" | "memory" | "ephemeral-storage") || name.starts_with("hugepages-");
    if !is_known || !matches!(list, "limits" | "requests") {
        return Err(unknown());
    }
    let resources = container.resources.as_ref();
    let limit = amount(resources.and_then(|r| r.limits.as_ref()), name);
    let value = match list {
        "limits" => limit.or_else(|| facts.allocatable.get(name).copied()),
        _ => amount(resources.and_then(|r| r.requests.as_ref()), name).or(limit),
    };
    let value = value.unwrap_or(Quantity::ZERO);
    let divisor = reference
        .divisor
        .as_ref()
        .and_then(|divisor| divisor.0.parse::<Quantity>().ok())
        .filter(|divisor| !divisor.is_zero());
    Ok(divided(value, divisor.unwrap_or(Quantity::from_units(1)), name).to_string())
}

fn named<'a>(pod: &'a Pod, name: Option<&str>) -> Option<&'a Container> {
    let spec = pod.spec.as_ref()?;
    let all = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let name = name?;
    all.into_iter().find(|container| container.name == name)
}

fn amount(
    list: Option<&BTreeMap<String, k8s_openapi::apimachinery::pkg::api::resource::Quantity>>,
    name: &str,
) -> Option<Quantity> {
    list?.get(name)?.0.parse().ok()
}

/// CPU is counted in thousandths before it is divided, everything else in whole units.
fn divided(value: Quantity, divisor: Quantity, name: &str) -> i64 {
    let (value, divisor) = match name {
        "cpu" => (value.millis(), divisor.millis()),
        _ => (value.units(), divisor.units()),
    };
    let divisor = divisor.max(1);
    value.div_euclid(divisor) + i64::from(value.rem_euclid(divisor) != 0)
}
