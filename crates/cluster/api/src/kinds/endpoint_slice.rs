//! `EndpointSlice`.

use super::columns::{Column, age, name};
use super::endpoints::shortened;
use super::place::{Faults, Place};
use super::row::KindRow;
use super::value::{each_mut, items, set_default, text};
use super::{addresses, meta};
use hako_kube::{field, names};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::net::{Ipv4Addr, Ipv6Addr};

pub(super) const ROW: KindRow = KindRow {
    group: "discovery.k8s.io",
    kind: "EndpointSlice",
    plural: "endpointslices",
    singular: "endpointslice",
    type_name: "io.k8s.api.discovery.v1.EndpointSlice",
    columns: &[
        Column::NAME,
        Column::text("AddressType", "The type of the addresses."),
        Column::text("Ports", "The ports."),
        Column::text("Endpoints", "The addresses."),
        Column::AGE,
    ],
    cells,
    default,
    validate,
    validate_update,
    prepare_create,
    prepare_update,
    warnings: super::warnings::endpoint_slice,
    ..KindRow::BASE
};

const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 20_000;
const ADDRESSES_MAX: usize = 100;
const TOPOLOGY_MAX: usize = 16;
const HINTS_MAX: usize = 8;

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let port = |port: &Value| port.get("port").map_or_else(|| "*".to_owned(), Value::to_string);
    let ports: Vec<String> = items(object, &["ports"]).iter().map(port).collect();
    let address = |endpoint: &Value| {
        let first = items(endpoint, &["addresses"]).first();
        first.and_then(Value::as_str).unwrap_or("").to_owned()
    };
    let addresses: Vec<String> = items(object, &["endpoints"]).iter().map(address).collect();
    vec![
        name(object),
        text(object, &["addressType"]).into(),
        shortened(&ports, "<unset>").into(),
        shortened(&addresses, "<unset>").into(),
        age(object, now),
    ]
}

fn default(object: &mut Value) {
    let mut empty = Map::new();
    let map = object.as_object_mut().unwrap_or(&mut empty);
    for port in each_mut(map, "ports") {
        set_default(port, "name", "");
        set_default(port, "protocol", "TCP");
    }
}

fn validate(object: &Value) -> Faults {
    let (slice, mut faults) = (Place::of(object), Faults::new());
    let is_of_api = addresses::is_of_api(object);
    let kind = slice.at(&["addressType"]);
    if kind.is_empty() {
        faults.push(kind.required(""));
    } else {
        kind.one_of(&["FQDN", "IPv4", "IPv6"], &mut faults);
    }
    let endpoints = slice.at(&["endpoints"]);
    match endpoints.items() {
        all if all.len() > ENDPOINTS_MAX => {
            faults.push(field::too_many(endpoints.path(), all.len(), ENDPOINTS_MAX));
        }
        all => all.for_each(|it| endpoint(&it, kind.text(), is_of_api, &mut faults)),
    }
    ports(&slice.at(&["ports"]), &mut faults);
    faults
}

fn endpoint(endpoint: &Place<'_>, kind: &str, is_of_api: bool, faults: &mut Faults) {
    let addresses = endpoint.at(&["addresses"]);
    match addresses.items() {
        all if all.len() == 0 => faults.push(addresses.required("must contain at least 1 address")),
        all => {
            if all.len() > ADDRESSES_MAX {
                faults.push(field::too_many(addresses.path(), all.len(), ADDRESSES_MAX));
            }
            all.for_each(|it| address(&it, kind, is_of_api, faults));
        }
    }
    let topology = endpoint.at(&["deprecatedTopology"]);
    let count = topology.entries().len();
    if count > TOPOLOGY_MAX {
        faults.push(field::too_many(topology.path(), count, TOPOLOGY_MAX));
    }
    meta::labels(endpoint.value, &["deprecatedTopology"], &topology.path(), faults);
    let (hostname, node) = (endpoint.at(&["hostname"]), endpoint.at(&["nodeName"]));
    if hostname.is_set() {
        hostname.check(names::dns_label, faults);
    }
    if node.is_set() {
        node.check(names::dns_subdomain, faults);
    }
    hints(&endpoint.at(&["hints", "forZones"]), names::label_value, faults);
    hints(&endpoint.at(&["hints", "forNodes"]), names::dns_subdomain, faults);
}

