//! Whether two values are the same, for values that mostly are.

use serde_json::{Map, Value};

/// As `==` tells it, but members are first looked for at the same place: of the two states of one object they mostly are in
/// one order, and then nothing has to be hashed.
#[must_use]
pub fn is_same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => has_same_members(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| is_same(one, other))
        }
        _ => one == other,
    }
}

/// The same of the members of two objects.
#[must_use]
pub fn has_same_members(one: &Map<String, Value>, other: &Map<String, Value>) -> bool {
    one.len() == other.len() && {
        let mut places = other.iter();
        one.iter().all(|(name, value)| match places.next() {
            Some((there, value_there)) if there == name => is_same(value, value_there),
            _ => other.get(name).is_some_and(|other| is_same(value, other)),
        })
    }
}

/// Members of one object beside those of another, which are first looked for at the same place.
#[derive(Debug)]
pub struct Beside<'v> {
    all: Option<&'v Map<String, Value>>,
    places: Option<serde_json::map::Iter<'v>>,
}

impl<'v> Beside<'v> {
    /// The members of `all`, if there are any.
    #[must_use]
    pub fn new(all: Option<&'v Map<String, Value>>) -> Self {
        Self { all, places: all.map(Map::iter) }
    }

    /// The member of that name. Asked for one after the other in the order in which they are, nothing is hashed.
    pub fn get(&mut self, name: &str) -> Option<&'v Value> {
        match self.places.as_mut()?.next() {
            Some((there, value)) if there == name => Some(value),
            _ => self.all?.get(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_the_same_whatever_the_order_of_their_members() {
        let values = [
            json!(null),
            json!(1),
            json!(1.0),
            json!(-1),
            json!("1"),
            json!(true),
            json!([]),
            json!({}),
            json!([1, 2]),
            json!([2, 1]),
            json!([1]),
            json!({"a": 1}),
            json!({"a": 2}),
            json!({"b": 1}),
            json!({"a": null}),
            json!({"a": 1, "b": {"c": [1, {"d": 2}], "e": 3}}),
            json!({"b": {"e": 3, "c": [1, {"d": 2}]}, "a": 1}),
            json!({"a": 1, "b": {"c": [1, {"d": 3}], "e": 3}}),
            json!({"a": 1, "b": {"c": [1, {"d": 2}], "f": 3}}),
        ];
        for one in &values {
            for other in &values {
                assert_eq!(is_same(one, other), one == other, "{one} {other}");
            }
        }
    }

    #[test]
    fn members_beside_others_are_found_whatever_their_order() {
        let all = json!({"a": 1, "b": 2, "c": 3});
        for order in [["a", "b", "c", "d"], ["c", "b", "a", "d"], ["a", "d", "c", "b"]] {
            let mut beside = Beside::new(all.as_object());
            for name in order {
                assert_eq!(beside.get(name), all.get(name), "{name} of {order:?}");
            }
        }
        assert_eq!(Beside::new(None).get("a"), None);
    }
}
