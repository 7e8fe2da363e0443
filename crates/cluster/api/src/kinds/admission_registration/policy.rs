//! `ValidatingAdmissionPolicy` and `MutatingAdmissionPolicy`.

use super::columns::{Column, age, name};
use super::{
    CATEGORIES, FAILURE_POLICIES, GROUP, KindRow, Names, Place, REINVOCATION_POLICIES, Scope, Subresource,
    conditions, expression, match_conditions, meta, names, rules, unique,
};
use crate::kinds::value::{at, items, object_mut, set_default, text};
use hako_cel::Type;
use hako_kube::field::{self, Faults};
use jiff::Timestamp;
use serde_json::{Value, json};
use std::collections::HashSet;

pub(in crate::kinds) const VALIDATING: KindRow = KindRow {
    kind: "ValidatingAdmissionPolicy",
    plural: "validatingadmissionpolicies",
    singular: "validatingadmissionpolicy",
    subresources: &[Subresource::status(GROUP, "v1", "ValidatingAdmissionPolicy")],
    type_name: "io.k8s.api.admissionregistration.v1.ValidatingAdmissionPolicy",
    columns: &[
        Column::NAME,
        Column::number("Validations", "How many rules there are."),
        Column::text("ParamKind", "The kind of objects that set parameters."),
        Column::AGE,
    ],
    cells: |object, now| cells(object, "validations", now),
    validate: validating,
    default: |object| {
        default(object);
        object_mut(object, &["status"]);
    },
    prepare_create: |object| {
        meta::start(object);
        object["status"] = json!({});
    },
    prepare_update: meta::keep_status,
    prepare_part: meta::keep_all_but_the_status,
    ..BASE
};

pub(in crate::kinds) const MUTATING: KindRow = KindRow {
    kind: "MutatingAdmissionPolicy",
    plural: "mutatingadmissionpolicies",
    singular: "mutatingadmissionpolicy",
    type_name: "io.k8s.api.admissionregistration.v1.MutatingAdmissionPolicy",
    columns: &[
        Column::NAME,
        Column::number("Mutations", "How many changes it makes."),
        Column::text("ParamKind", "The kind of objects that set parameters."),
        Column::AGE,
    ],
    cells: |object, now| cells(object, "mutations", now),
    validate: mutating,
    ..BASE
};

const BASE: KindRow = KindRow {
    group: GROUP,
    categories: CATEGORIES,
    scope: Scope::Cluster,
    default,
    prepare_create: meta::start,
    prepare_update: meta::count_generation,
    ..KindRow::BASE
};

const ANNOTATIONS_MAX: usize = 20;
const ANNOTATION_VALUE_MAX: usize = 5 << 10;
const REASONS: &[&str] = &["Forbidden", "Invalid", "RequestEntityTooLarge"];
fn cells(object: &Value, rules: &str, now: Timestamp) -> Vec<Value> {
    let parameters = match at(object, &["spec", "paramKind"]) {
        Some(kind) => format!("{}/{}", text(kind, &["apiVersion"]), text(kind, &["kind"])),
        None => "<unset>".to_owned(),
    };
    let count = items(object, &["spec", rules]).len();
    vec![name(object), count.into(), parameters.into(), age(object, now)]
}

fn default(object: &mut Value) {
    if let Some(spec) = object_mut(object, &["spec"]) {
        set_default(spec, "failurePolicy", "Fail");
        rules::default_resources(spec, "matchConstraints");
    }
}

/// Faults of what both kinds have, and what other expressions may name.
fn common(spec: &Place<'_>, faults: &mut Faults) -> Names {
    spec.at(&["failurePolicy"]).one_of(FAILURE_POLICIES, faults);
    let (kind, constraints) = (spec.at(&["paramKind"]), spec.at(&["matchConstraints"]));
    if kind.is_set() {
        param_kind(&kind, faults);
    }
    if constraints.is_set() {
        rules::resources(&constraints, faults);
        let rules = constraints.at(&["resourceRules"]);
        if rules.is_empty() {
            faults.push(rules.required(""));
        }
    } else {
        faults.push(constraints.required(""));
    }
    let mut known = Names::of_policy(kind.is_set());
    match_conditions(&spec.at(&["matchConditions"]), &known, faults);
    for variable in spec.at(&["variables"]).items() {
        let name = variable.at(&["name"]);
        if name.text().trim().is_empty() {
            faults.push(name.required("name is not specified"));
        } else if !is_identifier(name.text()) {
            faults.push(name.invalid("name is not a valid CEL identifier"));
        }
        expression(&variable.at(&["expression"]), "expression is not specified", faults);
        known.add_variable(name.text(), &variable.at(&["expression"]), faults);
    }
    known
}

fn is_identifier(name: &str) -> bool {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    name.chars().all(is_word)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !hako_cel::is_reserved(name)
}

fn param_kind(of: &Place<'_>, faults: &mut Faults) {
    let (api, kind) = (of.at(&["apiVersion"]), of.at(&["kind"]));
    let mut push = |value: &str, found: &[String]| {
        if !found.is_empty() {
            faults.push(field::invalid(api.path(), value, &found.join(",")));
        }
    };
    match api.text().split('/').collect::<Vec<_>>().as_slice() {
        [""] => faults.push(api.required("")),
        [version] => push(version, &names::dns_1035_label(version)),
        [_, ""] => faults.push(api.invalid("version must be specified")),
        [group, version] => {
            push(group, &names::dns_subdomain(group));
            push(version, &names::dns_1035_label(version));
        }
        _ => {
            let detail = format!("unexpected GroupVersion string: {}", api.text());
            faults.push(api.invalid(&detail));
        }
    }
    let found = names::dns_1035_label(&kind.text().to_lowercase());
    if kind.is_empty() {
        faults.push(kind.required(""));
    } else if !found.is_empty() {
        let detail = format!("may have mixed case, but should otherwise match: {}", found.join(","));
        faults.push(kind.invalid(&detail));
    }
}

