//! The kinds of `admissionregistration.k8s.io`, their expressions compiled when they are written. What they do to other
//! writes is `admission`'s.

mod binding;
pub(crate) mod expressions;
mod policy;
mod rules;
mod webhook;

pub(super) use binding::{MUTATING as MUTATING_BINDING, VALIDATING as VALIDATING_BINDING};
pub(super) use policy::{MUTATING as MUTATING_POLICY, VALIDATING as VALIDATING_POLICY};
pub(super) use webhook::{MUTATING as MUTATING_WEBHOOKS, VALIDATING as VALIDATING_WEBHOOKS};

use super::place::{self, Faults, Place};
use super::row::{KindRow, Scope, Subresource};
use super::{columns, conditions, meta, webhooks};
use expressions::Names;
use hako_kube::names;
use std::collections::HashSet;

const GROUP: &str = "admissionregistration.k8s.io";
const CATEGORIES: &[&str] = &["api-extensions"];
const FAILURE_POLICIES: &[&str] = &["Fail", "Ignore"];
const MATCH_POLICIES: &[&str] = &["Equivalent", "Exact"];
const REINVOCATION_POLICIES: &[&str] = &["IfNeeded", "Never"];
const MATCH_CONDITIONS_MAX: usize = 64;

/// Named conditions under which a webhook or policy is asked.
fn match_conditions(all: &Place<'_>, names_known: &Names, faults: &mut Faults) {
    let conditions = Vec::from_iter(all.items());
    if conditions.len() > MATCH_CONDITIONS_MAX {
        let path = all.path();
        faults.push(hako_kube::field::too_many(path, conditions.len(), MATCH_CONDITIONS_MAX));
    }
    let mut seen = HashSet::new();
    for condition in conditions {
        expression(&condition.at(&["expression"]), "", faults);
        names_known.check(&condition.at(&["expression"]), &[hako_cel::Type::Bool], faults);
        let name = condition.at(&["name"]);
        name.check_required(names::qualified_name, faults);
        unique(&name, &mut seen, faults);
    }
}

/// An expression is more than white space.
fn expression(expression: &Place<'_>, detail: &str, faults: &mut Faults) {
    if expression.text().trim().is_empty() {
        faults.push(expression.required(detail));
    }
}

/// A name that nothing before it has.
fn unique<'a>(name: &Place<'a>, seen: &mut HashSet<&'a str>, faults: &mut Faults) {
    if !seen.insert(name.text()) && !name.is_empty() {
        faults.push(name.duplicate());
    }
}
