//! The rules of a definition: whether they compile, and what they may cost at most.

use super::{Compiled, Together, compile, declared, field_path};
use crate::schema::{Additional, ListKind, Rule, Schema, Ty};
use hako_cel::{Declared, Program};
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};

/// Units that one rule may cost by its estimate, for all the places that an object may have it in.
const PER_RULE: u64 = 10_000_000;
/// Units that all rules of a schema may cost by their estimates.
const PER_SCHEMA: u64 = 100_000_000;
/// Bytes of the largest request: how often a thing of a known size may be in it.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;
/// How many rules are named when all together cost too much.
const MOST_NAMED: usize = 4;
const REASONS: &[&str] =
    &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// What is wrong with the rules of `schema`, a resource's, whose path in the definition is `path`.
#[must_use]
pub fn check(schema: &Schema, path: &str) -> Vec<FieldCause> {
    check_at(schema, &Path::Member(&Path::Root, path))
}

pub(crate) fn check_at(schema: &Schema, path: &Path<'_>) -> Vec<FieldCause> {
    let mut checker = Checker::default();
    let declared = declared::resource(schema, "selfType");
    checker.walk(schema, declared.as_ref(), path, &Place { count: Some(1), uncorrelated: None });
    checker.total(path);
    checker.faults.into_all()
}

#[derive(Default)]
struct Checker {
    faults: Told<FieldCause>,
    total: u64,
    /// The rules that cost most, which are named when all together cost too much.
    dearest: Vec<(u64, String)>,
    patterns: Together,
}

/// Where in a schema a rule is.
struct Place<'p> {
    /// How often an object may have it; unknown where a list or map around it has no limit.
    count: Option<u64>,
    /// The list or map around it whose values have no counterpart in an old object.
    uncorrelated: Option<&'p Path<'p>>,
}

impl Checker {
    fn walk(&mut self, schema: &Schema, declared: Option<&Declared>, path: &Path<'_>, place: &Place<'_>) {
        if self.faults.is_full() {
            return;
        }
        let rules_path = Path::Member(path, "x-kubernetes-validations");
        for (at, rule) in schema.rules.iter().enumerate() {
            self.rule(rule, schema, declared, &Path::Item(&rules_path, at), place);
        }
        let count = place.count.and_then(|count| Some(count.saturating_mul(most(schema)?)));
        let below = |is_correlated: bool| Place {
            count,
            uncorrelated: place.uncorrelated.or((!is_correlated).then_some(path)),
        };
        let properties_path = Path::Member(path, "properties");
        for (name, property) in schema.properties.iter() {
            let declared = declared.and_then(|declared| declared.member(name));
            let path = Path::Key(&properties_path, name);
            self.walk(property, declared, &path, &below(!schema.is_atomic_map));
        }
        let element = declared.and_then(Declared::item);
        if let Additional::Fits(values) = &schema.additional {
            self.walk(values, element, &Path::Member(path, "additionalProperties"), &below(true));
        }
        if let Some(items) = &schema.items {
            let is_correlated = matches!(schema.list, ListKind::Map(_));
            self.walk(items, element, &Path::Member(path, "items"), &below(is_correlated));
        }
    }

    fn rule(
        &mut self,
        rule: &Rule,
        schema: &Schema,
        declared: Option<&Declared>,
        path: &Path<'_>,
        place: &Place<'_>,
    ) {
        if self.texts(rule, schema, path) {
            return;
        }
        let Compiled { program, uses_old, message, .. } = compile(rule, schema, declared, &self.patterns);
        let at = Path::Member(path, "rule");
        match program {
            Some(Ok(program)) => self.cost(&program, declared, place, "estimated rule cost", &at),
            Some(Err(error)) => self.invalid(&at, rule.json.clone(), &error),
            None => {}
        }
        let at = Path::Member(path, "messageExpression");
        match message {
            // A message is made once, for the first that breaks the rule.
            Some(Ok(program)) => {
                let once = Place { count: Some(1), uncorrelated: None };
                self.cost(&program, declared, &once, "estimated messageExpression cost", &at);
            }
            Some(Err(error)) => self.invalid(&at, rule.json.clone(), &error),
            None => {}
        }
        self.old_self(rule, uses_old, path, place);
    }

    fn invalid(&mut self, path: &Path<'_>, value: impl Into<serde_json::Value>, detail: &str) {
        self.faults.push(|| field::invalid(path.to_string(), value, detail));
    }

