//! Calls: which overloads of a function take the arguments.

use super::Checker;
use crate::Type;
use crate::ast::{Expr, Kind, Literal};
use crate::overload::{LIBRARY, Overload};
use std::collections::HashMap;

impl Checker<'_> {
    pub(super) fn call(&mut self, expr: &mut Expr) -> Type {
        self.name_whole(expr);
        let (id, at) = (expr.id as usize, expr.at);
        let Kind::Call(call) = &mut expr.kind else { return Type::Dyn };
        if call.function == "_?._" {
            return self.optional_select(id, at, &mut call.args);
        }
        let known = LIBRARY.get(call.function.as_str()).filter(|_| self.env.has_function(&call.function));
        let Some(known) = known else {
            let name = call.function.clone();
            for part in call.target.iter_mut().chain(&mut call.args) {
                self.expr(part);
            }
            return self.error(at, format!("undeclared reference to '{name}' (in container '')"));
        };
        let member = call.target.is_some();
        let is_mixing = call.function == "format";
        self.mixing += usize::from(is_mixing);
        let args: Vec<_> = call.target.iter_mut().chain(&mut call.args).map(|arg| self.expr(arg)).collect();
        self.mixing -= usize::from(is_mixing);
        let ty = self.resolve(id, at, known, member, &args);
        self.check_literals(call.function.as_str(), &call.args);
        ty
    }

    /// `optional.of(x)` is a function with a dot in its name, not a method of something called `optional`.
    fn name_whole(&self, expr: &mut Expr) {
        let Kind::Call(call) = &mut expr.kind else { return };
        let Some(prefix) = call.target.as_ref().and_then(Expr::qualified_name) else { return };
        let whole = format!("{prefix}.{}", call.function);
        if !self.is_local(&prefix) && LIBRARY.contains_key(whole.as_str()) {
            call.target = None;
            call.function = whole;
        }
    }

    /// `operand.?field`.
    fn optional_select(&mut self, id: usize, at: u32, args: &mut [Expr]) -> Type {
        let [operand, field] = args else { return Type::Dyn };
        let ty = self.expr(operand);
        self.expr(field);
        let name = match &field.kind {
            Kind::Literal(Literal::String(name)) => name.clone(),
            _ => String::new(),
        };
        self.checked.overloads[id] = LIBRARY.get("_?._").into_iter().flatten().collect();
        match self.field(at, &ty, &name) {
            already @ Type::Optional(_)
                if matches!(self.substitution.resolve(&ty, false), Type::Optional(_)) =>
            {
                already
            }
            other => Type::optional(other),
        }
    }

    fn resolve(
        &mut self,
        id: usize,
        at: u32,
        known: &'static [Overload],
        member: bool,
        args: &[Type],
    ) -> Type {
        let mut result: Option<Type> = None;
        for overload in known.iter().filter(|overload| overload.member == member) {
            let mut fresh = HashMap::new();
            let params: Vec<_> = overload
                .params
                .iter()
                .map(|param| self.substitution.instantiate(param, &mut fresh))
                .collect();
            if !self.substitution.assign_all(&params, args) {
                continue;
            }
            let ty = self.substitution.instantiate(&overload.result, &mut fresh);
            let ty = self.substitution.resolve(&ty, false);
            self.checked.overloads[id].push(overload);
            result = Some(match result {
                None => ty,
                Some(before) if before == ty => ty,
                Some(_) => Type::Dyn,
            });
        }
        result.unwrap_or_else(|| self.no_overload(at, known, member, args))
    }

    fn no_overload(&mut self, at: u32, known: &[Overload], member: bool, args: &[Type]) -> Type {
        let shown: Vec<_> = args.iter().map(|arg| self.shown(arg)).collect();
        let applied = match (member, shown.split_first()) {
            (true, Some((target, rest))) => format!("{target}.({})", rest.join(", ")),
            _ => format!("({})", shown.join(", ")),
        };
        let name = known.first().map_or("", |overload| overload.function);
        self.error(at, format!("found no matching overload for '{name}' applied to '{applied}'"))
    }

    /// Literals that can only fail are told before anything runs.
    fn check_literals(&mut self, function: &str, args: &[Expr]) {
        let is_search = matches!(function, "find" | "findAll");
        let given = if is_search { args.first() } else { args.last() };
        let Some(Expr { at, kind: Kind::Literal(Literal::String(text)), .. }) = given else { return };
        let fault = match function {
            "matches" | "find" | "findAll" => {
                self.checked.pattern(text).err().map(|error| format!("{error}: `{text}`"))
            }
            "duration" if crate::time::duration(text).is_none() => {
                Some("invalid duration argument".to_owned())
            }
            "timestamp" if crate::time::timestamp(text).is_none() => {
                Some("invalid timestamp argument".to_owned())
            }
            _ => None,
        };
        if let Some(fault) = fault {
            let fault = match function {
                "matches" => format!("invalid matches argument: {fault}"),
                _ if is_search => format!("program instantiation failed: {fault}"),
                _ => fault,
            };
            self.error(*at, fault);
        }
    }
}
