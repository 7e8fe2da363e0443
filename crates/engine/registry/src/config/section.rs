//! Reading a configuration so that all its faults are found, not the first.

use super::pattern::Pattern;
use hako_error::FieldCause;
use serde_json::{Map, Value};
use std::cell::RefCell;
use std::rc::Rc;

/// The faults found so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Faults(Rc<RefCell<Vec<FieldCause>>>);

impl Faults {
    pub(super) fn add(&self, field: &str, reason: &str, message: impl Into<String>) {
        let fault = FieldCause { reason: reason.into(), message: message.into(), field: field.into() };
        self.0.borrow_mut().push(fault);
    }

    pub(super) fn take(&self) -> Vec<FieldCause> {
        self.0.take()
    }
}

/// A mapping of the file; every field is taken once, what is left at the end is unknown.
#[derive(Debug)]
pub(super) struct Section {
    path: String,
    fields: Map<String, Value>,
    faults: Faults,
}

impl Section {
    pub(super) fn of(path: String, value: Value, faults: &Faults) -> Self {
        let fields = match value {
            Value::Object(fields) => fields,
            Value::Null => Map::new(),
            _ => {
                faults.add(&path, "FieldValueTypeInvalid", "expected a mapping");
                Map::new()
            }
        };
        Self { path, fields, faults: faults.clone() }
    }

    /// The path of a field, as faults name it.
    pub(super) fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) }
    }

    pub(super) fn fault(&self, name: &str, message: impl Into<String>) {
        self.faults.add(&self.path_of(name), "FieldValueInvalid", message);
    }

    fn expected(&self, name: &str, what: &str) {
        self.faults.add(&self.path_of(name), "FieldValueTypeInvalid", format!("expected {what}"));
    }

    fn required(&self, name: &str) {
        self.faults.add(&self.path_of(name), "FieldValueRequired", "is required");
    }

    fn take(&mut self, name: &str) -> Option<Value> {
        self.fields.remove(name).filter(|value| !value.is_null())
    }

    /// A text.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.take(name)? {
            Value::String(text) => Some(text),
            _ => {
                self.expected(name, "a text");
                None
            }
        }
    }

    /// A text that must be there.
    pub(super) fn required_text(&mut self, name: &str) -> String {
        if !self.fields.contains_key(name) {
            self.required(name);
        }
        self.text(name).unwrap_or_default()
    }

    /// A text that another type can be read from.
    pub(super) fn parsed<T: std::str::FromStr>(&mut self, name: &str, what: &str) -> Option<T> {
        let text = self.text(name)?;
        let parsed = text.parse().ok();
        if parsed.is_none() {
            self.fault(name, format!("{text:?} is not {what}"));
        }
        parsed
    }

    /// A whole number that is not negative.
    pub(super) fn number(&mut self, name: &str) -> Option<u64> {
        let value = self.take(name)?;
        let number = value.as_u64();
        if number.is_none() {
            self.expected(name, "a whole number, not negative");
        }
        number
    }

    /// A number of bytes: a number, or a text such as `10Gi`.
    pub(super) fn bytes(&mut self, name: &str) -> Option<u64> {
        let value = self.take(name)?;
        let bytes = match &value {
            Value::Number(number) => number.as_u64(),
            Value::String(text) => text
                .parse::<hako_names::Quantity>()
                .ok()
                .and_then(|quantity| u64::try_from(quantity.units()).ok()),
            _ => None,
        };
        if bytes.is_none() {
            self.expected(name, "bytes, such as 500000 or 10Gi");
        }
        bytes
    }

    /// True or false.
    pub(super) fn flag(&mut self, name: &str) -> bool {
        match self.take(name) {
            None => false,
            Some(Value::Bool(flag)) => flag,
            Some(_) => {
                self.expected(name, "true or false");
                false
            }
        }
    }

    /// A list of texts; one text alone is a list of one.
    pub(super) fn texts(&mut self, name: &str) -> Option<Vec<String>> {
        let values = match self.take(name)? {
            Value::Array(values) => values,
            one => vec![one],
        };
        let texts: Option<Vec<String>> =
            values.iter().map(|value| value.as_str().map(str::to_owned)).collect();
        if texts.is_none() {
            self.expected(name, "a list of texts");
        }
        texts
    }

    /// A list of patterns; all, if there is none.
    pub(super) fn patterns(&mut self, name: &str) -> Vec<Pattern> {
        let texts = self.texts(name).unwrap_or_else(|| vec!["**".to_owned()]);
        texts.into_iter().map(Pattern::new).collect()
    }

    /// A mapping below, if it is there.
    pub(super) fn section(&mut self, name: &str) -> Option<Section> {
        let value = self.take(name)?;
        Some(Section::of(self.path_of(name), value, &self.faults))
    }

    /// A list of mappings.
    pub(super) fn sections(&mut self, name: &str) -> Vec<Section> {
        let path = self.path_of(name);
        match self.take(name) {
            None => Vec::new(),
            Some(Value::Array(values)) => values
                .into_iter()
                .enumerate()
                .map(|(index, value)| Section::of(format!("{path}[{index}]"), value, &self.faults))
                .collect(),
            Some(_) => {
                self.expected(name, "a list");
                Vec::new()
            }
        }
    }

    /// Says what nobody took.
    pub(super) fn end(self) {
        for name in self.fields.keys() {
            self.faults.add(&self.path_of(name), "FieldValueNotSupported", "is not a field of this section");
        }
    }
}
