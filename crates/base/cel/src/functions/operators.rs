//! Arithmetic, comparison, containment and size. `&&`, `||`, `?:` and indexing by field are the evaluator's.

use super::{Args, Result};
use crate::overload::{Cost, Row};
use crate::value::{Key, compare, equal};
use crate::{EvalError, Value};
use std::cmp::Ordering;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("conditional", "_?_:_", "bool A A", "A", Cost::Conditional, special),
    Row("logical_and", "_&&_", "bool bool", "bool", Cost::And, special),
    Row("logical_or", "_||_", "bool bool", "bool", Cost::And, special),
    Row("logical_not", "!_", "bool", "bool", Cost::One, not),
    Row("not_strictly_false", "@not_strictly_false", "bool", "bool", Cost::One, special),
    Row("equals", "_==_", "A A", "bool", Cost::Compare, |args| Ok(Value::Bool(equal(&args[0], &args[1])))),
    Row("not_equals", "_!=_", "A A", "bool", Cost::Compare, |args| Ok(Value::Bool(!equal(&args[0], &args[1])))),
    Row("add_int64", "_+_", "int int", "int", Cost::One, |args| int(args, i64::checked_add)),
    Row("add_uint64", "_+_", "uint uint", "uint", Cost::One, |args| uint(args, u64::checked_add)),
    Row("add_double", "_+_", "double double", "double", Cost::One, |args| double(args, |a, b| a + b)),
    Row("add_string", "_+_", "string string", "string", Cost::Concat, add_string),
    Row("add_bytes", "_+_", "bytes bytes", "bytes", Cost::Concat, add_bytes),
    Row("add_list", "_+_", "list(A) list(A)", "list(A)", Cost::ConcatList, add_list),
    Row("add_duration_duration", "_+_", "duration duration", "duration", Cost::One, |args| durations(args, i64::checked_add)),
    Row("add_duration_timestamp", "_+_", "duration timestamp", "timestamp", Cost::One, |args| shift(&args[1], &args[0], false)),
    Row("add_timestamp_duration", "_+_", "timestamp duration", "timestamp", Cost::One, |args| shift(&args[0], &args[1], false)),
    Row("subtract_int64", "_-_", "int int", "int", Cost::One, |args| int(args, i64::checked_sub)),
    Row("subtract_uint64", "_-_", "uint uint", "uint", Cost::One, |args| uint(args, u64::checked_sub)),
    Row("subtract_double", "_-_", "double double", "double", Cost::One, |args| double(args, |a, b| a - b)),
    Row("subtract_duration_duration", "_-_", "duration duration", "duration", Cost::One, |args| durations(args, i64::checked_sub)),
    Row("subtract_timestamp_duration", "_-_", "timestamp duration", "timestamp", Cost::One, |args| shift(&args[0], &args[1], true)),
    Row("subtract_timestamp_timestamp", "_-_", "timestamp timestamp", "duration", Cost::One, between),
    Row("multiply_int64", "_*_", "int int", "int", Cost::One, |args| int(args, i64::checked_mul)),
    Row("multiply_uint64", "_*_", "uint uint", "uint", Cost::One, |args| uint(args, u64::checked_mul)),
    Row("multiply_double", "_*_", "double double", "double", Cost::One, |args| double(args, |a, b| a * b)),
    Row("divide_int64", "_/_", "int int", "int", Cost::One, |args| divide(args, EvalError::DivisionByZero, i64::checked_div, u64::checked_div)),
    Row("divide_uint64", "_/_", "uint uint", "uint", Cost::One, |args| divide(args, EvalError::DivisionByZero, i64::checked_div, u64::checked_div)),
    Row("divide_double", "_/_", "double double", "double", Cost::One, |args| double(args, |a, b| a / b)),
    Row("modulo_int64", "_%_", "int int", "int", Cost::One, |args| divide(args, EvalError::ModulusByZero, i64::checked_rem, u64::checked_rem)),
    Row("modulo_uint64", "_%_", "uint uint", "uint", Cost::One, |args| divide(args, EvalError::ModulusByZero, i64::checked_rem, u64::checked_rem)),
    Row("negate_int64", "-_", "int", "int", Cost::One, negate),
    Row("negate_double", "-_", "double", "double", Cost::One, negate),
    Row("less_bool", "_<_", "bool bool", "bool", Cost::One, less),
    Row("less_int64", "_<_", "int int", "bool", Cost::One, less),
    Row("less_int64_double", "_<_", "int double", "bool", Cost::One, less),
    Row("less_int64_uint64", "_<_", "int uint", "bool", Cost::One, less),
    Row("less_uint64", "_<_", "uint uint", "bool", Cost::One, less),
    Row("less_uint64_double", "_<_", "uint double", "bool", Cost::One, less),
    Row("less_uint64_int64", "_<_", "uint int", "bool", Cost::One, less),
    Row("less_double", "_<_", "double double", "bool", Cost::One, less),
    Row("less_double_int64", "_<_", "double int", "bool", Cost::One, less),
    Row("less_double_uint64", "_<_", "double uint", "bool", Cost::One, less),
    Row("less_string", "_<_", "string string", "bool", Cost::Compare, less),
    Row("less_bytes", "_<_", "bytes bytes", "bool", Cost::Compare, less),
    Row("less_timestamp", "_<_", "timestamp timestamp", "bool", Cost::One, less),
    Row("less_duration", "_<_", "duration duration", "bool", Cost::One, less),
    Row("less_equals_bool", "_<=_", "bool bool", "bool", Cost::One, less_equals),
    Row("less_equals_int64", "_<=_", "int int", "bool", Cost::One, less_equals),
    Row("less_equals_int64_double", "_<=_", "int double", "bool", Cost::One, less_equals),
    Row("less_equals_int64_uint64", "_<=_", "int uint", "bool", Cost::One, less_equals),
    Row("less_equals_uint64", "_<=_", "uint uint", "bool", Cost::One, less_equals),
    Row("less_equals_uint64_double", "_<=_", "uint double", "bool", Cost::One, less_equals),
    Row("less_equals_uint64_int64", "_<=_", "uint int", "bool", Cost::One, less_equals),
    Row("less_equals_double", "_<=_", "double double", "bool", Cost::One, less_equals),
    Row("less_equals_double_int64", "_<=_", "double int", "bool", Cost::One, less_equals),
    Row("less_equals_double_uint64", "_<=_", "double uint", "bool", Cost::One, less_equals),
    Row("less_equals_string", "_<=_", "string string", "bool", Cost::Compare, less_equals),
    Row("less_equals_bytes", "_<=_", "bytes bytes", "bool", Cost::Compare, less_equals),
    Row("less_equals_timestamp", "_<=_", "timestamp timestamp", "bool", Cost::One, less_equals),
    Row("less_equals_duration", "_<=_", "duration duration", "bool", Cost::One, less_equals),
    Row("greater_bool", "_>_", "bool bool", "bool", Cost::One, greater),
    Row("greater_int64", "_>_", "int int", "bool", Cost::One, greater),
    Row("greater_int64_double", "_>_", "int double", "bool", Cost::One, greater),
    Row("greater_int64_uint64", "_>_", "int uint", "bool", Cost::One, greater),
    Row("greater_uint64", "_>_", "uint uint", "bool", Cost::One, greater),
    Row("greater_uint64_double", "_>_", "uint double", "bool", Cost::One, greater),
    Row("greater_uint64_int64", "_>_", "uint int", "bool", Cost::One, greater),
    Row("greater_double", "_>_", "double double", "bool", Cost::One, greater),
    Row("greater_double_int64", "_>_", "double int", "bool", Cost::One, greater),
    Row("greater_double_uint64", "_>_", "double uint", "bool", Cost::One, greater),
    Row("greater_string", "_>_", "string string", "bool", Cost::Compare, greater),
    Row("greater_bytes", "_>_", "bytes bytes", "bool", Cost::Compare, greater),
    Row("greater_timestamp", "_>_", "timestamp timestamp", "bool", Cost::One, greater),
    Row("greater_duration", "_>_", "duration duration", "bool", Cost::One, greater),
    Row("greater_equals_bool", "_>=_", "bool bool", "bool", Cost::One, greater_equals),
    Row("greater_equals_int64", "_>=_", "int int", "bool", Cost::One, greater_equals),
    Row("greater_equals_int64_double", "_>=_", "int double", "bool", Cost::One, greater_equals),
    Row("greater_equals_int64_uint64", "_>=_", "int uint", "bool", Cost::One, greater_equals),
    Row("greater_equals_uint64", "_>=_", "uint uint", "bool", Cost::One, greater_equals),
    Row("greater_equals_uint64_double", "_>=_", "uint double", "bool", Cost::One, greater_equals),
    Row("greater_equals_uint64_int64", "_>=_", "uint int", "bool", Cost::One, greater_equals),
    Row("greater_equals_double", "_>=_", "double double", "bool", Cost::One, greater_equals),
    Row("greater_equals_double_int64", "_>=_", "double int", "bool", Cost::One, greater_equals),
    Row("greater_equals_double_uint64", "_>=_", "double uint", "bool", Cost::One, greater_equals),
    Row("greater_equals_string", "_>=_", "string string", "bool", Cost::Compare, greater_equals),
    Row("greater_equals_bytes", "_>=_", "bytes bytes", "bool", Cost::Compare, greater_equals),
    Row("greater_equals_timestamp", "_>=_", "timestamp timestamp", "bool", Cost::One, greater_equals),
    Row("greater_equals_duration", "_>=_", "duration duration", "bool", Cost::One, greater_equals),
    Row("index_list", "_[_]", "list(A) int", "A", Cost::IndexList, special),
    Row("index_map", "_[_]", "map(A,B) A", "B", Cost::IndexMap, special),
    Row("optional_list_index_int", "_[_]", "optional(list(A)) int", "optional(A)", Cost::One, special),
    Row("optional_map_index_value", "_[_]", "optional(map(A,B)) A", "optional(B)", Cost::One, special),
    Row("list_optindex_optional_int", "_[?_]", "list(A) int", "optional(A)", Cost::One, special),
    Row("map_optindex_optional_value", "_[?_]", "map(A,B) A", "optional(B)", Cost::One, special),
    Row("optional_list_optindex_optional_int", "_[?_]", "optional(list(A)) int", "optional(A)", Cost::One, special),
    Row("optional_map_optindex_optional_value", "_[?_]", "optional(map(A,B)) A", "optional(B)", Cost::One, special),
    Row("in_list", "@in", "A list(A)", "bool", Cost::InList, in_list),
    Row("in_map", "@in", "A map(A,B)", "bool", Cost::One, in_map),
    Row("size_string", "size", "string", "int", Cost::One, size),
    Row("size_bytes", "size", "bytes", "int", Cost::One, size),
    Row("size_list", "size", "list(A)", "int", Cost::One, size),
    Row("size_map", "size", "map(A,B)", "int", Cost::One, size),
    Row("string_size", ".size", "string", "int", Cost::One, size),
    Row("bytes_size", ".size", "bytes", "int", Cost::One, size),
    Row("list_size", ".size", "list(A)", "int", Cost::One, size),
    Row("map_size", ".size", "map(A,B)", "int", Cost::One, size),
    Row("@mapInsert_map_map", "cel.@mapInsert", "map(A,B) map(A,B)", "map(A,B)", Cost::One, special),
    Row("@mapInsert_map_key_value", "cel.@mapInsert", "map(A,B) A B", "map(A,B)", Cost::One, special),
];

