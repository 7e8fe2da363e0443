//! `ValidatingAdmissionPolicy`: what its validations refuse, and what comes of that by its bindings
//! (`apiserver/pkg/admission/plugin/policy/validating`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hako_cel::{Type, Value as Cel};
use serde_json::{Value, json};

use super::{Invocation, Misconfigured, Policy, refusal};
use crate::admission::attributes::{Attributes, Versioned};
use crate::admission::conditions::Met;
use crate::admission::counts::{Enforced, ErrorType};
use crate::admission::evaluation::{Activation, BUDGET, Expression, OUT_OF_BUDGET};
use crate::admission::judge::Judge;
use crate::admission::matching::Around;
use crate::admission::plugin::{Change, items, text};
use crate::admission::registered::Bound;
use crate::http::Outcome;
use crate::kinds::admission_expressions::Names;

/// Where clients of the audit log find what was let pass.
const FAILURE_ANNOTATION: &str = "validation.policy.admission.k8s.io/validation_failure";
/// Bytes of a message that an expression makes; a longer one is not shown.
const MESSAGE_MAX: usize = 5 << 10;
/// Bytes of an annotation.
const ANNOTATION_MAX: usize = 10 << 10;

/// A policy, compiled.
#[derive(Debug)]
pub(in crate::admission) struct Validating {
    pub policy: Policy,
    validations: Vec<Validation>,
    annotations: Vec<(String, Expression)>,
}

#[derive(Debug)]
struct Validation {
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
}

/// What one validation comes to.
struct Decision {
    took: Duration,
    error: ErrorType,
    /// The refusal, if it is one.
    denied: Option<Denial>,
}

struct Denial {
    message: String,
    reason: String,
}

/// What a policy says with one parameter.
struct Verdict {
    decisions: Vec<Decision>,
    /// Key and text, or why there is none.
    annotations: Vec<(String, Result<String, String>)>,
}

/// A refusal by name.
struct Refused {
    message: String,
    reason: String,
}

impl Validating {
    pub(in crate::admission) fn read(object: &Value) -> Self {
        let (policy, names) = Policy::read(object);
        let validation = |it: &Value| Validation::read(it, &names);
        let annotation = |it: &Value| {
            let expression = Expression::compile(&names.without_authorizer(), text(it, "/valueExpression"));
            (text(it, "/key").to_owned(), expression)
        };
        Self {
            policy,
            validations: items(object, "/spec/validations").iter().map(validation).collect(),
            annotations: items(object, "/spec/auditAnnotations").iter().map(annotation).collect(),
        }
    }

    /// What the policy says to a request with one parameter.
    fn verdict(
        &self,
        versioned: &Versioned<'_>,
        request: &Value,
        namespace: Option<&Value>,
        param: Option<&Value>,
        judge: &Arc<Judge>,
    ) -> Verdict {
        let activation =
            Activation::new(versioned, request, judge).with(namespace, param, &self.policy.variables);
        match self.policy.met(&activation) {
            Met::Yes => {}
            Met::No => return Verdict { decisions: Vec::new(), annotations: Vec::new() },
            Met::Unknown(why) => return self.failed(why, ErrorType::Invalid),
        }
        let mut budget = BUDGET;
        let mut decisions = Vec::with_capacity(self.validations.len());
        for validation in &self.validations {
            match self.decide(validation, &activation, &mut budget) {
                Ok(decision) => decisions.push(decision),
                Err(()) => return self.failed(OUT_OF_BUDGET.to_owned(), ErrorType::OutOfBudget),
            }
        }
        match self.annotate(&activation) {
            Ok(annotations) => Verdict { decisions, annotations },
            Err(()) => self.failed(OUT_OF_BUDGET.to_owned(), ErrorType::OutOfBudget),
        }
    }

    fn failed(&self, why: String, error: ErrorType) -> Verdict {
        let decision = self.unsure(why, error, Duration::ZERO);
        Verdict { decisions: vec![decision], annotations: Vec::new() }
    }

    /// What cannot be judged is decided as the policy says.
    fn unsure(&self, message: String, error: ErrorType, took: Duration) -> Decision {
        let denied = (!self.policy.is_lenient).then(|| Denial { message, reason: String::new() });
        Decision { took, error, denied }
    }

