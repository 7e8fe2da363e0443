//! What is wrong with a service, and with a change of one.

use super::super::place::{Faults, Place};
use super::super::pod_spec::port;
use super::super::{addresses, meta};
use super::addresses as own;
use super::{is_accessible, needs_health_check};
use hako_kube::{field, names};
use serde_json::{Value, json};
use std::collections::HashSet;

const TYPES: &[&str] = &["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"];
const OF_BALANCERS: &str = "may only be used when `type` is 'LoadBalancer'";
const RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
const MODE: &str = "service.kubernetes.io/topology-mode";
const AFFINITY_MAX: i64 = 86_400;

/// All faults of a service.
pub(super) fn validate(object: &Value) -> Faults {
    let (service, mut faults) = (Place::of(object), Faults::new());
    let spec = service.at(&["spec"]);
    topology(&service, &mut faults);
    kind(&spec, &mut faults);
    ports(&spec, &mut faults);
    meta::labels(object, &["spec", "selector"], "spec.selector", &mut faults);
    affinity(&spec, &mut faults);
    own::validate(&spec, &mut faults);
    for ip in spec.at(&["externalIPs"]).items() {
        if addresses::ip(ip.text()).is_empty() {
            addresses::not_special(&ip, false, &mut faults);
        } else {
            ip.check(addresses::ip, &mut faults);
        }
    }
    balancer(&service, &spec, &mut faults);
    external(&spec, &mut faults);
    internal(&spec, &mut faults);
    let kinds = ["PreferClose", "PreferSameZone", "PreferSameNode"];
    spec.at(&["trafficDistribution"]).one_of_given(&kinds, &mut faults);
    faults
}

fn topology(service: &Place<'_>, faults: &mut Faults) {
    let of = |key: &'static str| service.at(&["metadata", "annotations", key]);
    let (hints, mode) = (of(HINTS), of(MODE));
    if hints.is_set() && mode.is_set() && hints.value != mode.value {
        let detail = format!("must match annotations[{HINTS}] when both are specified");
        faults.push(field::invalid(field::key("metadata.annotations", MODE), mode.text(), &detail));
    }
}

fn is_headless(spec: &Place<'_>) -> bool {
    spec.at(&["clusterIPs"]).texts() == ["None"]
}

fn kind(spec: &Place<'_>, faults: &mut Faults) {
    let kind = spec.at(&["type"]);
    let ports = spec.at(&["ports"]);
    if ports.is_empty() && !is_headless(spec) && kind.text() != "ExternalName" {
        faults.push(ports.required(""));
    }
    match kind.text() {
        "" => faults.push(kind.required("")),
        "LoadBalancer" | "NodePort" if is_headless(spec) => {
            let detail = format!("may not be set to 'None' for {} services", kind.text());
            faults.push(field::invalid("spec.clusterIPs[0]", "None", &detail));
        }
        "ExternalName" => external_name(spec, faults),
        _ => kind.one_of(TYPES, faults),
    }
}

fn external_name(spec: &Place<'_>, faults: &mut Faults) {
    for name in ["clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
        let place = spec.at(&[name]);
        if !place.is_empty() {
            faults.push(place.forbidden("may not be set for ExternalName services"));
        }
    }
    let name = spec.at(&["externalName"]);
    let host = name.text().strip_suffix('.').unwrap_or(name.text());
    if host.is_empty() {
        return faults.push(name.required(""));
    }
    let of = |fault: &String| field::invalid(name.path(), host, fault);
    faults.extend(names::dns_subdomain(host).iter().map(of));
}

fn ports(spec: &Place<'_>, faults: &mut Faults) {
    let list = Vec::from_iter(spec.at(&["ports"]).items());
    let is_inner = spec.at(&["type"]).text() == "ClusterIP";
    let (mut seen_names, mut seen_ports, mut seen_nodes) = (HashSet::new(), HashSet::new(), HashSet::new());
    for one in &list {
        let name = one.at(&["name"]);
        if name.is_empty() && list.len() > 1 {
            faults.push(name.required(""));
        }
        name.check_given(names::dns_label, faults);
        if !seen_names.insert(name.text()) && !name.is_empty() {
            faults.push(name.duplicate());
        }
        one_port(one, faults);
        let (number, node) = (one.at(&["port"]).number(), one.at(&["nodePort"]));
        let protocol = one.at(&["protocol"]).text();
        if node.number() != 0 {
            if is_inner {
                faults.push(node.forbidden("may not be used when `type` is 'ClusterIP'"));
            }
            if !seen_nodes.insert((node.number(), protocol)) {
                faults.push(node.duplicate());
            }
        }
        if !seen_ports.insert((number, protocol)) {
            faults.push(field::duplicate(one.path(), json!({ "port": number, "protocol": protocol })));
        }
    }
}

fn one_port(one: &Place<'_>, faults: &mut Faults) {
    let (number, protocol) = (one.at(&["port"]), one.at(&["protocol"]));
    faults.extend(names::port_number(number.number()).iter().map(|fault| number.invalid_number(fault)));
    if protocol.is_empty() {
        faults.push(protocol.required(""));
    } else {
        protocol.one_of(&["SCTP", "TCP", "UDP"], faults);
    }
    port(&one.at(&["targetPort"]), faults);
    let application = one.at(&["appProtocol"]);
    if application.is_set() {
        application.check(names::qualified_name, faults);
    }
}

fn affinity(spec: &Place<'_>, faults: &mut Faults) {
    let (affinity, config) = (spec.at(&["sessionAffinity"]), spec.at(&["sessionAffinityConfig"]));
    match affinity.text() {
        "" => faults.push(affinity.required("")),
        "ClientIP" => client_ip(&config, faults),
        "None" if config.is_set() => {
            faults.push(config.forbidden("must not be set when session affinity is None"));
        }
        _ => affinity.one_of(&["ClientIP", "None"], faults),
    }
}

