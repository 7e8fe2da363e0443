//! `Ingress`.

use super::columns::{Column, age, name, or_none};
use super::{Faults, GROUP, KindRow, Place, Subresource, addresses, meta, reference};
use crate::kinds::value::{at, items, text};
use hako_error::FieldCause;
use hako_kube::names;
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(in crate::kinds) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "Ingress",
    plural: "ingresses",
    singular: "ingress",
    short_names: &["ing"],
    subresources: &[Subresource::status(GROUP, "v1", "Ingress")],
    type_name: "io.k8s.api.networking.v1.Ingress",
    columns: &[
        Column::NAME,
        Column::text("Class", "The name of the IngressClass resource that should be used for it."),
        Column::text("Hosts", "Hosts that incoming requests are matched against before the rule."),
        Column::text("Address", "The addresses of the load balancer."),
        Column::text("Ports", "The ports that are open."),
        Column::AGE,
    ],
    cells,
    validate,
    validate_create,
    prepare_create,
    prepare_update: meta::keep_status,
    warnings: crate::kinds::warnings::ingress,
    ..KindRow::BASE
};

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const HOSTS_SHOWN: usize = 3;
const PATH_TYPES: &[&str] = &["Exact", "ImplementationSpecific", "Prefix"];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let ports = if items(object, &["spec", "tls"]).is_empty() { "80" } else { "80, 443" };
    vec![
        name(object),
        or_none(text(object, &["spec", "ingressClassName"])),
        hosts(items(object, &["spec", "rules"])).into(),
        address(object).into(),
        ports.into(),
        age(object, now),
    ]
}

/// Three hosts, and how many rules are left; `*` where no rule is about a host.
fn hosts(rules: &[Value]) -> String {
    let named = |rule: &&Value| !text(rule, &["host"]).is_empty();
    let hosts: Vec<&str> = rules.iter().filter(named).map(|rule| text(rule, &["host"])).collect();
    let shown = &hosts[..hosts.len().min(HOSTS_SHOWN)];
    let third = rules.iter().enumerate().filter(|(_, rule)| named(rule)).nth(HOSTS_SHOWN - 1);
    match third {
        _ if shown.is_empty() => "*".to_owned(),
        Some((at, _)) if at + 1 < rules.len() => {
            format!("{} + {} more...", shown.join(","), rules.len() - HOSTS_SHOWN)
        }
        _ => shown.join(","),
    }
}

fn address(object: &Value) -> String {
    let points = items(object, &["status", "loadBalancer", "ingress"]);
    let of = |point| {
        let ip = text(point, &["ip"]);
        if ip.is_empty() { text(point, &["hostname"]) } else { ip }
    };
    let all: BTreeSet<&str> = points.iter().map(of).filter(|address| !address.is_empty()).collect();
    all.into_iter().collect::<Vec<_>>().join(",")
}

fn prepare_create(object: &mut Value) {
    meta::start(object);
    if let Some(map) = object.as_object_mut() {
        map.insert("status".to_owned(), json!({ "loadBalancer": {} }));
    }
}

fn validate_create(object: &Value) -> Faults {
    let given = |path: &[&str]| at(object, path).and_then(Value::as_str);
    let annotation = given(&["metadata", "annotations", CLASS_ANNOTATION]);
    match (annotation, given(&["spec", "ingressClassName"])) {
        (Some(annotation), Some(class)) if annotation != class => {
            let path = format!("annotations.{CLASS_ANNOTATION}");
            let detail = "must match `ingressClassName` when both are specified";
            Faults::from([hako_kube::field::invalid(path, annotation, detail)])
        }
        _ => Faults::new(),
    }
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let place = Place::of(object);
    spec(&place.at(&["spec"]), &mut faults);
    load_balancer(&place.at(&["status", "loadBalancer", "ingress"]), &mut faults);
    faults
}