fn address(address: &Place<'_>, kind: &str, is_of_api: bool, faults: &mut Faults) {
    let text = address.text();
    let is_sound = match kind {
        "IPv4" => text.parse::<Ipv4Addr>().is_ok(),
        "IPv6" => text.parse::<Ipv6Addr>().is_ok_and(|address| address.to_ipv4_mapped().is_none()),
        "FQDN" => return full_name(address, faults),
        _ => return,
    };
    if !is_sound {
        faults.push(address.invalid_text(&format!("must be a valid {kind} address")));
    }
    addresses::not_special(address, is_of_api, faults);
}

/// A name of a host within a domain.
fn full_name(address: &Place<'_>, faults: &mut Faults) {
    let name = address.text().strip_suffix('.').unwrap_or(address.text());
    if name.is_empty() {
        return faults.push(address.required(""));
    }
    let complaints = names::dns_subdomain(name);
    if !complaints.is_empty() {
        return faults.extend(complaints.iter().map(|fault| field::invalid(address.path(), name, fault)));
    }
    if !name.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        faults.push(field::invalid(address.path(), name, detail));
    }
}

/// Where traffic for an endpoint should come from.
fn hints(hints: &Place<'_>, syntax: fn(&str) -> Vec<String>, faults: &mut Faults) {
    let all = Vec::from_iter(hints.items());
    if all.len() > HINTS_MAX {
        return faults.push(field::too_many(hints.path(), all.len(), HINTS_MAX));
    }
    let mut seen: Vec<&str> = Vec::new();
    for name in all.iter().map(|hint| hint.at(&["name"])) {
        if seen.contains(&name.text()) {
            faults.push(name.duplicate());
        }
        seen.push(name.text());
        name.check(syntax, faults);
    }
}

fn ports(ports: &Place<'_>, faults: &mut Faults) {
    let all = Vec::from_iter(ports.items());
    if all.len() > PORTS_MAX {
        return faults.push(field::too_many(ports.path(), all.len(), PORTS_MAX));
    }
    let mut seen: Vec<&str> = Vec::new();
    for port in all {
        let (name, protocol) = (port.at(&["name"]), port.at(&["protocol"]));
        name.check_given(names::dns_label, faults);
        if seen.contains(&name.text()) {
            faults.push(name.duplicate());
        }
        seen.push(name.text());
        if protocol.is_empty() {
            faults.push(protocol.required(""));
        } else {
            protocol.one_of(&["SCTP", "TCP", "UDP"], faults);
        }
        let application = port.at(&["appProtocol"]);
        if application.is_set() {
            application.check(names::qualified_name, faults);
        }
    }
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    if new.get("addressType") == old.get("addressType") {
        return Faults::new();
    }
    Faults::from([field::invalid("addressType", text(new, &["addressType"]), "field is immutable")])
}

fn prepare_create(object: &mut Value) {
    if let Some(metadata) = super::value::object_mut(object, &["metadata"]) {
        metadata.insert("generation".to_owned(), json!(1));
    }
}

fn prepare_update(new: &mut Value, old: &Value) {
    let has_changed = ["endpoints", "ports"].iter().any(|part| new.get(part) != old.get(part));
    let generation = super::value::number(old, &["metadata", "generation"]).unwrap_or(1);
    if let Some(metadata) = super::value::object_mut(new, &["metadata"]) {
        metadata.insert("generation".to_owned(), json!(generation + i64::from(has_changed)));
    }
}
