//! `Endpoints`.

use super::columns::{Column, age, name};
use super::row::KindRow;
use super::value::{each_mut, items, number, set_default, text};
use hako_error::FieldCause;
use hako_kube::field;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::net::IpAddr;

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

fn validate(object: &Value) -> Vec<FieldCause> {
    let mut causes = Vec::new();
    for (at, subset) in items(object, &["subsets"]).iter().enumerate() {
        let path = field::index("subsets", at);
        if items(subset, &["addresses"]).is_empty() && items(subset, &["notReadyAddresses"]).is_empty() {
            causes.push(field::required(&path, "must specify `addresses` or `notReadyAddresses`"));
        }
        for part in ["addresses", "notReadyAddresses"] {
            for (at, address) in items(subset, &[part]).iter().enumerate() {
                let ip = text(address, &["ip"]);
                if ip.parse::<IpAddr>().is_err() {
                    let path = field::child(&field::index(&field::child(&path, part), at), "ip");
                    causes.push(field::invalid(
                        path,
                        ip,
                        "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)",
                    ));
                }
            }
        }
    }
    causes
}
