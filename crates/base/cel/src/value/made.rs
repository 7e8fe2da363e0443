//! Values that expressions make, as JSON.

use super::{Key, List, Map, Value};
use crate::time::show_duration;
use crate::{EvalError, work};
use base64::Engine as _;
use serde_json::Value as Json;

impl Value<'_> {
    /// The value as JSON.
    ///
    /// # Errors
    /// When it, or something in it, has no form in JSON: types, values of libraries, keys that are no strings.
    pub fn to_json(&self) -> Result<Json, EvalError> {
        work::limited(|| self.made()).0
    }

    fn made(&self) -> Result<Json, EvalError> {
        let weight = match self {
            Self::List(List::Json { items, .. }) => items.iter().map(copying).sum(),
            Self::Map(Map::Json(entries, _) | Map::Object(entries, _)) => {
                entries.iter().map(|(name, value)| work::text(name.len()) + copying(value)).sum()
            }
            other => other.weight(),
        };
        if !work::take(weight) {
            return Err(EvalError::CostExceeded);
        }
        Ok(match self {
            Self::Null | Self::Optional(None) => Json::Null,
            Self::Optional(Some(inner)) => inner.made()?,
            Self::Bool(value) => (*value).into(),
            Self::Int(value) => (*value).into(),
            Self::Uint(value) => (*value).into(),
            Self::Double(value) => number(*value),
            Self::String(text) => Json::from(&**text),
            Self::Bytes(octets) => base64::engine::general_purpose::STANDARD.encode(octets).into(),
            Self::Timestamp(instant) => instant.to_string().into(),
            Self::Duration(nanoseconds) => show_duration(*nanoseconds).into(),
            Self::List(List::Json { items, .. }) => Json::Array(items.to_vec()),
            Self::List(list) => Json::Array(list.iter().map(|item| item.made()).collect::<Result<_, _>>()?),
            Self::Map(Map::Json(entries, _) | Map::Object(entries, _)) => Json::Object((*entries).clone()),
            Self::Map(map) => {
                let entry = |(key, value): (Key<'_>, Self)| match key {
                    Key::String(key) => Ok((key.to_string(), value.made()?)),
                    _ => Err(EvalError::data("a key of a map is no string".to_owned())),
                };
                Json::Object(map.entries().into_iter().map(entry).collect::<Result<_, _>>()?)
            }
            Self::Type(_) | Self::Opaque(_) => {
                return Err(EvalError::data(format!("a {} has no form in JSON", self.ty())));
            }
            Self::Fault(fault) => return Err((**fault).clone()),
        })
    }

    /// What is under a name, of a map or an object.
    #[must_use]
    pub fn member(&self, name: &str) -> Option<Self> {
        match self {
            Self::Map(map) => map.property(name),
            _ => None,
        }
    }

    /// Objects that are not named after the fields in which they stand: `Object{spec: Object.spec{…}}` is.
    #[must_use]
    pub fn misnamed_objects(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if let Self::Map(Map::Made(name, _)) = self {
            work::limited(|| misnamed(self, name, &mut faults));
        }
        faults
    }
}

/// The work of copying JSON, or of comparing it.
pub(super) fn copying(json: &Json) -> u64 {
    match json {
        Json::String(text) => work::text(text.len()),
        Json::Array(items) => work::ITEM + items.iter().map(copying).sum::<u64>(),
        Json::Object(members) => {
            let member = |(name, value): (&String, &Json)| work::text(name.len()) + copying(value);
            work::ITEM + members.iter().map(member).sum::<u64>()
        }
        _ => work::ITEM,
    }
}

fn misnamed(value: &Value<'_>, path: &str, faults: &mut Vec<String>) {
    if !work::take(1) {
        if faults.is_empty() {
            faults.push("what the expression makes is too large to be looked at".to_owned());
        }
        return;
    }
    match value {
        Value::Map(Map::Made(name, fields)) => {
            if **name != *path {
                faults.push(format!(
                    "unexpected type name {name:?}, expected {path:?}, which matches field name path from root Object type"
                ));
            }
            for (field, value) in fields.iter() {
                if let Key::String(field) = field {
                    misnamed(value, &format!("{path}.{}", &**field), faults);
                }
            }
        }
        Value::Map(Map::Shared(entries)) => entries.values().for_each(|value| misnamed(value, path, faults)),
        Value::List(List::Shared(items) | List::Added { items, .. }) => {
            items.iter().for_each(|value| misnamed(value, path, faults))
        }
        _ => {}
    }
}

/// A number as Go writes it: what is whole has no fraction.
fn number(value: f64) -> Json {
    let whole = Some(value).filter(|value| value.fract() == 0.0 && value.abs() < 1e18);
    match whole.and_then(|whole| format!("{whole:.0}").parse::<i64>().ok()) {
        Some(whole) => whole.into(),
        None => serde_json::Number::from_f64(value).map_or(Json::Null, Json::Number),
    }
}

#[cfg(test)]
mod tests {
    use crate::{Env, Value};
    use serde_json::{Value as Json, json};

    fn evaluated(source: &str) -> (Json, Vec<String>) {
        let program = Env::new().for_mutations().compile(source).unwrap();
        let none: [Value<'_>; 0] = [];
        let value = program.evaluate(&none[..], 1_000_000).result.unwrap();
        (value.to_json().unwrap(), value.misnamed_objects())
    }

    #[test]
    fn what_an_expression_makes_is_json() {
        let source = "Object{spec: Object.spec{list: [2.0, 2.5], map: {'a': b'x'}, when: duration('90s'), none: null}}";
        let wanted = json!({"spec": {"list": [2, 2.5], "map": {"a": "eA=="}, "when": "90s", "none": null}});
        assert_eq!(evaluated(source), (wanted, Vec::new()));
        let source = "[JSONPatch{op: 'remove', path: '/a/' + jsonpatch.escapeKey('b/c~d')}]";
        assert_eq!(evaluated(source).0, json!([{"op": "remove", "path": "/a/b~1c~0d"}]));
    }

    #[test]
    fn objects_are_called_after_the_fields_they_stand_in() {
        let (_, faults) =
            evaluated("Object{spec: Object.status{}, list: [Object.list{}], map: {'a': Object.map{}}}");
        assert_eq!(faults.len(), 1, "{faults:?}");
        assert!(faults[0].contains("\"Object.status\", expected \"Object.spec\""), "{faults:?}");
    }

    #[test]
    fn mutations_are_not_written_where_nothing_is_changed() {
        for source in ["Object{}", "JSONPatch{}", "jsonpatch.escapeKey('x')"] {
            assert!(Env::new().compile(source).is_err(), "{source}");
        }
    }
}
