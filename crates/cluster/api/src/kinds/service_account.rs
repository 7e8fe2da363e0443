//! `ServiceAccount`.

use super::columns::{Column, age, name};
use super::row::{KindRow, Subresource};
use super::value::items;
use jiff::Timestamp;
use serde_json::Value;

pub(super) const ROW: KindRow = KindRow {
    kind: "ServiceAccount",
    plural: "serviceaccounts",
    singular: "serviceaccount",
    short_names: &["sa"],
    subresources: &[Subresource {
        name: "token",
        group: "authentication.k8s.io",
        version: "v1",
        kind: "TokenRequest",
        verbs: &["create"],
    }],
    type_name: "io.k8s.api.core.v1.ServiceAccount",
    columns: &[Column::NAME, Column::text("Secrets", "How many secrets it may use."), Column::AGE],
    cells,
    warnings: super::warnings::service_account,
    ..KindRow::BASE
};

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), items(object, &["secrets"]).len().into(), age(object, now)]
}
