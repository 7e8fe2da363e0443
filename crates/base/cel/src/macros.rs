//! What `has`, `all`, `exists`, `map` and the other macros stand for (langdef.md, "Macros"; cel-go ext
//! "comprehensions", "lists", "bindings" and optional types).

use crate::Issue;
use crate::ast::{ACCUMULATOR, Bind, Element, Expr, Fold, Kind, Literal};
use crate::parse::Parser;

/// `name(args)`: `has(e.f)` or a call.
pub(crate) fn expand_function(
    p: &mut Parser,
    at: u32,
    name: String,
    mut args: Vec<Expr>,
) -> Result<Expr, Issue> {
    if name != "has" || args.len() != 1 {
        return Ok(p.call(at, &name, args));
    }
    match args.remove(0) {
        Expr { kind: Kind::Select(mut select), .. } if !select.test_only => {
            select.test_only = true;
            Ok(p.node(at, Kind::Select(select)))
        }
        other => Err(Issue::plain(other.at, "invalid argument to has() macro".into())),
    }
}

/// `target.name(args)`: a macro with that name and number of arguments, or a call.
pub(crate) fn expand_method(
    p: &mut Parser,
    at: u32,
    target: Expr,
    name: String,
    mut args: Vec<Expr>,
) -> Result<Expr, Issue> {
    match (name.as_str(), args.len()) {
        ("bind", 3) if p.has_bind && matches!(&target.kind, Kind::Ident(name) if name == "cel") => {
            let name = variables(&mut args, 1)?.remove(0);
            let value = args.remove(0);
            Ok(bind(p, at, &name, value, args.remove(0)))
        }
        ("all" | "exists" | "exists_one" | "existsOne", 2) => quantifier(p, at, target, &name, 1, args),
        ("all" | "exists" | "existsOne", 3) => quantifier(p, at, target, &name, 2, args),
        ("map", 2 | 3) => transform(p, at, target, 1, args, Collect::List),
        ("filter", 2) => filter(p, at, target, args),
        ("transformList", 3 | 4) => transform(p, at, target, 2, args, Collect::List),
        ("transformMap", 3 | 4) => transform(p, at, target, 2, args, Collect::Map),
        ("transformMapEntry", 3 | 4) => transform(p, at, target, 2, args, Collect::Entries),
        ("optMap", 2) => on_optional(p, at, target, args, true),
        ("optFlatMap", 2) => on_optional(p, at, target, args, false),
        ("sortBy", 2) => sort_by(p, at, target, args),
        _ => Ok(p.method(at, target, &name, args)),
    }
}

#[derive(Clone, Copy)]
enum Collect {
    List,
    Map,
    Entries,
}

/// The variables of a macro: plain names, none of them used twice.
fn variables(args: &mut Vec<Expr>, count: usize) -> Result<Vec<String>, Issue> {
    let mut names: Vec<String> = Vec::new();
    for arg in args.drain(..count) {
        let Kind::Ident(name) = arg.kind else {
            return Err(Issue::plain(arg.at, "argument must be a simple name".into()));
        };
        if names.contains(&name) {
            return Err(Issue::plain(arg.at, format!("duplicate variable name: {name}")));
        }
        names.push(name);
    }
    Ok(names)
}

struct Loop {
    init: Expr,
    condition: Expr,
    step: Expr,
    result: Expr,
}

fn fold(p: &mut Parser, at: u32, range: Expr, mut names: Vec<String>, body: Loop) -> Expr {
    let var2 = (names.len() == 2).then(|| names.pop()).flatten();
    let var = names.pop().unwrap_or_default();
    let Loop { init, condition, step, result } = body;
    let accumulator = ACCUMULATOR.to_owned();
    p.node(at, Kind::Fold(Box::new(Fold { var, var2, range, accumulator, init, condition, step, result })))
}

fn accumulator(p: &mut Parser, at: u32) -> Expr {
    p.ident(at, ACCUMULATOR)
}

fn quantifier(
    p: &mut Parser,
    at: u32,
    range: Expr,
    name: &str,
    vars: usize,
    mut args: Vec<Expr>,
) -> Result<Expr, Issue> {
    let names = variables(&mut args, vars)?;
    let predicate = args.remove(0);
    let body = match name {
        "all" => until(p, at, true, predicate),
        "exists" => until(p, at, false, predicate),
        _ => exactly_one(p, at, predicate),
    };
    Ok(fold(p, at, range, names, body))
}

/// `all` (while true, and) or `exists` (while false, or).
fn until(p: &mut Parser, at: u32, all: bool, predicate: Expr) -> Loop {
    let init = p.literal(at, Literal::Bool(all));
    let mut current = accumulator(p, at);
    if !all {
        current = p.call(at, "!_", vec![current]);
    }
    let condition = p.call(at, "@not_strictly_false", vec![current]);
    let current = accumulator(p, at);
    let step = p.call(at, if all { "_&&_" } else { "_||_" }, vec![current, predicate]);
    Loop { init, condition, step, result: accumulator(p, at) }
}

