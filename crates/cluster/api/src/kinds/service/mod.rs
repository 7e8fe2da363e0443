//! `Service`.

use super::columns::{Column, age, labels, name, or_none};
use super::meta;
use super::row::{KindRow, Subresource};
use super::value::{at, each_mut, items, number, object_mut, set_default, text};
use hako_error::FieldCause;
use hako_kube::{field, names};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::net::IpAddr;

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
    validate,
    validate_update,
    prepare_create,
    prepare_update,
    selectable,
    selectable_fields: &["spec.clusterIP", "spec.type"],
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
    if spec.get("sessionAffinity") == Some(&json!("ClientIP")) {
        set_default(spec, "sessionAffinityConfig", json!({ "clientIP": { "timeoutSeconds": 10_800 } }));
    }
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
    if kind == "NodePort" || kind == "LoadBalancer" {
        set_default(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set_default(spec, "allocateLoadBalancerNodePorts", true);
    }
    set_default(spec, "ipFamilyPolicy", "SingleStack");
    set_default(spec, "ipFamilies", json!(["IPv4"]));
    default_addresses(spec);
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

fn validate(object: &Value) -> Vec<FieldCause> {
    let mut causes = Vec::new();
    let kind = text(object, &["spec", "type"]);
    let ports = items(object, &["spec", "ports"]);
    let is_headless = text(object, &["spec", "clusterIP"]) == "None";
    match kind {
        "ClusterIP" | "NodePort" | "LoadBalancer" | "ExternalName" => {}
        "" => causes.push(field::required("spec.type", "")),
        other => causes.push(field::not_supported(
            "spec.type",
            other,
            &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"],
        )),
    }
    if kind == "ExternalName" {
        external_name(object, &mut causes);
    } else if ports.is_empty() && !is_headless {
        causes.push(field::required("spec.ports", ""));
    }
    if is_headless && matches!(kind, "NodePort" | "LoadBalancer") {
        causes.push(field::invalid(
            "spec.clusterIPs[0]",
            "None",
            &format!("may not be set to 'None' for {kind} services"),
        ));
    }
    addresses(object, kind, &mut causes);
    families(object, kind, &mut causes);
    meta::labels(object, &["spec", "selector"], "spec.selector", &mut causes);
    affinity(object, &mut causes);
    policies(object, kind, &mut causes);
    all_ports(ports, kind, is_headless, &mut causes);
    causes
}

fn external_name(object: &Value, causes: &mut Vec<FieldCause>) {
    let name = text(object, &["spec", "externalName"]).trim_end_matches('.');
    if name.is_empty() {
        causes.push(field::required("spec.externalName", ""));
    } else {
        let of = |fault: String| field::invalid("spec.externalName", name, &fault);
        causes.extend(names::dns_subdomain(name).into_iter().map(of));
    }
    if !text(object, &["spec", "clusterIP"]).is_empty() {
        causes.push(field::forbidden("spec.clusterIPs", "may not be set when `type` is 'ExternalName'"));
    }
}

fn addresses(object: &Value, kind: &str, causes: &mut Vec<FieldCause>) {
    const DETAIL: &str = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)";
    if kind == "ExternalName" {
        return;
    }
    for (at, ip) in items(object, &["spec", "clusterIPs"]).iter().enumerate() {
        let ip = ip.as_str().unwrap_or("");
        if ip != "None" && ip.parse::<IpAddr>().is_err() {
            causes.push(field::invalid(field::index("spec.clusterIPs", at), ip, DETAIL));
        }
    }
    let (single, first) =
        (at(object, &["spec", "clusterIP"]), items(object, &["spec", "clusterIPs"]).first());
    if first.is_some() && single != first {
        let value = single.cloned().unwrap_or(Value::Null);
        causes.push(field::invalid("spec.clusterIPs", value, "first value must match `clusterIP`"));
    }
    for (at, ip) in items(object, &["spec", "externalIPs"]).iter().enumerate() {
        let ip = ip.as_str().unwrap_or("");
        if ip.parse::<IpAddr>().is_err() {
            causes.push(field::invalid(field::index("spec.externalIPs", at), ip, DETAIL));
        }
    }
}

