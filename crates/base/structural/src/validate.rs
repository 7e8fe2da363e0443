//! Values against a schema: everything that is wrong, in the words of kube-openapi's validation.

use crate::formats;
use crate::schema::{Additional, ListKind, Schema, Ty};
use hako_error::FieldCause;
use hako_kube::field;
use serde_json::{Map, Number, Value};

/// Nested alternatives are tried at most so often for one object: they multiply.
const MAX_TRIES: usize = 100_000;

/// Everything that is wrong with `value`.
#[must_use]
pub fn validate(value: &Value, schema: &Schema) -> Vec<FieldCause> {
    run(value, None, schema)
}

/// The same for a change from `old`: what is as it was before is not wrong now.
#[must_use]
pub fn validate_update(value: &Value, old: &Value, schema: &Schema) -> Vec<FieldCause> {
    run(value, Some(old), schema)
}

fn run(value: &Value, old: Option<&Value>, schema: &Schema) -> Vec<FieldCause> {
    let mut validator = Validator { tries: 0 };
    let faults = validator.value(value, old, schema, "");
    if validator.tries > MAX_TRIES {
        return vec![field::forbidden(
            "",
            &format!("checking the object takes more than {MAX_TRIES} alternatives"),
        )];
    }
    faults
}

struct Validator {
    tries: usize,
}

type Faults = Vec<FieldCause>;

impl Validator {
    fn value(&mut self, value: &Value, old: Option<&Value>, schema: &Schema, path: &str) -> Faults {
        self.tries += 1;
        if old == Some(value) || self.tries > MAX_TRIES || (value.is_null() && schema.is_nullable) {
            return Vec::new();
        }
        let mut faults = Vec::new();
        faults.extend(type_fault(value, schema, path));
        self.combined(value, schema, path, &mut faults);
        match value {
            Value::String(text) => of_text(text, schema, path, &mut faults),
            Value::Number(number) => of_number(number, schema, path, &mut faults),
            Value::Array(items) => self.of_list(items, old, schema, path, &mut faults),
            Value::Object(members) => self.of_object(members, old, schema, path, &mut faults),
            Value::Null | Value::Bool(_) => {}
        }
        of_enum(value, schema, path, &mut faults);
        faults
    }

    fn of_list(
        &mut self,
        items: &[Value],
        old: Option<&Value>,
        schema: &Schema,
        path: &str,
        faults: &mut Faults,
    ) {
        let checks = &schema.checks;
        let count = items.len() as u64;
        if let Some(min) = checks.min_items.filter(|min| count < *min) {
            let detail = format!("{}should have at least {min} items", in_body(path));
            faults.push(field::invalid(path, count, &detail));
        }
        if let Some(max) = checks.max_items.filter(|max| count > *max) {
            faults.push(field::too_many(path, items.len(), max as usize));
        }
        if checks.has_unique_items && (1..items.len()).any(|at| items[..at].contains(&items[at])) {
            faults.push(field::invalid(path, "", &format!("{}shouldn't contain duplicates", in_body(path))));
        }
        if let Some(of_items) = &schema.items {
            for (at, item) in items.iter().enumerate() {
                let old = correlated(item, old, schema);
                faults.extend(self.value(item, old, of_items, &field::index(path, at)));
            }
        }
    }

    fn of_object(
        &mut self,
        members: &Map<String, Value>,
        old: Option<&Value>,
        schema: &Schema,
        path: &str,
        faults: &mut Faults,
    ) {
        let checks = &schema.checks;
        let count = members.len() as u64;
        for (name, value) in members {
            if let Some(member) = schema.member(name) {
                let old = old.and_then(|old| old.get(name));
                faults.extend(self.value(value, old, member, &field::child(path, name)));
            }
        }
        for name in checks.required.iter().filter(|name| !members.contains_key(*name)) {
            faults.push(field::required(field::child(path, name), ""));
        }
        if let Some(min) = checks.min_properties.filter(|min| count < *min) {
            let detail = format!("{}should have at least {min} properties", in_body(path));
            faults.push(field::invalid(path, count, &detail));
        }
        if let Some(max) = checks.max_properties.filter(|max| count > *max) {
            faults.push(field::too_many(path, members.len(), max as usize));
        }
    }

    /// `allOf`, `anyOf`, `oneOf` and `not`.
    fn combined(&mut self, value: &Value, schema: &Schema, path: &str, faults: &mut Faults) {
        let checks = &schema.checks;
        if !checks.any_of.is_empty() {
            let (fitting, closest) = self.alternatives(value, &checks.any_of, path);
            if fitting == 0 {
                faults.push(composed(format!("{path:?} must validate at least one schema (anyOf)")));
                faults.extend(closest);
            }
        }
        if !checks.one_of.is_empty() {
            let (fitting, closest) = self.alternatives(value, &checks.one_of, path);
            if fitting != 1 {
                let found =
                    if fitting == 0 { "none valid".into() } else { format!("{fitting} valid alternatives") };
                let text = format!("{path:?} must validate one and only one schema (oneOf). Found {found}");
                faults.push(composed(text));
                faults.extend(closest);
            }
        }
        let all: Vec<Faults> = checks.all_of.iter().map(|part| self.value(value, None, part, path)).collect();
        let failing = all.iter().filter(|faults| !faults.is_empty()).count();
        if failing > 0 {
            faults.extend(all.into_iter().flatten());
            let none = if failing == checks.all_of.len() { ". None validated" } else { "" };
            faults.push(composed(format!("{path:?} must validate all the schemas (allOf){none}")));
        }
        if let Some(not) = &checks.not
            && self.value(value, None, not, path).is_empty()
        {
            faults.push(composed(format!("{path:?} must not validate the schema (not)")));
        }
    }

