//! `EndpointSlice`.

use super::columns::{Column, age, name};
use super::endpoints::shortened;
use super::row::KindRow;
use super::value::{each_mut, items, set_default, text};
use hako_error::FieldCause;
use hako_kube::field;
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
    ..KindRow::BASE
};

const ENDPOINTS_MAX: usize = 1000;
const PORTS_MAX: usize = 20_000;

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

fn validate(object: &Value) -> Vec<FieldCause> {
    let mut causes = Vec::new();
    let kind = text(object, &["addressType"]);
    match kind {
        "" => causes.push(field::required("addressType", "")),
        "IPv4" | "IPv6" | "FQDN" => {}
        other => causes.push(field::not_supported("addressType", other, &["FQDN", "IPv4", "IPv6"])),
    }
    let endpoints = items(object, &["endpoints"]);
    if endpoints.len() > ENDPOINTS_MAX {
        causes.push(field::too_many("endpoints", endpoints.len(), ENDPOINTS_MAX));
    }
    let ports = items(object, &["ports"]);
    if ports.len() > PORTS_MAX {
        causes.push(field::too_many("ports", ports.len(), PORTS_MAX));
    }
    for (at, endpoint) in endpoints.iter().enumerate() {
        let path = field::child(&field::index("endpoints", at), "addresses");
        let addresses = items(endpoint, &["addresses"]);
        if addresses.is_empty() {
            causes.push(field::required(&path, "must contain at least 1 address"));
        }
        for (at, address) in addresses.iter().enumerate() {
            let address = address.as_str().unwrap_or("");
            let is_sound = match kind {
                "IPv4" => address.parse::<Ipv4Addr>().is_ok(),
                "IPv6" => address.parse::<Ipv6Addr>().is_ok(),
                _ => true,
            };
            if !is_sound {
                let detail = format!("must be a valid {kind} address");
                causes.push(field::invalid(field::index(&path, at), address, &detail));
            }
        }
    }
    causes
}

fn validate_update(new: &Value, old: &Value) -> Vec<FieldCause> {
    if new.get("addressType") == old.get("addressType") {
        return Vec::new();
    }
    vec![field::invalid("addressType", text(new, &["addressType"]), "field is immutable")]
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
