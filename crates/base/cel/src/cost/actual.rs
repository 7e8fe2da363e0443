//! What a call did cost.

use super::{AUTHORIZATION, Estimate, NEW_LIST, PATTERN, TRAVERSAL, pair, scale, selector};
use crate::Value;
use crate::opaque::Opaque;
use crate::overload::{Cost, Overload};
use crate::work;

/// Lists are shared in cel-go when they are joined and copied here; from this length on copying has a price.
const FREE_COPY: u64 = 1_000;

/// The cost of a call of `overload` that gave `result`.
pub(crate) fn actual(overload: &Overload, args: &[Value<'_>], result: &Value<'_>) -> u64 {
    let size = |index: usize| args.get(index).map_or(1, Value::size);
    match overload.cost {
        Cost::One | Cost::IndexList | Cost::IndexMap | Cost::And | Cost::Conditional => 1,
        Cost::Check => AUTHORIZATION,
        Cost::Selector => selector(Estimate::fixed(size(1))).max,
        Cost::Affix | Cost::StringToBytes | Cost::BytesToString | Cost::Quote | Cost::Format => {
            scale(size(0), TRAVERSAL)
        }
        Cost::ParseSameSize | Cost::Parse | Cost::Traverse => scale(size(0), TRAVERSAL),
        Cost::ParseTwice | Cost::Replace | Cost::Split => scale(size(0), 2.0 * TRAVERSAL),
        Cost::Join => scale(result.size(), 2.0 * TRAVERSAL),
        Cost::InList => size(1),
        Cost::Compare => compare(args),
        Cost::Concat => scale(size(0) + size(1), TRAVERSAL),
        Cost::ConcatList => match size(0) + size(1) {
            copied if copied > FREE_COPY => scale(copied, TRAVERSAL),
            _ => 1,
        },
        Cost::Matches | Cost::Find => pattern(size(0), size(1)),
        Cost::Contains => scale(size(0), TRAVERSAL).saturating_mul(scale(size(1), TRAVERSAL)),
        Cost::Scan => args.first().map_or(0, traversal),
        Cost::Reverse | Cost::Slice | Cost::Range => new_list(1.0, result.size()),
        Cost::Flatten => {
            let depth = match args.get(1) {
                Some(Value::Int(depth)) => *depth as f64,
                _ => 1.0,
            };
            new_list(depth, size(0))
        }
        Cost::Distinct | Cost::Sort => args.last().map_or(1, pairs),
        Cost::ContainsIp { parse } => scale(2 * size(0), TRAVERSAL) + parsed(parse, size(1)),
        Cost::ContainsCidr { parse } => {
            scale(2 * size(0), TRAVERSAL) + scale(size(0), TRAVERSAL) + 1 + parsed(parse, size(1))
        }
        Cost::Validate => match args.first() {
            Some(Value::Opaque(Opaque::Format(format))) => pattern(size(1), format.pattern_size),
            _ => 1,
        },
        Cost::Sets(factor) => 1 + size(0).saturating_mul(size(1)).saturating_mul(factor),
    }
}

/// One more than the length of the text, so that an empty one does not make an expensive pattern free.
pub(crate) fn pattern(text: u64, pattern: u64) -> u64 {
    scale(text.saturating_add(1), TRAVERSAL).saturating_mul(scale(pattern, PATTERN))
}

/// A list made in `factor` steps for each item: with the call and the list itself.
fn new_list(factor: f64, size: u64) -> u64 {
    ((size as f64 * factor) as u64).saturating_add(1 + NEW_LIST)
}

/// Each item of a list with each other one.
fn pairs(compared: &Value<'_>) -> u64 {
    let size = compared.size();
    let is_text = match compared {
        Value::List(list) => matches!(list.get(0), Some(Value::String(_) | Value::Bytes(_))),
        _ => false,
    };
    new_list(pair(is_text), size.saturating_mul(size))
}

fn parsed(parse: bool, length: u64) -> u64 {
    if parse { scale(length, TRAVERSAL) } else { 0 }
}

fn compare(args: &[Value<'_>]) -> u64 {
    match args {
        [Value::Opaque(_), _] => 1,
        [left, right] => scale(left.size().min(right.size()), TRAVERSAL),
        _ => 1,
    }
}

/// Everything in the value once.
fn traversal(value: &Value<'_>) -> u64 {
    if !work::take(1) {
        return 0;
    }
    match value {
        Value::String(text) => (text.len() as f64 * TRAVERSAL) as u64,
        Value::Bytes(octets) => (octets.len() as f64 * TRAVERSAL) as u64,
        Value::List(list) => list.iter().map(|item| traversal(&item)).sum(),
        Value::Map(map) => {
            map.entries().iter().map(|(key, value)| traversal(&key.value()) + traversal(value)).sum()
        }
        _ => 1,
    }
}
