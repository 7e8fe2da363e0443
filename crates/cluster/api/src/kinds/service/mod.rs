//! `Service`.

mod addresses;
mod validate;

use super::columns::{Column, age, labels, name, or_none};
use super::meta;
use super::row::{KindRow, PartWrite, Subresource};
use super::value::{at, each_mut, items, number, object_mut, set_default, set_default_number, text};
use hako_kube::field::Faults;
use hako_kube::names;
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::collections::{HashMap, HashSet};

pub(super) const ROW: KindRow = KindRow {
    kind: "Service",
    plural: "services",
    singular: "service",
    short_names: &["svc"],
    categories: &["all"],
    subresources: &[Subresource::proxy("ServiceProxyOptions"), Subresource::status("", "v1", "Service")],
    type_name: "io.k8s.api.core.v1.Service",
    columns: &[
        Column::NAME,
        Column::text("Type", "How the service is exposed."),
        Column::text("Cluster-IP", "The address inside the cluster."),
        Column::text("External-IP", "The addresses outside the cluster."),
        Column::text("Port(s)", "The ports and node ports."),
        Column::AGE,
        Column::text("Selector", "The labels of the pods behind it.").wide(),
    ],
    cells,
    name_faults: names::dns_1035_label,
    default,
    validate: validate::validate,
    validate_update: validate::validate_update,
    validate_part,
    prepare_create,
    prepare_update,
    selectable,
    selectable_fields: &["spec.clusterIP", "spec.type"],
    warnings: super::warnings::service,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![
        name(object),
        text(object, &["spec", "type"]).into(),
        or_none(text(object, &["spec", "clusterIP"])),
        or_none(&external(object)),
        or_none(&ports(object)),
        age(object, now),
        labels(at(object, &["spec", "selector"])),
    ]
}

fn external(object: &Value) -> String {
    let mut all: Vec<&str> = Vec::new();
    let kind = text(object, &["spec", "type"]);
    if kind == "ExternalName" {
        return text(object, &["spec", "externalName"]).to_owned();
    }
    if kind == "LoadBalancer" {
        for ingress in items(object, &["status", "loadBalancer", "ingress"]) {
            let ip = text(ingress, &["ip"]);
            all.push(if ip.is_empty() { text(ingress, &["hostname"]) } else { ip });
        }
    }
    all.extend(items(object, &["spec", "externalIPs"]).iter().filter_map(Value::as_str));
    if kind == "LoadBalancer" && all.is_empty() {
        return "<pending>".to_owned();
    }
    all.join(",")
}

fn ports(object: &Value) -> String {
    let show = |port: &Value| {
        let number_at = |name: &str| number(port, &[name]).unwrap_or(0);
        let protocol = text(port, &["protocol"]);
        match number_at("nodePort") {
            0 => format!("{}/{protocol}", number_at("port")),
            node => format!("{}:{node}/{protocol}", number_at("port")),
        }
    };
    let all: Vec<String> = items(object, &["spec", "ports"]).iter().map(show).collect();
    all.join(",")
}

fn default(object: &mut Value) {
    let Some(spec) = object_mut(object, &["spec"]) else { return };
    set_default(spec, "sessionAffinity", "None");
    set_default(spec, "type", "ClusterIP");
    let kind = spec.get("type").and_then(Value::as_str).unwrap_or("").to_owned();
    default_affinity(spec);
    for port in each_mut(spec, "ports") {
        set_default(port, "protocol", "TCP");
        if port.get("targetPort").is_none_or(|target| target == &json!(0) || target == &json!("")) {
            let number = port.get("port").cloned().unwrap_or(Value::Null);
            port.insert("targetPort".to_owned(), number);
        }
    }
    if kind == "ExternalName" {
        return;
    }
    set_default(spec, "internalTrafficPolicy", "Cluster");
    if is_accessible(&Value::Object(spec.clone())) {
        set_default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set_default(spec, "allocateLoadBalancerNodePorts", true);
    }
    default_mode(object, &kind);
}

