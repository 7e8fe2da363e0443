//! Which objects of a collection a request wants.

use hako_error::{Error, Kind};
use hako_kube::{FieldSelector, Head, Selector};
use serde_json::Value;

use super::target::Target;
use crate::http::{Failure, Outcome, Query};
use crate::kinds::KindRow;

/// Label and field selectors of a list or watch.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    labels: Selector,
    fields: FieldSelector,
    row: &'static KindRow,
}

impl Selection {
    pub(super) fn parse(query: &Query, target: &Target) -> Outcome<Self> {
        let row = target.row;
        let bad = |error: &dyn std::fmt::Display| {
            Failure::from(Error::new(Kind::Invalid, format!("unable to parse requirement: {error}")))
        };
        let labels =
            Selector::parse(query.get("labelSelector").unwrap_or("")).map_err(|error| bad(&error))?;
        let mut fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or(""))
            .map_err(|error| Failure::bad_request(error.to_string()))?;
        let mut known = vec!["metadata.name", "metadata.namespace"];
        known.extend(row.selectable_fields);
        fields.check(&known).map_err(|error| Failure::bad_request(error.to_string()))?;
        if !target.name.is_empty() {
            let term = hako_kube::FieldTerm {
                field: "metadata.name".into(),
                is_equal: true,
                value: target.name.clone(),
            };
            fields.terms.push(term);
        }
        Ok(Self { labels, fields, row })
    }

    /// Whether it wants all.
    pub(super) fn is_everything(&self) -> bool {
        self.labels.is_everything() && self.fields.is_empty()
    }

    /// Whether a stored object is wanted; decodes no more of it than the selectors ask about.
    pub(super) fn matches(&self, key: &[u8], stored: &[u8]) -> bool {
        if self.is_everything() {
            return true;
        }
        if !self.labels.is_everything() {
            let Ok(head) = Head::parse(stored) else { return false };
            if !self.labels.matches(&head.metadata.labels) {
                return false;
            }
        }
        self.fields.is_empty() || self.fields_match(key, stored)
    }

    fn fields_match(&self, key: &[u8], stored: &[u8]) -> bool {
        let key = std::str::from_utf8(key).unwrap_or("");
        let mut parts = key.rsplit('/');
        let name = parts.next().unwrap_or("");
        let namespace = if self.row.is_namespaced() { parts.next().unwrap_or("") } else { "" };
        let is_meta = |field: &str| field.starts_with("metadata.");
        let values = if self.fields.terms.iter().all(|term| is_meta(&term.field)) {
            Vec::new()
        } else {
            let mut object: Value = serde_json::from_slice(stored).unwrap_or_default();
            self.row.read_stored(&mut object);
            (self.row.selectable)(&object)
        };
        self.fields.matches(|field| match field {
            "metadata.name" => Some(name),
            "metadata.namespace" => Some(namespace),
            _ => values.iter().find(|(name, _)| *name == field).map(|(_, value)| value.as_str()),
        })
    }
}
