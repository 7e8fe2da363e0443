//! The columns of tables, meta.k8s.io/v1 `Table`.

use jiff::Timestamp;
use serde_json::Value;

/// One column of a kind's table.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    /// The heading, which kubectl prints in capitals.
    pub name: &'static str,
    /// `string`, `integer`, `boolean` or `date`.
    pub kind: &'static str,
    /// `name` for the object's name, else empty.
    pub format: &'static str,
    /// 0 is always printed, 1 only with `-o wide`.
    pub priority: u8,
    /// For people.
    pub description: &'static str,
}

impl Column {
    /// The object's name, first in every table.
    pub(super) const NAME: Self = Self {
        name: "Name",
        kind: "string",
        format: "name",
        priority: 0,
        description: "Name must be unique within a namespace.",
    };
    /// The object's age, last of the usual columns.
    pub(super) const AGE: Self = Self::text("Age", "Time since the object was created.");

    /// A column of text.
    pub(super) const fn text(name: &'static str, description: &'static str) -> Self {
        Self { name, kind: "string", format: "", priority: 0, description }
    }

    /// A column of numbers.
    pub(super) const fn number(name: &'static str, description: &'static str) -> Self {
        Self { name, kind: "integer", format: "", priority: 0, description }
    }

    /// A column of times.
    pub(super) const fn date(name: &'static str, description: &'static str) -> Self {
        Self { name, kind: "date", format: "", priority: 0, description }
    }

    /// The same column, printed only with `-o wide`.
    pub(super) const fn wide(self) -> Self {
        Self { priority: 1, ..self }
    }
}

/// The age of an object as kubectl prints it.
pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    since(object.pointer("/metadata/creationTimestamp"), now).into()
}

/// The time since a timestamp field, `<unknown>` where there is none.
pub(super) fn since(at: Option<&Value>, now: Timestamp) -> String {
    match at.and_then(Value::as_str).and_then(hako_kube::time::parse) {
        Some(at) => hako_kube::time::human_age(now.as_second() - at.as_second()),
        None => "<unknown>".to_owned(),
    }
}

/// The object's name.
pub(super) fn name(object: &Value) -> Value {
    super::value::text(object, &["metadata", "name"]).into()
}

/// The cells of a kind that has only the usual columns.
pub(super) fn name_and_age(object: &Value, now: Timestamp) -> Vec<Value> {
    vec![name(object), age(object, now)]
}

/// A text, or `<none>`.
pub(super) fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// Labels as `a=b,c=d`, sorted, or `<none>`.
pub(super) fn labels(labels: Option<&Value>) -> Value {
    let mut pairs: Vec<String> = labels
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("")))
        .collect();
    pairs.sort();
    or_none(&pairs.join(","))
}

/// A structured label selector in its string form, or `<none>`.
pub(super) fn selector(selector: Option<&Value>) -> Value {
    let structured: Option<hako_kube::LabelSelector> =
        selector.and_then(|selector| serde::Deserialize::deserialize(selector).ok());
    match structured.and_then(|structured| structured.selector().ok()) {
        Some(selector) => or_none(&selector.to_string()),
        None => or_none(""),
    }
}

/// The names and images of a pod template's containers.
pub(super) fn containers(template: Option<&Value>) -> (Value, Value) {
    let containers =
        template.map_or(&[][..], |template| super::value::items(template, &["spec", "containers"]));
    let join = |name: &str| {
        let all: Vec<&str> = containers.iter().map(|it| super::value::text(it, &[name])).collect();
        Value::from(all.join(","))
    };
    (join("name"), join("image"))
}