/// What the server fills in, and nobody has therefore said: the addresses' two forms and the families.
fn fill(object: &mut Value) {
    let Some(spec) = object_mut(object, &["spec"]) else { return };
    if spec.get("type").is_none_or(|kind| kind != "ExternalName") {
        default_addresses(spec);
        default_families(spec);
    }
}

/// A service that says nothing of families has the cluster's; one that is free of them has all.
fn default_families(spec: &mut Map<String, Value>) {
    let (is_free, count) = (
        is_free(&Value::Object(spec.clone())),
        spec.get("ipFamilies").and_then(Value::as_array).map_or(0, Vec::len),
    );
    let policy = if is_free || count == 2 { "RequireDualStack" } else { "SingleStack" };
    set_default(spec, "ipFamilyPolicy", policy);
    let is_dual = spec.get("ipFamilyPolicy").is_some_and(|policy| policy != "SingleStack");
    let families = match spec.get("ipFamilies").and_then(|families| families.get(0)).and_then(Value::as_str) {
        _ if count > 1 => return,
        Some("IPv6") if is_free && is_dual => json!(["IPv6", "IPv4"]),
        Some(_) if !(is_free && is_dual) => return,
        _ if is_free && is_dual => json!(["IPv4", "IPv6"]),
        _ => json!(["IPv4"]),
    };
    spec.insert("ipFamilies".to_owned(), families);
}

/// An address of a load balancer is its own, unless it says that it passes on what comes.
fn default_mode(object: &mut Value, kind: &str) {
    let points = object.pointer_mut("/status/loadBalancer/ingress").filter(|_| kind == "LoadBalancer");
    for point in points.and_then(Value::as_array_mut).into_iter().flatten().filter_map(Value::as_object_mut) {
        if point.get("ip").is_some_and(|ip| ip != "") {
            set_default(point, "ipMode", "VIP");
        }
    }
}

fn default_affinity(spec: &mut Map<String, Value>) {
    const PATH: [&str; 3] = ["sessionAffinityConfig", "clientIP", "timeoutSeconds"];
    let is_client = spec.get("sessionAffinity").is_some_and(|affinity| affinity == "ClientIP");
    if spec.get("sessionAffinity").is_some_and(|affinity| affinity == "None") {
        spec.remove(PATH[0]);
    }
    if is_client && at(&Value::Object(spec.clone()), &PATH).is_none() {
        spec.insert(PATH[0].to_owned(), json!({ "clientIP": { "timeoutSeconds": 10_800 } }));
    }
}

/// `clusterIP` and the first of `clusterIPs` are one.
fn default_addresses(spec: &mut Map<String, Value>) {
    let first = spec.get("clusterIPs").and_then(|all| all.get(0)).cloned();
    let single = spec.get("clusterIP").cloned().filter(|ip| ip.as_str().is_some_and(|ip| !ip.is_empty()));
    match (single, first) {
        (Some(single), None) => {
            spec.insert("clusterIPs".to_owned(), json!([single]));
        }
        (None, Some(first)) => {
            spec.insert("clusterIP".to_owned(), first);
        }
        _ => {}
    }
}

fn prepare_create(object: &mut Value) {
    meta::no_generation(object);
    if let Some(map) = object.as_object_mut() {
        map.insert("status".to_owned(), json!({ "loadBalancer": {} }));
    }
    fill(object);
}

/// Keeps the status, and what was allocated where the update is silent about it.
fn prepare_update(new: &mut Value, old: &Value) {
    meta::keep_status(new, old);
    meta::no_generation(new);
    fill(new);
    let Some(spec) = object_mut(new, &["spec"]) else { return };
    let was = &old["spec"];
    give_up(spec, was);
    keep_addresses(spec, was);
    keep_node_ports(spec, was);
    if needs_health_check(was) && needs_health_check(&Value::Object(spec.clone())) {
        let number = was.get("healthCheckNodePort").and_then(Value::as_i64).unwrap_or(0);
        set_default_number(spec, "healthCheckNodePort", number);
    }
}

