//! Maps and objects: of JSON, or made by an expression.

use super::made::copying;
use super::{Text, Value, equal, from_json};
use crate::declared::{Field, ObjectType};
use crate::{Declared, work};
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;

type JsonMap = serde_json::Map<String, serde_json::Value>;

/// A map or an object.
#[derive(Clone, Debug)]
pub enum Map<'a> {
    /// Entries of a document.
    Json(&'a JsonMap, &'a Declared),
    /// An object of a document.
    Object(&'a JsonMap, &'a ObjectType),
    /// Entries of our own.
    Shared(Arc<BTreeMap<Key<'a>, Value<'a>>>),
    /// An object that an expression made, with the name of its type.
    Made(Arc<str>, Arc<BTreeMap<Key<'a>, Value<'a>>>),
}

/// A key of a map.
#[derive(Clone, Debug)]
pub enum Key<'a> {
    Bool(bool),
    Int(i64),
    Uint(u64),
    String(Text<'a>),
}

impl<'a> Key<'a> {
    /// The key that `value` is, if it can be one. A double is one when it is whole.
    pub(crate) fn of(value: &Value<'a>) -> Option<Self> {
        match value {
            Value::Bool(value) => Some(Self::Bool(*value)),
            Value::Int(value) => Some(Self::Int(*value)),
            Value::Uint(value) => Some(Self::Uint(*value)),
            Value::String(text) => Some(Self::String(text.clone())),
            Value::Double(value) if value.fract() == 0.0 && value.abs() < 9.0e15 => {
                Some(Self::Int(*value as i64))
            }
            _ => None,
        }
    }

    pub(crate) fn value(&self) -> Value<'a> {
        match self {
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(value) => Value::Int(*value),
            Self::Uint(value) => Value::Uint(*value),
            Self::String(text) => Value::String(text.clone()),
        }
    }
}

impl Ord for Key<'_> {
    /// Whole numbers are one key whatever their type.
    fn cmp(&self, other: &Self) -> Ordering {
        fn number(key: &Key<'_>) -> Option<i128> {
            match key {
                Key::Int(value) => Some(i128::from(*value)),
                Key::Uint(value) => Some(i128::from(*value)),
                _ => None,
            }
        }
        match (self, other) {
            (Self::Bool(left), Self::Bool(right)) => left.cmp(right),
            (Self::String(left), Self::String(right)) => left.as_bytes().cmp(right.as_bytes()),
            (Self::Bool(_), _) | (_, Self::String(_)) => Ordering::Less,
            (_, Self::Bool(_)) | (Self::String(_), _) => Ordering::Greater,
            (left, right) => number(left).cmp(&number(right)),
        }
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Key<'_> {}

impl<'a> Map<'a> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Json(entries, _) => entries.len(),
            // The fields of an object are not its entries, it has no size but for costs.
            Self::Object(..) | Self::Made(..) => 1,
            Self::Shared(entries) => entries.len(),
        }
    }

    /// The value under `key`: of an object, the field with that identifier.
    pub(crate) fn get(&self, key: &Key<'a>) -> Option<Value<'a>> {
        match (self, key) {
            (Self::Json(entries, value), Key::String(key)) => {
                entries.get(&**key).map(|json| from_json(json, value))
            }
            (Self::Object(fields, object), Key::String(key)) => {
                let field = object.field(key)?;
                present(fields, &field.json_name).map(|json| from_json(json, &field.declared))
            }
            (Self::Shared(entries) | Self::Made(_, entries), key) => entries.get(key).cloned(),
            _ => None,
        }
    }

    /// Whether there is something under the name `name`.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Json(entries, _) => entries.contains_key(name),
            Self::Object(fields, object) => {
                object.field(name).is_some_and(|field| present(fields, &field.json_name).is_some())
            }
            Self::Shared(entries) | Self::Made(_, entries) => {
                entries.contains_key(&Key::String(Text::Shared(name.into())))
            }
        }
    }

    /// The value under a property's name in JSON.
    pub(crate) fn property(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Json(entries, value) => entries.get(name).map(|json| from_json(json, value)),
            Self::Object(fields, object) => {
                let field = visible(object, name)?;
                present(fields, name).map(|json| from_json(json, &field.declared))
            }
            Self::Shared(entries) | Self::Made(_, entries) => {
                entries.get(&Key::String(Text::Shared(name.into()))).cloned()
            }
        }
    }

    /// Keys and values. Of an object, its fields that are visible to expressions.
    pub(crate) fn entries(&self) -> Vec<(Key<'a>, Value<'a>)> {
        match self {
            Self::Json(entries, value) => {
                entries.iter().map(|(key, json)| (borrowed(key), from_json(json, value))).collect()
            }
            Self::Object(fields, object) => object
                .fields
                .iter()
                .filter_map(|(name, field)| {
                    let json = present(fields, &field.json_name)?;
                    Some((borrowed(name), from_json(json, &field.declared)))
                })
                .collect(),
            Self::Shared(entries) | Self::Made(_, entries) => {
                entries.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
            }
        }
    }

    pub(crate) fn equals(&self, other: &Self) -> bool {
        if let (Self::Object(left, object), Self::Object(right, _)) = (self, other) {
            return same_members(left, right, object);
        }
        let (left, right) = (self.entries(), other.entries());
        left.len() == right.len()
            && left.iter().all(|(key, value)| other.get(key).is_some_and(|found| equal(value, &found)))
    }
}

/// A member that is there: a field of an object that is null is one that is absent, unlike an item of a list or an entry
/// of a map.
fn present<'a>(fields: &'a JsonMap, name: &str) -> Option<&'a serde_json::Value> {
    fields.get(name).filter(|json| !json.is_null())
}

/// The field that a member of an object is to expressions.
fn visible<'a>(object: &'a ObjectType, name: &str) -> Option<&'a Field> {
    object.fields.get(&crate::escape::escape(name)?)
}

/// Whether two objects are the same in all that they have: what expressions cannot name counts as it is written, or
/// `self == oldSelf` would let it change.
fn same_members(left: &JsonMap, right: &JsonMap, object: &ObjectType) -> bool {
    left.len() == right.len()
        && left.iter().all(|(name, value)| {
            let Some(other) = right.get(name) else { return false };
            match visible(object, name) {
                Some(_) if value.is_null() || other.is_null() => value.is_null() == other.is_null(),
                Some(field) => equal(&from_json(value, &field.declared), &from_json(other, &field.declared)),
                None => work::take(copying(value)) && value == other,
            }
        })
}

fn borrowed(text: &str) -> Key<'_> {
    Key::String(Text::Borrowed(text))
}