fn validating(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let spec = Place::of(object).at(&["spec"]);
    let known = common(&spec, &mut faults);
    let (validations, annotations) = (spec.at(&["validations"]), spec.at(&["auditAnnotations"]));
    if validations.is_empty() && annotations.is_empty() {
        let detail = "validations or auditAnnotations must contain at least one item";
        faults.extend([validations.required(detail), annotations.required(detail)]);
    }
    validations.items().for_each(|it| validation(&it, &known, &mut faults));
    audit_annotations(&annotations, text(object, &["metadata", "name"]), &known, &mut faults);
    let status = Place::of(object).at(&["status"]);
    conditions::validate(&status.at(&["conditions"]), &mut faults);
    for warning in status.at(&["typeChecking", "expressionWarnings"]).items() {
        for part in [warning.at(&["warning"]), warning.at(&["fieldRef"])] {
            expression(&part, "", &mut faults);
        }
    }
    faults
}

fn validation(validation: &Place<'_>, known: &Names, faults: &mut Faults) {
    expression(&validation.at(&["expression"]), "expression is not specified", faults);
    known.check(&validation.at(&["expression"]), &[Type::Bool], faults);
    known.without_authorizer().check(&validation.at(&["messageExpression"]), &[Type::String], faults);
    let is_blank = |text: &str| !text.is_empty() && text.trim().is_empty();
    let (made, message) = (validation.at(&["messageExpression"]), validation.at(&["message"]));
    if is_blank(made.text()) {
        faults.push(made.invalid("must be non-empty if specified"));
    }
    if is_blank(message.text()) {
        faults.push(message.invalid("message must be non-empty if specified"));
    } else if message.text().trim().contains(['\n', '\r']) {
        faults.push(message.invalid("message must not contain line breaks"));
    }
    validation.at(&["reason"]).one_of_given(REASONS, faults);
}

fn audit_annotations(all: &Place<'_>, policy: &str, known: &Names, faults: &mut Faults) {
    let annotations = Vec::from_iter(all.items());
    if annotations.len() > ANNOTATIONS_MAX {
        faults.push(all.invalid(&format!("must not have more than {ANNOTATIONS_MAX} auditAnnotations")));
    }
    let mut seen = HashSet::new();
    for annotation in annotations {
        let (key, value) = (annotation.at(&["key"]), annotation.at(&["valueExpression"]));
        let full = format!("{policy}/{}", key.text());
        let of = |fault: &String| field::invalid(key.path(), full.as_str(), fault);
        faults.extend(names::qualified_name(&full).iter().map(of));
        unique(&key, &mut seen, faults);
        expression(&value, "valueExpression is not specified", faults);
        known.check(&value, &[Type::String, Type::Null], faults);
        if value.text().trim().len() > ANNOTATION_VALUE_MAX {
            faults.push(value.required(&format!("must not exceed {ANNOTATION_VALUE_MAX} bytes in length")));
        }
    }
}

fn mutating(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let spec = Place::of(object).at(&["spec"]);
    let known = common(&spec, &mut faults).for_mutations();
    rules::mutable(&spec.at(&["matchConstraints"]), &mut faults);
    let (mutations, again) = (spec.at(&["mutations"]), spec.at(&["reinvocationPolicy"]));
    if mutations.is_empty() {
        faults.push(mutations.required("mutations must contain at least one item"));
    }
    mutations.items().for_each(|it| mutation(&it, &known, &mut faults));
    if again.is_empty() {
        faults.push(again.required(""));
    } else {
        again.one_of(REINVOCATION_POLICIES, &mut faults);
    }
    faults
}

/// The patch is of the type named, and of that alone.
fn mutation(mutation: &Place<'_>, known: &Names, faults: &mut Faults) {
    let kind = mutation.at(&["patchType"]);
    let (wanted, other) = match kind.text() {
        "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
        "JSONPatch" => ("jsonPatch", "applyConfiguration"),
        "" => return faults.push(kind.required("")),
        _ => return faults.push(kind.not_supported(&["ApplyConfiguration", "JSONPatch"])),
    };
    let (wanted, other) = (mutation.at(&[wanted]), mutation.at(&[other]));
    if wanted.is_set() {
        let made = match kind.text() {
            "JSONPatch" => Type::list(Type::Object("JSONPatch".into())),
            _ => Type::Object("Object".into()),
        };
        expression(&wanted.at(&["expression"]), "expression is not specified", faults);
        known.check(&wanted.at(&["expression"]), &[made], faults);
    } else {
        faults.push(wanted.required(&format!("must be specified when patchType is {}", kind.text())));
    }
    if other.is_set() {
        let path = other.path();
        let shown = path.rsplit('.').next().unwrap_or("");
        let detail = format!("must not be specified when patchType is {}", kind.text());
        faults.push(field::invalid(other.path(), format!("{{{shown}}}"), &detail));
    }
}
