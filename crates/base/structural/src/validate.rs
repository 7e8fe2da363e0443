//! Values against a schema: everything that is wrong, in the words of kube-openapi's validation.

use crate::formats;
use crate::lists::Counterparts;
use crate::schema::{Additional, Schema, Ty};
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};
use hako_kube::{Beside, is_same};
use serde_json::{Map, Number, Value};

/// Values that nested alternatives are tried on at most for one object: they multiply.
const MAX_TRIES: usize = 100_000;
/// The largest of the whole numbers that a float tells from their neighbours: 2^53 - 1.
const MAX_WHOLE_FLOAT: f64 = 9_007_199_254_740_991.0;

/// Everything that is wrong with `value`, as far as it can be told.
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
    let mut validator = Validator::default();
    validator.value(value, old, schema, &Path::Root);
    if validator.tries > MAX_TRIES {
        return vec![field::forbidden(
            "",
            &format!("checking the object takes more than {MAX_TRIES} alternatives"),
        )];
    }
    validator.told.into_all()
}

#[derive(Default)]
struct Validator {
    tries: usize,
    /// How many alternatives are around what is looked at.
    depth: usize,
    /// Whether faults are counted and not told: one alternative that does not fit is no fault.
    is_silent: bool,
    faults: usize,
    told: Told<FieldCause>,
}

impl Validator {
    fn fault(&mut self, cause: impl FnOnce() -> FieldCause) {
        self.faults += 1;
        if !self.is_silent {
            self.told.push(cause);
        }
    }

    fn invalid(&mut self, path: &Path<'_>, value: impl Into<Value>, detail: &str) {
        self.fault(|| field::invalid(path.to_string(), value, &format!("{}{detail}", in_body(path))));
    }

    /// A fault of several schemas together; upstream's has no field.
    fn composed(&mut self, path: &Path<'_>, detail: impl FnOnce() -> String) {
        self.fault(|| field::invalid("<nil>", "", &format!("{:?} {}", path.to_string(), detail())));
    }

    fn value(&mut self, value: &Value, old: Option<&Value>, schema: &Schema, path: &Path<'_>) {
        self.tries += usize::from(self.depth > 0);
        let is_over = self.tries > MAX_TRIES || self.told.is_full();
        let is_unchanged = || old.is_some_and(|old| is_same(value, old));
        if is_over || is_unchanged() || (value.is_null() && schema.is_nullable) {
            return;
        }
        self.of_type(value, schema, path);
        self.combined(value, schema, path);
        match value {
            Value::String(text) => self.of_text(text, schema, path),
            Value::Number(number) => self.of_number(number, schema, path),
            Value::Array(items) => self.of_list(items, old, schema, path),
            Value::Object(members) => self.of_object(members, old, schema, path),
            Value::Null | Value::Bool(_) => {}
        }
        self.of_enum(value, schema, path);
    }

    fn of_list(&mut self, items: &[Value], old: Option<&Value>, schema: &Schema, path: &Path<'_>) {
        let checks = &schema.checks;
        let count = items.len() as u64;
        if let Some(min) = checks.min_items.filter(|min| count < *min) {
            self.invalid(path, count, &format!("should have at least {min} items"));
        }
        if let Some(max) = checks.max_items.filter(|max| count > *max) {
            self.fault(|| field::too_many(path.to_string(), items.len(), max as usize));
        }
        if checks.has_unique_items && (1..items.len()).any(|at| items[..at].contains(&items[at])) {
            self.invalid(path, "", "shouldn't contain duplicates");
        }
        if let Some(of_items) = &schema.items {
            let before = Counterparts::of(old, &schema.list);
            for (at, item) in items.iter().enumerate() {
                self.value(item, before.of_item(item), of_items, &Path::Item(path, at));
            }
        }
    }

