//! What objects take of a `ResourceQuota`, and which of its scopes hold for them. Pure: admission and the controller
//! that reports what is used count the same way.

mod pod;
mod scope;

use hako_names::Quantity;
use serde_json::Value;
use std::collections::BTreeMap;

pub use pod::amounts as pod_amounts;
pub use scope::is_selected;

/// Amounts by the names of a quota, such as `requests.cpu`.
pub type Usage = BTreeMap<String, Quantity>;

/// A group, empty for core, and a plural.
pub type Resource<'a> = (&'a str, &'a str);

/// Core kinds that may be counted without `count/`.
const PLAIN: &[&str] = &[
    "pods",
    "services",
    "replicationcontrollers",
    "resourcequotas",
    "secrets",
    "configmaps",
    "persistentvolumeclaims",
];
const CLASS_INFIX: &str = ".storageclass.storage.k8s.io/";
const CLAIMS: &str = "persistentvolumeclaims";
const STORAGE: &str = "requests.storage";

/// The kind of object that a name of a quota counts; none for names that count nothing known here.
#[must_use]
pub fn counted_by(name: &str) -> Option<Resource<'_>> {
    if let Some(kind) = name.strip_prefix("count/") {
        let (plural, group) = kind.split_once('.').unwrap_or((kind, ""));
        return Some((group, plural));
    }
    if let Some(plain) = PLAIN.iter().find(|plain| **plain == name) {
        return Some(("", plain));
    }
    if name == STORAGE || name.contains(CLASS_INFIX) {
        return Some(("", CLAIMS));
    }
    if matches!(name, "services.loadbalancers" | "services.nodeports") {
        return Some(("", "services"));
    }
    pod::is_compute(name).then_some(("", "pods"))
}

/// What one object takes.
#[must_use]
pub fn usage((group, plural): Resource<'_>, object: &Value) -> Usage {
    let mut usage = Usage::new();
    let suffix = if group.is_empty() { String::new() } else { format!(".{group}") };
    usage.insert(format!("count/{plural}{suffix}"), Quantity::from_units(1));
    match (group, plural) {
        ("", "pods") => pod::add(object, &mut usage),
        ("", CLAIMS) => claim(object, &mut usage),
        ("", "services") => service(object, &mut usage),
        ("", plain) if PLAIN.contains(&plain) => {
            usage.insert(plain.to_owned(), Quantity::from_units(1));
        }
        _ => {}
    }
    usage
}

/// Adds what one object takes to what others take.
pub fn add(total: &mut Usage, one: Usage) {
    for (name, amount) in one {
        let sum = total.remove(&name).map_or(amount, |before| before + amount);
        total.insert(name, sum);
    }
}

fn claim(object: &Value, usage: &mut Usage) {
    let mut put = |name: String, amount: Quantity| {
        usage.insert(name, amount);
    };
    let storage = object.pointer("/spec/resources/requests/storage");
    // While a volume grows its larger size counts.
    let allocated = object.pointer("/status/allocatedResources/storage");
    let storage = [storage, allocated].into_iter().flatten().filter_map(quantity).max();
    let class = class_of(object);
    for prefix in [None, class.as_deref()] {
        let of_class = |name: &str| {
            prefix.map_or_else(|| name.to_owned(), |class| format!("{class}{CLASS_INFIX}{name}"))
        };
        put(of_class(CLAIMS), Quantity::from_units(1));
        if let Some(storage) = &storage {
            put(of_class(STORAGE), *storage);
        }
        if prefix.is_none() && class.is_none() {
            break;
        }
    }
}

fn class_of(object: &Value) -> Option<String> {
    let annotated = object.pointer("/metadata/annotations/volume.beta.kubernetes.io~1storage-class");
    let class = annotated.or_else(|| object.pointer("/spec/storageClassName"))?.as_str()?;
    (!class.is_empty()).then(|| class.to_owned())
}

fn service(object: &Value, usage: &mut Usage) {
    let ports = object.pointer("/spec/ports").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let has_node_port =
        |port: &&Value| port.get("nodePort").and_then(Value::as_u64).is_some_and(|port| port > 0);
    let without = object.pointer("/spec/allocateLoadBalancerNodePorts") == Some(&Value::Bool(false));
    let kind = object.pointer("/spec/type").and_then(Value::as_str).unwrap_or("ClusterIP");
    let (balancers, node_ports) = match kind {
        "NodePort" => (0, ports.len()),
        "LoadBalancer" if without => (1, ports.iter().filter(has_node_port).count()),
        "LoadBalancer" => (1, ports.len()),
        _ => (0, 0),
    };
    let node_ports = i64::try_from(node_ports).unwrap_or(i64::MAX);
    for (name, count) in
        [("services", 1), ("services.loadbalancers", balancers), ("services.nodeports", node_ports)]
    {
        usage.insert(name.to_owned(), Quantity::from_units(count));
    }
}

fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