fn spec(spec: &Place<'_>, faults: &mut Faults) {
    let (rules, default) = (spec.at(&["rules"]), spec.at(&["defaultBackend"]));
    if rules.is_empty() && !default.is_set() {
        let value = rules.value.clone();
        let detail = "either `defaultBackend` or `rules` must be specified";
        faults.push(hako_kube::field::invalid(spec.path(), value, detail));
    }
    if default.is_set() {
        backend(&default, faults);
    }
    for rule in rules.items() {
        host(&rule.at(&["host"]), faults);
        http(&rule.at(&["http"]), faults);
    }
    for tls in spec.at(&["tls"]).items() {
        for host in tls.at(&["hosts"]).items() {
            host.check(addresses::host, faults);
        }
        tls.at(&["secretName"]).check_given(names::dns_subdomain, faults);
    }
    let class = spec.at(&["ingressClassName"]);
    if class.is_set() {
        class.check(names::dns_subdomain, faults);
    }
}

fn host(host: &Place<'_>, faults: &mut Faults) {
    host.check_given(not_an_address, faults);
    host.check_given(addresses::host, faults);
}

fn not_an_address(host: &str) -> Vec<String> {
    let fault = "must be a DNS name, not an IP address";
    if addresses::is_ip(host) { vec![fault.to_owned()] } else { Vec::new() }
}

fn http(http: &Place<'_>, faults: &mut Faults) {
    if !http.is_set() {
        return;
    }
    let paths = http.at(&["paths"]);
    if paths.is_empty() {
        faults.push(paths.required(""));
    }
    for path in paths.items() {
        one_path(&path, faults);
    }
}

fn one_path(entry: &Place<'_>, faults: &mut Faults) {
    let (kind, path) = (entry.at(&["pathType"]), entry.at(&["path"]));
    if !kind.is_set() {
        faults.push(kind.required("pathType must be specified"));
        return;
    }
    match kind.text() {
        "Exact" | "Prefix" => {
            path.check(absolute, faults);
            path.check(plain, faults);
        }
        "ImplementationSpecific" => path.check_given(absolute, faults),
        _ => faults.push(kind.not_supported(PATH_TYPES)),
    }
    backend(&entry.at(&["backend"]), faults);
}

fn absolute(path: &str) -> Vec<String> {
    if path.starts_with('/') { Vec::new() } else { vec!["must be an absolute path".to_owned()] }
}

/// What a path has that means something else to who reads it another way.
fn plain(path: &str) -> Vec<String> {
    let within = ["//", "/./", "/../", "%2f", "%2F"].into_iter().filter(|part| path.contains(part));
    let mut faults: Vec<String> = within.map(|part| format!("must not contain '{part}'")).collect();
    let ends = ["/..", "/."].into_iter().filter(|end| path.ends_with(end));
    faults.extend(ends.map(|end| format!("cannot end with '{end}'")));
    faults
}

fn backend(backend: &Place<'_>, faults: &mut Faults) {
    let (resource, service) = (backend.at(&["resource"]), backend.at(&["service"]));
    match (resource.is_set(), service.is_set()) {
        (true, true) => faults.push(fault(backend, "cannot set both resource and service backends")),
        (false, false) => faults.push(fault(backend, "resource or service backend is required")),
        (true, false) => reference(&resource, faults),
        (false, true) => {
            service.at(&["name"]).check_required(names::dns_1035_label, faults);
            port(backend, &service.at(&["port"]), faults);
        }
    }
}

fn port(backend: &Place<'_>, port: &Place<'_>, faults: &mut Faults) {
    let (name, number) = (port.at(&["name"]), port.at(&["number"]));
    match (!name.is_empty(), number.number() != 0) {
        (true, true) => faults.push(fault(backend, "cannot set both port name & port number")),
        (true, false) => name.check(names::port_name, faults),
        (false, true) => {
            faults.extend(names::port_number(number.number()).iter().map(|detail| number.invalid(detail)))
        }
        (false, false) => faults.push(backend.required("port name or number is required")),
    }
}

/// A fault of a backend as a whole, which messages show as an empty text.
fn fault(backend: &Place<'_>, detail: &str) -> FieldCause {
    hako_kube::field::invalid(backend.path(), "", detail)
}

fn load_balancer(points: &Place<'_>, faults: &mut Faults) {
    for point in points.items() {
        point.at(&["ip"]).check_given(addresses::ip, faults);
        let hostname = point.at(&["hostname"]);
        hostname.check_given(names::dns_subdomain, faults);
        hostname.check_given(not_an_address, faults);
    }
}