/// What the evaluator does itself, because it does not always evaluate every argument.
fn special<'a>(_: &[Value<'a>]) -> Result<'a> {
    Err(EvalError::NoSuchOverload)
}

fn not<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(!Args(args).bool(0)?))
}

fn int<'a>(args: &[Value<'a>], of: fn(i64, i64) -> Option<i64>) -> Result<'a> {
    let args = Args(args);
    of(args.int(0)?, args.int(1)?).map(Value::Int).ok_or(EvalError::Overflow("integer"))
}

fn uint<'a>(args: &[Value<'a>], of: fn(u64, u64) -> Option<u64>) -> Result<'a> {
    match args {
        [Value::Uint(left), Value::Uint(right)] => {
            of(*left, *right).map(Value::Uint).ok_or(EvalError::Overflow("unsigned integer"))
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn double<'a>(args: &[Value<'a>], of: fn(f64, f64) -> f64) -> Result<'a> {
    match args {
        [Value::Double(left), Value::Double(right)] => Ok(Value::Double(of(*left, *right))),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn divide<'a>(
    args: &[Value<'a>],
    by_zero: EvalError,
    signed: fn(i64, i64) -> Option<i64>,
    unsigned: fn(u64, u64) -> Option<u64>,
) -> Result<'a> {
    match args {
        [Value::Int(_), Value::Int(0)] | [Value::Uint(_), Value::Uint(0)] => Err(by_zero),
        [Value::Int(_), _] => int(args, signed),
        _ => uint(args, unsigned),
    }
}

