//! Rules in CEL (`x-kubernetes-validations`): compiled once for a schema, evaluated for every object.
//!
//! INVARIANT: an object's rules cost at most [`Budget`], whatever the object.

mod check;
mod declared;
mod field_path;
mod run;

pub use check::check;
pub(crate) use check::check_at;
pub use run::{Budget, Outcome};

use crate::schema::{Additional, ListKind, Rule, Schema};
use hako_cel::{Declared, Env, Patterns, Program, Type};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// Units that one evaluation may cost.
const PER_CALL: u64 = 1_000_000;

/// The rules of a schema.
#[derive(Debug)]
pub struct Rules {
    root: Option<Node>,
}

/// The rules of a part of a schema and of the parts below it. Parts without rules are left out.
#[derive(Debug)]
struct Node {
    /// Absent where the schema has nothing that expressions could see.
    declared: Option<Declared>,
    /// The word of messages.
    ty: &'static str,
    hides_value: bool,
    rules: Vec<Compiled>,
    properties: BTreeMap<String, Node>,
    additional: Option<Box<Node>>,
    items: Option<Box<Node>>,
    list: ListKind,
    /// Whether the values of an object have no counterparts in an old one.
    is_atomic_map: bool,
}

#[derive(Debug)]
struct Compiled {
    rule: Rule,
    /// Absent for an empty rule; an error is told to whoever writes an object.
    program: Option<Result<Program, String>>,
    uses_old: bool,
    message: Option<Result<Program, String>>,
    /// Below the part that the rule is on.
    path: String,
}

/// The place of `oldSelf` among the variables; `self` is the first.
const OLD_SELF: usize = 1;

impl Rules {
    /// Compiles the rules of `schema`, the schema of a resource.
    #[must_use]
    pub fn compile(schema: &Schema) -> Self {
        let declared = declared::resource(schema, "selfType");
        Self { root: node(schema, declared.as_ref(), &Arc::default()) }
    }

    /// The same of a part of a schema.
    pub(crate) fn compile_part(schema: &Schema) -> Self {
        let declared = declared::part(schema, "selfType");
        Self { root: node(schema, declared.as_ref(), &Arc::default()) }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.root.is_none()
    }
}

/// Patterns of all rules of a schema.
type Together = Arc<Mutex<Patterns>>;

fn node(schema: &Schema, declared: Option<&Declared>, patterns: &Together) -> Option<Node> {
    let rules: Vec<_> = schema.rules.iter().map(|rule| compile(rule, schema, declared, patterns)).collect();
    let properties: BTreeMap<_, _> = schema
        .properties
        .iter()
        .filter_map(|(name, property)| {
            let below = declared.and_then(|declared| declared.member(name));
            Some((name.clone(), node(property, below, patterns)?))
        })
        .collect();
    let of_element = declared.and_then(Declared::item);
    let additional = match &schema.additional {
        Additional::Fits(schema) => node(schema, of_element, patterns).map(Box::new),
        _ => None,
    };
    let items = schema.items.as_ref().and_then(|items| node(items, of_element, patterns)).map(Box::new);
    if rules.is_empty() && properties.is_empty() && additional.is_none() && items.is_none() {
        return None;
    }
    let ty = schema.ty.map_or("", crate::schema::Ty::name);
    Some(Node {
        declared: declared.cloned(),
        ty,
        hides_value: matches!(ty, "object" | "array"),
        rules,
        properties,
        additional,
        items,
        list: schema.list.clone(),
        is_atomic_map: schema.is_atomic_map,
    })
}

/// The environment of a rule on values of type `declared`.
fn environment(rule: &Rule, declared: &Declared, patterns: &Together) -> Env {
    let old = match rule.is_old_self_optional {
        Some(true) => Declared::of(Type::optional(declared.ty())),
        _ => declared.clone(),
    };
    Env::new().with_patterns(Arc::clone(patterns)).with("self", declared.clone()).with("oldSelf", old)
}

fn compile(rule: &Rule, schema: &Schema, declared: Option<&Declared>, patterns: &Together) -> Compiled {
    let path = field_path::normalized(&rule.field_path, schema).unwrap_or_default();
    let mut compiled = Compiled { rule: rule.clone(), program: None, uses_old: false, message: None, path };
    if rule.rule.trim().is_empty() {
        return compiled;
    }
    let Some(declared) = declared else {
        compiled.program = Some(Err("failed to convert to declType for CEL validation rules".to_owned()));
        return compiled;
    };
    let env = environment(rule, declared, patterns);
    let program = expression(&env, &rule.rule, &Type::Bool, "", "cel expression must evaluate to a bool");
    compiled.uses_old = program.as_ref().is_ok_and(|program| program.uses(OLD_SELF));
    compiled.program = Some(program);
    if !rule.message_expression.is_empty() {
        let wrong = "messageExpression must evaluate to a string";
        compiled.message =
            Some(expression(&env, &rule.message_expression, &Type::String, "messageExpression ", wrong));
    }
    compiled
}

fn expression(env: &Env, source: &str, ty: &Type, name: &str, wrong: &str) -> Result<Program, String> {
    let program = env.compile(source).map_err(|error| format!("{name}compilation failed: {error}"))?;
    if program.ty() == ty { Ok(program) } else { Err(wrong.to_owned()) }
}
