//! The rules of a schema on an object.

use super::{Compiled, Node, PER_CALL, Rules};
use crate::lists::Counterparts;
use crate::schema::Rule;
use hako_cel::{EvalError, Program, Value as CelValue};
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};
use hako_kube::{Beside, is_same};
use serde_json::Value;

/// Bytes of a message that an expression makes.
const MAX_MESSAGE: usize = 5 * 1024;

/// Units that all rules of one object may cost together.
#[derive(Debug)]
pub struct Budget {
    left: u64,
    is_spent: bool,
}

impl Default for Budget {
    fn default() -> Self {
        Self { left: 10_000_000, is_spent: false }
    }
}

impl Budget {
    /// One of which nothing is left.
    pub(crate) const fn spent() -> Self {
        Self { left: 0, is_spent: true }
    }

    /// Whether more was wanted than was there.
    pub(crate) const fn is_spent(&self) -> bool {
        self.is_spent
    }

    /// Takes `cost`, if that much is left.
    fn take(&mut self, cost: u64) -> bool {
        match self.left.checked_sub(cost) {
            Some(left) => self.left = left,
            None => self.is_spent = true,
        }
        !self.is_spent
    }
}

/// What the rules say.
#[derive(Debug, Default)]
pub struct Outcome {
    pub faults: Vec<FieldCause>,
    /// Rules that do not hold, on parts that were there before and have not changed.
    pub warnings: Vec<String>,
}

impl Rules {
    /// Evaluates the rules on `value`, which was `old` before; `budget` is shared by all of them.
    #[must_use]
    pub fn evaluate(&self, value: &Value, old: Option<&Value>, budget: &mut Budget) -> Outcome {
        let mut run =
            Run { faults: Told::default(), warnings: Told::default(), budget, is_ratcheting: old.is_some() };
        if let Some(root) = &self.root {
            run.node(root, value, old, &Path::Root);
        }
        Outcome { faults: run.faults.into_all(), warnings: run.warnings.into_all() }
    }
}

struct Run<'b> {
    faults: Told<FieldCause>,
    warnings: Told<String>,
    budget: &'b mut Budget,
    is_ratcheting: bool,
}

