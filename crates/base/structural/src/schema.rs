//! A schema as it is used: every part that decides anything, nothing that is for people.

use crate::lists;
use crate::properties::Properties;
use regex::Regex;
use serde_json::Value;
use std::collections::HashSet;

/// A type of JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ty {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Ty {
    /// The word in schemas and in messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Object, Self::Array, Self::String, Self::Integer, Self::Number, Self::Boolean]
            .into_iter()
            .find(|ty| ty.name() == name)
    }
}

/// How items of a list are told apart (`x-kubernetes-list-type`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListKind {
    #[default]
    Atomic,
    Set,
    /// By these members.
    Map(Vec<String>),
}

/// What other members than `properties` an object may have.
#[derive(Clone, Debug, Default)]
pub enum Additional {
    /// None: they are dropped.
    #[default]
    None,
    /// Any.
    Any,
    /// Those that fit.
    Fits(Box<Schema>),
}

/// A schema or a part of one.
#[derive(Clone, Debug, Default)]
pub struct Schema {
    pub ty: Option<Ty>,
    pub is_nullable: bool,
    pub default: Option<Value>,
    pub properties: Properties,
    pub additional: Additional,
    pub items: Option<Box<Schema>>,
    pub checks: Checks,
    /// `x-kubernetes-preserve-unknown-fields`
    pub preserves_unknown: bool,
    /// `x-kubernetes-embedded-resource`
    pub is_embedded: bool,
    /// `x-kubernetes-int-or-string`
    pub is_int_or_string: bool,
    pub list: ListKind,
    /// Whether it is a list whose items are told apart, or has one below.
    pub tells_apart: bool,
    /// `x-kubernetes-map-type: atomic`
    pub is_atomic_map: bool,
    /// `x-kubernetes-validations`
    pub rules: Vec<Rule>,
}

/// What a value must satisfy besides its type (JSON Schema validation, draft 4).
#[derive(Clone, Debug, Default)]
pub struct Checks {
    pub format: Option<String>,
    pub maximum: Option<f64>,
    pub is_maximum_exclusive: bool,
    pub minimum: Option<f64>,
    pub is_minimum_exclusive: bool,
    pub multiple_of: Option<f64>,
    pub max_length: Option<u64>,
    pub min_length: Option<u64>,
    pub pattern: Option<Regex>,
    /// The pattern as written, for messages.
    pub pattern_text: String,
    pub max_items: Option<u64>,
    pub min_items: Option<u64>,
    pub has_unique_items: bool,
    pub max_properties: Option<u64>,
    pub min_properties: Option<u64>,
    pub required: Vec<String>,
    pub any_value: Allowed,
    pub all_of: Vec<Schema>,
    pub any_of: Vec<Schema>,
    pub one_of: Vec<Schema>,
    pub not: Option<Box<Schema>>,
}

/// The values of an `enum`; of none, all are allowed.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// As messages show them.
    shown: Vec<String>,
    texts: HashSet<String>,
    /// The numbers among them by their bits: `1` and `1.0` are one.
    numbers: HashSet<u64>,
    /// Of the others, as they are spelled.
    others: HashSet<String>,
}

impl Allowed {
    pub(crate) fn of(values: &[Value]) -> Self {
        let mut allowed = Self::default();
        for value in values {
            match value {
                Value::String(text) => drop(allowed.texts.insert(text.clone())),
                Value::Number(number) => drop(allowed.numbers.insert(bits(number))),
                other => drop(allowed.others.insert(lists::spelled(other))),
            }
            allowed.shown.push(value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        }
        allowed
    }

    /// Whether a value is allowed.
    pub(crate) fn has(&self, value: &Value) -> bool {
        self.is_empty()
            || match value {
                Value::String(text) => self.texts.contains(text),
                Value::Number(number) => self.numbers.contains(&bits(number)),
                other => !self.others.is_empty() && self.others.contains(&lists::spelled(other)),
            }
    }

    /// Whether there is no `enum`.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.shown.is_empty()
    }

    /// The values as messages show them.
    pub fn shown(&self) -> impl Iterator<Item = &str> {
        self.shown.iter().map(String::as_str)
    }

    /// The longest text among the values, in bytes.
    pub(crate) fn longest(&self) -> usize {
        self.texts.iter().map(String::len).max().unwrap_or(0)
    }
}

/// What stands for a number: both zeros are one.
fn bits(number: &serde_json::Number) -> u64 {
    (number.as_f64().unwrap_or(f64::NAN) + 0.0).to_bits()
}

/// A rule in CEL.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    pub rule: String,
    pub message: String,
    pub message_expression: String,
    pub reason: Option<String>,
    pub field_path: String,
    pub is_old_self_optional: Option<bool>,
    /// As written, for messages.
    pub json: Value,
}

impl Schema {
    /// The schema of a value under the member `name` of an object.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<&Self> {
        if let Some(property) = self.properties.get(name) {
            return Some(property);
        }
        match &self.additional {
            Additional::Fits(schema) => Some(schema),
            _ => None,
        }
    }
}
