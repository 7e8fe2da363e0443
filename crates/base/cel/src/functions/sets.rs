//! Lists as sets (cel-go's extension sets).

use super::{Args, Result};
use crate::Value;
use crate::overload::{Cost, Row};
use crate::value::List;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("list_sets_contains_list", "sets.contains", "list(A) list(A)", "bool", Cost::Sets(1), |args| of(args, contains)),
    Row("list_sets_equivalent_list", "sets.equivalent", "list(A) list(A)", "bool", Cost::Sets(2), |args| of(args, |a, b| contains(a, b) && contains(b, a))),
    Row("list_sets_intersects_list", "sets.intersects", "list(A) list(A)", "bool", Cost::Sets(1), |args| of(args, |a, b| b.iter().any(|item| a.contains(&item)))),
];

fn of<'a>(args: &[Value<'a>], holds: fn(&List<'a>, &List<'a>) -> bool) -> Result<'a> {
    let args = Args(args);
    Ok(Value::Bool(holds(args.list(0)?, args.list(1)?)))
}

fn contains<'a>(set: &List<'a>, part: &List<'a>) -> bool {
    part.iter().all(|item| set.contains(&item))
}
