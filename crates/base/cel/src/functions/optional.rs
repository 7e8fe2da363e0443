//! Optional values (cel-go's optional types).

use super::{Args, Result};
use crate::overload::{Cost, Row};
use crate::value::List;
use crate::{EvalError, Value};
use std::sync::Arc;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("optional_of", "optional.of", "A", "optional(A)", Cost::One, |args| Ok(Value::some(args[0].clone()))),
    Row("optional_ofNonZeroValue", "optional.ofNonZeroValue", "A", "optional(A)", Cost::One, of_non_zero),
    Row("optional_none", "optional.none", "", "optional(A)", Cost::One, |_| Ok(Value::Optional(None))),
    Row("optional_value", ".value", "optional(A)", "A", Cost::One, value),
    Row("optional_hasValue", ".hasValue", "optional(A)", "bool", Cost::One, |args| Ok(Value::Bool(inner(args)?.is_some()))),
    Row("optional_or_optional", ".or", "optional(A) optional(A)", "optional(A)", Cost::One, |args| Ok(if inner(args)?.is_some() { args[0].clone() } else { args[1].clone() })),
    Row("optional_orValue_value", ".orValue", "optional(A) A", "A", Cost::One, |args| Ok(inner(args)?.map_or_else(|| args[1].clone(), |value| (**value).clone()))),
    Row("select_optional_field", "_?._", "dyn string", "optional(dyn)", Cost::One, |_| Err(EvalError::NoSuchOverload)),
    Row("optional_unwrap", "optional.unwrap", "list(optional(A))", "list(A)", Cost::One, unwrap),
    Row("optional_unwrapOpt", ".unwrapOpt", "list(optional(A))", "list(A)", Cost::One, unwrap),
];

fn inner<'v, 'a>(args: &'v [Value<'a>]) -> std::result::Result<Option<&'v Arc<Value<'a>>>, EvalError> {
    match args.first() {
        Some(Value::Optional(inner)) => Ok(inner.as_ref()),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn value<'a>(args: &[Value<'a>]) -> Result<'a> {
    inner(args)?.map(|value| (**value).clone()).ok_or(EvalError::EmptyOptional)
}

fn of_non_zero<'a>(args: &[Value<'a>]) -> Result<'a> {
    let zero = match &args[0] {
        Value::Null | Value::Optional(None) => true,
        Value::Bool(value) => !value,
        Value::Int(value) => *value == 0,
        Value::Uint(value) => *value == 0,
        Value::Double(value) => *value == 0.0,
        Value::String(text) => text.is_empty(),
        Value::Bytes(octets) => octets.is_empty(),
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.entries().is_empty(),
        Value::Duration(nanos) => *nanos == 0,
        Value::Timestamp(at) => at.is_zero(),
        _ => false,
    };
    Ok(if zero { Value::Optional(None) } else { Value::some(args[0].clone()) })
}

fn unwrap<'a>(args: &[Value<'a>]) -> Result<'a> {
    let list: &List<'a> = Args(args).list(0)?;
    let mut present = Vec::new();
    for item in list.iter() {
        match item.checked()? {
            Value::Optional(Some(value)) => present.push((*value).clone()),
            Value::Optional(None) => {}
            _ => return Err(EvalError::NoSuchOverload),
        }
    }
    Ok(Value::list(present))
}
