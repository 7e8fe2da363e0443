//! A value and where it is, so that a rule names its field by walking to it.

use super::value::at;
use hako_error::FieldCause;
use hako_kube::{LabelSelector, field};
use serde::Deserialize as _;
use serde_json::Value;

/// The faults found so far.
pub(super) type Faults = Vec<FieldCause>;

/// Faults after which the items of a list are not looked at any more. A body of 3 MB has a million containers, each
/// with several faults, which would come to gigabytes; an answer tells fewer.
const MANY: usize = 20_000;

/// Whether so much is wrong already that more need not be found.
pub(super) fn are_many(faults: &Faults) -> bool {
    faults.len() >= MANY
}

/// A value and its path; missing members are null.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) value: &'a Value,
    pub(super) path: String,
}

static NULL: Value = Value::Null;

impl<'a> Place<'a> {
    /// A whole object.
    pub(super) const fn of(value: &'a Value) -> Self {
        Self { value, path: String::new() }
    }

    /// The member at a path of names.
    pub(super) fn at(&self, names: &[&str]) -> Self {
        let path = names.iter().fold(self.path.clone(), |path, name| field::child(&path, name));
        Self { value: at(self.value, names).unwrap_or(&NULL), path }
    }

    /// The items of a list.
    pub(super) fn items(&self) -> Vec<Self> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        let place = |(at, value)| Self { value, path: field::index(&self.path, at) };
        items.iter().enumerate().map(place).collect()
    }

    /// The entries of a map, with their keys.
    pub(super) fn entries(&self) -> Vec<(&'a str, Self)> {
        let entries = self.value.as_object().into_iter().flatten();
        let place = |(key, value): (&'a String, &'a Value)| {
            (key.as_str(), Self { value, path: field::key(&self.path, key) })
        };
        entries.map(place).collect()
    }

    /// The text there, empty where missing.
    pub(super) fn text(&self) -> &'a str {
        self.value.as_str().unwrap_or("")
    }

    /// The texts of a list.
    pub(super) fn texts(&self) -> Vec<&'a str> {
        self.value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
    }

    /// The number there, zero where missing.
    pub(super) fn number(&self) -> i64 {
        self.value.as_i64().unwrap_or(0)
    }

    /// Whether it is true.
    pub(super) const fn is_true(&self) -> bool {
        matches!(self.value, Value::Bool(true))
    }

    /// Whether anything is there.
    pub(super) fn is_set(&self) -> bool {
        !self.value.is_null()
    }

    /// Whether there is nothing there, or nothing in it.
    pub(super) fn is_empty(&self) -> bool {
        match self.value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            Value::Object(map) => map.is_empty(),
            Value::Bool(_) | Value::Number(_) => false,
        }
    }

    /// The value can never be accepted.
    pub(super) fn invalid(&self, detail: &str) -> FieldCause {
        field::invalid(self.path.as_str(), self.value.clone(), detail)
    }

    /// The text, even a missing one, can never be accepted.
    pub(super) fn invalid_text(&self, detail: &str) -> FieldCause {
        field::invalid(self.path.as_str(), self.text(), detail)
    }

    /// The number, even a missing one, can never be accepted.
    pub(super) fn invalid_number(&self, detail: &str) -> FieldCause {
        field::invalid(self.path.as_str(), self.number(), detail)
    }

    /// It must be given.
    pub(super) fn required(&self, detail: &str) -> FieldCause {
        field::required(self.path.as_str(), detail)
    }

    /// It may not be given here.
    pub(super) fn forbidden(&self, detail: &str) -> FieldCause {
        field::forbidden(self.path.as_str(), detail)
    }

    /// It is none of those allowed.
    pub(super) fn not_supported(&self, allowed: &[&str]) -> FieldCause {
        let value = if self.is_set() { self.value.clone() } else { "".into() };
        field::not_supported(self.path.as_str(), value, allowed)
    }

    /// It was given before.
    pub(super) fn duplicate(&self) -> FieldCause {
        field::duplicate(self.path.as_str(), self.value.clone())
    }

    /// Every fault that `check` finds in the text.
    pub(super) fn check(&self, check: impl Fn(&str) -> Vec<String>, faults: &mut Faults) {
        faults.extend(check(self.text()).iter().map(|fault| self.invalid_text(fault)));
    }

    /// Like [`Self::check`], of a text that has to be there.
    pub(super) fn check_required(&self, check: impl Fn(&str) -> Vec<String>, faults: &mut Faults) {
        if self.text().is_empty() {
            faults.push(self.required(""));
        } else {
            self.check(check, faults);
        }
    }

    /// Like [`Self::check`], of a text that may be missing.
    pub(super) fn check_given(&self, check: impl Fn(&str) -> Vec<String>, faults: &mut Faults) {
        if !self.text().is_empty() {
            self.check(check, faults);
        }
    }

    /// A text that has to be one of those allowed.
    pub(super) fn one_of(&self, allowed: &[&str], faults: &mut Faults) {
        if !allowed.contains(&self.text()) {
            faults.push(self.not_supported(allowed));
        }
    }

    /// Like [`Self::one_of`], of a text that may be missing.
    pub(super) fn one_of_given(&self, allowed: &[&str], faults: &mut Faults) {
        if self.is_set() {
            self.one_of(allowed, faults);
        }
    }

    /// A number that may not be below zero.
    pub(super) fn not_negative(&self, faults: &mut Faults) {
        if self.number() < 0 {
            faults.push(self.invalid("must be greater than or equal to 0"));
        }
    }

    /// A number or a share of a whole, not below zero.
    pub(super) fn int_or_percent(&self, faults: &mut Faults) {
        const DETAIL: &str = "a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  \
             or '93%', regex used for validation is '[0-9]+%')";
        let Some(text) = self.value.as_str() else { return self.not_negative(faults) };
        let is_digits = |digits: &str| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
        match text.strip_suffix('%') {
            Some(digits) if is_digits(digits) => {
                if digits.parse().map_or(true, |percent: u64| percent > 100) {
                    faults.push(self.invalid("must not be greater than 100%"));
                }
            }
            _ => faults.push(self.invalid(DETAIL)),
        }
    }

    /// A structured label selector, if there is one.
    pub(super) fn selector(&self, faults: &mut Faults) {
        if let Ok(selector) = LabelSelector::deserialize(self.value) {
            faults.extend(selector.validate(&self.path));
        }
    }

    /// A fault where it differs from what it was.
    pub(super) fn immutable(&self, old: &Self, faults: &mut Faults) {
        if self.value != old.value {
            faults.push(self.invalid("field is immutable"));
        }
    }
}

