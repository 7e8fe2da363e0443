//! Lists (Kubernetes' lists library; cel-go's extension lists, version 3).

use super::{Args, MAX_RESULT, Result, too_long};
use crate::overload::{Cost, Row};
use crate::value::{List, compare, equal};
use crate::{EvalError, Value, work};
use std::cmp::Ordering;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("list_int_is_sorted_bool", ".isSorted", "list(int)", "bool", Cost::Scan, is_sorted),
    Row("list_uint_is_sorted_bool", ".isSorted", "list(uint)", "bool", Cost::Scan, is_sorted),
    Row("list_double_is_sorted_bool", ".isSorted", "list(double)", "bool", Cost::Scan, is_sorted),
    Row("list_bool_is_sorted_bool", ".isSorted", "list(bool)", "bool", Cost::Scan, is_sorted),
    Row("list_string_is_sorted_bool", ".isSorted", "list(string)", "bool", Cost::Scan, is_sorted),
    Row("list_bytes_is_sorted_bool", ".isSorted", "list(bytes)", "bool", Cost::Scan, is_sorted),
    Row("list_timestamp_is_sorted_bool", ".isSorted", "list(timestamp)", "bool", Cost::Scan, is_sorted),
    Row("list_duration_is_sorted_bool", ".isSorted", "list(duration)", "bool", Cost::Scan, is_sorted),
    Row("list_int_sum_int", ".sum", "list(int)", "int", Cost::Scan, |args| sum(args, Value::Int(0))),
    Row("list_uint_sum_uint", ".sum", "list(uint)", "uint", Cost::Scan, |args| sum(args, Value::Uint(0))),
    Row("list_double_sum_double", ".sum", "list(double)", "double", Cost::Scan, |args| sum(args, Value::Double(0.0))),
    Row("list_duration_sum_duration", ".sum", "list(duration)", "duration", Cost::Scan, |args| sum(args, Value::Duration(0))),
    Row("list_int_max_int", ".max", "list(int)", "int", Cost::Scan, max),
    Row("list_uint_max_uint", ".max", "list(uint)", "uint", Cost::Scan, max),
    Row("list_double_max_double", ".max", "list(double)", "double", Cost::Scan, max),
    Row("list_bool_max_bool", ".max", "list(bool)", "bool", Cost::Scan, max),
    Row("list_string_max_string", ".max", "list(string)", "string", Cost::Scan, max),
    Row("list_bytes_max_bytes", ".max", "list(bytes)", "bytes", Cost::Scan, max),
    Row("list_timestamp_max_timestamp", ".max", "list(timestamp)", "timestamp", Cost::Scan, max),
    Row("list_duration_max_duration", ".max", "list(duration)", "duration", Cost::Scan, max),
    Row("list_int_min_int", ".min", "list(int)", "int", Cost::Scan, min),
    Row("list_uint_min_uint", ".min", "list(uint)", "uint", Cost::Scan, min),
    Row("list_double_min_double", ".min", "list(double)", "double", Cost::Scan, min),
    Row("list_bool_min_bool", ".min", "list(bool)", "bool", Cost::Scan, min),
    Row("list_string_min_string", ".min", "list(string)", "string", Cost::Scan, min),
    Row("list_bytes_min_bytes", ".min", "list(bytes)", "bytes", Cost::Scan, min),
    Row("list_timestamp_min_timestamp", ".min", "list(timestamp)", "timestamp", Cost::Scan, min),
    Row("list_duration_min_duration", ".min", "list(duration)", "duration", Cost::Scan, min),
    Row("list_a_index_of_int", ".indexOf", "list(A) A", "int", Cost::Scan, |args| position(args, false)),
    Row("list_a_last_index_of_int", ".lastIndexOf", "list(A) A", "int", Cost::Scan, |args| position(args, true)),
    Row("list_includes_dyn_dyn", ".includes", "dyn dyn", "bool", Cost::Scan, includes),
    Row("list_slice", ".slice", "list(A) int int", "list(A)", Cost::Slice, slice),
    Row("list_flatten", ".flatten", "list(list(A))", "list(A)", Cost::Flatten, flatten),
    Row("list_flatten_int", ".flatten", "list(dyn) int", "list(dyn)", Cost::Flatten, flatten),
    Row("list_distinct", ".distinct", "list(A)", "list(A)", Cost::Distinct, distinct),
    Row("list_reverse", ".reverse", "list(A)", "list(A)", Cost::Reverse, reverse),
    Row("list_sort", ".sort", "list(A)", "list(A)", Cost::Sort, |args| sort(args.first(), args.first())),
    Row("list_sortByAssociatedKeys", ".@sortByAssociatedKeys", "list(A) list(B)", "list(A)", Cost::Sort, |args| sort(args.first(), args.get(1))),
    Row("lists_range", "lists.range", "int", "list(int)", Cost::Range, range),
    Row("list_first", ".first", "list(A)", "optional(A)", Cost::One, |args| end(args, false)),
    Row("list_last", ".last", "list(A)", "optional(A)", Cost::One, |args| end(args, true)),
];