    fn decide<'a>(
        &'a self,
        validation: &'a Validation,
        activation: &Activation<'a>,
        budget: &mut u64,
    ) -> Result<Decision, ()> {
        let began = Instant::now();
        let result = activation.evaluate(&validation.expression, budget).map_err(drop)?;
        let took = began.elapsed();
        match result {
            Ok(Cel::Bool(true)) => Ok(Decision { took, error: ErrorType::None, denied: None }),
            Ok(_) => match validation.message(activation, budget) {
                Ok(message) => {
                    let denied = Some(Denial { message, reason: validation.reason.clone() });
                    Ok(Decision { took, error: ErrorType::None, denied })
                }
                Err(()) => {
                    let why = format!("failed messageExpression: {OUT_OF_BUDGET}");
                    Ok(self.unsure(why, ErrorType::OutOfBudget, took))
                }
            },
            Err(why) => {
                let error = ErrorType::of(&why);
                Ok(self.unsure(why, error, took))
            }
        }
    }

    fn annotate<'a>(&'a self, activation: &Activation<'a>) -> Result<Vec<Annotation>, ()> {
        let (mut budget, mut all) = (BUDGET, Vec::new());
        for (key, expression) in &self.annotations {
            let outcome = match activation.evaluate(expression, &mut budget).map_err(drop)? {
                Ok(Cel::String(value)) => Ok(value.trim().to_owned()),
                Ok(Cel::Null) => Ok(String::new()),
                Ok(other) => Err(unsupported(&expression.text, &other.ty())),
                Err(_) if self.policy.is_lenient => continue,
                Err(why) => Err(why),
            };
            if outcome.as_ref().map_or(true, |value| !value.is_empty()) {
                all.push((key.clone(), outcome));
            }
        }
        Ok(all)
    }
}

/// The name of an audit annotation, and its value or why it has none.
type Annotation = (String, Result<String, String>);

fn unsupported(expression: &str, ty: &Type) -> String {
    format!(
        "valueExpression '{expression}' resulted in unsupported return type: {ty}. Return type must be either string or null."
    )
}

impl Validation {
    fn read(validation: &Value, names: &Names) -> Self {
        let made = text(validation, "/messageExpression").trim();
        let reason = text(validation, "/reason");
        Self {
            expression: Expression::compile(names, text(validation, "/expression")),
            message: text(validation, "/message").trim().to_owned(),
            message_expression: (!made.is_empty())
                .then(|| Expression::compile(&names.without_authorizer(), made)),
            reason: if reason.is_empty() { "Invalid" } else { reason }.to_owned(),
        }
    }

    /// What is said of a refusal: what an expression makes if that is one line, else what is written, else the rule.
    fn message<'a>(&'a self, activation: &Activation<'a>, budget: &mut u64) -> Result<String, ()> {
        if let Some(expression) = &self.message_expression {
            match activation.evaluate(expression, budget).map_err(drop)? {
                Ok(Cel::String(made)) => {
                    let made = made.trim();
                    if !made.is_empty() && made.len() <= MESSAGE_MAX && !made.contains('\n') {
                        return Ok(made.to_owned());
                    }
                }
                Ok(_) => {}
                Err(why) => tracing::debug!(why, "a messageExpression has no value"),
            }
        }
        if !self.message.is_empty() {
            return Ok(self.message.clone());
        }
        Ok(format!("failed expression: {}", self.expression.text))
    }
}

/// Lets every policy judge the write.
pub(in crate::admission) async fn validate(attributes: &Attributes<'_>) -> Outcome<()> {
    let change = attributes.change;
    let all = change.server.registered.validating();
    if all.is_empty() || attributes.is_exempt() || attributes.is_question() {
        return Ok(());
    }
    let around = Around::of(change);
    let mut refused = Vec::new();
    for bound in all.iter() {
        judge(bound, attributes, &around, &mut refused).await?;
    }
    match refused.into_iter().next() {
        None => Ok(()),
        Some(Refused { message, reason }) => {
            let reason = if reason.is_empty() { "Invalid" } else { reason.as_str() };
            Err(refusal(change, None, reason, code(reason), &[message]))
        }
    }
}

fn code(reason: &str) -> u16 {
    match reason {
        "Unauthorized" => 401,
        "Forbidden" => 403,
        "RequestEntityTooLarge" => 413,
        _ => 422,
    }
}

