//! Quantities (Kubernetes' quantity library).

use super::{Args, Result};
use crate::opaque::Opaque;
use crate::overload::{Cost, Row};
use crate::{EvalError, Value};
use hako_names::Quantity;
use std::cmp::Ordering;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("string_to_quantity", "quantity", "string", "kubernetes.Quantity", Cost::Parse, |args| Ok(made(parse(Args(args).text(0)?)?))),
    Row("is_quantity_string", "isQuantity", "string", "bool", Cost::Parse, |args| Ok(Value::Bool(parse(Args(args).text(0)?).is_ok()))),
    Row("quantity_sign", ".sign", "kubernetes.Quantity", "int", Cost::One, |args| Ok(Value::Int(quantity(args, 0)?.nanos().signum() as i64))),
    Row("quantity_is_greater_than", ".isGreaterThan", "kubernetes.Quantity kubernetes.Quantity", "bool", Cost::One, |args| Ok(Value::Bool(order(args)? == Ordering::Greater))),
    Row("quantity_is_less_than", ".isLessThan", "kubernetes.Quantity kubernetes.Quantity", "bool", Cost::One, |args| Ok(Value::Bool(order(args)? == Ordering::Less))),
    Row("quantity_compare_to", ".compareTo", "kubernetes.Quantity kubernetes.Quantity", "int", Cost::One, |args| Ok(Value::Int(order(args)? as i64))),
    Row("quantity_get_float", ".asApproximateFloat", "kubernetes.Quantity", "double", Cost::One, |args| Ok(Value::Double(quantity(args, 0)?.approximate()))),
    Row("quantity_get_int", ".asInteger", "kubernetes.Quantity", "int", Cost::One, as_integer),
    Row("quantity_is_integer", ".isInteger", "kubernetes.Quantity", "bool", Cost::One, |args| Ok(Value::Bool(as_integer(args).is_ok()))),
    Row("quantity_add", ".add", "kubernetes.Quantity kubernetes.Quantity", "kubernetes.Quantity", Cost::One, |args| Ok(made(quantity(args, 0)? + quantity(args, 1)?))),
    Row("quantity_add_int", ".add", "kubernetes.Quantity int", "kubernetes.Quantity", Cost::One, |args| Ok(made(quantity(args, 0)? + whole(args)?))),
    Row("quantity_sub", ".sub", "kubernetes.Quantity kubernetes.Quantity", "kubernetes.Quantity", Cost::One, |args| Ok(made(quantity(args, 0)? - quantity(args, 1)?))),
    Row("quantity_sub_int", ".sub", "kubernetes.Quantity int", "kubernetes.Quantity", Cost::One, |args| Ok(made(quantity(args, 0)? - whole(args)?))),
];

const NANO: i128 = 1_000_000_000;

fn made<'a>(quantity: Quantity) -> Value<'a> {
    Value::Opaque(Opaque::Quantity(quantity))
}

fn parse(text: &str) -> std::result::Result<Quantity, EvalError> {
    text.parse().map_err(|error: hako_names::ParseQuantityError| EvalError::data(error.to_string()))
}

fn quantity(args: &[Value<'_>], index: usize) -> std::result::Result<Quantity, EvalError> {
    match args.get(index) {
        Some(Value::Opaque(Opaque::Quantity(quantity))) => Ok(*quantity),
        _ => Err(EvalError::NoSuchOverload),
    }
}

fn whole(args: &[Value<'_>]) -> std::result::Result<Quantity, EvalError> {
    Args(args).int(1).map(Quantity::from_units)
}

fn order(args: &[Value<'_>]) -> std::result::Result<Ordering, EvalError> {
    Ok(quantity(args, 0)?.cmp(&quantity(args, 1)?))
}

fn as_integer<'a>(args: &[Value<'a>]) -> Result<'a> {
    let nanos = quantity(args, 0)?.nanos();
    match i64::try_from(nanos / NANO) {
        Ok(units) if nanos % NANO == 0 => Ok(Value::Int(units)),
        _ => Err(EvalError::data("cannot convert value to integer".into())),
    }
}
