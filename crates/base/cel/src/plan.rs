//! What an expression does when it runs: names resolved to places, calls to code, patterns compiled.

use crate::Value;
use crate::ast::{ACCUMULATOR, Call, Expr, Fold, Kind, Literal};
use crate::check::{Checked, Name};
use crate::overload::Overload;
use crate::value::characters;
use regex::Regex;
use std::sync::Arc;

#[derive(Debug)]
pub(crate) enum Op {
    Constant(Value<'static>),
    /// A list of constants, made once; it costs as if it were made each time.
    ConstantList(Value<'static>),
    Variable(usize),
    /// The place of a macro's variable, counted from the outermost.
    Local(usize),
    Field {
        operand: Box<Op>,
        name: String,
    },
    Has {
        operand: Box<Op>,
        name: String,
    },
    OptionalField {
        operand: Box<Op>,
        name: String,
    },
    Index {
        operand: Box<Op>,
        index: Box<Op>,
        optional: bool,
    },
    And(Box<[Op; 2]>),
    Or(Box<[Op; 2]>),
    Conditional(Box<[Op; 3]>),
    NotStrictlyFalse(Box<Op>),
    /// A match with a pattern that is known beforehand, of so many characters.
    Matches {
        text: Box<Op>,
        regex: Regex,
        length: u64,
    },
    Call {
        overloads: Vec<&'static Overload>,
        args: Vec<Op>,
    },
    List(Vec<(Op, bool)>),
    Map(Vec<(Op, Op, bool)>),
    Struct {
        name: Arc<str>,
        fields: Vec<(String, Op, bool)>,
    },
    Fold(Box<FoldOp>),
    Bind {
        init: Box<Op>,
        result: Box<Op>,
    },
    /// Adds to the list that a macro collects, without copying it.
    Append {
        slot: usize,
        items: Vec<(Op, bool)>,
    },
    /// Adds to the map that a macro collects: a key and a value, or a map.
    Insert {
        slot: usize,
        args: Vec<Op>,
    },
}

#[derive(Debug)]
pub(crate) struct FoldOp {
    pub two: bool,
    pub range: Op,
    pub init: Op,
    pub condition: Op,
    pub step: Op,
    pub result: Op,
}

pub(crate) struct Planner<'c> {
    checked: &'c Checked,
    locals: Vec<String>,
}

/// Plans `expr`.
pub(crate) fn plan(checked: &Checked, expr: &Expr) -> Op {
    Planner { checked, locals: Vec::new() }.op(expr)
}

impl Planner<'_> {
    fn boxed(&mut self, expr: &Expr) -> Box<Op> {
        Box::new(self.op(expr))
    }

    fn op(&mut self, expr: &Expr) -> Op {
        match &self.checked.names[expr.id as usize] {
            Some(Name::Variable(index)) => return Op::Variable(*index),
            Some(Name::Type(ty)) => return Op::Constant(Value::Type(ty.clone())),
            None => {}
        }
        match &expr.kind {
            Kind::Literal(literal) => Op::Constant(constant(literal)),
            Kind::Ident(name) => Op::Local(self.slot(name)),
            Kind::Select(select) => {
                let (operand, name) = (self.boxed(&select.operand), select.field.clone());
                if select.test_only { Op::Has { operand, name } } else { Op::Field { operand, name } }
            }
            Kind::Call(call) => self.call(expr, call),
            Kind::List(elements) => {
                let items: Vec<_> =
                    elements.iter().map(|item| (self.op(&item.value), item.optional)).collect();
                constant_list(&items).map_or(Op::List(items), Op::ConstantList)
            }
            Kind::Map(entries) => Op::Map(
                entries
                    .iter()
                    .map(|entry| (self.op(&entry.key), self.op(&entry.value), entry.optional))
                    .collect(),
            ),
            Kind::Struct(object) => {
                let fields = object
                    .fields
                    .iter()
                    .map(|(name, value, optional)| (name.clone(), self.op(value), *optional));
                Op::Struct { name: object.name.as_str().into(), fields: fields.collect() }
            }
            Kind::Fold(fold) => self.fold(fold),
            Kind::Bind(bind) => {
                let init = self.boxed(&bind.init);
                self.locals.push(bind.name.clone());
                let result = self.boxed(&bind.result);
                self.locals.pop();
                Op::Bind { init, result }
            }
        }
    }

    /// INVARIANT: the checker has found every name, so there is a place for it.
    fn slot(&self, name: &str) -> usize {
        self.locals.iter().rposition(|known| known == name).unwrap_or(0)
    }