/// Numbers that one `lists.range` may make.
const MAX_RANGE: i64 = 100_000;

fn items<'a>(args: &[Value<'a>]) -> std::result::Result<Vec<Value<'a>>, EvalError> {
    Args(args).list(0)?.iter().map(Value::checked).collect()
}

fn is_sorted<'a>(args: &[Value<'a>]) -> Result<'a> {
    let items = items(args)?;
    Ok(Value::Bool(items.windows(2).all(|pair| compare(&pair[0], &pair[1]) != Some(Ordering::Greater))))
}

/// The sum of the items; `zero` where there are none. A list of no known type has the sum that its first item begins.
fn sum<'a>(args: &[Value<'a>], zero: Value<'a>) -> Result<'a> {
    let mut items = items(args)?.into_iter();
    let first = items.next().unwrap_or(zero);
    items.try_fold(first, |sum, item| match (sum, item) {
        (Value::Int(sum), Value::Int(item)) => {
            sum.checked_add(item).map(Value::Int).ok_or(EvalError::Overflow("integer"))
        }
        (Value::Uint(sum), Value::Uint(item)) => {
            sum.checked_add(item).map(Value::Uint).ok_or(EvalError::Overflow("unsigned integer"))
        }
        (Value::Double(sum), Value::Double(item)) => Ok(Value::Double(sum + item)),
        (Value::Duration(sum), Value::Duration(item)) => {
            sum.checked_add(item).map(Value::Duration).ok_or(EvalError::Overflow("duration"))
        }
        _ => Err(EvalError::NoSuchOverload),
    })
}

fn max<'a>(args: &[Value<'a>]) -> Result<'a> {
    extreme(args, Ordering::Greater, "max")
}

fn min<'a>(args: &[Value<'a>]) -> Result<'a> {
    extreme(args, Ordering::Less, "min")
}

fn extreme<'a>(args: &[Value<'a>], wanted: Ordering, name: &str) -> Result<'a> {
    let better =
        |best: Value<'a>, item: Value<'a>| if compare(&item, &best) == Some(wanted) { item } else { best };
    let found = items(args)?.into_iter().reduce(better);
    found.ok_or_else(|| EvalError::data(format!("{name} called on empty list")))
}

fn position<'a>(args: &[Value<'a>], last: bool) -> Result<'a> {
    let list = Args(args).list(0)?;
    let mut places = 0..list.len();
    let is_it = |place: &usize| list.get(*place).is_some_and(|item| equal(&item, &args[1]));
    let found = if last { places.rfind(is_it) } else { places.find(is_it) };
    Ok(Value::Int(found.map_or(-1, |place| place as i64)))
}

fn includes<'a>(args: &[Value<'a>]) -> Result<'a> {
    match &args[0] {
        Value::List(list) => Ok(Value::Bool(list.contains(&args[1]))),
        Value::Null => Ok(Value::Bool(false)),
        other => Ok(Value::Bool(equal(other, &args[1]))),
    }
}

