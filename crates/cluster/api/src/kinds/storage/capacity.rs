//! `CSIStorageCapacity`.

use super::super::check;
use super::super::columns::{Column, name};
use super::super::row::KindRow;
use super::super::value::text;
use super::GROUP;
use hako_kube::{
    field::{self, Faults},
    names,
};
use jiff::Timestamp;
use serde_json::Value;

pub(in super::super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "CSIStorageCapacity",
    plural: "csistoragecapacities",
    singular: "csistoragecapacity",
    type_name: "io.k8s.api.storage.v1.CSIStorageCapacity",
    columns: &[
        Column::NAME,
        Column::text("StorageClassName", "The class that the capacity is of."),
        Column::text("Capacity", "How much there is in all."),
    ],
    cells,
    validate,
    validate_update,
    warnings: crate::kinds::warnings::capacity,
    ..KindRow::BASE
};

fn cells(object: &Value, _: Timestamp) -> Vec<Value> {
    let capacity = object["capacity"].as_str().unwrap_or("<unset>");
    vec![name(object), text(object, &["storageClassName"]).into(), capacity.into()]
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    check::selector(object, "nodeTopology", "", &mut causes);
    let class = text(object, &["storageClassName"]);
    check::syntax(names::dns_subdomain(class), class, "storageClassName", &mut causes);
    if let Some(amount) = check::quantity(object.get("capacity")).filter(|amount| amount.is_negative()) {
        causes.push(field::invalid("capacity", amount.to_string(), check::NOT_NEGATIVE));
    }
    causes
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    check::immutable(new, old, &["nodeTopology", "storageClassName"], "", &mut causes);
    causes
}
