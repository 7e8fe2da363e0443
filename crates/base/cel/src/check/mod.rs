//! Finds the type of every part of an expression, and the overloads that each call may mean (langdef.md, "Gradual
//! Type Checking").
//!
//! INVARIANT: after [`check`] every node has a type without unknown parts, and every call at least one overload.

mod calls;
mod unify;

use crate::ast::{Bind, Entry, Expr, Fold, Id, Kind, Literal, Select, Struct};
use crate::overload::Overload;
use crate::{Env, Issue, PatternError, Patterns, Type, opaque};
use regex::Regex;
use std::sync::{Arc, Mutex, PoisonError};
use unify::Substitution;

/// Parameters of signatures are numbered below this.
const FIRST_FRESH: u32 = 16;

/// What is found out about an expression, by the number of the node.
#[derive(Debug)]
pub(crate) struct Checked {
    pub types: Vec<Type>,
    pub overloads: Vec<Vec<&'static Overload>>,
    /// Names that turned out to be variables of the environment or types.
    pub names: Vec<Option<Name>>,
    /// Those of the expression, and of what is compiled with it.
    patterns: Arc<Mutex<Patterns>>,
}

impl Checked {
    /// Compiles a pattern of the expression.
    pub(crate) fn pattern(&self, text: &str) -> Result<Regex, PatternError> {
        self.patterns.lock().unwrap_or_else(PoisonError::into_inner).compile(text)
    }
}

/// What a name outside of any macro stands for.
#[derive(Debug, Clone)]
pub(crate) enum Name {
    Variable(usize),
    Type(Type),
}

pub(crate) struct Checker<'e> {
    env: &'e Env,
    substitution: Substitution,
    scopes: Vec<(String, Type)>,
    checked: Checked,
    issues: Vec<Issue>,
    /// Calls around what is checked whose literals may mix types.
    mixing: usize,
}

/// Checks `expr`, which has `nodes` nodes. Calls of functions with dots in their names are rewritten in place.
pub(crate) fn check(env: &Env, expr: &mut Expr, nodes: Id) -> Result<Checked, Vec<Issue>> {
    let count = nodes as usize;
    let checked = Checked {
        types: vec![Type::Dyn; count],
        overloads: vec![Vec::new(); count],
        names: vec![None; count],
        patterns: env.patterns(),
    };
    let mut checker = Checker {
        env,
        substitution: Substitution::default(),
        scopes: Vec::new(),
        checked,
        issues: Vec::new(),
        mixing: 0,
    };
    checker.expr(expr);
    if !checker.issues.is_empty() {
        return Err(checker.issues);
    }
    let Checker { substitution, mut checked, .. } = checker;
    for ty in &mut checked.types {
        *ty = substitution.resolve(ty, true);
    }
    Ok(checked)
}