/// What is wrong with a name that becomes a part of a path.
pub(super) fn path_segment(name: &str) -> Vec<String> {
    if matches!(name, "." | "..") {
        return vec![format!("may not be '{name}'")];
    }
    let of = |part: &&str| name.contains(*part);
    ["/", "%"].iter().filter(|part| of(part)).map(|part| format!("may not contain '{part}'")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_place_names_the_field_it_is_at() {
        let object = json!({"spec": {"rules": [{"host": "a"}, {"host": "b"}], "map": {"k": 1}}});
        let spec = Place::of(&object).at(&["spec"]);
        let hosts: Vec<String> =
            spec.at(&["rules"]).items().iter().map(|rule| rule.at(&["host"]).path).collect();
        assert_eq!(hosts, ["spec.rules[0].host", "spec.rules[1].host"]);
        assert_eq!(spec.at(&["map"]).entries()[0].1.path, "spec.map[k]");
        assert_eq!(field::line(&spec.at(&["none"]).required("why")), "spec.none: Required value: why");
    }

    #[test]
    fn shares_of_a_whole_end_at_all_of_it() {
        let faults = |value: Value| {
            let mut faults = Faults::new();
            Place { value: &value, path: "a".to_owned() }.int_or_percent(&mut faults);
            faults.iter().map(field::line).collect::<Vec<String>>()
        };
        assert_eq!(faults(json!(3)), [""; 0]);
        assert_eq!(faults(json!("100%")), [""; 0]);
        assert_eq!(faults(json!("101%")), ["a: Invalid value: \"101%\": must not be greater than 100%"]);
        assert_eq!(faults(json!(-1)), ["a: Invalid value: -1: must be greater than or equal to 0"]);
        assert!(faults(json!("x"))[0].starts_with("a: Invalid value: \"x\": a valid percent string must be"));
    }

    #[test]
    fn names_that_would_leave_their_path_are_refused() {
        assert_eq!(path_segment(".."), ["may not be '..'"]);
        assert_eq!(path_segment("a/b%"), ["may not contain '/'", "may not contain '%'"]);
        assert!(path_segment("a:b").is_empty());
    }
}
