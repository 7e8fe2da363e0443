//! Kinds that are questions: reviews of access and of identity. They are answered when created, and not kept.

use super::row::{KindRow, Question, Scope};
use super::value::{at, items, members, text};
use hako_kube::field::{self, Faults};
use serde_json::Value;

const AUTHORIZATION: KindRow = KindRow {
    group: "authorization.k8s.io",
    scope: Scope::Cluster,
    verbs: &["create"],
    columns: &[],
    cells: |_, _| Vec::new(),
    ..KindRow::BASE
};

pub(super) const SUBJECT_ACCESS: KindRow = KindRow {
    kind: "SubjectAccessReview",
    plural: "subjectaccessreviews",
    singular: "subjectaccessreview",
    type_name: "io.k8s.api.authorization.v1.SubjectAccessReview",
    validate: subject_access,
    question: Some(Question::SubjectAccess),
    ..AUTHORIZATION
};

pub(super) const LOCAL_SUBJECT_ACCESS: KindRow = KindRow {
    kind: "LocalSubjectAccessReview",
    plural: "localsubjectaccessreviews",
    singular: "localsubjectaccessreview",
    scope: Scope::Namespaced,
    type_name: "io.k8s.api.authorization.v1.LocalSubjectAccessReview",
    validate: local_subject_access,
    question: Some(Question::SubjectAccess),
    ..AUTHORIZATION
};

pub(super) const SELF_ACCESS: KindRow = KindRow {
    kind: "SelfSubjectAccessReview",
    plural: "selfsubjectaccessreviews",
    singular: "selfsubjectaccessreview",
    type_name: "io.k8s.api.authorization.v1.SelfSubjectAccessReview",
    validate: access,
    question: Some(Question::SelfAccess),
    ..AUTHORIZATION
};

pub(super) const SELF_RULES: KindRow = KindRow {
    kind: "SelfSubjectRulesReview",
    plural: "selfsubjectrulesreviews",
    singular: "selfsubjectrulesreview",
    type_name: "io.k8s.api.authorization.v1.SelfSubjectRulesReview",
    question: Some(Question::SelfRules),
    ..AUTHORIZATION
};

pub(super) const SELF_SUBJECT: KindRow = KindRow {
    group: "authentication.k8s.io",
    kind: "SelfSubjectReview",
    plural: "selfsubjectreviews",
    singular: "selfsubjectreview",
    type_name: "io.k8s.api.authentication.v1.SelfSubjectReview",
    question: Some(Question::SelfSubject),
    ..AUTHORIZATION
};

pub(super) const TOKEN: KindRow = KindRow {
    group: "authentication.k8s.io",
    kind: "TokenReview",
    plural: "tokenreviews",
    singular: "tokenreview",
    type_name: "io.k8s.api.authentication.v1.TokenReview",
    question: Some(Question::Token),
    ..AUTHORIZATION
};

fn access(object: &Value) -> Faults {
    let is_given = |name: &str| at(object, &["spec", name]).is_some();
    let (resource, path) = ("resourceAttributes", "nonResourceAttributes");
    let mut causes = match (is_given(resource), is_given(path)) {
        (true, true) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            Faults::from([field::invalid("spec.nonResourceAttributes", object["spec"][path].clone(), detail)])
        }
        (false, false) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            Faults::from([field::invalid("spec.resourceAttributes", Value::Null, detail)])
        }
        _ => Faults::new(),
    };
    for name in ["fieldSelector", "labelSelector"] {
        if let Some(selector) = at(object, &["spec", resource, name]) {
            self::selector(selector, &format!("spec.resourceAttributes.{name}"), &mut causes);
        }
    }
    metadata(object, "must be empty", &mut causes);
    causes
}

/// What is asked about is what a selector leaves, said in one of two ways.
fn selector(selector: &Value, path: &str, causes: &mut Faults) {
    let raw = text(selector, &["rawSelector"]);
    match (raw.is_empty(), items(selector, &["requirements"]).is_empty()) {
        (false, false) => {
            let detail = "may not specified at the same time as requirements";
            causes.push(field::invalid(field::child(path, "rawSelector"), raw, detail));
        }
        (true, true) => {
            let detail = format!("when {path} is specified, requirements or rawSelector is required");
            causes.push(field::required(field::child(path, "requirements"), &detail));
        }
        _ => {}
    }
}

/// A question is no object: it has no name and no labels.
fn metadata(object: &Value, detail: &str, causes: &mut Faults) {
    let is_namespaced = object["kind"] == "LocalSubjectAccessReview";
    let is_free = |name: &str| name == "managedFields" || name == "namespace" && is_namespaced;
    let is_said = |value: &Value| !value.is_null() && value != "";
    if members(object, &["metadata"]).any(|(name, value)| !is_free(name) && is_said(value)) {
        let detail = if is_namespaced { "must be empty except for namespace" } else { detail };
        causes.push(field::invalid("metadata", object["metadata"].clone(), detail));
    }
}

fn subject_access(object: &Value) -> Faults {
    let mut causes = access(object);
    if text(object, &["spec", "user"]).is_empty() && items(object, &["spec", "groups"]).is_empty() {
        causes.push(field::invalid("spec.user", "", "at least one of user or group must be specified"));
    }
    causes
}

fn local_subject_access(object: &Value) -> Faults {
    let mut causes = subject_access(object);
    let namespace = text(object, &["metadata", "namespace"]);
    let asked = text(object, &["spec", "resourceAttributes", "namespace"]);
    if at(object, &["spec", "resourceAttributes"]).is_some() && asked != namespace {
        let detail = "must match metadata.namespace";
        causes.push(field::invalid("spec.resourceAttributes.namespace", asked, detail));
    }
    if let Some(path) = at(object, &["spec", "nonResourceAttributes"]) {
        let detail = "disallowed on this kind of request";
        causes.push(field::invalid("spec.nonResourceAttributes", path.clone(), detail));
    }
    causes
}