    /// How many of the schemas fit, and what is wrong with the one that fits best.
    fn alternatives(&mut self, value: &Value, schemas: &[Schema], path: &str) -> (usize, Faults) {
        let (mut fitting, mut closest): (usize, Option<Faults>) = (0, None);
        for schema in schemas {
            let faults = self.value(value, None, schema, path);
            if faults.is_empty() {
                fitting += 1;
            } else if closest.as_ref().is_none_or(|known| faults.len() < known.len()) {
                closest = Some(faults);
            }
        }
        let closest = closest.filter(|_| fitting == 0).unwrap_or_default();
        (fitting, closest)
    }
}

/// The item of the old list with the key of `item`; items of other lists have none.
fn correlated<'v>(item: &Value, old: Option<&'v Value>, schema: &Schema) -> Option<&'v Value> {
    let ListKind::Map(keys) = &schema.list else { return None };
    let old = old?.as_array()?;
    old.iter().find(|old| keys.iter().all(|key| old.get(key) == item.get(key)))
}

fn in_body(path: &str) -> String {
    if path.is_empty() { String::new() } else { format!("{path} in body ") }
}

/// A fault of several schemas together; upstream's has no field.
fn composed(text: String) -> FieldCause {
    field::invalid("<nil>", "", &text)
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn type_fault(value: &Value, schema: &Schema, path: &str) -> Option<FieldCause> {
    let wanted = match (schema.is_int_or_string, schema.ty) {
        (true, _) => "integer,string",
        (false, Some(ty)) => ty.name(),
        (false, None) if value.is_null() && needs_value(schema) => "object",
        (false, None) => return None,
    };
    let fits = match value {
        Value::Null => false,
        Value::Number(number) => {
            let is_whole = !number.is_f64() || number.as_f64().is_some_and(|number| number.fract() == 0.0);
            schema.ty == Some(Ty::Number)
                || (is_whole && (schema.ty == Some(Ty::Integer) || schema.is_int_or_string))
        }
        Value::String(_) => schema.ty == Some(Ty::String) || schema.is_int_or_string,
        other => schema.ty.is_some_and(|ty| ty.name() == type_name(other)),
    };
    if fits {
        return None;
    }
    let found = type_name(value);
    let detail = format!("{}must be of type {wanted}: {found:?}", in_body(path));
    Some(field::type_invalid(path, found, &detail))
}

/// Whether a schema without a type says something about objects, so that null is not one.
fn needs_value(schema: &Schema) -> bool {
    !schema.properties.is_empty() || !matches!(schema.additional, Additional::None)
}

fn of_text(text: &str, schema: &Schema, path: &str, faults: &mut Faults) {
    let checks = &schema.checks;
    let length = text.chars().count() as u64;
    if let Some(max) = checks.max_length.filter(|max| length > *max) {
        faults.push(field::too_long(path, max as usize));
    }
    if let Some(min) = checks.min_length.filter(|min| length < *min) {
        let detail = format!("{}should be at least {min} chars long", in_body(path));
        faults.push(field::invalid(path, text, &detail));
    }
    if checks.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) {
        let detail = format!("{}should match '{}'", in_body(path), checks.pattern_text);
        faults.push(field::invalid(path, text, &detail));
    }
    if let Some(format) = checks.format.as_ref().filter(|format| !formats::is_text_of(format, text)) {
        let detail = format!("{}must be of type {format}: {text:?}", in_body(path));
        faults.push(field::invalid(path, text, &detail));
    }
}

fn of_number(number: &Number, schema: &Schema, path: &str, faults: &mut Faults) {
    let checks = &schema.checks;
    let value = number.as_f64().unwrap_or(f64::NAN);
    let mut fault = |detail: String| {
        let detail = format!("{}{detail}", in_body(path));
        faults.push(field::invalid(path, Value::Number(number.clone()), &detail));
    };
    if let Some(multiple) = checks.multiple_of.filter(|multiple| (value / multiple).fract() != 0.0) {
        fault(format!("should be a multiple of {}", shown(multiple)));
    }
    match checks.maximum {
        Some(max) if checks.is_maximum_exclusive && value >= max => {
            fault(format!("should be less than {}", shown(max)))
        }
        Some(max) if !checks.is_maximum_exclusive && value > max => {
            fault(format!("should be less than or equal to {}", shown(max)));
        }
        _ => {}
    }
    match checks.minimum {
        Some(min) if checks.is_minimum_exclusive && value <= min => {
            fault(format!("should be greater than {}", shown(min)));
        }
        Some(min) if !checks.is_minimum_exclusive && value < min => {
            fault(format!("should be greater than or equal to {}", shown(min)));
        }
        _ => {}
    }
    if let Some(format) = checks.format.as_ref().filter(|format| !formats::is_number_of(format, value)) {
        fault(format!("must be of type {format}: \"{number}\""));
    }
}

/// A limit as people write it.
fn shown(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1.0e21 {
        format!("{number:.0}")
    } else {
        format!("{number:?}")
    }
}

fn of_enum(value: &Value, schema: &Schema, path: &str, faults: &mut Faults) {
    let allowed = &schema.checks.any_value;
    if allowed.is_empty() || allowed.iter().any(|known| is_same(known, value)) {
        return;
    }
    let shown: Vec<String> =
        allowed.iter().map(|known| known.as_str().map_or_else(|| known.to_string(), str::to_owned)).collect();
    let shown: Vec<&str> = shown.iter().map(String::as_str).collect();
    faults.push(field::not_supported(path, value.clone(), &shown));
}

/// Equal values; `1` and `1.0` are.
fn is_same(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        (left, right) => left == right,
    }
}