fn slice<'a>(args: &[Value<'a>]) -> Result<'a> {
    let args = Args(args);
    let (list, start, end) = (args.list(0)?, args.int(1)?, args.int(2)?);
    let length = list.len();
    let fault = match (usize::try_from(start), usize::try_from(end)) {
        (Ok(from), Ok(to)) if from <= to && to <= length => {
            return Ok(Value::list((from..to).filter_map(|place| list.get(place)).collect()));
        }
        (Ok(from), Ok(to)) if from > to => "start index must be less than or equal to end index".to_owned(),
        (Ok(_), Ok(_)) => format!("list is length {length}"),
        _ => "negative indexes not supported".to_owned(),
    };
    Err(EvalError::data(format!("cannot slice({start}, {end}), {fault}")))
}

fn flatten<'a>(args: &[Value<'a>]) -> Result<'a> {
    let depth = if args.len() == 2 { Args(args).int(1)? } else { 1 };
    if depth < 0 {
        return Err(EvalError::data("level must be non-negative".into()));
    }
    let mut flat = Vec::new();
    flatten_into(Args(args).list(0)?, depth.min(64), &mut flat)?;
    Ok(Value::list(flat))
}

fn flatten_into<'a>(
    list: &List<'a>,
    depth: i64,
    flat: &mut Vec<Value<'a>>,
) -> std::result::Result<(), EvalError> {
    for item in list.iter() {
        if !work::take(work::ITEM) {
            return Err(EvalError::CostExceeded);
        }
        match item.checked()? {
            Value::List(inner) if depth > 0 => flatten_into(&inner, depth - 1, flat)?,
            item if flat.len() < MAX_RESULT / 4 => flat.push(item),
            _ => return Err(too_long()),
        }
    }
    Ok(())
}

fn distinct<'a>(args: &[Value<'a>]) -> Result<'a> {
    let mut known: Vec<Value<'a>> = Vec::new();
    for item in items(args)? {
        if !known.iter().any(|other| equal(other, &item)) {
            known.push(item);
        }
    }
    Ok(Value::list(known))
}

fn reverse<'a>(args: &[Value<'a>]) -> Result<'a> {
    let mut items = items(args)?;
    items.reverse();
    Ok(Value::list(items))
}

/// The items in the order of their keys; keys of two kinds have no order.
fn sort<'a>(list: Option<&Value<'a>>, keys: Option<&Value<'a>>) -> Result<'a> {
    let (Some(Value::List(list)), Some(Value::List(keys))) = (list, keys) else {
        return Err(EvalError::NoSuchOverload);
    };
    let mut pairs: Vec<_> = keys.iter().zip(list.iter()).collect();
    let Some((first, _)) = pairs.first() else { return Ok(Value::list(Vec::new())) };
    let ty = first.ty();
    if pairs.iter().any(|(key, _)| key.ty() != ty || compare(key, key).is_none()) {
        return Err(EvalError::data("list elements must have the same type".into()));
    }
    pairs.sort_by(|(left, _), (right, _)| compare(left, right).unwrap_or(Ordering::Equal));
    Ok(Value::list(pairs.into_iter().map(|(_, item)| item).collect()))
}

fn range<'a>(args: &[Value<'a>]) -> Result<'a> {
    let count = Args(args).int(0)?;
    if count > MAX_RANGE {
        return Err(EvalError::data(format!("lists.range makes at most {MAX_RANGE} numbers")));
    }
    Ok(Value::list((0..count).map(Value::Int).collect()))
}

fn end<'a>(args: &[Value<'a>], last: bool) -> Result<'a> {
    let list = Args(args).list(0)?;
    let place = if last { list.len().wrapping_sub(1) } else { 0 };
    Ok(Value::Optional(list.get(place).map(std::sync::Arc::new)))
}
