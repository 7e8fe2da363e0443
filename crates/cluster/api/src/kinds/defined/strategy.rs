//! The strategy of a defined kind in one of its versions.

use super::compiled::Compiled;
use super::converter::Converter;
use super::definition::{Definition, Version};
use super::{columns, embedded, integers, publish};
use crate::kinds::row::PartWrite;
use crate::kinds::strategy::{Holder, Strategy};
use crate::kinds::{meta, scale};
use crate::metrics::cel;
use crate::openapi::Dialect;
use crate::schema::{self, Shape};
use hako_kube::{
    Beside, GroupVersion, Selector,
    field::{self, Faults},
    is_same, names,
};
use hako_structural::{Budget, fill};
use jiff::Timestamp;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A version of a definition as a kind.
#[derive(Debug)]
pub(super) struct Defined {
    pub definition: Arc<Definition>,
    /// Of the version.
    pub place: usize,
}

/// Faults after which the rest of an object means too little for rules to be asked.
const BLOCKING: [&str; 5] = [
    "FieldValueNotSupported",
    "FieldValueRequired",
    "FieldValueTooLong",
    "FieldValueTooMany",
    "FieldValueTypeInvalid",
];

impl Defined {
    fn version(&self) -> &Version {
        &self.definition.versions[self.place]
    }

    fn compiled(&self) -> &Compiled {
        self.definition.compiled(self.place)
    }

    fn check_metadata(&self, object: &Value) -> Faults {
        let rules = meta::Rules {
            is_namespaced: self.definition.is_namespaced,
            name_faults: names::dns_subdomain,
            are_finalizers_qualified: false,
        };
        meta::validate(object, rules)
    }

    /// What is wrong with an object, its metadata aside; what was so before is not wrong now, but a warning where a rule
    /// says it.
    fn faults(&self, object: &Value, old: Option<&Value>, warnings: &mut Vec<String>) -> Faults {
        let Compiled { schema, rules, has_embedded, .. } = self.compiled();
        let found = match old {
            Some(old) => hako_structural::validate_update(object, old, schema),
            None => hako_structural::validate(object, schema),
        };
        let mut faults = Faults::from_iter(found);
        if let Some(paths) = &self.version().scale {
            faults.extend(scale_faults(paths, object));
        }
        if *has_embedded {
            faults.extend(embedded::faults(object, schema));
        }
        let twice = hako_structural::duplicates(object, schema);
        if !twice.is_empty() && old.is_none_or(|old| hako_structural::duplicates(old, schema).is_empty()) {
            faults.extend(twice);
        }
        if rules.is_empty() {
            return faults;
        }
        if faults.iter().any(|fault| BLOCKING.contains(&fault.reason.as_str())) {
            let detail = "some validation rules were not checked because the object was invalid; correct the existing \
                 errors to complete validation";
            faults.push(field::invalid("<nil>", "null", detail));
            return faults;
        }
        let outcome = cel::evaluating(|| rules.evaluate(object, old, &mut Budget::default()));
        faults.extend(outcome.faults);
        warnings.extend(outcome.warnings);
        faults
    }

    fn api_version(&self) -> String {
        GroupVersion::new(&self.definition.group, &self.version().name).to_string()
    }

    /// The form of another version of the definition in that of this one.
    fn take_over(&self, object: &mut Value, from: usize) {
        if from != self.place {
            object["apiVersion"] = self.api_version().into();
            hako_structural::prune(object, &self.compiled().schema);
        }
    }

    /// The place of the version that an object is of.
    fn place_of(&self, object: &Value) -> Option<usize> {
        let (_, version) = object.get("apiVersion")?.as_str()?.split_once('/')?;
        self.definition.place(version)
    }
}

impl Strategy for Defined {
    fn shape(&self) -> &Shape {
        &self.compiled().shape
    }

    fn fit(&self, object: &mut Value) -> Result<Vec<String>, String> {
        let mut unknown = match object.get_mut("metadata") {
            Some(metadata) => schema::fit_metadata(metadata, "metadata")?,
            None => Vec::new(),
        };
        let Compiled { schema, has_embedded, .. } = self.compiled();
        unknown.extend(hako_structural::prune(object, schema));
        if *has_embedded {
            unknown.extend(embedded::fit(object, schema)?);
        }
        integers::write_plainly(object);
        Ok(unknown)
    }

    fn published(&self, dialect: Dialect) -> Option<Value> {
        let mut schema = publish::schema(&self.definition.schema(self.place), dialect);
        let names = &self.version().selectable_names;
        if !names.is_empty() {
            schema["x-kubernetes-selectable-fields"] =
                names.iter().map(|path| json!({ "fieldPath": path })).collect();
        }
        Some(schema)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        columns::cells(self.version(), object, now)
    }

    fn default(&self, object: &mut Value) {
        fill(object, &self.compiled().schema);
    }

    fn prepare_create(&self, object: &mut Value) {
        if let Some(members) = object.as_object_mut().filter(|_| self.version().has_status) {
            members.shift_remove("status");
        }
        meta::set_generation(object, 1);
    }

    fn prepare_update(&self, new: &mut Value, old: &Value) {
        let has_status = self.version().has_status;
        if let Some(members) = new.as_object_mut().filter(|_| has_status) {
            match old.get("status") {
                Some(status) => members.insert("status".to_owned(), status.clone()),
                None => members.shift_remove("status"),
            };
        }
        let generation = old.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or(0);
        let is_counted = |name: &str| name != "metadata" && !(has_status && name == "status");
        meta::set_generation(new, generation + i64::from(differ(new, old, is_counted)));
    }