    fn of_object(
        &mut self,
        members: &Map<String, Value>,
        old: Option<&Value>,
        schema: &Schema,
        path: &Path<'_>,
    ) {
        let checks = &schema.checks;
        let count = members.len() as u64;
        let mut before = Beside::new(old.and_then(Value::as_object));
        for (name, value) in members {
            let old = before.get(name);
            if let Some(member) = schema.member(name) {
                self.value(value, old, member, &Path::Member(path, name));
            }
        }
        for name in checks.required.iter().filter(|name| !members.contains_key(*name)) {
            self.fault(|| field::required(Path::Member(path, name).to_string(), ""));
        }
        if let Some(min) = checks.min_properties.filter(|min| count < *min) {
            self.invalid(path, count, &format!("should have at least {min} properties"));
        }
        if let Some(max) = checks.max_properties.filter(|max| count > *max) {
            self.fault(|| field::too_many(path.to_string(), members.len(), max as usize));
        }
    }

    /// `allOf`, `anyOf`, `oneOf` and `not`.
    fn combined(&mut self, value: &Value, schema: &Schema, path: &Path<'_>) {
        let checks = &schema.checks;
        self.depth += 1;
        if !checks.any_of.is_empty() {
            let (fitting, closest) = self.alternatives(value, &checks.any_of, path);
            if fitting == 0 {
                self.composed(path, || "must validate at least one schema (anyOf)".to_owned());
                self.tell(value, closest, path);
            }
        }
        if !checks.one_of.is_empty() {
            let (fitting, closest) = self.alternatives(value, &checks.one_of, path);
            if fitting != 1 {
                self.composed(path, || {
                    let found = if fitting == 0 {
                        "none valid".into()
                    } else {
                        format!("{fitting} valid alternatives")
                    };
                    format!("must validate one and only one schema (oneOf). Found {found}")
                });
                self.tell(value, closest.filter(|_| fitting == 0), path);
            }
        }
        let mut failing = 0;
        for part in &checks.all_of {
            let before = self.faults;
            self.value(value, None, part, path);
            failing += usize::from(self.faults > before);
        }
        if failing > 0 {
            let none = if failing == checks.all_of.len() { ". None validated" } else { "" };
            self.composed(path, || format!("must validate all the schemas (allOf){none}"));
        }
        if let Some(not) = &checks.not
            && self.count(value, not, path) == 0
        {
            self.composed(path, || "must not validate the schema (not)".to_owned());
        }
        self.depth -= 1;
    }

