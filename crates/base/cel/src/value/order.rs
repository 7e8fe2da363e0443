//! Equality and order (langdef.md, "Equality", "Ordering"): numbers compare by value whatever their types.

use super::Value;
use crate::work;
use std::cmp::Ordering;

/// Whether two values are the same; values of different kinds are not.
pub(crate) fn equal(left: &Value<'_>, right: &Value<'_>) -> bool {
    work::take(1) && same(left, right)
}

fn same(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Null, Value::Null) => true,
        (Value::Bool(left), Value::Bool(right)) => left == right,
        (Value::String(left), Value::String(right)) => **left == **right,
        (Value::Bytes(left), Value::Bytes(right)) => left == right,
        (Value::Timestamp(left), Value::Timestamp(right)) => left == right,
        (Value::Duration(left), Value::Duration(right)) => left == right,
        (Value::List(left), Value::List(right)) => left.equals(right),
        (Value::Map(left), Value::Map(right)) => left.equals(right),
        (Value::Optional(left), Value::Optional(right)) => match (left, right) {
            (Some(left), Some(right)) => equal(left, right),
            (left, right) => left.is_none() && right.is_none(),
        },
        (Value::Type(left), Value::Type(right)) => left.name() == right.name(),
        (Value::Opaque(left), Value::Opaque(right)) => left == right,
        (left, right) => numbers(left, right) == Some(Ordering::Equal),
    }
}

/// The order of two values of one kind, none if they have none (also with NaN).
pub(crate) fn compare(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (left, right) {
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        (Value::String(left), Value::String(right)) => Some((**left).cmp(&**right)),
        (Value::Bytes(left), Value::Bytes(right)) => Some(left.cmp(right)),
        (Value::Timestamp(left), Value::Timestamp(right)) => Some(left.cmp(right)),
        (Value::Duration(left), Value::Duration(right)) => Some(left.cmp(right)),
        (left, right) => numbers(left, right),
    }
}

fn numbers(left: &Value<'_>, right: &Value<'_>) -> Option<Ordering> {
    match (whole(left), whole(right)) {
        (Some(left), Some(right)) => Some(left.cmp(&right)),
        (Some(left), None) => Some(with_double(left, double(right)?)?),
        (None, Some(right)) => Some(with_double(right, double(left)?)?.reverse()),
        (None, None) => double(left)?.partial_cmp(&double(right)?),
    }
}

fn whole(value: &Value<'_>) -> Option<i128> {
    match value {
        Value::Int(value) => Some(i128::from(*value)),
        Value::Uint(value) => Some(i128::from(*value)),
        _ => None,
    }
}

fn double(value: &Value<'_>) -> Option<f64> {
    match value {
        Value::Double(value) => Some(*value),
        _ => None,
    }
}

/// A whole number beside a double: within 64 bits the number is taken as a double too, as cel-spec's tests want.
fn with_double(whole: i128, double: f64) -> Option<Ordering> {
    (whole as f64).partial_cmp(&double)
}