    fn old_self(&mut self, rule: &Rule, uses_old: bool, path: &Path<'_>, place: &Place<'_>) {
        match (uses_old, place.uncorrelated, rule.is_old_self_optional) {
            (true, Some(list), _) => {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"
                );
                self.invalid(&Path::Member(path, "rule"), rule.rule.as_str(), &detail);
            }
            (false, _, Some(given)) if self.faults.is_empty() => {
                let detail = "may not be set if oldSelf is not used in rule";
                self.invalid(&Path::Member(path, "optionalOldSelf"), given, detail);
            }
            _ => {}
        }
    }

    /// Whether what a rule says besides its expressions is wrong.
    fn texts(&mut self, rule: &Rule, schema: &Schema, path: &Path<'_>) -> bool {
        let (source, message) = (rule.rule.trim(), rule.message.trim());
        let at = |name: &str| Path::Member(path, name).to_string();
        let mut found = Vec::new();
        if source.is_empty() {
            found.push(field::required(at("rule"), "rule is not specified"));
        } else if !rule.message.is_empty() && message.is_empty() {
            let detail = "must be non-empty if specified";
            found.push(field::invalid(at("message"), rule.message.as_str(), detail));
        } else if has_breaks(message) {
            let detail = "must not contain line breaks";
            found.push(field::invalid(at("message"), rule.message.as_str(), detail));
        } else if has_breaks(source) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            found.push(field::required(at("message"), detail));
        }
        if !rule.message_expression.is_empty() && rule.message_expression.trim().is_empty() {
            let detail = "messageExpression must be non-empty if specified";
            found.push(field::required(at("messageExpression"), detail));
        }
        if let Some(reason) = rule.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
            found.push(field::not_supported(at("reason"), reason, REASONS));
        }
        if !rule.field_path.is_empty() {
            let detail = match rule.field_path.as_str() {
                path if path.trim().is_empty() => Some("must be non-empty if specified"),
                path if has_breaks(path) => Some("must not contain line breaks"),
                path if field_path::normalized(path, schema).is_none() => Some("must be a valid path"),
                _ => None,
            };
            if let Some(detail) = detail {
                found.push(field::invalid(at("fieldPath"), rule.field_path.as_str(), detail));
            }
        }
        let is_wrong = !found.is_empty();
        self.faults.extend(found);
        is_wrong
    }

    fn cost(
        &mut self,
        program: &Program,
        declared: Option<&Declared>,
        place: &Place<'_>,
        name: &str,
        path: &Path<'_>,
    ) {
        let most_in_a_request = MAX_REQUEST / (declared.map_or(1, Declared::min_bytes) + 1);
        let cost = program.estimate().max.saturating_mul(place.count.unwrap_or(most_in_a_request));
        self.total = self.total.saturating_add(cost);
        self.note(cost, path);
        if cost > PER_RULE {
            self.faults.push(|| field::forbidden(path.to_string(), &too_expensive(name, cost, PER_RULE)));
        }
    }

    /// Keeps the dearest rules in mind, the dearest first.
    fn note(&mut self, cost: u64, path: &Path<'_>) {
        let at = self.dearest.partition_point(|(known, _)| *known >= cost);
        if cost >= PER_SCHEMA / 100 && at < MOST_NAMED {
            self.dearest.insert(at, (cost, path.to_string()));
            self.dearest.truncate(MOST_NAMED);
        }
    }

    fn total(&mut self, path: &Path<'_>) {
        if self.total <= PER_SCHEMA {
            return;
        }
        let detail =
            "contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema";
        for (_, path) in std::mem::take(&mut self.dearest) {
            self.faults.push(|| field::forbidden(path, detail));
        }
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        let detail = too_expensive(name, self.total, PER_SCHEMA);
        self.faults.push(|| field::forbidden(path.to_string(), &detail));
    }
}

/// How many children a value may have that share a schema; unknown without a limit.
fn most(schema: &Schema) -> Option<u64> {
    match (schema.ty, &schema.additional) {
        (Some(Ty::Object), Additional::Fits(_) | Additional::Any) => schema.checks.max_properties,
        (Some(Ty::Array), _) => schema.checks.max_items,
        _ => Some(1),
    }
}

fn has_breaks(text: &str) -> bool {
    text.contains(['\n', '\r'])
}

fn too_expensive(name: &str, cost: u64, limit: u64) -> String {
    let factor = cost as f64 / limit as f64;
    let shown = if factor > 100.0 {
        "more than 100x".to_owned()
    } else if factor < 1.5 {
        format!("{factor:.6}x")
    } else {
        format!("{factor:.1}x")
    };
    format!(
        "{name} exceeds budget by factor of {shown} (try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)"
    )
}
