//! Expressions of webhooks and policies, evaluated: what their names stand for, what they may cost, what an authorizer says
//! (`apiserver/pkg/admission/plugin/cel`).

use std::cell::{Cell, OnceCell};
use std::sync::Arc;

use hako_cel::{EvalError, Opaque, Value as Cel, Variables};
use serde_json::Value;

use super::attributes::Versioned;
use super::judge::Judge;
use crate::kinds::admission_expressions::{Compiled, NAMESPACE, Names, REQUEST, Slot, anything};
use crate::metrics::cel;

/// Units that one expression may cost: a tenth of a second on an old server.
const PER_EXPRESSION: u64 = 1_000_000;
/// Units for all rules of a policy under one binding and its parameters.
pub(super) const BUDGET: u64 = 10_000_000;
/// Units for all match conditions of a webhook or policy.
pub(super) const CONDITIONS_BUDGET: u64 = 2_500_000;
/// In upstream's words.
pub(super) const OUT_OF_BUDGET: &str =
    "validation failed due to running out of cost budget, no further validation rules will be run";

/// An expression as it is written, and compiled.
#[derive(Debug)]
pub(super) struct Expression {
    pub text: String,
    compiled: Result<Compiled, String>,
}

/// A named value that later expressions may use.
#[derive(Debug)]
pub(super) struct Variable {
    pub name: String,
    pub expression: Expression,
}

/// More than the budget was spent; nothing more is evaluated.
#[derive(Debug)]
pub(super) struct OutOfBudget;

/// What names stand for while the expressions of one webhook or policy are evaluated.
pub(super) struct Activation<'a> {
    object: &'a Value,
    old: &'a Value,
    request: &'a Value,
    namespace: &'a Value,
    params: &'a Value,
    variables: &'a [Variable],
    /// Values of variables that were asked for.
    values: Vec<OnceCell<Result<Cel<'a>, EvalError>>>,
    /// What those cost that were asked for since the last expression began.
    spent: Cell<u64>,
    judge: &'a Arc<Judge>,
    about: hako_cel::Resource,
}

/// The names of one expression.
struct View<'v, 'a> {
    activation: &'v Activation<'a>,
    slots: &'a [Slot],
}

impl Expression {
    /// Compiles a text; that it does not compile is told when it is evaluated.
    pub(super) fn compile(names: &Names, text: &str) -> Self {
        let compiled =
            cel::compiling(|| names.compile(text)).map_err(|why| format!("compilation failed: {why}"));
        Self { text: text.trim().to_owned(), compiled }
    }
}

impl Variable {
    /// Compiles the variables of a policy; later ones may use earlier ones, and what follows may use all.
    pub(super) fn compile_all(names: &mut Names, list: &[Value]) -> Vec<Self> {
        let mut all = Vec::with_capacity(list.len());
        for variable in list {
            let text = |name: &str| variable.get(name).and_then(Value::as_str).unwrap_or("");
            let expression = Expression::compile(names, text("expression"));
            names.declare(text("name"), expression.compiled.as_ref().ok());
            all.push(Self { name: text("name").to_owned(), expression });
        }
        all
    }
}

impl<'a> Activation<'a> {
    pub(super) fn new(versioned: &'a Versioned<'_>, request: &'a Value, judge: &'a Arc<Judge>) -> Self {
        let target = versioned.change.target;
        let about = hako_cel::Resource {
            group: versioned.named.resource.group.clone(),
            resource: versioned.named.resource.resource.clone(),
            subresource: versioned.change.part.to_owned(),
            namespace: target.namespace.clone(),
            name: target.name.clone(),
        };
        Self {
            object: versioned.object(),
            old: versioned.old(),
            request,
            namespace: &Value::Null,
            params: &Value::Null,
            variables: &[],
            values: Vec::new(),
            spent: Cell::new(0),
            judge,
            about,
        }
    }

    /// With what a policy has besides.
    pub(super) fn with(
        mut self,
        namespace: Option<&'a Value>,
        params: Option<&'a Value>,
        variables: &'a [Variable],
    ) -> Self {
        self.namespace = namespace.unwrap_or(&Value::Null);
        self.params = params.unwrap_or(&Value::Null);
        self.variables = variables;
        self.values = variables.iter().map(|_| OnceCell::new()).collect();
        self
    }

    /// Evaluates an expression and takes what it cost, variables included, from the budget. Inside is why it has no
    /// value, in upstream's words.
    pub(super) fn evaluate(
        &self,
        expression: &'a Expression,
        budget: &mut u64,
    ) -> Result<Result<Cel<'a>, String>, OutOfBudget> {
        let compiled = match &expression.compiled {
            Ok(compiled) => compiled,
            Err(why) => return Ok(Err(format!("compilation error: {why}"))),
        };
        self.spent.set(0);
        let view = View { activation: self, slots: &compiled.slots };
        let evaluated = cel::evaluating(|| compiled.program.evaluate(&view, PER_EXPRESSION));
        let cost = evaluated.cost.saturating_add(self.spent.take());
        *budget = budget.checked_sub(cost).ok_or(OutOfBudget)?;
        let of = |error| format!("expression '{}' resulted in error: {error}", expression.text);
        Ok(evaluated.result.map_err(of))
    }

    fn variable(&self, index: usize) -> Result<Cel<'a>, EvalError> {
        let Some(variable) = self.variables.get(index) else {
            return Err(EvalError::NoSuchAttribute(index.to_string()));
        };
        let (name, cell) = (&variable.name, &self.values[index]);
        let compute = || match &variable.expression.compiled {
            Err(why) => Err(EvalError::Data(format!("composited variable {name:?} fails to compile: {why}"))),
            Ok(compiled) => {
                let view = View { activation: self, slots: &compiled.slots };
                let evaluated = compiled.program.evaluate(&view, PER_EXPRESSION);
                self.spent.set(self.spent.get().saturating_add(evaluated.cost));
                let of = |error| {
                    EvalError::Data(format!("composited variable {name:?} fails to evaluate: {error}"))
                };
                evaluated.result.map_err(of)
            }
        };
        cell.get_or_init(compute).clone()
    }
}

impl<'a> Variables<'a> for View<'_, 'a> {
    fn get(&self, index: usize) -> Result<Cel<'a>, EvalError> {
        let Some(slot) = self.slots.get(index) else {
            return Err(EvalError::NoSuchAttribute(index.to_string()));
        };
        let of = self.activation;
        let host = || Arc::clone(of.judge) as Arc<dyn hako_cel::Authorize>;
        Ok(match slot {
            Slot::Object => Cel::json(of.object, anything()),
            Slot::OldObject => Cel::json(of.old, anything()),
            Slot::Params => Cel::json(of.params, anything()),
            Slot::Request => Cel::json(of.request, &REQUEST),
            Slot::Namespace => Cel::json(of.namespace, &NAMESPACE),
            Slot::Variable(index) => return of.variable(*index),
            Slot::Authorizer => Cel::Opaque(Opaque::authorizer(host())),
            Slot::RequestResource => Cel::Opaque(Opaque::resource_check(host(), of.about.clone())),
        })
    }
}