impl Run<'_> {
    fn node(&mut self, node: &Node, value: &Value, old: Option<&Value>, path: &Path<'_>) {
        if value.is_null() || self.budget.is_spent || self.faults.is_full() {
            return;
        }
        self.rules(node, value, old.filter(|old| !old.is_null()), path);
        match value {
            Value::Object(members) => {
                if node.properties.is_empty() && node.additional.is_none() {
                    return;
                }
                let old = old.filter(|_| !node.is_atomic_map);
                let mut before = Beside::new(old.and_then(Value::as_object));
                for (name, value) in members {
                    let old = before.get(name);
                    if let Some(below) = node.properties.get(name) {
                        self.node(below, value, old, &Path::Member(path, name));
                    } else if let Some(below) = &node.additional {
                        self.node(below, value, old, &Path::Key(path, name));
                    }
                }
            }
            Value::Array(items) => {
                let Some(below) = &node.items else { return };
                let before = Counterparts::of(old, &node.list);
                for (at, item) in items.iter().enumerate() {
                    self.node(below, item, before.of_item(item), &Path::Item(path, at));
                }
            }
            _ => {}
        }
    }

    fn rules(&mut self, node: &Node, value: &Value, old: Option<&Value>, path: &Path<'_>) {
        for compiled in &node.rules {
            if self.budget.is_spent {
                return;
            }
            let is_optional = compiled.rule.is_old_self_optional == Some(true);
            if compiled.uses_old && old.is_none() && !is_optional {
                continue;
            }
            let program = match &compiled.program {
                None => continue,
                Some(Err(error)) => {
                    self.invalid(path, node.ty, &format!("rule compile error: {error}"));
                    continue;
                }
                Some(Ok(program)) => program,
            };
            let Some(declared) = &node.declared else { continue };
            let current = CelValue::json(value, declared);
            let before = match (old.map(|old| CelValue::json(old, declared)), is_optional) {
                (before, true) => CelValue::optional(before),
                (before, false) => before.unwrap_or(CelValue::Null),
            };
            let variables = [current, before];
            if self.holds(program, &variables, compiled, node, path) == Some(false) {
                let is_unchanged = self.is_ratcheting && old.is_some_and(|old| is_same(value, old));
                self.broken(compiled, node, value, path, &variables, is_unchanged);
            }
        }
    }

    fn invalid(&mut self, path: &Path<'_>, ty: &str, detail: &str) {
        self.faults.push(|| field::invalid(path.to_string(), ty, detail));
    }

    /// Whether a rule holds; nothing when it cannot be told, which is a fault already.
    fn holds<'a>(
        &mut self,
        program: &'a Program,
        variables: &[CelValue<'a>],
        compiled: &Compiled,
        node: &Node,
        path: &Path<'_>,
    ) -> Option<bool> {
        let evaluated = program.evaluate(variables, PER_CALL);
        if !self.budget.take(evaluated.cost) {
            let detail = "validation failed due to running out of cost budget, no further validation rules will be run";
            self.invalid(path, node.ty, detail);
            return None;
        }
        let shown = shown(&compiled.rule);
        let detail = match evaluated.result {
            Ok(CelValue::Bool(holds)) => return Some(holds),
            Ok(_) | Err(EvalError::NoSuchOverload) => format!(
                "'no such overload': call arguments did not match a supported operator, function or macro signature for rule: {shown}"
            ),
            Err(error @ EvalError::CostExceeded) => {
                self.budget.is_spent = true;
                format!(
                    "'{error}': no further validation rules will be run due to call cost exceeds limit for rule: {shown}"
                )
            }
            Err(error) => format!("{error} evaluating rule: {shown}"),
        };
        self.invalid(path, node.ty, &detail);
        None
    }

    fn broken<'a>(
        &mut self,
        compiled: &'a Compiled,
        node: &Node,
        value: &Value,
        path: &Path<'_>,
        variables: &[CelValue<'a>],
        is_unchanged: bool,
    ) {
        let place = Path::Member(path, &compiled.path);
        let path = if compiled.path.is_empty() { path } else { &place };
        let detail = match self.message(compiled, variables) {
            Ok(Some(message)) => message,
            Ok(None) => default_message(&compiled.rule),
            Err(fault) => {
                self.invalid(path, node.ty, &fault);
                return;
            }
        };
        let fault = || for_reason(&compiled.rule, &path.to_string(), value, node.hides_value, &detail);
        if is_unchanged && !compiled.uses_old {
            self.warnings.push(|| field::line(&fault()));
        } else {
            self.faults.push(fault);
        }
    }

    /// The message that an expression makes, if it makes a usable one.
    fn message<'a>(
        &mut self,
        compiled: &'a Compiled,
        variables: &[CelValue<'a>],
    ) -> Result<Option<String>, String> {
        let Some(Ok(program)) = &compiled.message else { return Ok(None) };
        let evaluated = program.evaluate(variables, PER_CALL);
        if !self.budget.take(evaluated.cost) {
            return Err("messageExpression evaluation failed due to running out of cost budget, no further validation rules will be run".into());
        }
        match evaluated.result {
            Ok(CelValue::String(text)) => {
                let text = text.trim();
                let is_usable = !text.is_empty() && text.len() <= MAX_MESSAGE && !text.contains('\n');
                Ok(is_usable.then(|| text.to_owned()))
            }
            Err(EvalError::CostExceeded) => {
                self.budget.is_spent = true;
                Err(format!(
                    "no further validation rules will be run due to call cost exceeds limit for messageExpression: {:?}",
                    compiled.rule.message_expression
                ))
            }
            _ => Ok(None),
        }
    }
}

fn shown(rule: &Rule) -> &str {
    if rule.message.is_empty() { rule.rule.trim() } else { rule.message.trim() }
}

fn default_message(rule: &Rule) -> String {
    if rule.message.is_empty() {
        format!("failed rule: {}", rule.rule.trim())
    } else {
        rule.message.trim().to_owned()
    }
}

fn for_reason(rule: &Rule, path: &str, value: &Value, hides_value: bool, detail: &str) -> FieldCause {
    match rule.reason.as_deref() {
        Some("FieldValueForbidden") => field::forbidden(path, detail),
        Some("FieldValueRequired") => field::required(path, detail),
        Some("FieldValueDuplicate") => field::duplicate(path, value.clone()),
        _ if hides_value => field::invalid_without_value(path, detail),
        _ => field::invalid(path, value.clone(), detail),
    }
}
