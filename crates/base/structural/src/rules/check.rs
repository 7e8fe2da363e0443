//! The rules of a definition: whether they compile, and what they may cost at most.

use super::{Compiled, compile, declared, field_path};
use crate::schema::{Additional, ListKind, Rule, Schema, Ty};
use hako_cel::{Declared, Program};
use hako_error::FieldCause;
use hako_kube::field;

/// Units that one rule may cost by its estimate, for all the places that an object may have it in.
const PER_RULE: u64 = 10_000_000;
/// Units that all rules of a schema may cost by their estimates.
const PER_SCHEMA: u64 = 100_000_000;
/// Bytes of the largest request: how often a thing of a known size may be in it.
const MAX_REQUEST: u64 = 3 * 1024 * 1024;
const REASONS: &[&str] =
    &["FieldValueDuplicate", "FieldValueForbidden", "FieldValueInvalid", "FieldValueRequired"];

/// What is wrong with the rules of `schema`, a resource's, whose path in the definition is `path`.
#[must_use]
pub fn check(schema: &Schema, path: &str) -> Vec<FieldCause> {
    let mut checker = Checker { faults: Vec::new(), total: 0 };
    let declared = declared::resource(schema, "selfType");
    checker.walk(schema, declared.as_ref(), path, &Place { count: Some(1), uncorrelated: None });
    if checker.total > PER_SCHEMA {
        let name = "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema";
        checker.faults.push(field::forbidden(path, &too_expensive(name, checker.total, PER_SCHEMA)));
    }
    checker.faults
}

struct Checker {
    faults: Vec<FieldCause>,
    total: u64,
}

/// Where in a schema a rule is.
struct Place {
    /// How often an object may have it; unknown where a list or map around it has no limit.
    count: Option<u64>,
    /// The list around it whose items have no counterpart in an old object.
    uncorrelated: Option<String>,
}

impl Checker {
    fn walk(&mut self, schema: &Schema, declared: Option<&Declared>, path: &str, place: &Place) {
        let rules_path = field::child(path, "x-kubernetes-validations");
        for (at, rule) in schema.rules.iter().enumerate() {
            self.rule(rule, schema, declared, &field::index(&rules_path, at), place);
        }
        let count = place.count.and_then(|count| Some(count.saturating_mul(most(schema)?)));
        let below = |uncorrelated: Option<String>| Place {
            count,
            uncorrelated: place.uncorrelated.clone().or(uncorrelated),
        };
        for (name, property) in &schema.properties {
            let declared = declared.and_then(|declared| declared.member(name));
            self.walk(property, declared, &field::key(&field::child(path, "properties"), name), &below(None));
        }
        let element = declared.and_then(Declared::item);
        if let Additional::Fits(values) = &schema.additional {
            self.walk(values, element, &field::child(path, "additionalProperties"), &below(None));
        }
        if let Some(items) = &schema.items {
            let uncorrelated = (!matches!(schema.list, ListKind::Map(_))).then(|| path.to_owned());
            self.walk(items, element, &field::child(path, "items"), &below(uncorrelated));
        }
    }

    fn rule(&mut self, rule: &Rule, schema: &Schema, declared: Option<&Declared>, path: &str, place: &Place) {
        let before = self.faults.len();
        self.texts(rule, schema, path);
        if self.faults.len() > before {
            return;
        }
        let Compiled { program, uses_old, message, .. } = compile(rule, schema, declared);
        let at = field::child(path, "rule");
        match program {
            Some(Ok(program)) => self.cost(&program, declared, place, "estimated rule cost", &at),
            Some(Err(error)) => self.faults.push(field::invalid(&at, rule.json.clone(), &error)),
            None => {}
        }
        let at = field::child(path, "messageExpression");
        match message {
            Some(Ok(program)) => {
                self.cost(&program, declared, place, "estimated messageExpression cost", &at)
            }
            Some(Err(error)) => self.faults.push(field::invalid(&at, rule.json.clone(), &error)),
            None => {}
        }
        self.old_self(rule, uses_old, path, place);
    }

    fn old_self(&mut self, rule: &Rule, uses_old: bool, path: &str, place: &Place) {
        match (uses_old, &place.uncorrelated, rule.is_old_self_optional) {
            (true, Some(list), _) => {
                let detail = format!(
                    "oldSelf cannot be used on the uncorrelatable portion of the schema within {list}"
                );
                self.faults.push(field::invalid(field::child(path, "rule"), rule.rule.as_str(), &detail));
            }
            (false, _, Some(given)) if self.faults.is_empty() => {
                let detail = "may not be set if oldSelf is not used in rule";
                self.faults.push(field::invalid(field::child(path, "optionalOldSelf"), given, detail));
            }
            _ => {}
        }
    }

    fn texts(&mut self, rule: &Rule, schema: &Schema, path: &str) {
        let (source, message) = (rule.rule.trim(), rule.message.trim());
        let at = |name: &str| field::child(path, name);
        if source.is_empty() {
            self.faults.push(field::required(at("rule"), "rule is not specified"));
        } else if !rule.message.is_empty() && message.is_empty() {
            let detail = "must be non-empty if specified";
            self.faults.push(field::invalid(at("message"), rule.message.as_str(), detail));
        } else if has_breaks(message) {
            let detail = "must not contain line breaks";
            self.faults.push(field::invalid(at("message"), rule.message.as_str(), detail));
        } else if has_breaks(source) && message.is_empty() {
            let detail = "message must be specified if rule contains line breaks";
            self.faults.push(field::required(at("message"), detail));
        }
        if !rule.message_expression.is_empty() && rule.message_expression.trim().is_empty() {
            let detail = "messageExpression must be non-empty if specified";
            self.faults.push(field::required(at("messageExpression"), detail));
        }
        if let Some(reason) = rule.reason.as_deref().filter(|reason| !REASONS.contains(reason)) {
            self.faults.push(field::not_supported(at("reason"), reason, REASONS));
        }
        if !rule.field_path.is_empty() {
            let detail = match rule.field_path.as_str() {
                path if path.trim().is_empty() => Some("must be non-empty if specified"),
                path if has_breaks(path) => Some("must not contain line breaks"),
                path if field_path::normalized(path, schema).is_none() => Some("must be a valid path"),
                _ => None,
            };
            if let Some(detail) = detail {
                self.faults.push(field::invalid(at("fieldPath"), rule.field_path.as_str(), detail));
            }
        }
    }

    fn cost(
        &mut self,
        program: &Program,
        declared: Option<&Declared>,
        place: &Place,
        name: &str,
        path: &str,
    ) {
        let most_in_a_request = MAX_REQUEST / (declared.map_or(1, Declared::min_bytes) + 1);
        let cost = program.estimate().max.saturating_mul(place.count.unwrap_or(most_in_a_request));
        self.total = self.total.saturating_add(cost);
        if cost > PER_RULE {
            self.faults.push(field::forbidden(path, &too_expensive(name, cost, PER_RULE)));
        }
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
