//! `FlowSchema`.

use super::columns::{Column, age, name, or_none};
use super::{BASE, GROUP, KindRow, Place, Subresource, mandatory, meta, policy_rules, typed_conditions};
use crate::kinds::value::{items, number, object_mut, set_default, text};
use hako_kube::field::Faults;
use hako_kube::names;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(in crate::kinds) const ROW: KindRow = KindRow {
    kind: "FlowSchema",
    plural: "flowschemas",
    singular: "flowschema",
    subresources: &[Subresource::status(GROUP, "v1", "FlowSchema")],
    type_name: "io.k8s.api.flowcontrol.v1.FlowSchema",
    columns: &[
        Column::NAME,
        Column::text("PriorityLevel", "The priority level of requests that match."),
        Column::text("MatchingPrecedence", "Of schemas that match, that with the lowest number counts."),
        Column::text("DistinguisherMethod", "What tells flows apart."),
        Column::AGE,
        Column::text("MissingPL", "references a broken or non-existent PriorityLevelConfiguration"),
    ],
    cells,
    default,
    validate,
    prepare_create,
    ..BASE
};

const PRECEDENCE_DEFAULT: i64 = 1000;
const PRECEDENCE_MAX: i64 = 10_000;

fn cells(object: &Value, now: Timestamp) -> Vec<Value> {
    let conditions = items(object, &["status", "conditions"]);
    let dangling = conditions.iter().find(|condition| text(condition, &["type"]) == "Dangling");
    vec![
        name(object),
        text(object, &["spec", "priorityLevelConfiguration", "name"]).into(),
        number(object, &["spec", "matchingPrecedence"]).unwrap_or(0).into(),
        or_none(text(object, &["spec", "distinguisherMethod", "type"])),
        age(object, now),
        dangling.map_or("?", |condition| text(condition, &["status"])).into(),
    ]
}

fn default(object: &mut Value) {
    if let Some(spec) = object_mut(object, &["spec"]) {
        if spec.get("matchingPrecedence") == Some(&json!(0)) {
            spec.remove("matchingPrecedence");
        }
        set_default(spec, "matchingPrecedence", PRECEDENCE_DEFAULT);
    }
    object_mut(object, &["status"]);
}

fn prepare_create(object: &mut Value) {
    meta::start(object);
    object_mut(object, &["status"]);
}

fn validate(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let spec = Place::of(object).at(&["spec"]);
    let name = text(object, &["metadata", "name"]);
    precedence(&spec.at(&["matchingPrecedence"]), name, &mut faults);
    let method = spec.at(&["distinguisherMethod"]);
    if method.is_set() {
        method.at(&["type"]).one_of(&["ByNamespace", "ByUser"], &mut faults);
    }
    let level = spec.at(&["priorityLevelConfiguration", "name"]);
    if level.is_empty() {
        faults.push(level.required("must reference a priority level"));
    } else {
        level.check(names::dns_subdomain, &mut faults);
    }
    spec.at(&["rules"]).items().for_each(|rule| policy_rules::validate(&rule, &mut faults));
    if mandatory::spec(ROW.plural, name).is_some_and(|fixed| *spec.value != fixed) {
        faults.push(spec.invalid(&format!("spec of '{name}' must equal the fixed value")));
    }
    typed_conditions(&Place::of(object).at(&["status", "conditions"]), &mut faults);
    faults
}

fn precedence(precedence: &Place<'_>, name: &str, faults: &mut Faults) {
    let number = precedence.number();
    if number <= 0 {
        faults.push(precedence.invalid_number("must be a positive value"));
    }
    if number > PRECEDENCE_MAX {
        faults.push(precedence.invalid(&format!("must not be greater than {PRECEDENCE_MAX}")));
    }
    if number == 1 && name != "exempt" {
        faults.push(precedence.invalid("only the schema named 'exempt' may have matchingPrecedence 1"));
    }
}