fn exactly_one(p: &mut Parser, at: u32, predicate: Expr) -> Loop {
    let init = p.literal(at, Literal::Int(0));
    let condition = p.literal(at, Literal::Bool(true));
    let (current, one) = (accumulator(p, at), p.literal(at, Literal::Int(1)));
    let more = p.call(at, "_+_", vec![current, one]);
    let same = accumulator(p, at);
    let step = p.call(at, "_?_:_", vec![predicate, more, same]);
    let (count, one) = (accumulator(p, at), p.literal(at, Literal::Int(1)));
    let result = p.call(at, "_==_", vec![count, one]);
    Loop { init, condition, step, result }
}

fn filter(p: &mut Parser, at: u32, range: Expr, mut args: Vec<Expr>) -> Result<Expr, Issue> {
    let names = variables(&mut args, 1)?;
    let item = p.ident(at, &names[0]);
    let predicate = args.remove(0);
    let init = p.node(at, Kind::List(Vec::new()));
    let body = collecting(p, at, init, Some(predicate), |p, current| append(p, at, current, item));
    Ok(fold(p, at, range, names, body))
}

fn append(p: &mut Parser, at: u32, current: Expr, item: Expr) -> Expr {
    let one = p.node(at, Kind::List(vec![Element { value: item, optional: false }]));
    p.call(at, "_+_", vec![current, one])
}

fn transform(
    p: &mut Parser,
    at: u32,
    range: Expr,
    vars: usize,
    mut args: Vec<Expr>,
    collect: Collect,
) -> Result<Expr, Issue> {
    let names = variables(&mut args, vars)?;
    let predicate = (args.len() == 2).then(|| args.remove(0));
    let value = args.remove(0);
    let empty = match collect {
        Collect::List => Kind::List(Vec::new()),
        Collect::Map | Collect::Entries => Kind::Map(Vec::new()),
    };
    let init = p.node(at, empty);
    let key = names[0].clone();
    let body = collecting(p, at, init, predicate, |p, current| match collect {
        Collect::List => append(p, at, current, value),
        Collect::Map => {
            let key = p.ident(at, &key);
            p.call(at, "cel.@mapInsert", vec![current, key, value])
        }
        Collect::Entries => p.call(at, "cel.@mapInsert", vec![current, value]),
    });
    Ok(fold(p, at, range, names, body))
}

/// A loop over everything that adds to its result where `predicate` holds.
fn collecting(
    p: &mut Parser,
    at: u32,
    init: Expr,
    predicate: Option<Expr>,
    add: impl FnOnce(&mut Parser, Expr) -> Expr,
) -> Loop {
    let condition = p.literal(at, Literal::Bool(true));
    let current = accumulator(p, at);
    let mut step = add(p, current);
    if let Some(predicate) = predicate {
        let same = accumulator(p, at);
        step = p.call(at, "_?_:_", vec![predicate, step, same]);
    }
    Loop { init, condition, step, result: accumulator(p, at) }
}

fn bind(p: &mut Parser, at: u32, name: &str, init: Expr, result: Expr) -> Expr {
    p.node(at, Kind::Bind(Box::new(Bind { name: name.to_owned(), init, result })))
}

/// `opt.optMap(v, e)` and `opt.optFlatMap(v, e)`: `e` of the value when there is one. The target is bound to a
/// name, so that it is evaluated once however deeply such calls are chained.
fn on_optional(
    p: &mut Parser,
    at: u32,
    target: Expr,
    mut args: Vec<Expr>,
    wrap: bool,
) -> Result<Expr, Issue> {
    const TARGET: &str = "@optional";
    let name = variables(&mut args, 1)?.remove(0);
    let body = args.remove(0);
    let whole = p.ident(at, TARGET);
    let value = p.method(at, whole, "value", Vec::new());
    let mut mapped = bind(p, at, &name, value, body);
    if wrap {
        mapped = p.call(at, "optional.of", vec![mapped]);
    }
    let whole = p.ident(at, TARGET);
    let present = p.method(at, whole, "hasValue", Vec::new());
    let none = p.call(at, "optional.none", Vec::new());
    let choice = p.call(at, "_?_:_", vec![present, mapped, none]);
    Ok(bind(p, at, TARGET, target, choice))
}

/// `list.sortBy(e, key)`: the list in the order of its keys.
fn sort_by(p: &mut Parser, at: u32, target: Expr, args: Vec<Expr>) -> Result<Expr, Issue> {
    const INPUT: &str = "@input";
    let range = p.ident(at, INPUT);
    let keys = transform(p, at, range, 1, args, Collect::List)?;
    let list = p.ident(at, INPUT);
    let sorted = p.method(at, list, "@sortByAssociatedKeys", vec![keys]);
    Ok(bind(p, at, INPUT, target, sorted))
}
