//! Who owns what of an object, apart from it.

use super::managers;
use crate::schema::encode;
use bytes::Bytes;
use serde_json::{Map, Value};

/// The `managedFields` of an object, as text.
///
/// INVARIANT: the text is JSON without white space between its parts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record(Option<Bytes>);

impl Record {
    /// As it is stored.
    pub(crate) fn of(text: Bytes) -> Self {
        Self(Some(text))
    }

    /// As a value has it.
    pub(crate) fn of_value(value: &Value) -> Self {
        let mut text = Vec::new();
        encode::value(&mut text, value);
        Self::of(text.into())
    }

    /// Takes it out of an object.
    pub fn take(object: &mut Value) -> Self {
        taken(object).map_or_else(Self::default, |value| Self::of_value(&value))
    }

    /// Puts it into an object.
    pub fn put(&self, object: &mut Value) {
        let (Some(value), Some(members)) = (self.value(), object.as_object_mut()) else { return };
        let metadata = members.entry("metadata").or_insert(Value::Null);
        if !metadata.is_object() {
            *metadata = Value::Object(Map::new());
        }
        metadata[managers::NAME] = value;
    }

    /// An object with it.
    pub(crate) fn with(&self, object: &Value) -> Value {
        let mut whole = object.clone();
        self.put(&mut whole);
        whole
    }

    /// The text.
    pub(crate) fn text(&self) -> Option<&[u8]> {
        self.0.as_deref()
    }

    /// Whether all managers write the object in a version.
    pub(crate) fn is_of(&self, api_version: &str) -> bool {
        // Within texts, quotes have something before them.
        const NAME: &str = "\"apiVersion\":\"";
        let text = self.0.as_deref().and_then(|text| str::from_utf8(text).ok()).unwrap_or("");
        let is_it = |rest: &str| rest.strip_prefix(api_version).is_some_and(|rest| rest.starts_with('"'));
        text.split(NAME).skip(1).all(is_it)
    }

    /// Whether it says the same as another one, times aside.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let entries = |record: &Self| match record.value() {
            Some(Value::Array(entries)) => entries,
            _ => Vec::new(),
        };
        let is_same = |(one, other): (&Value, &Value)| {
            ["manager", "operation", "fieldsV1"].iter().all(|name| match (one.get(name), other.get(name)) {
                (Some(one), Some(other)) => hako_kube::is_same(one, other),
                (one, other) => one.is_none() && other.is_none(),
            })
        };
        self == other || {
            let (one, other) = (entries(self), entries(other));
            one.len() == other.len() && one.iter().zip(&other).all(is_same)
        }
    }

    /// The value that the text is of.
    pub(crate) fn value(&self) -> Option<Value> {
        serde_json::from_slice(self.text()?).ok()
    }
}

/// Takes the `managedFields` out of an object, as its writer has set them.
pub(crate) fn taken(object: &mut Value) -> Option<Value> {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    metadata.and_then(|metadata: &mut Map<String, Value>| metadata.shift_remove(managers::NAME))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_is_taken_out_of_an_object_and_put_into_it() {
        let whole =
            json!({"metadata": {"name": "a", "managedFields": [{"manager": "\"", "fieldsV1": {}}]}, "a": 1});
        let mut object = whole.clone();
        let record = Record::take(&mut object);
        assert_eq!(object, json!({"metadata": {"name": "a"}, "a": 1}));
        assert_eq!(record.text(), Some(br#"[{"manager":"\"","fieldsV1":{}}]"#.as_slice()));
        assert_eq!(record.with(&object), whole);
        let none = Record::take(&mut object);
        assert_eq!((none.text(), none.with(&object)), (None, object));
    }

    #[test]
    fn versions_are_told_by_what_the_entries_say_and_not_by_what_is_in_their_texts() {
        let record = |versions: &[&str]| {
            let of = |version: &&str| {
                json!({
                    "manager": "\"apiVersion\":\"v9\"", "apiVersion": version,
                    "fieldsV1": {"f:apiVersion": {}, "k:{\"apiVersion\":\"v9\"}": {}},
                })
            };
            Record::of_value(&versions.iter().map(of).collect())
        };
        assert!(record(&[]).is_of("v1") && Record::default().is_of("v1"));
        assert!(record(&["v1", "v1"]).is_of("v1"));
        for others in [["v1", "v2"], ["v2", "v1"], ["v1", "v1a"], ["v1", "v"], ["", "v1"]] {
            assert!(!record(&others).is_of("v1"), "{others:?}");
        }
    }

    #[test]
    fn records_that_differ_in_times_alone_are_the_same() {
        let record = |time: &str, manager: &str, fields: Value| {
            Record::of_value(
                &json!([{"manager": manager, "operation": "Update", "time": time, "fieldsV1": fields}]),
            )
        };
        let one = record("1", "a", json!({"f:a": {}, "f:b": {}}));
        assert!(one.is_same(&one) && one.is_same(&record("2", "a", json!({"f:b": {}, "f:a": {}}))));
        for other in [
            record("1", "b", json!({"f:a": {}, "f:b": {}})),
            record("1", "a", json!({"f:a": {}})),
            Record::default(),
        ] {
            assert!(!one.is_same(&other), "{other:?}");
        }
    }
}
