//! Objects in which more is wrong than anybody is told.
//!
//! A list of empty items has three bytes for each, and a thousand once the items have their defaults and are owned. Of the
//! faults of such an object only the first are told: where those are found in the first items of its lists, the others need
//! neither defaults nor a look. INVARIANT: what is cut is never stored; the request that brought it is refused.

use hako_kube::field::Faults;
use serde_json::Value;

/// Items of one list, with those below them. More faults than are told fit in that many, also if each item has but one.
const MOST: usize = 16 << 10;

/// The object with only the first items of its long lists, if it has any.
pub(super) fn cut(object: &Value) -> Option<Value> {
    is_long(object).then(|| first(object, &mut 0))
}

/// Whether the faults of a cut object are those of the whole one: they fill what is told, and none is about what another list
/// lacks, which may be among what was cut off.
pub(super) fn is_enough(faults: &Faults) -> bool {
    faults.is_full() && faults.iter().all(|fault| fault.reason != "FieldValueNotFound")
}

fn is_long(value: &Value) -> bool {
    items(value, &mut 0)
}

/// Counts the items below a value; whether there are more than may be.
fn items(value: &Value, count: &mut usize) -> bool {
    match value {
        Value::Object(members) => members.values().any(|value| items(value, count)),
        Value::Array(list) => {
            *count += list.len();
            *count > MOST || list.iter().any(|value| items(value, count))
        }
        _ => false,
    }
}

/// A copy with the first items of each list; `count` is told how many there are.
fn first(value: &Value, count: &mut usize) -> Value {
    match value {
        Value::Object(members) => {
            Value::Object(members.iter().map(|(name, value)| (name.clone(), first(value, count))).collect())
        }
        Value::Array(list) => {
            let mut own = 0;
            let mut copied = Vec::new();
            for item in list {
                if own >= MOST {
                    break;
                }
                own += 1;
                copied.push(first(item, &mut own));
            }
            *count += own;
            Value::Array(copied)
        }
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hako_kube::field;
    use serde_json::json;

    #[test]
    fn what_is_long_keeps_its_first_items_with_what_is_in_them() {
        let of = |count: usize| json!({"a": {"b": vec![json!({"c": [1, 2]}); count]}, "d": [3]});
        assert_eq!(cut(&of(100)), None);
        let short = cut(&of(MOST)).unwrap();
        assert_eq!(short["a"]["b"].as_array().map(Vec::len), Some(MOST.div_ceil(3)));
        assert_eq!((&short["a"]["b"][5_000], &short["d"]), (&json!({"c": [1, 2]}), &json!([3])));
    }

    #[test]
    fn faults_are_enough_that_fill_what_is_told_and_would_be_found_anyhow() {
        let mut faults = Faults::new();
        assert!(!is_enough(&faults));
        for at in 0..MOST {
            faults.push(field::required(format!("a[{at}]"), ""));
        }
        assert!(is_enough(&faults));
        let mut lacking = Faults::new();
        lacking.push(field::not_found("b", "c"));
        lacking.extend(faults);
        assert!(!is_enough(&lacking));
    }
}