/// What another type had vanishes with it, unless the writer says something else about it.
fn give_up(spec: &mut Map<String, Value>, was: &Value) {
    let is = Value::Object(spec.clone());
    let is_external = |spec: &Value| text(spec, &["type"]) == "ExternalName";
    let has_nodes = |spec: &Value| matches!(text(spec, &["type"]), "NodePort" | "LoadBalancer");
    let is_balancer = |spec: &Value| text(spec, &["type"]) == "LoadBalancer";
    let mut gone: Vec<&str> = Vec::new();
    if !is_external(was) && is_external(&is) {
        gone.extend(["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"]);
    }
    if is_balancer(was) && !is_balancer(&is) {
        gone.extend(["allocateLoadBalancerNodePorts", "loadBalancerClass"]);
    }
    if is_accessible(was) && !is_accessible(&is) {
        gone.push("externalTrafficPolicy");
    }
    if needs_health_check(was) && !needs_health_check(&is) {
        gone.push("healthCheckNodePort");
    }
    for name in gone.into_iter().filter(|name| is.get(name) == was.get(name)) {
        spec.remove(name);
    }
    if has_nodes(was) && !has_nodes(&is) {
        let nodes = |spec: &Value| -> HashSet<i64> {
            items(spec, &["ports"]).iter().map(|port| number(port, &["nodePort"]).unwrap_or(0)).collect()
        };
        let had = nodes(was);
        for port in each_mut(spec, "ports") {
            let node = port.get("nodePort").and_then(Value::as_i64).unwrap_or(0);
            if had.contains(&node) {
                port.remove("nodePort");
            }
        }
    }
}

fn keep_addresses(spec: &mut Map<String, Value>, was: &Value) {
    if spec.get("type").is_some_and(|kind| kind == "ExternalName") || text(was, &["type"]) == "ExternalName" {
        return;
    }
    for name in ["clusterIP", "clusterIPs"] {
        let is_empty = spec.get(name).is_none_or(|it| it.is_null() || it == "" || it == &json!([]));
        if let (Some(value), true) = (was.get(name), is_empty) {
            spec.insert(name.to_owned(), value.clone());
        }
    }
}

fn keep_node_ports(spec: &mut Map<String, Value>, was: &Value) {
    if !spec.get("type").is_some_and(|kind| kind == "NodePort" || kind == "LoadBalancer") {
        return;
    }
    // Of those of one number and protocol, the first counts.
    let had = items(was, &["ports"]).iter().rev();
    let nodes: HashMap<_, _> =
        had.map(|it| ((it.get("port").cloned(), it.get("protocol").cloned()), it.get("nodePort"))).collect();
    for port in each_mut(spec, "ports") {
        if port.get("nodePort").and_then(Value::as_i64).unwrap_or(0) != 0 {
            continue;
        }
        let same = nodes.get(&(port.get("port").cloned(), port.get("protocol").cloned()));
        if let Some(node) = same.copied().flatten() {
            port.insert("nodePort".to_owned(), node.clone());
        }
    }
}

/// Whether anything outside of the cluster can reach it.
fn is_accessible(spec: &Value) -> bool {
    let has_ips = !items(spec, &["externalIPs"]).is_empty();
    match text(spec, &["type"]) {
        "LoadBalancer" | "NodePort" => true,
        "ClusterIP" => has_ips,
        _ => false,
    }
}

/// Whether a load balancer asks nodes for what they have themselves.
fn needs_health_check(spec: &Value) -> bool {
    text(spec, &["type"]) == "LoadBalancer" && text(spec, &["externalTrafficPolicy"]) == "Local"
}

/// Whether a service has neither address nor pods, and so no family that it would have to have.
fn is_free(spec: &Value) -> bool {
    let has_pods = spec.get("selector").and_then(Value::as_object).is_some_and(|labels| !labels.is_empty());
    text(spec, &["clusterIP"]) == "None" && !has_pods
}

fn validate_part(new: &Value, _: &Value, part: &PartWrite<'_>) -> Faults {
    if part.name == "status" { validate::validate_status(new) } else { Faults::new() }
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    vec![
        ("spec.clusterIP", text(object, &["spec", "clusterIP"]).to_owned()),
        ("spec.type", text(object, &["spec", "type"]).to_owned()),
    ]
}