fn negate<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [Value::Int(value)] => value.checked_neg().map(Value::Int).ok_or(EvalError::Overflow("integer")),
        [Value::Double(value)] => Ok(Value::Double(-value)),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn add_string<'a>(args: &[Value<'a>]) -> Result<'a> {
    let args = Args(args);
    let (left, right) = (args.text(0)?, args.text(1)?);
    if left.len() + right.len() > super::MAX_RESULT {
        return Err(super::too_long());
    }
    Ok(Value::text([left, right].concat()))
}

fn add_bytes<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [Value::Bytes(left), Value::Bytes(right)] => {
            if left.len() + right.len() > super::MAX_RESULT {
                return Err(super::too_long());
            }
            Ok(Value::Bytes([&**left, &**right].concat().into()))
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn add_list<'a>(args: &[Value<'a>]) -> Result<'a> {
    let args = Args(args);
    let (left, right) = (args.list(0)?, args.list(1)?);
    if left.len() + right.len() > super::MAX_RESULT / 4 {
        return Err(super::too_long());
    }
    Ok(Value::List(left.concat(right)))
}

fn durations<'a>(args: &[Value<'a>], of: fn(i64, i64) -> Option<i64>) -> Result<'a> {
    match args {
        [Value::Duration(left), Value::Duration(right)] => {
            of(*left, *right).map(Value::Duration).ok_or(EvalError::Overflow("duration"))
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn shift<'a>(timestamp: &Value<'a>, by: &Value<'a>, back: bool) -> Result<'a> {
    let (Value::Timestamp(timestamp), Value::Duration(nanos)) = (timestamp, by) else {
        return Err(EvalError::NoSuchOverload);
    };
    let by = i128::from(if back { nanos.saturating_neg() } else { *nanos });
    timestamp.shifted(by).map(Value::Timestamp).ok_or(EvalError::Overflow("timestamp"))
}

fn between<'a>(args: &[Value<'a>]) -> Result<'a> {
    match args {
        [Value::Timestamp(left), Value::Timestamp(right)] => {
            let nanos = left.nanos() - right.nanos();
            i64::try_from(nanos).map(Value::Duration).map_err(|_| EvalError::Overflow("timestamp"))
        }
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn less<'a>(args: &[Value<'a>]) -> Result<'a> {
    ordered(args, |order| order == Ordering::Less)
}

fn less_equals<'a>(args: &[Value<'a>]) -> Result<'a> {
    ordered(args, |order| order != Ordering::Greater)
}

fn greater<'a>(args: &[Value<'a>]) -> Result<'a> {
    ordered(args, |order| order == Ordering::Greater)
}

fn greater_equals<'a>(args: &[Value<'a>]) -> Result<'a> {
    ordered(args, |order| order != Ordering::Less)
}

fn ordered<'a>(args: &[Value<'a>], holds: fn(Ordering) -> bool) -> Result<'a> {
    // NaN is in no order with anything.
    Ok(Value::Bool(compare(&args[0], &args[1]).is_some_and(holds)))
}

fn in_list<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Bool(Args(args).list(1)?.contains(&args[0])))
}

fn in_map<'a>(args: &[Value<'a>]) -> Result<'a> {
    match (&args[1], Key::of(&args[0])) {
        (Value::Map(map), Some(key)) => Ok(Value::Bool(map.get(&key).is_some())),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn size<'a>(args: &[Value<'a>]) -> Result<'a> {
    Ok(Value::Int(args[0].size() as i64))
}
