//! A value and where it is, so that a rule names its field by walking to it.

use super::value::at;
use hako_error::FieldCause;
use hako_kube::{LabelSelector, field};
use serde::Deserialize as _;
use serde_json::{Map, Value};
use std::fmt;
use std::rc::Rc;
use std::sync::LazyLock;

pub(super) use hako_kube::field::Faults;

/// A value and where it is; missing members are null.
#[derive(Clone, Debug)]
pub(super) struct Place<'a> {
    pub(super) value: &'a Value,
    way: Way<'a>,
}

/// Names that a way keeps in itself.
const NAMES: usize = 4;

/// The way to a place, which becomes text only where a fault is told: a pod of 3 MB has millions of places, nearly all
/// of them sound, and to write the path of each took ten times as long as to look at it.
#[derive(Clone, Debug)]
struct Way<'a> {
    above: Option<Rc<Self>>,
    first: First<'a>,
    names: [&'a str; NAMES],
    count: usize,
}

/// The step of a way before its names.
#[derive(Clone, Debug)]
enum First<'a> {
    Nothing,
    Text(Rc<str>),
    Item(usize),
    Key(&'a str),
}

impl<'a> Way<'a> {
    const fn from(above: Option<Rc<Self>>, first: First<'a>) -> Self {
        Self { above, first, names: [""; NAMES], count: 0 }
    }

    fn push(&mut self, name: &'a str) {
        if self.count == NAMES {
            *self = Self::from(Some(Rc::new(self.clone())), First::Nothing);
        }
        if let Some(free) = self.names.get_mut(self.count) {
            *free = name;
            self.count += 1;
        }
    }
}

impl fmt::Display for Way<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(above) = &self.above {
            above.fmt(f)?;
        }
        match &self.first {
            First::Nothing => {}
            First::Text(text) => f.write_str(text)?,
            First::Item(at) => write!(f, "[{at}]")?,
            First::Key(key) => write!(f, "[{key}]")?,
        }
        let begins = match &self.first {
            First::Nothing => self.above.is_none(),
            First::Text(text) => self.above.is_none() && text.is_empty(),
            First::Item(_) | First::Key(_) => false,
        };
        for (at, name) in self.names.iter().take(self.count).enumerate() {
            let dot = if begins && at == 0 { "" } else { "." };
            write!(f, "{dot}{name}")?;
        }
        Ok(())
    }
}

/// Its path, as messages show it.
impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.way.fmt(f)
    }
}

static NULL: Value = Value::Null;
static NO_ENTRIES: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);

impl<'a> Place<'a> {
    /// A whole object.
    pub(super) const fn of(value: &'a Value) -> Self {
        Self { value, way: Way::from(None, First::Nothing) }
    }

    /// A value that messages show at a path which is not that of its members.
    pub(super) fn shown(value: &'a Value, path: &str) -> Self {
        Self { value, way: Way::from(None, First::Text(path.into())) }
    }

    /// The path, as messages show it.
    pub(super) fn path(&self) -> String {
        self.way.to_string()
    }

    /// The member at a path of names.
    pub(super) fn at(&self, names: &[&'a str]) -> Self {
        self.at_shown(names, names)
    }

    /// The member at a path of names, which messages show under others.
    pub(super) fn at_shown(&self, names: &[&str], shown: &[&'a str]) -> Self {
        let mut way = self.way.clone();
        shown.iter().for_each(|name| way.push(name));
        Self { value: at(self.value, names).unwrap_or(&NULL), way }
    }

    /// Another value, which messages show here.
    pub(super) fn with<'b>(&self, value: &'b Value) -> Place<'b>
    where
        'a: 'b,
    {
        Place { value, way: self.way.clone() }
    }

    /// The items of a list.
    pub(super) fn items(&self) -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator + use<'a> {
        let items = self.value.as_array().map_or(&[][..], Vec::as_slice);
        let list = (!items.is_empty()).then(|| Rc::new(self.way.clone()));
        items
            .iter()
            .enumerate()
            .map(move |(at, value)| Self { value, way: Way::from(list.clone(), First::Item(at)) })
    }

    /// The entries of a map, with their keys.
    pub(super) fn entries(&self) -> impl ExactSizeIterator<Item = (&'a str, Self)> + use<'a> {
        let entries = self.value.as_object().unwrap_or(&NO_ENTRIES);
        let map = (!entries.is_empty()).then(|| Rc::new(self.way.clone()));
        entries.iter().map(move |(key, value)| {
            (key.as_str(), Self { value, way: Way::from(map.clone(), First::Key(key)) })
        })
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
        field::invalid(self.path(), self.value.clone(), detail)
    }

    /// The text, even a missing one, can never be accepted.
    pub(super) fn invalid_text(&self, detail: &str) -> FieldCause {
        field::invalid(self.path(), self.text(), detail)
    }

    /// The number, even a missing one, can never be accepted.
    pub(super) fn invalid_number(&self, detail: &str) -> FieldCause {
        field::invalid(self.path(), self.number(), detail)
    }

    /// It must be given.
    pub(super) fn required(&self, detail: &str) -> FieldCause {
        field::required(self.path(), detail)
    }

    /// It may not be given here.
    pub(super) fn forbidden(&self, detail: &str) -> FieldCause {
        field::forbidden(self.path(), detail)
    }

    /// It is none of those allowed.
    pub(super) fn not_supported(&self, allowed: &[&str]) -> FieldCause {
        let value = if self.is_set() { self.value.clone() } else { "".into() };
        field::not_supported(self.path(), value, allowed)
    }

    /// It was given before.
    pub(super) fn duplicate(&self) -> FieldCause {
        field::duplicate(self.path(), self.value.clone())
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
            faults.extend(selector.validate(&self.path()));
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
        let hosts: Vec<String> = spec.at(&["rules"]).items().map(|rule| rule.at(&["host"]).path()).collect();
        assert_eq!(hosts, ["spec.rules[0].host", "spec.rules[1].host"]);
        assert_eq!(spec.at(&["map"]).entries().next().unwrap().1.path(), "spec.map[k]");
        assert_eq!(field::line(&spec.at(&["none"]).required("why")), "spec.none: Required value: why");
    }

    #[test]
    fn shares_of_a_whole_end_at_all_of_it() {
        let faults = |value: Value| {
            let mut faults = Faults::new();
            Place::shown(&value, "a").int_or_percent(&mut faults);
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
