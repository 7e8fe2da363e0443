//! `ResourceClaimTemplate`.

use super::super::place::Place;
use super::super::row::KindRow;
use super::super::{check, meta};
use super::{GROUP, request};
use hako_kube::field::Faults;
use serde_json::Value;

pub(in super::super) const ROW: KindRow = KindRow {
    group: GROUP,
    kind: "ResourceClaimTemplate",
    plural: "resourceclaimtemplates",
    singular: "resourceclaimtemplate",
    type_name: "io.k8s.api.resource.v1.ResourceClaimTemplate",
    default,
    validate,
    validate_update,
    ..KindRow::BASE
};

fn default(object: &mut Value) {
    if let Some(spec) = object.get_mut("spec").and_then(|template| template.get_mut("spec")) {
        request::default(spec);
    }
}

fn validate(object: &Value) -> Faults {
    let (mut causes, template) = (Faults::new(), &object["spec"]);
    meta::labels(template, &["metadata", "labels"], "spec.metadata.labels", &mut causes);
    meta::annotations(template, "spec.metadata.annotations", &mut causes);
    request::validate(&Place::of(object).at(&["spec", "spec"]), &mut causes);
    causes
}

fn validate_update(new: &Value, old: &Value) -> Faults {
    let mut causes = Faults::new();
    check::immutable(new, old, &["spec"], "", &mut causes);
    causes
}
