//! What is filled in is itself what the schema asks for.

use crate::prune::prune_part;
use crate::rules::{Budget, Rules};
use crate::schema::{Additional, Schema};
use crate::validate;
use hako_error::FieldCause;
use hako_kube::field::{self, Path, Told};
use serde_json::Value;

/// Rules that are compiled for all defaults of a schema: those around others have the rules of all below.
const MAX_RULES: usize = 5_000;
/// Nodes of schemas that are walked for all defaults.
const MAX_NODES: usize = 1_000_000;

pub(super) fn check(schema: &Schema, path: &Path<'_>) -> Vec<FieldCause> {
    let mut checker = Checker { faults: Told::default(), budget: Budget::default(), rules: 0, nodes: 0 };
    checker.walk(schema, path, true);
    checker.faults.into_all()
}

struct Checker {
    faults: Told<FieldCause>,
    /// Of all defaults together.
    budget: Budget,
    rules: usize,
    nodes: usize,
}

impl Checker {
    fn walk(&mut self, schema: &Schema, path: &Path<'_>, is_root: bool) {
        if self.faults.is_full() || self.budget.is_spent() {
            return;
        }
        if let Some(default) = &schema.default {
            self.of_default(default, schema, &Path::Member(path, "default"));
        }
        let properties = Path::Member(path, "properties");
        for (name, property) in schema.properties.iter() {
            // The whole resource's own may have none, which is told elsewhere.
            if !is_root || !matches!(name.as_str(), "metadata" | "apiVersion" | "kind") {
                self.walk(property, &Path::Key(&properties, name), false);
            }
        }
        if let Some(items) = &schema.items {
            self.walk(items, &Path::Member(path, "items"), false);
        }
    }

    fn of_default(&mut self, default: &Value, schema: &Schema, path: &Path<'_>) {
        let mut pruned = default.clone();
        if !prune_part(&mut pruned, schema, schema.is_embedded).is_empty() {
            let detail = "must not have unknown fields";
            self.faults.push(|| field::invalid(path.to_string(), default.clone(), detail));
        }
        let found = validate(default, schema);
        if !found.is_empty() {
            self.tell(found, path);
            return;
        }
        let (rules, nodes) = size(schema);
        (self.rules, self.nodes) = (self.rules + rules, self.nodes + nodes);
        if self.rules > MAX_RULES || self.nodes > MAX_NODES {
            let detail = format!(
                "checking the defaults of the schema takes more than {MAX_RULES} rules or {MAX_NODES} parts; \
                 have fewer defaults around others"
            );
            self.faults.push(|| field::forbidden(path.to_string(), &detail));
            self.budget = Budget::spent();
        } else if rules > 0 {
            let outcome = Rules::compile_part(schema).evaluate(default, None, &mut self.budget);
            self.tell(outcome.faults, path);
        }
    }

    fn tell(&mut self, found: Vec<FieldCause>, path: &Path<'_>) {
        for mut fault in found {
            if fault.field != "<nil>" {
                fault.field = match fault.field.as_str() {
                    "" => path.to_string(),
                    below if below.starts_with('[') => format!("{path}{below}"),
                    below => field::child(&path.to_string(), below),
                };
            }
            self.faults.push(|| fault);
        }
    }
}

/// The rules of a schema, and its parts.
fn size(schema: &Schema) -> (usize, usize) {
    let others = match &schema.additional {
        Additional::Fits(schema) => Some(&**schema),
        _ => None,
    };
    let below = schema.properties.values().chain(schema.items.as_deref()).chain(others);
    below
        .map(size)
        .fold((schema.rules.len(), 1), |(rules, nodes), (more, parts)| (rules + more, nodes + parts))
}
