//! Reads a schema from the JSON of a definition (`apiextensions.k8s.io/v1`, `JSONSchemaProps`).
//!
//! The definition has been checked against its own type before; what is of another type here counts as absent.

use crate::patterns::Patterns;
use crate::properties::Properties;
use crate::schema::{Additional, Allowed, Checks, ListKind, Rule, Schema, Ty};
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};
use serde_json::{Map, Value};

/// Schemas nested deeper than this are refused: every walk recurses.
const MAX_DEPTH: usize = 100;

impl Schema {
    /// Reads `json`, whose path in the definition is `path`.
    ///
    /// # Errors
    /// Patterns that do not compile and schemas that are nested too deep, each with its path.
    pub fn read(json: &Value, path: &str) -> Result<Self, Vec<FieldCause>> {
        Self::read_at(json, &Path::Member(&Path::Root, path), &mut Patterns::default())
    }

    pub(crate) fn read_at(
        json: &Value,
        path: &Path<'_>,
        patterns: &mut Patterns,
    ) -> Result<Self, Vec<FieldCause>> {
        let mut reader = Reader { patterns, faults: Told::default() };
        let schema = reader.schema(json, path, 0);
        if reader.faults.is_empty() { Ok(schema) } else { Err(reader.faults.into_all()) }
    }
}

struct Reader<'a> {
    patterns: &'a mut Patterns,
    faults: Told<FieldCause>,
}

impl Reader<'_> {
    fn schema(&mut self, json: &Value, path: &Path<'_>, depth: usize) -> Schema {
        let Value::Object(members) = json else { return Schema::default() };
        if depth > MAX_DEPTH {
            let detail = format!("a schema is at most {MAX_DEPTH} levels deep");
            self.faults.push(|| field::forbidden(path.to_string(), &detail));
            return Schema::default();
        }
        let list = list_kind(members);
        let properties = self.properties(members, path, depth);
        let additional = self.additional(members, path, depth);
        let items = members
            .get("items")
            .filter(|items| items.is_object())
            .map(|items| Box::new(self.schema(items, &Path::Member(path, "items"), depth + 1)));
        let others = match &additional {
            Additional::Fits(schema) => Some(&**schema),
            _ => None,
        };
        let has_lists =
            properties.values().chain(items.as_deref()).chain(others).any(|below| below.tells_apart);
        Schema {
            ty: text(members, "type").and_then(Ty::named),
            is_nullable: is(members, "nullable"),
            default: members.get("default").cloned(),
            tells_apart: list != ListKind::Atomic || has_lists,
            checks: self.checks(members, path, depth),
            preserves_unknown: is(members, "x-kubernetes-preserve-unknown-fields"),
            is_embedded: is(members, "x-kubernetes-embedded-resource"),
            is_int_or_string: is(members, "x-kubernetes-int-or-string"),
            list,
            is_atomic_map: text(members, "x-kubernetes-map-type") == Some("atomic"),
            rules: array(members, "x-kubernetes-validations").iter().map(rule).collect(),
            properties,
            additional,
            items,
        }
    }

    fn properties(&mut self, members: &Map<String, Value>, path: &Path<'_>, depth: usize) -> Properties {
        let Some(Value::Object(properties)) = members.get("properties") else { return Default::default() };
        let below = Path::Member(path, "properties");
        properties
            .iter()
            .map(|(name, json)| (name.clone(), self.schema(json, &Path::Key(&below, name), depth + 1)))
            .collect()
    }

    fn additional(&mut self, members: &Map<String, Value>, path: &Path<'_>, depth: usize) -> Additional {
        match members.get("additionalProperties") {
            Some(Value::Bool(true)) => Additional::Any,
            Some(json @ Value::Object(_)) => {
                let below = Path::Member(path, "additionalProperties");
                Additional::Fits(Box::new(self.schema(json, &below, depth + 1)))
            }
            _ => Additional::None,
        }
    }

    fn several(
        &mut self,
        members: &Map<String, Value>,
        name: &str,
        path: &Path<'_>,
        depth: usize,
    ) -> Vec<Schema> {
        let below = Path::Member(path, name);
        let schemas = array(members, name).iter().enumerate();
        schemas.map(|(at, json)| self.schema(json, &Path::Item(&below, at), depth + 1)).collect()
    }

    fn checks(&mut self, members: &Map<String, Value>, path: &Path<'_>, depth: usize) -> Checks {
        let pattern_text = text(members, "pattern").unwrap_or_default().to_owned();
        Checks {
            format: text(members, "format").map(str::to_owned),
            maximum: members.get("maximum").and_then(Value::as_f64),
            is_maximum_exclusive: is(members, "exclusiveMaximum"),
            minimum: members.get("minimum").and_then(Value::as_f64),
            is_minimum_exclusive: is(members, "exclusiveMinimum"),
            multiple_of: members.get("multipleOf").and_then(Value::as_f64),
            max_length: count(members, "maxLength"),
            min_length: count(members, "minLength"),
            pattern: self.pattern(&pattern_text, path),
            pattern_text,
            max_items: count(members, "maxItems"),
            min_items: count(members, "minItems"),
            has_unique_items: is(members, "uniqueItems"),
            max_properties: count(members, "maxProperties"),
            min_properties: count(members, "minProperties"),
            required: texts(members, "required"),
            any_value: Allowed::of(array(members, "enum")),
            all_of: self.several(members, "allOf", path, depth),
            any_of: self.several(members, "anyOf", path, depth),
            one_of: self.several(members, "oneOf", path, depth),
            not: members
                .get("not")
                .filter(|not| not.is_object())
                .map(|not| Box::new(self.schema(not, &Path::Member(path, "not"), depth + 1))),
        }
    }

    fn pattern(&mut self, text: &str, path: &Path<'_>) -> Option<regex::Regex> {
        if text.is_empty() {
            return None;
        }
        let compiled = self.patterns.compile(text);
        if let Err(detail) = &compiled {
            let at = Path::Member(path, "pattern");
            self.faults.push(|| field::invalid(at.to_string(), text, detail));
        }
        compiled.ok()
    }
}

fn text<'v>(members: &'v Map<String, Value>, name: &str) -> Option<&'v str> {
    members.get(name).and_then(Value::as_str)
}

fn is(members: &Map<String, Value>, name: &str) -> bool {
    members.get(name).and_then(Value::as_bool).unwrap_or(false)
}

fn count(members: &Map<String, Value>, name: &str) -> Option<u64> {
    // A negative limit is one that nothing can keep; the definition's own checks speak of it.
    members.get(name).and_then(Value::as_i64).map(|count| u64::try_from(count).unwrap_or(0))
}

fn array<'v>(members: &'v Map<String, Value>, name: &str) -> &'v [Value] {
    members.get(name).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn texts(members: &Map<String, Value>, name: &str) -> Vec<String> {
    array(members, name).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn list_kind(members: &Map<String, Value>) -> ListKind {
    match text(members, "x-kubernetes-list-type") {
        Some("set") => ListKind::Set,
        Some("map") => ListKind::Map(texts(members, "x-kubernetes-list-map-keys")),
        _ => ListKind::Atomic,
    }
}

fn rule(json: &Value) -> Rule {
    let of = |name: &str| json.get(name).and_then(Value::as_str).unwrap_or_default().to_owned();
    Rule {
        rule: of("rule"),
        message: of("message"),
        message_expression: of("messageExpression"),
        reason: json.get("reason").and_then(Value::as_str).map(str::to_owned),
        field_path: of("fieldPath"),
        is_old_self_optional: json.get("optionalOldSelf").and_then(Value::as_bool),
        json: json.clone(),
    }
}
