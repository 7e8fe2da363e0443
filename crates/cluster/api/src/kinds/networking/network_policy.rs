//! `NetworkPolicy`.

use super::columns::{Column, age, name, selector};
use super::{Faults, GROUP, KindRow, Place, addresses, meta};
use crate::kinds::value::{at, each_mut, object_mut, set_default};
use addresses::Range;
use hako_kube::{field, names};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

pub(in crate::kinds) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "NetworkPolicy",
    plural: "networkpolicies",
    singular: "networkpolicy",
    short_names: &["netpol"],
    type_name: "io.k8s.api.networking.v1.NetworkPolicy",
    columns: &[Column::NAME, Column::text("Pod-Selector", "The pods to which the rules apply."), Column::AGE],
    cells,
    default,
    validate,
    prepare_create: meta::start,
    prepare_update: meta::count_generation,
    warnings: crate::kinds::warnings::network_policy,
    ..KindRow::BASE
};

/// The directions of traffic: the list of rules, and that of peers in a rule.
const DIRECTIONS: [(&str, &str); 2] = [("ingress", "from"), ("egress", "to")];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), selector(at(object, &["spec", "podSelector"])), age(object, now)]
}

/// A policy is about incoming traffic, and about outgoing if it has rules for that.
fn default(object: &mut Value) {
    let Some(spec) = object_mut(object, &["spec"]) else { return };
    set_default(spec, "podSelector", json!({}));
    for (direction, _) in DIRECTIONS {
        for rule in each_mut(spec, direction) {
            for port in each_mut(rule, "ports") {
                set_default(port, "protocol", "TCP");
            }
        }
    }
    let is_empty = |spec: &Map<String, Value>, name: &str| {
        spec.get(name).and_then(Value::as_array).is_none_or(Vec::is_empty)
    };
    if is_empty(spec, "policyTypes") {
        let has_egress = !is_empty(spec, "egress");
        let types = if has_egress { json!(["Ingress", "Egress"]) } else { json!(["Ingress"]) };
        spec.insert("policyTypes".to_owned(), types);
    }
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let spec = Place::of(object).at(&["spec"]);
    spec.at(&["podSelector"]).selector(&mut faults);
    for (direction, peers) in DIRECTIONS {
        for rule in spec.at(&[direction]).items() {
            rule.at(&["ports"]).items().for_each(|it| port(&it, &mut faults));
            rule.at(&[peers]).items().for_each(|it| peer(&it, &mut faults));
        }
    }
    let types = spec.at(&["policyTypes"]);
    if types.items().len() > DIRECTIONS.len() {
        faults.push(types.invalid("may not specify more than two policyTypes"));
        return faults;
    }
    for kind in types.items() {
        kind.one_of(&["Ingress", "Egress"], &mut faults);
    }
    faults
}

fn port(entry: &Place<'_>, faults: &mut Faults) {
    entry.at(&["protocol"]).one_of_given(&["TCP", "UDP", "SCTP"], faults);
    let (port, end) = (entry.at(&["port"]), entry.at(&["endPort"]));
    match port.value {
        Value::Null if end.is_set() => {
            faults.push(end.invalid("may not be specified when `port` is not specified"));
        }
        Value::Null => {}
        Value::Number(_) => {
            port_number(&port, faults);
            if end.is_set() {
                if end.number() < port.number() {
                    // The original shows the other of the two.
                    let detail = "must be greater than or equal to `port`";
                    faults.push(field::invalid(end.path(), port.number(), detail));
                }
                port_number(&end, faults);
            }
        }
        _ => {
            if end.is_set() {
                faults.push(end.invalid("may not be specified when `port` is non-numeric"));
            }
            port.check(names::port_name, faults);
        }
    }
}

fn port_number(port: &Place<'_>, faults: &mut Faults) {
    faults.extend(names::port_number(port.number()).iter().map(|fault| port.invalid(fault)));
}

fn peer(peer: &Place<'_>, faults: &mut Faults) {
    let selectors = [peer.at(&["podSelector"]), peer.at(&["namespaceSelector"])];
    selectors.iter().for_each(|selector| selector.selector(faults));
    let block = peer.at(&["ipBlock"]);
    if block.is_set() {
        ip_block(&block, faults);
    }
    match (selectors.iter().any(Place::is_set), block.is_set()) {
        (false, false) => faults.push(peer.required("must specify a peer")),
        (true, true) => faults.push(peer.forbidden("may not specify both ipBlock and another peer")),
        _ => {}
    }
}

fn ip_block(block: &Place<'_>, faults: &mut Faults) {
    let cidr = block.at(&["cidr"]);
    cidr.check_required(addresses::cidr, faults);
    let Some(outer) = Range::parse(cidr.text()) else { return };
    for except in block.at(&["except"]).items() {
        except.check(addresses::cidr, faults);
        if Range::parse(except.text()).is_some_and(|inner| !outer.has_within(inner)) {
            faults.push(except.invalid("must be a strict subset of `cidr`"));
        }
    }
}