    fn fold(&mut self, fold: &Fold) -> Op {
        let (range, init) = (self.op(&fold.range), self.op(&fold.init));
        let depth = self.locals.len();
        self.locals.push(fold.accumulator.clone());
        self.locals.push(fold.var.clone());
        self.locals.extend(fold.var2.clone());
        let (condition, step) = (self.op(&fold.condition), self.op(&fold.step));
        self.locals.truncate(depth + 1);
        let result = self.op(&fold.result);
        self.locals.truncate(depth);
        Op::Fold(Box::new(FoldOp { two: fold.var2.is_some(), range, init, condition, step, result }))
    }

    fn call(&mut self, expr: &Expr, call: &Call) -> Op {
        if let Some(collected) = self.collected(call) {
            return collected;
        }
        let mut args: Vec<_> = call.target.iter().chain(&call.args).map(|arg| self.op(arg)).collect();
        match (call.function.as_str(), args.len()) {
            ("_&&_", 2) => pair(args, Op::And),
            ("_||_", 2) => pair(args, Op::Or),
            ("_?_:_", 3) => match <[Op; 3]>::try_from(args) {
                Ok(parts) => Op::Conditional(Box::new(parts)),
                Err(args) => Op::Call { overloads: Vec::new(), args },
            },
            ("@not_strictly_false", 1) => Op::NotStrictlyFalse(Box::new(args.remove(0))),
            ("_[_]" | "_[?_]", 2) => {
                let index = Box::new(args.remove(1));
                Op::Index { operand: Box::new(args.remove(0)), index, optional: call.function == "_[?_]" }
            }
            ("_?._", 2) => match &call.args[1].kind {
                Kind::Literal(Literal::String(name)) => {
                    Op::OptionalField { operand: Box::new(args.remove(0)), name: name.clone() }
                }
                _ => Op::Call { overloads: Vec::new(), args },
            },
            ("matches", 2) => self.matches(expr, args),
            _ => Op::Call { overloads: self.overloads(expr), args },
        }
    }

    fn overloads(&self, expr: &Expr) -> Vec<&'static Overload> {
        self.checked.overloads[expr.id as usize].clone()
    }

    fn matches(&self, expr: &Expr, mut args: Vec<Op>) -> Op {
        let compiled = match &args[1] {
            Op::Constant(Value::String(pattern)) => {
                self.checked.pattern(pattern).ok().map(|regex| (regex, characters(pattern) as u64))
            }
            _ => None,
        };
        match compiled {
            Some((regex, length)) => Op::Matches { text: Box::new(args.remove(0)), regex, length },
            None => Op::Call { overloads: self.overloads(expr), args },
        }
    }

    /// `@result + [item]` and `cel.@mapInsert(@result, ...)`: nobody else holds what is collected.
    fn collected(&mut self, call: &Call) -> Option<Op> {
        let (Kind::Ident(name), rest) = (&call.args.first()?.kind, &call.args[1..]) else { return None };
        if name != ACCUMULATOR || call.target.is_some() {
            return None;
        }
        let slot = self.slot(name);
        match (call.function.as_str(), rest) {
            ("_+_", [Expr { kind: Kind::List(elements), .. }]) => {
                let items = elements.iter().map(|item| (self.op(&item.value), item.optional)).collect();
                Some(Op::Append { slot, items })
            }
            ("cel.@mapInsert", rest) => {
                let args = rest.iter().map(|arg| self.op(arg)).collect();
                Some(Op::Insert { slot, args })
            }
            _ => None,
        }
    }
}

fn pair(args: Vec<Op>, make: fn(Box<[Op; 2]>) -> Op) -> Op {
    match <[Op; 2]>::try_from(args) {
        Ok(parts) => make(Box::new(parts)),
        Err(args) => Op::Call { overloads: Vec::new(), args },
    }
}

fn constant_list(items: &[(Op, bool)]) -> Option<Value<'static>> {
    let constants = items.iter().map(|item| match item {
        (Op::Constant(value), false) => Some(value.clone()),
        _ => None,
    });
    constants.collect::<Option<Vec<_>>>().map(Value::list)
}

fn constant(literal: &Literal) -> Value<'static> {
    match literal {
        Literal::Null => Value::Null,
        Literal::Bool(value) => Value::Bool(*value),
        Literal::Int(value) => Value::Int(*value),
        Literal::Uint(value) => Value::Uint(*value),
        Literal::Double(value) => Value::Double(*value),
        Literal::String(text) => Value::text(text.as_str()),
        Literal::Bytes(octets) => Value::Bytes(octets.as_slice().into()),
    }
}