async fn judge(
    bound: &Bound<Validating>,
    attributes: &Attributes<'_>,
    around: &Around<'_>,
    refused: &mut Vec<Refused>,
) -> Outcome<()> {
    let (validating, policy) = (&*bound.policy, &bound.policy.policy);
    let change = attributes.change;
    let matched = match policy.matched(attributes, around).await {
        Ok(None) => return Ok(()),
        Ok(Some(matched)) => matched,
        Err(failure) => return Err(failure),
    };
    let (invocations, faults) = policy.invocations(attributes, around, &matched, &bound.bindings).await;
    refuse(policy, faults, refused);
    if invocations.is_empty() {
        return Ok(());
    }
    let namespace = around.namespace(attributes).await?;
    let versioned = match attributes.versioned(&matched).await {
        Ok(versioned) => versioned,
        Err(failure) => {
            let faults = invocations.iter().map(|invocation| Misconfigured::converted(invocation, &failure));
            refuse(policy, faults, refused);
            return Ok(());
        }
    };
    let request = Value::Object(versioned.request());
    let mut annotations: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for invocation in &invocations {
        let judge = Arc::new(Judge::default());
        let verdict = loop {
            let param = invocation.param.as_ref();
            let verdict = validating.verdict(&versioned, &request, namespace, param, &judge);
            if !judge.is_open() {
                break verdict;
            }
            drop(verdict);
            judge.settle(change).await;
        };
        for (index, decision) in verdict.decisions.into_iter().enumerate() {
            carry_out(change, policy, invocation, index, decision, refused);
        }
        for (key, outcome) in verdict.annotations {
            match outcome {
                Ok(value) => collect(annotations.entry(key).or_default(), value),
                Err(why) => {
                    let by = denied_by(&policy.name, Some(&invocation.binding.name));
                    refused.push(Refused { message: format!("{by}: {why}"), reason: String::new() });
                }
            }
        }
    }
    for (key, values) in annotations {
        change.notes.annotate(&format!("{}/{key}", policy.name), values.join(", "));
    }
    Ok(())
}

/// A policy that cannot be asked refuses, if it is not lenient.
fn refuse<'p>(
    policy: &Policy,
    faults: impl IntoIterator<Item = Misconfigured<'p>>,
    refused: &mut Vec<Refused>,
) {
    if policy.is_lenient {
        return;
    }
    for fault in faults {
        let by = denied_by(&policy.name, fault.binding.map(|binding| binding.name.as_str()));
        refused.push(Refused { message: format!("{by}: {}", fault.shown()), reason: String::new() });
    }
}

fn collect(values: &mut Vec<String>, mut value: String) {
    value.truncate(value.floor_char_boundary(ANNOTATION_MAX));
    if !values.contains(&value) {
        values.push(value);
    }
}

fn denied_by(policy: &str, binding: Option<&str>) -> String {
    match binding {
        Some(binding) => {
            format!("ValidatingAdmissionPolicy '{policy}' with binding '{binding}' denied request")
        }
        None => format!("ValidatingAdmissionPolicy '{policy}' denied request"),
    }
}

/// Does with a decision what its binding says.
fn carry_out(
    change: &Change<'_>,
    policy: &Policy,
    invocation: &Invocation<'_>,
    index: usize,
    decision: Decision,
    refused: &mut Vec<Refused>,
) {
    let binding = invocation.binding;
    let count = |enforced: Enforced| {
        let names = (policy.name.as_str(), binding.name.as_str());
        change.server.admission_counts.policy(names, decision.error, enforced, decision.took);
    };
    let Some(denial) = &decision.denied else {
        if decision.error != ErrorType::None {
            count(Enforced::Allow);
        }
        return;
    };
    for action in &binding.actions {
        match action.as_str() {
            "Deny" => {
                let by = denied_by(&policy.name, Some(&binding.name));
                let message = format!("{by}: {}", denial.message);
                refused.push(Refused { message, reason: denial.reason.clone() });
                count(Enforced::Deny);
            }
            "Audit" => {
                let failure = json!([{
                    "message": denial.message, "policy": policy.name, "binding": binding.name,
                    "expressionIndex": index, "validationActions": binding.actions,
                }]);
                change.notes.annotate(FAILURE_ANNOTATION, failure.to_string());
                count(Enforced::Audit);
            }
            _ => {
                let (policy, binding) = (&policy.name, &binding.name);
                change.notes.warn(format!(
                    "Validation failed for ValidatingAdmissionPolicy '{policy}' with binding '{binding}': {}",
                    denial.message
                ));
                count(Enforced::Warn);
            }
        }
    }
}
