//! `StorageClass`.

use super::super::check;
use super::super::columns::{Column, age};
use super::super::row::{KindRow, Scope};
use super::super::value::{items, set_default, text};
use super::{GROUP, class_name, kept, parameters, provisioner};
use hako_kube::{
    field::{self, Faults},
    names,
};
use jiff::Timestamp;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet, HashSet};

pub(in super::super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "StorageClass",
    plural: "storageclasses",
    singular: "storageclass",
    short_names: &["sc"],
    scope: Scope::Cluster,
    type_name: "io.k8s.api.storage.v1.StorageClass",
    columns: &[
        Column::NAME,
        Column::text("Provisioner", "Who makes volumes of the class."),
        Column::text("ReclaimPolicy", "What becomes of its volumes when their claims are gone."),
        Column::text("VolumeBindingMode", "When volumes are made and bound."),
        Column::text("AllowVolumeExpansion", "Whether volumes may grow."),
        Column::AGE,
    ],
    cells,
    default,
    validate,
    validate_update,
    warnings: crate::kinds::warnings::class,
    ..KindRow::BASE
};

const IS_DEFAULT: &[&str] =
    &["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let or = |name: &str, other: &'static str| match text(object, &[name]) {
        "" => Value::from(other),
        given => given.into(),
    };
    vec![
        class_name(object, IS_DEFAULT),
        text(object, &["provisioner"]).into(),
        or("reclaimPolicy", "Delete"),
        or("volumeBindingMode", "Immediate"),
        (object["allowVolumeExpansion"] == Value::Bool(true)).into(),
        age(object, now),
    ]
}

fn default(object: &mut Value) {
    if let Some(class) = object.as_object_mut() {
        set_default(class, "reclaimPolicy", "Delete");
        set_default(class, "volumeBindingMode", "Immediate");
    }
}

fn validate(object: &Value) -> Faults {
    let mut causes = Faults::new();
    provisioner(object, "provisioner", &mut causes);
    parameters(object, &mut causes);
    check::one_of(object, "reclaimPolicy", &["Delete", "Retain"], "", &mut causes);
    let modes = ["Immediate", "WaitForFirstConsumer"];
    check::required_one_of(object, "volumeBindingMode", &modes, "", &mut causes);
    let terms = items(object, &["allowedTopologies"]);
    let mut seen = BTreeSet::new();
    for (index, one) in terms.iter().enumerate() {
        let path = field::child(&field::index("allowedTopologies", index), "matchLabelExpressions");
        topology(one, &path, &mut causes);
        if !seen.insert(sets(one)) {
            causes.push(field::duplicate(path, ""));
        }
    }
    causes
}

/// What a term says, in whatever order.
fn sets(term: &Value) -> BTreeMap<&str, BTreeSet<&str>> {
    let of = |it| {
        let values = items(it, &["values"]).iter().filter_map(Value::as_str).collect();
        (text(it, &["key"]), values)
    };
    items(term, &["matchLabelExpressions"]).iter().map(of).collect()
}

fn topology(term: &Value, path: &str, causes: &mut Faults) {
    let expressions = items(term, &["matchLabelExpressions"]);
    let mut seen = BTreeSet::new();
    for (index, expression) in expressions.iter().enumerate() {
        let path = field::index(path, index);
        let (key, values) = (text(expression, &["key"]), items(expression, &["values"]));
        check::syntax(names::qualified_name(key), key, field::child(&path, "key"), causes);
        if !seen.insert(key) {
            causes.push(field::duplicate(field::child(&path, "key"), key));
        }
        let path = field::child(&path, "values");
        if values.is_empty() {
            causes.push(field::required(&path, ""));
        }
        let mut seen = HashSet::new();
        for (index, value) in values.iter().enumerate().filter(|(_, it)| !seen.insert(*it)) {
            causes.push(field::duplicate(field::index(&path, index), value.clone()));
        }
    }
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = kept(new, old, &["parameters", "provisioner", "reclaimPolicy"]);
    check::immutable(new, old, &["volumeBindingMode"], "", &mut causes);
    causes
}