impl Checker<'_> {
    fn error(&mut self, at: u32, text: String) -> Type {
        self.issues.push(Issue::plain(at, text));
        Type::Dyn
    }

    fn shown(&self, ty: &Type) -> String {
        self.substitution.resolve(ty, false).to_string()
    }

    fn expr(&mut self, expr: &mut Expr) -> Type {
        let (id, at) = (expr.id as usize, expr.at);
        let ty = match &mut expr.kind {
            Kind::Literal(literal) => literal_type(literal),
            Kind::Ident(name) => {
                let name = name.clone();
                self.ident(id, at, &name)
            }
            Kind::Select(_) => self.select(expr),
            Kind::Call(_) => self.call(expr),
            Kind::List(elements) => {
                let mut element = None;
                for item in elements {
                    let mut ty = self.expr(&mut item.value);
                    if item.optional {
                        ty = self.unwrapped(item.value.at, &ty);
                    }
                    element = Some(self.joined(item.value.at, element, ty));
                }
                Type::list(element.unwrap_or_else(|| self.substitution.fresh()))
            }
            Kind::Map(entries) => self.map(entries),
            Kind::Struct(object) => self.structure(at, object),
            Kind::Fold(fold) => self.fold(fold),
            Kind::Bind(bind) => self.bind(bind),
        };
        self.checked.types[id] = ty.clone();
        ty
    }

    fn ident(&mut self, id: usize, at: u32, name: &str) -> Type {
        if let Some((_, ty)) = self.scopes.iter().rev().find(|(known, _)| known == name) {
            return ty.clone();
        }
        match self.outer(name) {
            Some((found, ty)) => {
                self.checked.names[id] = Some(found);
                ty
            }
            None => self.error(at, format!("undeclared reference to '{name}' (in container '')")),
        }
    }

    /// A variable of the environment, or a type, by its full name.
    fn outer(&self, name: &str) -> Option<(Name, Type)> {
        if let Some((index, declared)) = self.env.variable(name) {
            return Some((Name::Variable(index), declared.ty()));
        }
        let ty = type_called(name)?;
        Some((Name::Type(ty.clone()), Type::Type(Arc::new(ty))))
    }

    fn select(&mut self, expr: &mut Expr) -> Type {
        // `a.b` may be one name with a dot in it, unless `a` is the variable of a macro.
        if let Some(name) = expr.qualified_name()
            && !self.is_local(&name)
            && let Some((found, ty)) = self.outer(&name)
        {
            self.checked.names[expr.id as usize] = Some(found);
            return ty;
        }
        let at = expr.at;
        let Kind::Select(select) = &mut expr.kind else { return Type::Dyn };
        let Select { operand, field, test_only } = &mut **select;
        let operand = self.expr(operand);
        let ty = self.field(at, &operand, field);
        if *test_only { Type::Bool } else { ty }
    }

    fn is_local(&self, qualified: &str) -> bool {
        let first = qualified.split('.').next().unwrap_or(qualified);
        self.scopes.iter().any(|(name, _)| name == first)
    }

    /// The type of field `field` of a value of type `operand`.
    fn field(&mut self, at: u32, operand: &Type, field: &str) -> Type {
        let operand = self.substitution.resolve(operand, false);
        match &operand {
            Type::Dyn => Type::Dyn,
            Type::Param(_) => {
                self.substitution.assign(&operand, &Type::Dyn);
                Type::Dyn
            }
            Type::Map(_, value) => (**value).clone(),
            // Selecting from an optional gives an optional.
            Type::Optional(inner) => match self.field(at, inner, field) {
                already @ Type::Optional(_) => already,
                other => Type::optional(other),
            },
            Type::Object(name) if self.env.is_open(name) => Type::Dyn,
            Type::Object(name) => match self.object_field(name, field) {
                Some(ty) => ty,
                None => self.error(at, format!("undefined field '{field}'")),
            },
            other => self.error(at, format!("type '{other}' does not support field selection")),
        }
    }

    fn object_field(&self, object: &str, field: &str) -> Option<Type> {
        Some(self.env.object(object)?.field(field)?.declared.ty())
    }

    fn unwrapped(&mut self, at: u32, ty: &Type) -> Type {
        match self.substitution.resolve(ty, false) {
            Type::Optional(inner) => (*inner).clone(),
            Type::Dyn => Type::Dyn,
            other => self.error(at, format!("expected type 'optional_type' but found '{other}'")),
        }
    }

    /// Literals of lists and maps have one type of items, but in what `format` is called with.
    fn joined(&mut self, at: u32, before: Option<Type>, ty: Type) -> Type {
        let Some(before) = before else { return ty };
        if self.substitution.assign(&before, &ty) {
            let (left, right) =
                (self.substitution.resolve(&before, false), self.substitution.resolve(&ty, false));
            return if right == Type::Dyn { right } else { left };
        }
        if self.mixing > 0 {
            return Type::Dyn;
        }
        let (wanted, found) = (self.shown(&before), self.shown(&ty));
        self.error(at, format!("expected type '{wanted}' but found '{found}'"))
    }

    fn map(&mut self, entries: &mut [Entry]) -> Type {
        let (mut keys, mut values) = (None, None);
        for Entry { key, value, optional } in entries {
            let ty = self.expr(key);
            keys = Some(self.joined(key.at, keys, ty));
            let mut ty = self.expr(value);
            if *optional {
                ty = self.unwrapped(value.at, &ty);
            }
            values = Some(self.joined(value.at, values, ty));
        }
        let key = keys.unwrap_or_else(|| self.substitution.fresh());
        Type::map(key, values.unwrap_or_else(|| self.substitution.fresh()))
    }

    fn structure(&mut self, at: u32, object: &mut Struct) -> Type {
        let Struct { name, fields } = object;
        let is_open = self.env.is_open(name);
        if !is_open && self.env.object(name).is_none() {
            return self.error(at, format!("undeclared reference to '{name}' (in container '')"));
        }
        for (field, value, optional) in fields {
            let mut ty = self.expr(value);
            if *optional {
                ty = self.unwrapped(value.at, &ty);
            }
            if is_open {
                continue;
            }
            let Some(wanted) = self.object_field(name, field) else {
                self.error(value.at, format!("undefined field '{field}'"));
                continue;
            };
            if !self.substitution.assign(&wanted, &ty) {
                let found = self.shown(&ty);
                self.error(
                    value.at,
                    format!("expected type of field '{field}' is '{wanted}' but provided type is '{found}'"),
                );
            }
        }
        Type::Object(name.as_str().into())
    }

    fn bind(&mut self, bind: &mut Bind) -> Type {
        let ty = self.expr(&mut bind.init);
        self.scopes.push((bind.name.clone(), ty));
        let result = self.expr(&mut bind.result);
        self.scopes.pop();
        result
    }

    fn fold(&mut self, fold: &mut Fold) -> Type {
        let range = self.expr(&mut fold.range);
        let range = self.substitution.resolve(&range, false);
        let (first, second) = self.items_of(fold.range.at, &range);
        let accumulator = self.expr(&mut fold.init);
        let depth = self.scopes.len();
        self.scopes.push((fold.accumulator.clone(), accumulator.clone()));
        match &fold.var2 {
            Some(var2) => {
                self.scopes.push((fold.var.clone(), first));
                self.scopes.push((var2.clone(), second));
            }
            // With one variable, a list gives its items and a map its keys.
            None => {
                let item = if matches!(range, Type::List(_)) { second } else { first };
                self.scopes.push((fold.var.clone(), item));
            }
        }
        let condition = self.expr(&mut fold.condition);
        self.expect(fold.condition.at, &Type::Bool, &condition);
        let step = self.expr(&mut fold.step);
        self.expect(fold.step.at, &accumulator, &step);
        self.scopes.truncate(depth + 1);
        let result = self.expr(&mut fold.result);
        self.scopes.truncate(depth);
        result
    }

    /// Index and item of a list, key and value of a map.
    fn items_of(&mut self, at: u32, range: &Type) -> (Type, Type) {
        match range {
            Type::List(item) => (Type::Int, (**item).clone()),
            Type::Map(key, value) => ((**key).clone(), (**value).clone()),
            Type::Dyn => (Type::Dyn, Type::Dyn),
            Type::Param(_) => {
                self.substitution.assign(range, &Type::Dyn);
                (Type::Dyn, Type::Dyn)
            }
            other => {
                let text = format!(
                    "expression of type '{other}' cannot be range of a comprehension (must be list, map, or dynamic)"
                );
                self.error(at, text);
                (Type::Dyn, Type::Dyn)
            }
        }
    }

    fn expect(&mut self, at: u32, wanted: &Type, found: &Type) {
        if !self.substitution.assign(wanted, found) {
            let (wanted, found) = (self.shown(wanted), self.shown(found));
            self.error(at, format!("expected type '{wanted}' but found '{found}'"));
        }
    }
}

fn literal_type(literal: &Literal) -> Type {
    match literal {
        Literal::Null => Type::Null,
        Literal::Bool(_) => Type::Bool,
        Literal::Int(_) => Type::Int,
        Literal::Uint(_) => Type::Uint,
        Literal::Double(_) => Type::Double,
        Literal::String(_) => Type::String,
        Literal::Bytes(_) => Type::Bytes,
    }
}

/// The type that a name in an expression means.
fn type_called(name: &str) -> Option<Type> {
    Some(match name {
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "null_type" => Type::Null,
        "list" => Type::list(Type::Dyn),
        "map" => Type::map(Type::Dyn, Type::Dyn),
        "type" => Type::Type(Arc::new(Type::Dyn)),
        "optional_type" => Type::optional(Type::Dyn),
        "google.protobuf.Timestamp" => Type::Timestamp,
        "google.protobuf.Duration" => Type::Duration,
        other => Type::Opaque(opaque::NAMES.iter().find(|known| **known == other)?),
    })
}