    /// How many of the schemas fit, and the one that fits best.
    fn alternatives<'s>(
        &mut self,
        value: &Value,
        schemas: &'s [Schema],
        path: &Path<'_>,
    ) -> (usize, Option<&'s Schema>) {
        let faults: Vec<usize> = schemas.iter().map(|schema| self.count(value, schema, path)).collect();
        let closest = schemas.iter().zip(&faults).min_by_key(|(_, faults)| **faults);
        (faults.iter().filter(|faults| **faults == 0).count(), closest.map(|(schema, _)| schema))
    }

    /// How many faults there are by a schema, none of which is told.
    fn count(&mut self, value: &Value, schema: &Schema, path: &Path<'_>) -> usize {
        let (was_silent, before) = (std::mem::replace(&mut self.is_silent, true), self.faults);
        self.value(value, None, schema, path);
        self.is_silent = was_silent;
        std::mem::replace(&mut self.faults, before) - before
    }

    /// Tells what is wrong by a schema.
    fn tell(&mut self, value: &Value, schema: Option<&Schema>, path: &Path<'_>) {
        if let Some(schema) = schema {
            self.value(value, None, schema, path);
        }
    }

    fn of_type(&mut self, value: &Value, schema: &Schema, path: &Path<'_>) {
        let Some(wanted) = wrong_type(value, schema) else { return };
        let found = type_name(value);
        self.fault(|| {
            let detail = format!("{}must be of type {wanted}: {found:?}", in_body(path));
            field::type_invalid(path.to_string(), found, &detail)
        });
    }

    fn of_text(&mut self, text: &str, schema: &Schema, path: &Path<'_>) {
        let checks = &schema.checks;
        if checks.max_length.is_some() || checks.min_length.is_some() {
            self.of_length(text, schema, path);
        }
        if checks.pattern.as_ref().is_some_and(|pattern| !pattern.is_match(text)) {
            self.invalid(path, text, &format!("should match '{}'", checks.pattern_text));
        }
        if let Some(format) = checks.format.as_ref().filter(|format| !formats::is_text_of(format, text)) {
            self.fault(|| {
                let detail = format!("{}must be of type {format}: {text:?}", in_body(path));
                field::type_invalid(path.to_string(), text, &detail)
            });
        }
    }

    fn of_length(&mut self, text: &str, schema: &Schema, path: &Path<'_>) {
        let checks = &schema.checks;
        let length = text.chars().count() as u64;
        if let Some(max) = checks.max_length.filter(|max| length > *max) {
            self.fault(|| field::too_long(path.to_string(), max as usize));
        }
        if let Some(min) = checks.min_length.filter(|min| length < *min) {
            self.invalid(path, text, &format!("should be at least {min} chars long"));
        }
    }

    fn of_number(&mut self, number: &Number, schema: &Schema, path: &Path<'_>) {
        let checks = &schema.checks;
        let value = number.as_f64().unwrap_or(f64::NAN);
        let mut fault = |detail: String| self.invalid(path, Value::Number(number.clone()), &detail);
        if let Some(multiple) = checks.multiple_of.filter(|multiple| (value / multiple).fract() != 0.0) {
            fault(format!("should be a multiple of {}", shown(multiple)));
        }
        match checks.maximum {
            Some(max) if checks.is_maximum_exclusive && value >= max => {
                fault(format!("should be less than {}", shown(max)));
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
            let ty = schema.ty.map_or("", Ty::name);
            // As upstream has it, this has no field.
            self.fault(|| {
                let detail = format!("Checked value must be of type {ty} with format {format} in {path}");
                field::invalid("<nil>", "", &detail)
            });
        }
    }

    fn of_enum(&mut self, value: &Value, schema: &Schema, path: &Path<'_>) {
        let allowed = &schema.checks.any_value;
        if allowed.has(value) {
            return;
        }
        self.fault(|| {
            let shown: Vec<&str> = allowed.shown().collect();
            field::not_supported(path.to_string(), value.clone(), &shown)
        });
    }
}

fn in_body(path: &Path<'_>) -> String {
    match path {
        Path::Root => String::new(),
        path => format!("{path} in body "),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_i64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// The type that a value should have had.
fn wrong_type(value: &Value, schema: &Schema) -> Option<&'static str> {
    let wanted = match (schema.is_int_or_string, schema.ty) {
        (true, _) => "integer,string",
        (false, Some(ty)) => ty.name(),
        (false, None) if value.is_null() && needs_value(schema) => "object",
        (false, None) => return None,
    };
    let fits = match value {
        Value::Null => false,
        Value::Number(number) => {
            let is_integer = schema.ty == Some(Ty::Integer) || schema.is_int_or_string;
            schema.ty == Some(Ty::Number) || (is_integer && is_whole(number))
        }
        Value::String(_) => schema.ty == Some(Ty::String) || schema.is_int_or_string,
        Value::Bool(_) => schema.ty == Some(Ty::Boolean),
        Value::Array(_) => schema.ty == Some(Ty::Array),
        Value::Object(_) => schema.ty == Some(Ty::Object),
    };
    (!fits).then_some(wanted)
}

/// Whether a number is an integer of 64 bits, or a float that stands for exactly one.
fn is_whole(number: &Number) -> bool {
    let is_exact = |float: f64| float.fract() == 0.0 && float.abs() <= MAX_WHOLE_FLOAT;
    number.is_i64() || number.as_f64().is_some_and(is_exact)
}

/// Whether a schema without a type says something about objects, so that null is not one.
fn needs_value(schema: &Schema) -> bool {
    !schema.properties.is_empty() || !matches!(schema.additional, Additional::None)
}

/// A limit as people write it.
fn shown(number: f64) -> String {
    if number.fract() == 0.0 && number.abs() < 1.0e21 {
        format!("{number:.0}")
    } else {
        format!("{number:?}")
    }
}
