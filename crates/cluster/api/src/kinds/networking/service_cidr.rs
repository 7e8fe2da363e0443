//! `ServiceCIDR`.

use super::columns::{Column, age, name};
use super::{Faults, GROUP, KindRow, Place, Scope, Subresource, addresses, meta};
use addresses::Range;
use hako_kube::field;
use jiff::Timestamp;
use serde_json::Value;

pub(in crate::kinds) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "ServiceCIDR",
    plural: "servicecidrs",
    singular: "servicecidr",
    scope: Scope::Cluster,
    subresources: &[Subresource::status(GROUP, "v1", "ServiceCIDR")],
    type_name: "io.k8s.api.networking.v1.ServiceCIDR",
    columns: &[
        Column::NAME,
        Column::text("CIDRs", "The ranges from which services get addresses."),
        Column::AGE,
    ],
    cells,
    validate,
    validate_update,
    prepare_create,
    prepare_update,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let cidrs = cidrs(object).texts().join(",");
    vec![name(object), cidrs.into(), age(object, now)]
}

fn cidrs(object: &Value) -> Place<'_> {
    Place::of(object).at(&["spec", "cidrs"])
}

fn prepare_create(object: &mut Value) {
    meta::start(object);
    meta::no_generation(object);
}

fn prepare_update(new: &mut Value, old: &Value) {
    meta::keep_status(new, old);
    meta::no_generation(new);
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let cidrs = cidrs(object);
    // As upstream has it, what is wrong with their number is wrong with the whole spec.
    let spec = |detail: &str| field::invalid(cidrs.path(), object["spec"].clone(), detail);
    match Vec::from_iter(cidrs.items()).as_slice() {
        [] => faults.push(cidrs.required("at least one CIDR required")),
        [_, _, _, ..] => faults.push(spec("may only hold up to 2 values")),
        [one, two] if !are_of_both_families(one.text(), two.text()) => faults.push(spec(
            "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64",
        )),
        all => all.iter().for_each(|cidr| cidr.check(addresses::strict_cidr, &mut faults)),
    }
    faults
}

fn are_of_both_families(one: &str, two: &str) -> bool {
    let is_ipv4 = |cidr: &str| Range::parse(cidr).map(|range| range.first.is_ipv4());
    matches!((is_ipv4(one), is_ipv4(two)), (Some(one), Some(two)) if one != two)
}

/// The ranges stay; a second one, of the other family, may be added.
fn validate_update(new: &Value, old: &Value) -> Faults {
    let (is, was) = (cidrs(new), cidrs(old));
    let (has, had) = (is.items(), was.items());
    if has.len() != had.len() && (had.len(), has.len()) != (1, 2) {
        return Faults::from([is.invalid("field is immutable")]);
    }
    let changed = has.zip(had).filter(|(is, was)| is.value != was.value);
    changed.map(|(is, _)| field::invalid(is.path(), is.text(), "field is immutable")).collect()
}
