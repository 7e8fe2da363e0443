//! Reckons the cost of a checked expression from the sizes that its variables are declared with.

use super::functions::{CallEstimate, Part};
use super::{Estimate, NEW_LIST, NEW_MAP, NEW_OBJECT, SELECT_OR_NAME};
use crate::ast::{Bind, Call, Element, Entry, Expr, Fold, Id, Kind, Literal};
use crate::check::{Checked, Name};
use crate::declared::Declared;
use crate::overload::Cost;
use crate::value::characters;
use crate::{Env, Type};
use std::collections::HashMap;
use std::sync::Arc;

/// Sizes of what a list or a map made by the expression holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entries {
    list: bool,
    key: Estimate,
    value: Estimate,
}

#[derive(Debug)]
struct Local {
    name: String,
    declared: Option<Arc<Declared>>,
    size: Option<Estimate>,
    entries: Option<Entries>,
}

pub(super) struct Estimator<'e> {
    env: &'e Env,
    checked: &'e Checked,
    locals: Vec<Local>,
    declared: HashMap<Id, Arc<Declared>>,
    sizes: HashMap<Id, Estimate>,
    entries: HashMap<Id, Entries>,
}

/// The cost of `expr`.
pub(crate) fn estimate(env: &Env, checked: &Checked, expr: &Expr) -> Estimate {
    let mut estimator = Estimator {
        env,
        checked,
        locals: Vec::new(),
        declared: HashMap::new(),
        sizes: HashMap::new(),
        entries: HashMap::new(),
    };
    estimator.cost(expr)
}