    fn prepare_part(&self, new: &mut Value, old: &Value, part: &PartWrite<'_>) {
        meta::keep_all_but_the_status(new, old, part);
    }

    fn check(&self, object: &Value) -> Faults {
        self.faults(object, None, &mut Vec::new())
    }

    fn check_create(&self, object: &Value) -> Faults {
        let mut faults = self.check_metadata(object);
        faults.extend(self.faults(object, None, &mut Vec::new()));
        faults
    }

    fn check_update(&self, new: &Value, old: &Value) -> Faults {
        self.check_change(new, old, None, &mut Vec::new())
    }

    fn check_change(
        &self,
        new: &Value,
        old: &Value,
        _: Option<&PartWrite<'_>>,
        warnings: &mut Vec<String>,
    ) -> Faults {
        let mut faults = self.check_metadata(new);
        faults.extend(meta::validate_update(new, old));
        faults.extend(self.faults(new, Some(old), warnings));
        faults
    }

    fn check_part(&self, new: &Value, old: &Value, _: &PartWrite<'_>) -> Faults {
        self.check_update(new, old)
    }

    fn selectable<'a>(&'a self, object: &Value) -> Vec<(&'a str, String)> {
        let of = |(name, path): (&'a String, &Vec<String>)| {
            let value = path.iter().try_fold(object, |value, name| value.get(name));
            let text = match value {
                None | Some(Value::Null) => String::new(),
                Some(Value::String(text)) => text.clone(),
                Some(other) => other.to_string(),
            };
            (name.as_str(), text)
        };
        let version = self.version();
        version.selectable_names.iter().zip(&version.selectable).map(of).collect()
    }

    fn is_served_as_kept(&self, stored: &[u8]) -> bool {
        self.place == self.definition.storage && self.is_current(stored)
    }

    fn is_current(&self, stored: &[u8]) -> bool {
        stored.ends_with(&self.definition.mark)
    }

    fn converter(&self) -> Option<&Converter> {
        self.definition.converter.as_ref()
    }

    fn in_version(&self, api_version: &str) -> Option<Box<dyn Strategy>> {
        let version = GroupVersion::parse(api_version).filter(|it| it.group == self.definition.group)?;
        let place = self.definition.place(&version.version)?;
        Some(Box::new(Self { definition: Arc::clone(&self.definition), place }))
    }

    fn kept_version(&self) -> Option<String> {
        let kept = &self.definition.versions[self.definition.storage].name;
        Some(GroupVersion::new(&self.definition.group, kept).to_string())
    }

    fn mark(&self) -> &[u8] {
        &self.definition.mark
    }

    fn read_stored(&self, object: &mut Value) {
        let known = self.place_of(object);
        let from = known.unwrap_or(self.place);
        let schema = &self.definition.compiled(from).schema;
        hako_structural::prune(object, schema);
        fill(object, schema);
        if known.is_none() {
            // Of a version that is gone, its name is what can be put right.
            object["apiVersion"] = self.api_version().into();
        }
        self.take_over(object, from);
    }

    fn write_stored(&self, object: &mut Value) {
        let storage = Self { definition: Arc::clone(&self.definition), place: self.definition.storage };
        if storage.place != self.place {
            storage.take_over(object, self.place_of(object).unwrap_or(self.place));
            fill(object, &storage.compiled().schema);
        }
    }

    fn holder(&self) -> Option<&Holder> {
        Some(&self.definition.holder)
    }

    fn scale_paths(&self) -> &scale::Paths {
        self.version().scale.as_ref().unwrap_or(scale::Paths::usual())
    }
}

/// Whether two objects differ in members of such names.
fn differ(new: &Value, old: &Value, is_counted: impl Fn(&str) -> bool) -> bool {
    let empty = Map::new();
    let (new, old) = (new.as_object().unwrap_or(&empty), old.as_object().unwrap_or(&empty));
    let count = |members: &Map<String, Value>| members.keys().filter(|name| is_counted(name)).count();
    let mut beside = Beside::new(Some(old));
    count(new) != count(old)
        || new.iter().any(|(name, value)| {
            let old = beside.get(name);
            is_counted(name) && !old.is_some_and(|old| is_same(value, old))
        })
}

/// What is wrong with the numbers and the selector that the scale shows.
fn scale_faults(paths: &scale::Paths, object: &Value) -> Faults {
    let mut faults = Faults::new();
    let at = |path: &[String]| path.iter().try_fold(object, |value, name| value.get(name));
    for path in [&paths.wanted, &paths.there] {
        let Some(number) = at(path).and_then(Value::as_i64) else { continue };
        let name = format!(".{}", path.join("."));
        if number < 0 {
            faults.push(field::invalid(name, number, "should be a non-negative integer"));
        } else if number > i64::from(i32::MAX) {
            let detail = format!("should be less than or equal to {}", i32::MAX);
            faults.push(field::invalid(name, number, &detail));
        }
    }
    if let Some(path) = &paths.selector
        && let Some(text) = at(path).and_then(Value::as_str)
        && let Err(error) = Selector::parse(text)
    {
        faults.push(field::invalid(format!(".{}", path.join(".")), text, &error.to_string()));
    }
    faults
}
