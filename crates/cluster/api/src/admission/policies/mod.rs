//! Admission policies: rules in expressions, which bindings put in force (`admissionregistration.k8s.io`).
//!
//! Owns: policies and bindings, compiled; their parameters; what `ValidatingAdmissionPolicy` refuses ([`validating`]),
//! what `MutatingAdmissionPolicy` changes ([`mutating`]), and whether expressions fit the types they are about ([`types`]).
//! Does not own: the objects (`kinds::admission_registration`), the language (`hako-cel`).
//!
//! Invariant: whatever an expression is, it costs no more than upstream lets it, and fails as the policy says.

mod binding;
pub(super) mod mutating;
mod params;
mod types;
pub(super) mod validating;

use std::sync::Arc;

use hako_kube::{GroupVersion, GroupVersionKind};
use serde_json::Value;

use super::attributes::{Attributes, Matched};
use super::conditions::{self, Met};
use super::evaluation::{Activation, Expression, Variable};
use super::matching::{Around, Criteria};
use super::plugin::{Change, items, name_of, text};
use crate::http::{Failure, Outcome};
use crate::kinds::admission_expressions::Names;

pub(super) use binding::Binding;
pub(crate) use types::note as note_types;

/// What both kinds of policies have.
#[derive(Debug)]
pub(super) struct Policy {
    pub name: String,
    criteria: Criteria,
    param_kind: Option<GroupVersionKind>,
    conditions: Vec<Expression>,
    variables: Vec<Variable>,
    /// Whether what cannot be judged passes.
    is_lenient: bool,
}

/// One policy under one binding with one of its parameters, for a request that they are about.
struct Invocation<'p> {
    binding: &'p Binding,
    matched: &'p Matched,
    param: Option<Value>,
}

/// Why a policy cannot be asked, with the binding at fault.
struct Misconfigured<'p> {
    binding: Option<&'p Binding>,
    why: String,
}

impl Policy {
    /// Compiles what both kinds have; and what their own expressions may name.
    fn read(object: &Value) -> (Self, Names) {
        let spec = object.get("spec").unwrap_or(&Value::Null);
        let param_kind = spec.get("paramKind").filter(|kind| !kind.is_null());
        let mut names = Names::of_policy(param_kind.is_some());
        let policy = Self {
            name: name_of(object).to_owned(),
            criteria: Criteria::of_resources(spec.get("matchConstraints")),
            param_kind: param_kind.and_then(|kind| {
                let version = GroupVersion::parse(text(kind, "/apiVersion"))?;
                Some(version.kind(text(kind, "/kind")))
            }),
            conditions: conditions::compile(spec, &names),
            variables: Variable::compile_all(&mut names, items(spec, "/variables")),
            is_lenient: text(spec, "/failurePolicy") == "Ignore",
        };
        (policy, names)
    }

    /// As what the request is meant, if it is.
    async fn matched(&self, attributes: &Attributes<'_>, around: &Around<'_>) -> Outcome<Option<Matched>> {
        self.criteria.matched(attributes, around).await
    }

    /// What the policy is to judge a request by, which it is about: each binding with each of its parameters.
    async fn invocations<'p>(
        &self,
        attributes: &Attributes<'_>,
        around: &Around<'_>,
        matched: &'p Matched,
        bindings: &'p [Arc<Binding>],
    ) -> (Vec<Invocation<'p>>, Vec<Misconfigured<'p>>) {
        let (mut all, mut faults) = (Vec::new(), Vec::new());
        for binding in bindings.iter().map(Arc::as_ref) {
            match binding.is_meant(attributes, around).await {
                Ok(true) => {}
                Ok(false) => continue,
                Err(failure) => {
                    let why = failure.status().message.clone();
                    faults.push(Misconfigured { binding: Some(binding), why });
                    continue;
                }
            }
            match params::of(attributes.change, attributes.namespace(), self, binding).await {
                Ok(params) => {
                    all.extend(params.into_iter().map(|param| Invocation { binding, matched, param }));
                }
                Err(params::Fault::Policy(why)) => faults.push(Misconfigured { binding: None, why }),
                Err(params::Fault::Binding(why)) => {
                    faults.push(Misconfigured { binding: Some(binding), why });
                }
            }
        }
        (all, faults)
    }

    /// Whether the policy is to be asked under these circumstances.
    fn met<'a>(&'a self, activation: &Activation<'a>) -> Met {
        match conditions::met(&self.conditions, activation) {
            Met::Unknown(_) if self.is_lenient => Met::No,
            met => met,
        }
    }
}

impl<'p> Misconfigured<'p> {
    /// The object cannot be had in the version that the policy is about.
    fn converted(invocation: &Invocation<'p>, failure: &Failure) -> Self {
        let why = format!("failed to convert object version: {}", failure.status().message);
        Self { binding: Some(invocation.binding), why }
    }

    fn shown(&self) -> String {
        let of = if self.binding.is_some() { "binding" } else { "policy" };
        format!("failed to configure {of}: {}", self.why)
    }
}

/// A refusal that says why as often as upstream does: in its text and among its causes.
fn refusal(
    change: &Change<'_>,
    message: Option<&str>,
    reason: &str,
    code: u16,
    causes: &[String],
) -> Failure {
    let first = causes.first().map_or("", String::as_str);
    let mut status = change.forbidden(first).status().clone();
    if let Some(message) = message {
        message.clone_into(&mut status.message);
    }
    reason.clone_into(&mut status.reason);
    status.code = code;
    let cause = |message: &String| hako_kube::StatusCause { message: message.clone(), ..Default::default() };
    status.details.get_or_insert_default().causes = causes.iter().map(cause).collect();
    status.into()
}
