//! `ComponentStatus`: how the parts of the cluster are when somebody asks. Nothing of it is kept.

use super::columns::{Column, name};
use super::row::{KindRow, Question, Scope};
use super::value::{items, text};
use jiff::Timestamp;
use serde_json::Value;

pub(super) const ROW: KindRow = KindRow {
    kind: "ComponentStatus",
    plural: "componentstatuses",
    singular: "componentstatus",
    short_names: &["cs"],
    scope: Scope::Cluster,
    verbs: &["get", "list"],
    type_name: "io.k8s.api.core.v1.ComponentStatus",
    columns: &[
        Column::NAME,
        Column::text("Status", "Whether the component is healthy."),
        Column::text("Message", "What it says about that."),
        Column::text("Error", "Why it cannot be told."),
    ],
    cells,
    question: Some(Question::Components),
    deprecated: Some("v1.19+"),
    ..KindRow::BASE
};

fn cells(object: &Value, _: Timestamp) -> Vec<Value> {
    let healthy = items(object, &["conditions"]).iter().find(|it| text(it, &["type"]) == "Healthy");
    let of = |member: &str| healthy.map_or("", |it| text(it, &[member]));
    let status = match of("status") {
        "True" => "Healthy",
        "False" => "Unhealthy",
        _ => "Unknown",
    };
    vec![name(object), status.into(), of("message").into(), of("error").into()]
}
