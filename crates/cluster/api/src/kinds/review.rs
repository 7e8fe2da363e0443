//! Kinds that are questions: reviews of access and of identity. They are answered when created, and not kept.

use super::row::{KindRow, Question, Scope};
use super::value::{at, items, text};
use hako_error::FieldCause;
use hako_kube::field;
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

fn access(object: &Value) -> Vec<FieldCause> {
    let is_given = |name: &str| at(object, &["spec", name]).is_some();
    let (resource, path) = ("resourceAttributes", "nonResourceAttributes");
    let value = || object.get("spec").cloned().unwrap_or(Value::Null);
    match (is_given(resource), is_given(path)) {
        (true, true) => {
            let detail = "cannot be specified in combination with resourceAttributes";
            vec![field::invalid("spec.nonResourceAttributes", value(), detail)]
        }
        (false, false) => {
            let detail = "exactly one of nonResourceAttributes or resourceAttributes must be specified";
            vec![field::invalid("spec.resourceAttributes", Value::Null, detail)]
        }
        _ => Vec::new(),
    }
}

fn subject_access(object: &Value) -> Vec<FieldCause> {
    let mut causes = access(object);
    if text(object, &["spec", "user"]).is_empty() && items(object, &["spec", "groups"]).is_empty() {
        causes.push(field::invalid("spec.user", "", "at least one of user or group must be specified"));
    }
    causes
}

fn local_subject_access(object: &Value) -> Vec<FieldCause> {
    let mut causes = subject_access(object);
    let namespace = text(object, &["metadata", "namespace"]);
    let asked = text(object, &["spec", "resourceAttributes", "namespace"]);
    if asked != namespace {
        let detail = "must match metadata.namespace";
        causes.push(field::invalid("spec.resourceAttributes.namespace", asked, detail));
    }
    if at(object, &["spec", "nonResourceAttributes"]).is_some() {
        let value = object.get("spec").cloned().unwrap_or(Value::Null);
        let detail = "disallowed on this kind of request";
        causes.push(field::invalid("spec.nonResourceAttributes", value, detail));
    }
    causes
}