/// Services have IPv4 addresses only: what cannot be given is refused, as a cluster of one family does.
fn families(object: &Value, kind: &str, causes: &mut Vec<FieldCause>) {
    if kind == "ExternalName" {
        return;
    }
    match text(object, &["spec", "ipFamilyPolicy"]) {
        "" | "SingleStack" | "PreferDualStack" => {}
        "RequireDualStack" => causes.push(field::invalid(
            "spec.ipFamilyPolicy",
            "RequireDualStack",
            "this cluster is not configured for dual-stack services",
        )),
        other => causes.push(field::not_supported(
            "spec.ipFamilyPolicy",
            other,
            &["PreferDualStack", "RequireDualStack", "SingleStack"],
        )),
    }
    for (at, family) in items(object, &["spec", "ipFamilies"]).iter().enumerate() {
        let path = field::index("spec.ipFamilies", at);
        match family.as_str() {
            Some("IPv4") if at == 0 => {}
            Some("IPv4") => causes.push(field::duplicate(path, "IPv4")),
            Some("IPv6") => {
                causes.push(field::invalid(path, "IPv6", "not configured on this cluster"));
            }
            _ => causes.push(field::not_supported(path, family.clone(), &["IPv4", "IPv6"])),
        }
    }
}

fn affinity(object: &Value, causes: &mut Vec<FieldCause>) {
    match text(object, &["spec", "sessionAffinity"]) {
        "ClientIP" => {
            let path = ["spec", "sessionAffinityConfig", "clientIP", "timeoutSeconds"];
            if let Some(seconds) = number(object, &path)
                && !(1..=86_400).contains(&seconds)
            {
                let shown = path.join(".");
                causes.push(field::invalid(
                    shown,
                    seconds,
                    "must be greater than 0 and less than or equal to 86400",
                ));
            }
        }
        "None" => {
            if at(object, &["spec", "sessionAffinityConfig"]).is_some() {
                causes.push(field::forbidden(
                    "spec.sessionAffinityConfig",
                    "must not be set when session affinity is None",
                ));
            }
        }
        "" => causes.push(field::required("spec.sessionAffinity", "")),
        other => causes.push(field::not_supported("spec.sessionAffinity", other, &["ClientIP", "None"])),
    }
}

fn policies(object: &Value, kind: &str, causes: &mut Vec<FieldCause>) {
    for name in ["internalTrafficPolicy", "externalTrafficPolicy"] {
        let path = field::child("spec", name);
        match text(object, &["spec", name]) {
            "" => {}
            _ if name == "externalTrafficPolicy" && !matches!(kind, "NodePort" | "LoadBalancer") => {
                causes.push(field::invalid(
                    path,
                    text(object, &["spec", name]),
                    "may only be set for externally-accessible services",
                ));
            }
            "Cluster" | "Local" => {}
            other => causes.push(field::not_supported(path, other, &["Cluster", "Local"])),
        }
    }
}

fn all_ports(ports: &[Value], kind: &str, is_headless: bool, causes: &mut Vec<FieldCause>) {
    let (mut seen_names, mut seen_ports, mut seen_nodes) = (Vec::new(), Vec::new(), Vec::new());
    for (at, port) in ports.iter().enumerate() {
        let path = field::index("spec.ports", at);
        let name = text(port, &["name"]);
        if name.is_empty() && ports.len() > 1 {
            causes.push(field::required(field::child(&path, "name"), ""));
        } else if !name.is_empty() {
            let of = |fault: String| field::invalid(field::child(&path, "name"), name, &fault);
            causes.extend(names::dns_label(name).into_iter().map(of));
            if seen_names.contains(&name) {
                causes.push(field::duplicate(field::child(&path, "name"), name));
            }
            seen_names.push(name);
        }
        one_port(port, &path, kind, is_headless, causes);
        let protocol = text(port, &["protocol"]);
        let key = (number(port, &["port"]), protocol);
        if seen_ports.contains(&key) {
            let value = json!({ "port": key.0, "protocol": protocol });
            causes.push(field::duplicate(&path, value));
        }
        seen_ports.push(key);
        let node = (number(port, &["nodePort"]).filter(|node| *node != 0), protocol);
        if node.0.is_some() && seen_nodes.contains(&node) {
            causes.push(field::duplicate(field::child(&path, "nodePort"), node.0));
        }
        seen_nodes.push(node);
    }
}

