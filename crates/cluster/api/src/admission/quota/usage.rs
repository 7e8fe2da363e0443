//! What an object uses of which resources.

use std::collections::{BTreeMap, BTreeSet};

use hako_names::Quantity;
use serde_json::Value;

use crate::admission::amounts::{Amounts, amounts, pod_limits, pod_requests};
use crate::admission::plugin::{Change, Operation, items, text};

/// Kinds that use more than their own number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Pod,
    Service,
    Claim,
    Other,
}

/// Counts the objects of one kind.
pub(super) struct Evaluator {
    pub kind: Kind,
    /// `count/pods`, `count/deployments.apps`.
    count: String,
    /// The name from before there was `count/`, of the kinds that had one.
    short: Option<&'static str>,
}

const SHORT: &[&str] = &[
    "pods",
    "services",
    "persistentvolumeclaims",
    "configmaps",
    "secrets",
    "replicationcontrollers",
    "resourcequotas",
];
/// What is counted of pods under its own name, which means requests.
const PLAIN: &[&str] = &["cpu", "memory", "ephemeral-storage"];
const OF_CLASSES: &str = ".storageclass.storage.k8s.io/";

impl Evaluator {
    /// None for writes that are not counted.
    pub(super) fn of(change: &Change<'_>) -> Option<Self> {
        let row = change.target.row;
        let kind = match (row.group, row.plural) {
            ("", "pods") => Kind::Pod,
            ("", "services") => Kind::Service,
            ("", "persistentvolumeclaims") => Kind::Claim,
            ("", "events") | ("events.k8s.io", _) => return None,
            _ => Kind::Other,
        };
        let is_counted = match change.operation {
            Operation::Create => change.part.is_empty(),
            Operation::Update if kind == Kind::Pod => change.part == "resize",
            Operation::Update => matches!(kind, Kind::Service | Kind::Claim) && change.part.is_empty(),
            Operation::Delete => false,
        };
        if !is_counted || !row.is_namespaced() || row.question.is_some() {
            return None;
        }
        let short = SHORT.iter().find(|name| **name == row.plural && row.group.is_empty()).copied();
        let group = if row.group.is_empty() { String::new() } else { format!(".{}", row.group) };
        Some(Self { kind, count: format!("count/{}{group}", row.plural), short })
    }

    /// Whether objects of the kind may use a resource.
    pub(super) fn counts(&self, resource: &str) -> bool {
        if resource == self.count || self.short == Some(resource) {
            return true;
        }
        match self.kind {
            Kind::Pod => {
                let bare = resource.strip_prefix("requests.").or_else(|| resource.strip_prefix("limits."));
                let is_storage = bare.is_some_and(|bare| bare == "storage") || resource.contains(OF_CLASSES);
                PLAIN.contains(&resource)
                    || resource.starts_with("hugepages-")
                    || bare.is_some() && !is_storage
            }
            Kind::Service => matches!(resource, "services.nodeports" | "services.loadbalancers"),
            Kind::Claim => resource == "requests.storage" || resource.contains(OF_CLASSES),
            Kind::Other => false,
        }
    }

    /// What an object uses.
    pub(super) fn usage(&self, object: &Value) -> Amounts {
        let one = Quantity::from_units(1);
        let mut usage = Amounts::from([(self.count.clone(), one)]);
        if let Some(short) = self.short.filter(|_| self.kind != Kind::Pod) {
            usage.insert(short.to_owned(), one);
        }
        match self.kind {
            Kind::Pod => pod(object, &mut usage),
            Kind::Service => service(object, &mut usage),
            Kind::Claim => claim(object, &mut usage),
            Kind::Other => {}
        }
        usage
    }

    /// What containers have to say because a quota counts it, and do not.
    pub(super) fn unsaid(&self, counted: &[&str], object: &Value) -> Option<String> {
        if self.kind != Kind::Pod {
            return None;
        }
        let of = |name: &str| match name.split_once('.') {
            Some(("requests", bare @ ("cpu" | "memory"))) => Some(("requests", bare.to_owned())),
            Some(("limits", bare @ ("cpu" | "memory"))) => Some(("limits", bare.to_owned())),
            None if matches!(name, "cpu" | "memory") => Some(("requests", name.to_owned())),
            _ => None,
        };
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let containers = ["/spec/containers", "/spec/initContainers"].map(|list| items(object, list));
        for container in containers.iter().flat_map(|list| list.iter()) {
            for name in counted {
                let Some((kind, bare)) = of(name) else { continue };
                if container["resources"][kind].get(&bare).is_none() {
                    missing.entry(*name).or_default().insert(text(container, "/name"));
                }
            }
        }
        let texts = missing
            .into_iter()
            .map(|(name, of)| format!("{name} for: {}", of.into_iter().collect::<Vec<_>>().join(",")));
        let texts: Vec<String> = texts.collect();
        (!texts.is_empty()).then(|| format!("must specify {}", texts.join("; ")))
    }
}

/// A pod that ended only counts as an object.
fn pod(pod: &Value, usage: &mut Amounts) {
    if matches!(text(pod, "/status/phase"), "Succeeded" | "Failed") {
        return;
    }
    usage.insert("pods".to_owned(), Quantity::from_units(1));
    for (name, amount) in pod_requests(pod) {
        if PLAIN.contains(&name.as_str()) || name.starts_with("hugepages-") {
            usage.insert(name.clone(), amount);
        }
        usage.insert(format!("requests.{name}"), amount);
    }
    for (name, amount) in pod_limits(pod) {
        usage.insert(format!("limits.{name}"), amount);
    }
}

fn service(service: &Value, usage: &mut Amounts) {
    let ports = items(service, "/spec/ports");
    let count = |count: usize| Quantity::from_units(i64::try_from(count).unwrap_or(i64::MAX));
    let (mut node_ports, mut balancers) = (count(0), count(0));
    match text(service, "/spec/type") {
        "NodePort" => node_ports = count(ports.len()),
        "LoadBalancer" => {
            balancers = count(1);
            let is_each = service.pointer("/spec/allocateLoadBalancerNodePorts") != Some(&Value::Bool(false));
            let given = ports.iter().filter(|port| port["nodePort"].as_i64().is_some_and(|port| port != 0));
            node_ports = count(if is_each { ports.len() } else { given.count() });
        }
        _ => {}
    }
    usage.insert("services.nodeports".to_owned(), node_ports);
    usage.insert("services.loadbalancers".to_owned(), balancers);
}

fn claim(claim: &Value, usage: &mut Amounts) {
    let class = match super::super::plugin::annotation(claim, "volume.beta.kubernetes.io/storage-class") {
        "" => text(claim, "/spec/storageClassName"),
        class => class,
    };
    let wanted = amounts(&claim["spec"]["resources"]["requests"]).remove("storage");
    let wanted = wanted.unwrap_or(Quantity::ZERO);
    usage.insert("requests.storage".to_owned(), wanted);
    if !class.is_empty() {
        usage.insert(format!("{class}{OF_CLASSES}requests.storage"), wanted);
        usage.insert(format!("{class}{OF_CLASSES}persistentvolumeclaims"), Quantity::from_units(1));
    }
}