fn client_ip(config: &Place<'_>, faults: &mut Faults) {
    let seconds = config.at(&["clientIP", "timeoutSeconds"]);
    for place in [config.clone(), config.at(&["clientIP"]), seconds.clone()] {
        if !place.is_set() {
            return faults.push(place.required("when session affinity type is ClientIP"));
        }
    }
    if !(1..=AFFINITY_MAX).contains(&seconds.number()) {
        faults.push(seconds.invalid(&format!("must be greater than 0 and less than {AFFINITY_MAX}")));
    }
}

/// What load balancers alone have.
fn balancer(service: &Place<'_>, spec: &Place<'_>, faults: &mut Faults) {
    let is_balancer = spec.at(&["type"]).text() == "LoadBalancer";
    let ranges = spec.at(&["loadBalancerSourceRanges"]);
    // The original writes the name of this field with a capital.
    let ranges = spec.at(&["LoadBalancerSourceRanges"]).with(ranges.value);
    let noted = service.at(&["metadata", "annotations", RANGES]);
    if !ranges.is_empty() {
        if !is_balancer {
            faults.push(ranges.forbidden(OF_BALANCERS));
        }
        for range in ranges.items() {
            let of = |fault: String| field::invalid(range.path(), range.text().trim(), &fault);
            faults.extend(addresses::cidr(range.text().trim()).into_iter().map(of));
        }
    } else if noted.is_set() {
        let path = field::key("metadata.annotations", RANGES);
        if !is_balancer {
            faults.push(field::forbidden(path.as_str(), OF_BALANCERS));
        }
        for range in noted.text().split(',').map(str::trim).filter(|_| !noted.text().trim().is_empty()) {
            let of = |fault: String| field::invalid(path.as_str(), range, &fault);
            faults.extend(addresses::cidr(range).into_iter().map(of));
        }
    }
    let (allocate, class) = (spec.at(&["allocateLoadBalancerNodePorts"]), spec.at(&["loadBalancerClass"]));
    for place in [&allocate, &class].into_iter().filter(|place| place.is_set() && !is_balancer) {
        faults.push(place.forbidden(OF_BALANCERS));
    }
    if class.is_set() && is_balancer {
        class.check(names::qualified_name, faults);
    }
}

fn external(spec: &Place<'_>, faults: &mut Faults) {
    let (policy, check) = (spec.at(&["externalTrafficPolicy"]), spec.at(&["healthCheckNodePort"]));
    if !is_accessible(spec.value) {
        if !policy.is_empty() {
            faults.push(policy.invalid("may only be set for externally-accessible services"));
        }
    } else if policy.is_empty() {
        faults.push(policy.required(""));
    } else {
        policy.one_of(&["Cluster", "Local"], faults);
    }
    if !needs_health_check(spec.value) {
        if check.number() != 0 {
            let detail =
                "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'";
            faults.push(check.invalid(detail));
        }
    } else if check.number() == 0 {
        faults.push(check.required(""));
    } else {
        faults.extend(names::port_number(check.number()).iter().map(|fault| check.invalid(fault)));
    }
}

fn internal(spec: &Place<'_>, faults: &mut Faults) {
    let policy = spec.at(&["internalTrafficPolicy"]);
    if !policy.is_set() && spec.at(&["type"]).text() != "ExternalName" {
        faults.push(policy.required(""));
    }
    policy.one_of_given(&["Cluster", "Local"], faults);
}

/// All faults of a change of a service.
pub(super) fn validate_update(new: &Value, old: &Value) -> Faults {
    let (is, was) = (Place::of(new).at(&["spec"]), Place::of(old).at(&["spec"]));
    let mut faults = Faults::new();
    own::validate_update(&is, &was, &mut faults);
    let is_balancer = |spec: &Place<'_>| spec.at(&["type"]).text() == "LoadBalancer";
    let class = is.at(&["loadBalancerClass"]);
    if is_balancer(&is) && is_balancer(&was) && class.value != was.at(&["loadBalancerClass"]).value {
        faults.push(class.invalid("may not change once set"));
    }
    let check = is.at(&["healthCheckNodePort"]);
    if needs_health_check(is.value)
        && needs_health_check(was.value)
        && check.value != was.at(&["healthCheckNodePort"]).value
    {
        faults.push(check.forbidden("field is immutable"));
    }
    faults
}

/// All faults of what a status says of a load balancer.
pub(super) fn validate_status(new: &Value) -> Faults {
    let (service, mut faults) = (Place::of(new), Faults::new());
    let ingress = service.at(&["status", "loadBalancer", "ingress"]);
    if service.at(&["spec", "type"]).text() != "LoadBalancer" && !ingress.is_empty() {
        faults.push(ingress.forbidden("may only be used when `spec.type` is 'LoadBalancer'"));
        return faults;
    }
    for point in ingress.items() {
        let (ip, mode, host) = (point.at(&["ip"]), point.at(&["ipMode"]), point.at(&["hostname"]));
        ip.check_given(addresses::ip, &mut faults);
        match (mode.is_set(), ip.is_empty()) {
            (false, false) => faults.push(mode.required("must be specified when `ip` is set")),
            (true, true) => faults.push(mode.forbidden("may not be specified when `ip` is not set")),
            (true, false) => mode.one_of(&["Proxy", "VIP"], &mut faults),
            (false, true) => {}
        }
        host.check_given(names::dns_subdomain, &mut faults);
        if addresses::is_ip(host.text()) {
            faults.push(host.invalid("must be a DNS name, not an IP address"));
        }
    }
    faults
}
