//! `Endpoints`.

use super::addresses;
use super::columns::{Column, age, name};
use super::place::{Faults, Place};
use super::row::KindRow;
use super::value::{each_mut, items, number, set_default, text};
use hako_kube::names;
use jiff::Timestamp;
use serde_json::{Map, Value};

pub(super) const ROW: KindRow = KindRow {
    kind: "Endpoints",
    plural: "endpoints",
    singular: "endpoints",
    short_names: &["ep"],
    type_name: "io.k8s.api.core.v1.Endpoints",
    columns: &[Column::NAME, Column::text("Endpoints", "The ready addresses with their ports."), Column::AGE],
    cells,
    default,
    validate,
    warnings: super::warnings::endpoints,
    deprecated: Some("v1.33+; use discovery.k8s.io/v1 EndpointSlice"),
    ..KindRow::BASE
};

const SHOWN_MAX: usize = 3;

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let mut all = Vec::new();
    for subset in items(object, &["subsets"]) {
        let ports = items(subset, &["ports"]);
        let addresses = items(subset, &["addresses"]);
        if ports.is_empty() {
            all.extend(addresses.iter().map(|it| text(it, &["ip"]).to_owned()));
        }
        for port in ports {
            let number = number(port, &["port"]).unwrap_or(0);
            all.extend(addresses.iter().map(|it| format!("{}:{number}", text(it, &["ip"]))));
        }
    }
    vec![name(object), shortened(&all, "<none>").into(), age(object, now)]
}

/// The first few of a list and how many more there are.
pub(super) fn shortened(all: &[String], none: &str) -> String {
    if all.is_empty() {
        return none.to_owned();
    }
    let shown = all[..all.len().min(SHOWN_MAX)].join(",");
    match all.len().saturating_sub(SHOWN_MAX) {
        0 => shown,
        more => format!("{shown} + {more} more..."),
    }
}

fn default(object: &mut Value) {
    let mut empty = Map::new();
    let map = object.as_object_mut().unwrap_or(&mut empty);
    for subset in each_mut(map, "subsets") {
        for port in each_mut(subset, "ports") {
            set_default(port, "protocol", "TCP");
        }
    }
}

fn validate(object: &Value) -> Faults {
    let (mut faults, is_of_api) = (Faults::new(), addresses::is_of_api(object));
    for subset in Place::of(object).at(&["subsets"]).items() {
        let lists = [subset.at(&["addresses"]), subset.at(&["notReadyAddresses"])];
        if lists.iter().all(Place::is_empty) {
            faults.push(subset.required("must specify `addresses` or `notReadyAddresses`"));
        }
        lists.iter().flat_map(Place::items).for_each(|it| address(&it, is_of_api, &mut faults));
        let ports = Vec::from_iter(subset.at(&["ports"]).items());
        ports.iter().for_each(|it| port(it, ports.len() > 1, &mut faults));
    }
    faults
}

fn address(address: &Place<'_>, is_of_api: bool, faults: &mut Faults) {
    let ip = address.at(&["ip"]);
    ip.check(addresses::ip, faults);
    address.at(&["hostname"]).check_given(names::dns_label, faults);
    let node = address.at(&["nodeName"]);
    if node.is_set() {
        node.check(names::dns_subdomain, faults);
    }
    addresses::not_special(&ip, is_of_api, faults);
}

/// Faults of a port, which has a name where there are several.
fn port(port: &Place<'_>, needs_name: bool, faults: &mut Faults) {
    let (name, number, protocol) = (port.at(&["name"]), port.at(&["port"]), port.at(&["protocol"]));
    if needs_name && name.is_empty() {
        faults.push(name.required(""));
    }
    name.check_given(names::dns_label, faults);
    faults.extend(names::port_number(number.number()).iter().map(|fault| number.invalid_number(fault)));
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