impl Estimator<'_> {
    fn ty(&self, expr: &Expr) -> &Type {
        &self.checked.types[expr.id as usize]
    }

    fn local(&self, name: &str) -> Option<&Local> {
        self.locals.iter().rev().find(|local| local.name == name)
    }

    fn cost(&mut self, expr: &Expr) -> Estimate {
        if let Some(Name::Variable(index)) = &self.checked.names[expr.id as usize] {
            let declared = self.env.declared(*index).clone();
            self.declared.insert(expr.id, declared);
            return Estimate::fixed(SELECT_OR_NAME);
        }
        if let Some(Name::Type(_)) = &self.checked.names[expr.id as usize] {
            // As upstream's estimates have it, where every path starts at `self`, whatever its first name is: so
            // `type(self) == string` costs no more than what it is about.
            let max = self.env.first().map_or(0, |first| first.max_size);
            self.sizes.insert(expr.id, Estimate { min: 0, max });
            return Estimate::fixed(SELECT_OR_NAME);
        }
        match &expr.kind {
            Kind::Literal(_) => Estimate::default(),
            Kind::Ident(name) => {
                if let Some(declared) = self.local(name).and_then(|local| local.declared.clone()) {
                    self.declared.insert(expr.id, declared);
                }
                Estimate::fixed(SELECT_OR_NAME)
            }
            // Asking for presence costs no more than what is asked.
            Kind::Select(select) if select.test_only => self.cost(&select.operand),
            Kind::Select(select) => {
                let mut cost = self.cost(&select.operand);
                if matches!(self.ty(&select.operand), Type::Map(..) | Type::Object(_)) {
                    cost = cost.plus(Estimate::fixed(SELECT_OR_NAME));
                }
                let below = self
                    .declared_of(&select.operand)
                    .and_then(|declared| declared.field(&select.field).map(|field| field.declared.clone()));
                self.set_declared(expr, below);
                cost
            }
            Kind::Call(call) => self.call(expr, call),
            Kind::List(elements) => self.list(expr, elements),
            Kind::Map(entries) => self.map(expr, entries),
            Kind::Struct(object) => {
                let parts = object.fields.iter().map(|(_, value, _)| self.cost(value));
                parts.fold(Estimate::fixed(NEW_OBJECT), Estimate::plus)
            }
            Kind::Fold(fold) => self.fold(expr, fold),
            Kind::Bind(bind) => self.bind(expr, bind),
        }
    }

    fn set_declared(&mut self, expr: &Expr, declared: Option<Arc<Declared>>) {
        if let Some(declared) = declared {
            self.declared.insert(expr.id, declared);
        }
    }

    fn declared_of(&self, expr: &Expr) -> Option<Arc<Declared>> {
        if let Kind::Ident(name) = &expr.kind
            && let Some(local) = self.local(name)
        {
            return local.declared.clone();
        }
        self.declared.get(&expr.id).cloned()
    }

    fn list(&mut self, expr: &Expr, elements: &[Element]) -> Estimate {
        let mut cost = Estimate::fixed(NEW_LIST);
        let mut item = Estimate { min: if elements.is_empty() { 0 } else { u64::MAX }, max: 0 };
        for element in elements {
            cost = cost.plus(self.cost(&element.value));
            item = item.union(self.size_or_unknown(&element.value));
        }
        self.entries.insert(expr.id, Entries { list: true, key: Estimate::fixed(1), value: item });
        cost
    }

    fn map(&mut self, expr: &Expr, entries: &[Entry]) -> Estimate {
        let mut cost = Estimate::fixed(NEW_MAP);
        let nothing = Estimate { min: if entries.is_empty() { 0 } else { u64::MAX }, max: 0 };
        let (mut keys, mut values) = (nothing, nothing);
        for entry in entries {
            cost = cost.plus(self.cost(&entry.key)).plus(self.cost(&entry.value));
            keys = keys.union(self.size_or_unknown(&entry.key));
            values = values.union(self.size_or_unknown(&entry.value));
        }
        self.entries.insert(expr.id, Entries { list: false, key: keys, value: values });
        cost
    }

    fn bind(&mut self, expr: &Expr, bind: &Bind) -> Estimate {
        // An empty range is part of how cel-go binds a name.
        let mut cost = Estimate::fixed(NEW_LIST).plus(self.cost(&bind.init));
        self.push(&bind.name, &bind.init);
        cost = cost.plus(self.cost(&bind.result));
        self.locals.pop();
        if let Some(size) = self.size(&bind.result) {
            self.sizes.insert(expr.id, size);
        }
        if let Some(entries) = self.entries_of(&bind.result) {
            self.entries.insert(expr.id, entries);
        }
        cost
    }

    fn push(&mut self, name: &str, value: &Expr) {
        let local = Local {
            name: name.to_owned(),
            declared: self.declared_of(value),
            size: self.size(value),
            entries: self.entries_of(value),
        };
        self.locals.push(local);
    }

    fn fold(&mut self, expr: &Expr, fold: &Fold) -> Estimate {
        let mut cost = self.cost(&fold.range).plus(self.cost(&fold.init));
        self.push(&fold.accumulator, &fold.init);
        self.push_variables(fold);
        let each = self.cost(&fold.condition).plus(self.cost(&fold.step));
        let variables = if fold.var2.is_some() { 2 } else { 1 };
        self.locals.truncate(self.locals.len() - variables);
        cost = cost.plus(self.cost(&fold.result));
        self.locals.pop();
        let count = self.size_or_unknown(&fold.range);
        cost = cost.plus(count.times(each));
        match &fold.init.kind {
            Kind::Literal(_) => {
                if let Some(size) = self.size(&fold.init) {
                    self.sizes.insert(expr.id, size);
                }
            }
            Kind::List(_) | Kind::Map(_) => {
                self.sizes.insert(expr.id, count);
                if let Some(entries) = self.entries_of(&fold.step) {
                    self.entries.insert(expr.id, entries);
                }
            }
            _ => {}
        }
        cost
    }

    fn push_variables(&mut self, fold: &Fold) {
        let entries = self.entries_of(&fold.range);
        let list =
            entries.map_or_else(|| matches!(self.ty(&fold.range), Type::List(_)), |entries| entries.list);
        let declared = self.declared_of(&fold.range);
        let below = |key: bool| {
            let declared = declared.as_ref()?;
            if key { declared.key().cloned() } else { declared.element().cloned() }
        };
        let keys = (if list { None } else { below(true) }, entries.map(|entries| entries.key));
        let values = (below(false), entries.map(|entries| entries.value));
        let variables = match &fold.var2 {
            Some(var2) => vec![(&fold.var, keys), (var2, values)],
            None => vec![(&fold.var, if list { values } else { keys })],
        };
        for (name, (declared, size)) in variables {
            self.locals.push(Local { name: name.clone(), declared, size, entries: None });
        }
    }

    fn call(&mut self, expr: &Expr, call: &Call) -> Estimate {
        if call.function == "dyn"
            && let [inner] = call.args.as_slice()
        {
            let cost = self.cost(inner);
            if let Some(size) = self.size(inner) {
                self.sizes.insert(expr.id, size);
            }
            return cost.plus(Estimate::fixed(1));
        }
        let arg_costs: Vec<_> = call.args.iter().map(|arg| self.cost(arg)).collect();
        let mut cost = call.target.as_ref().map_or(Estimate::default(), |target| self.cost(target));
        let mut of_call = Estimate { min: u64::MAX, max: 0 };
        let mut size: Option<Estimate> = None;
        for overload in self.checked.overloads[expr.id as usize].clone() {
            let estimate = self.overload(expr, call, overload.cost, &arg_costs);
            of_call = of_call.union(estimate.cost);
            if let Some(found) = estimate.size {
                size = Some(size.map_or(found, |size: Estimate| size.union(found)));
            }
            if matches!(overload.cost, Cost::IndexList | Cost::IndexMap) {
                size = self.entries_of(&call.args[0]).map(|entries| entries.value);
                let below = self.declared_of(&call.args[0]).and_then(|declared| declared.element().cloned());
                self.set_declared(expr, below);
            }
            size = size.or_else(|| self.size(expr));
        }
        if let Some(size) = size {
            self.sizes.insert(expr.id, size);
        }
        cost = cost.plus(of_call);
        cost
    }

    fn overload(&mut self, expr: &Expr, call: &Call, cost: Cost, arg_costs: &[Estimate]) -> CallEstimate {
        match (cost, arg_costs) {
            // The right side may not be needed.
            (Cost::And, [left, right]) => {
                return CallEstimate {
                    cost: Estimate { min: left.min, max: left.plus(*right).max },
                    size: None,
                };
            }
            (Cost::Conditional, [condition, yes, no]) => {
                let size = self.size_or_unknown(&call.args[1]).union(self.size_or_unknown(&call.args[2]));
                self.join_entries(expr, &call.args[1], &call.args[2]);
                return CallEstimate { cost: condition.plus(yes.union(*no)), size: Some(size) };
            }
            (Cost::Concat | Cost::ConcatList, _) => self.join_entries(expr, &call.args[0], &call.args[1]),
            _ => {}
        }
        let target = call.target.as_ref().map(|target| self.part(target));
        let args: Vec<_> = call.args.iter().map(|arg| self.part(arg)).collect();
        let estimate = super::functions::estimate(cost, target.as_ref(), &args);
        let cost = arg_costs.iter().fold(estimate.cost, |sum, cost| sum.plus(*cost));
        CallEstimate { cost, size: estimate.size }
    }

    fn join_entries(&mut self, expr: &Expr, left: &Expr, right: &Expr) {
        if let (Some(left), Some(right)) = (self.entries_of(left), self.entries_of(right)) {
            let joined = Entries {
                list: left.list,
                key: left.key.union(right.key),
                value: left.value.union(right.value),
            };
            self.entries.insert(expr.id, joined);
        }
    }

    /// What the formulas of functions need to know of an argument.
    fn part(&mut self, expr: &Expr) -> Part {
        let ty = self.ty(expr).clone();
        let item = self.declared_of(expr).and_then(|declared| declared.element().map(|item| item.max_size));
        let literal = match &expr.kind {
            Kind::Literal(Literal::Int(value)) => u64::try_from(*value).ok(),
            _ => None,
        };
        Part { size: self.size(expr), ty, item: item.map(|max| Estimate { min: 0, max }), literal }
    }

    fn size_or_unknown(&mut self, expr: &Expr) -> Estimate {
        self.size(expr).unwrap_or(Estimate::UNKNOWN)
    }

    fn size(&mut self, expr: &Expr) -> Option<Estimate> {
        if let Some(size) = self.sizes.get(&expr.id) {
            return Some(*size);
        }
        if let Some(size) = written_size(expr) {
            return Some(Estimate::fixed(size));
        }
        if let Some(declared) = self.declared_of(expr) {
            let size = Estimate { min: 0, max: declared.max_size };
            self.sizes.insert(expr.id, size);
            return Some(size);
        }
        if self.ty(expr).is_scalar() {
            return Some(Estimate::fixed(1));
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.size,
            _ => None,
        }
    }

    fn entries_of(&self, expr: &Expr) -> Option<Entries> {
        if let Some(entries) = self.entries.get(&expr.id) {
            return Some(*entries);
        }
        match &expr.kind {
            Kind::Ident(name) => self.local(name)?.entries,
            _ => None,
        }
    }
}

/// The size of what stands in the expression itself.
fn written_size(expr: &Expr) -> Option<u64> {
    let size = match &expr.kind {
        Kind::Literal(Literal::String(text)) => characters(text),
        Kind::Literal(Literal::Bytes(octets)) => octets.len(),
        Kind::Literal(_) => 1,
        Kind::List(elements) => elements.len(),
        Kind::Map(entries) => entries.len(),
        _ => return None,
    };
    Some(size as u64)
}