fn one_port(port: &Value, path: &str, kind: &str, is_headless: bool, causes: &mut Vec<FieldCause>) {
    let of = |name: &str, value: Value| {
        let path = field::child(path, name);
        move |fault: String| field::invalid(path.clone(), value.clone(), &fault)
    };
    let number_at = |name: &str| number(port, &[name]).unwrap_or(0);
    let service = number_at("port");
    causes.extend(names::port_number(service).into_iter().map(of("port", json!(service))));
    match text(port, &["protocol"]) {
        "TCP" | "UDP" | "SCTP" => {}
        "" => causes.push(field::required(field::child(path, "protocol"), "")),
        other => {
            causes.push(field::not_supported(field::child(path, "protocol"), other, &["SCTP", "TCP", "UDP"]))
        }
    }
    if !is_headless && kind != "ExternalName" {
        match port.get("targetPort") {
            Some(Value::String(name)) => {
                causes.extend(names::port_name(name).into_iter().map(of("targetPort", json!(name))));
            }
            Some(Value::Number(_)) => {
                let target = number_at("targetPort");
                causes.extend(names::port_number(target).into_iter().map(of("targetPort", json!(target))));
            }
            _ => {}
        }
    }
    if number_at("nodePort") != 0 && !matches!(kind, "NodePort" | "LoadBalancer") {
        causes.push(field::forbidden(
            field::child(path, "nodePort"),
            &format!("may not be used when `type` is '{kind}'"),
        ));
    }
}

/// The address of a service stays, unless the service starts or stops being an `ExternalName`.
fn validate_update(new: &Value, old: &Value) -> Vec<FieldCause> {
    let is_external = |object: &Value| text(object, &["spec", "type"]) == "ExternalName";
    let (is, was) = (text(new, &["spec", "clusterIP"]), text(old, &["spec", "clusterIP"]));
    if is_external(new) || is_external(old) || was.is_empty() || is == was {
        return Vec::new();
    }
    vec![field::invalid("spec.clusterIPs[0]", json!([is]), "may not change once set")]
}

fn prepare_create(object: &mut Value) {
    meta::no_generation(object);
    if let Some(map) = object.as_object_mut() {
        map.insert("status".to_owned(), json!({ "loadBalancer": {} }));
    }
}

/// Keeps the status, and what was allocated where the update is silent about it.
fn prepare_update(new: &mut Value, old: &Value) {
    meta::keep_status(new, old);
    meta::no_generation(new);
    let kind = text(new, &["spec", "type"]).to_owned();
    let Some(spec) = object_mut(new, &["spec"]) else { return };
    if kind == "ExternalName" {
        if at(old, &["spec", "clusterIP"]) == spec.get("clusterIP") {
            for name in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy", "internalTrafficPolicy"] {
                spec.remove(name);
            }
        }
        return;
    }
    for name in ["clusterIP", "clusterIPs"] {
        if let Some(value) = at(old, &["spec", name]) {
            let is_empty =
                spec.get(name).is_none_or(|it| it.is_null() || it == &json!("") || it == &json!([]));
            if is_empty {
                spec.insert(name.to_owned(), value.clone());
            }
        }
    }
    if kind == "ClusterIP" {
        drop_node_ports(spec, old);
    } else {
        keep_node_ports(spec, old);
    }
}

/// Node ports given up by a change of type vanish with it.
fn drop_node_ports(spec: &mut Map<String, Value>, old: &Value) {
    if text(old, &["spec", "type"]) == "ClusterIP" {
        return;
    }
    spec.remove("externalTrafficPolicy");
    spec.remove("allocateLoadBalancerNodePorts");
    let had: Vec<Value> =
        items(old, &["spec", "ports"]).iter().filter_map(|it| it.get("nodePort").cloned()).collect();
    for port in each_mut(spec, "ports") {
        if port.get("nodePort").is_some_and(|node| had.contains(node)) {
            port.remove("nodePort");
        }
    }
}

fn keep_node_ports(spec: &mut Map<String, Value>, old: &Value) {
    for port in each_mut(spec, "ports") {
        if port.get("nodePort").and_then(Value::as_i64).unwrap_or(0) != 0 {
            continue;
        }
        let same = items(old, &["spec", "ports"])
            .iter()
            .find(|it| it.get("port") == port.get("port") && it.get("protocol") == port.get("protocol"));
        if let Some(node) = same.and_then(|it| it.get("nodePort")) {
            port.insert("nodePort".to_owned(), node.clone());
        }
    }
}

fn selectable(object: &Value) -> Vec<(&'static str, String)> {
    vec![
        ("spec.clusterIP", text(object, &["spec", "clusterIP"]).to_owned()),
        ("spec.type", text(object, &["spec", "type"]).to_owned()),
    ]
}
