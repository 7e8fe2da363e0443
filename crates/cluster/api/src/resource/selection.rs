//! Which objects of a collection a request wants.

use std::sync::Arc;

use bytes::Bytes;
use hako_error::{Error, Kind};
use hako_kube::{FieldSelector, FieldTerm, Head, Selector};
use serde_json::Value;

use super::target::{Target, registry_prefix};
use crate::http::{Failure, Outcome, Query};
use crate::kinds::{Name, Served};

/// Label and field selectors of a list or watch.
#[derive(Clone, Debug)]
pub(super) struct Selection {
    labels: Selector,
    fields: FieldSelector,
    row: Arc<Served>,
}

/// Every kind can be selected by its metadata, some by more. Kinds with fields of their own know a namespace only where
/// they live in one.
fn supported(row: &Served, fields: &FieldSelector) -> Outcome<()> {
    let metadata = ["metadata.name", "metadata.namespace"];
    if !row.knows_its_fields {
        let unknown = fields.terms.iter().find(|term| !metadata.contains(&term.field.as_str()));
        return match unknown {
            None => Ok(()),
            Some(FieldTerm { field, .. }) => Err(Failure::bad_request(format!(
                "{field:?} is not a known field selector: only \"metadata.name\", \"metadata.namespace\""
            ))),
        };
    }
    let of_metadata = if row.is_namespaced() { &metadata[..] } else { &metadata[..1] };
    let own = row.selectable_fields.iter().map(Name::as_ref);
    let known: Vec<&str> = of_metadata.iter().copied().chain(own).collect();
    fields.check(&known).map_err(|error| Failure::bad_request(error.to_string()))
}

impl Selection {
    pub(super) fn parse(query: &Query, target: &Target) -> Outcome<Self> {
        let row = Arc::clone(&target.row);
        let bad = |error: &dyn std::fmt::Display| {
            Failure::from(Error::new(Kind::Invalid, format!("unable to parse requirement: {error}")))
        };
        let labels =
            Selector::parse(query.get("labelSelector").unwrap_or("")).map_err(|error| bad(&error))?;
        let mut fields = FieldSelector::parse(query.get("fieldSelector").unwrap_or(""))
            .map_err(|error| Failure::bad_request(error.to_string()))?;
        supported(&row, &fields)?;
        if !target.name.is_empty() && !fields.terms.is_empty() {
            // A path that names an object can only be asked for that one.
            let is_name = |term: &FieldTerm| {
                term.is_equal && term.field == "metadata.name" && term.value == target.name
            };
            if !fields.terms.iter().any(is_name) {
                let text = "fieldSelector metadata.name doesn't match requested name";
                return Err(Failure::bad_request(text));
            }
        } else if !target.name.is_empty() {
            let term =
                FieldTerm { field: "metadata.name".into(), is_equal: true, value: target.name.clone() };
            fields.terms.push(term);
        }
        Ok(Self { labels, fields, row })
    }

    /// Below what all keys are that it can want: where it names an object, that one's, so that who watches one object
    /// is not woken by the others of its kind.
    pub(super) fn prefix(&self, target: &Target) -> Bytes {
        let mut prefix = registry_prefix(&target.row, &target.namespace);
        let is_name = |term: &&FieldTerm| term.is_equal && term.field == "metadata.name";
        let name = self.fields.terms.iter().find(is_name);
        if let Some(name) = name.filter(|_| !target.row.is_namespaced() || !target.namespace.is_empty()) {
            prefix.push_str(&name.value);
        }
        Bytes::from(prefix)
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
            if !self.row.is_served_as_kept(stored) {
                self.row.read_stored(&mut object);
            }
            self.row.strategy().selectable(&object)
        };
        self.fields.matches(|field| match field {
            "metadata.name" => Some(name),
            "metadata.namespace" => Some(namespace),
            _ => values.iter().find(|(name, _)| *name == field).map(|(_, value)| value.as_str()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::{self, Kinds};

    fn parsed(row: &Arc<Served>, selector: &str) -> Result<Selection, String> {
        let query = Query::parse(&format!("fieldSelector={selector}"));
        let target = Target { row: Arc::clone(row), namespace: String::new(), name: String::new() };
        Selection::parse(&query, &target).map_err(|failure| {
            assert_eq!(failure.status().code, 400);
            failure.status().message.clone()
        })
    }

    #[test]
    fn every_kind_is_selected_by_its_fields_and_refuses_others_in_upstreams_words() {
        for row in Kinds::built_in().all() {
            for field in row.selectable_fields.iter().map(Name::as_ref).chain(["metadata.name"]) {
                parsed(row, &format!("{field}!=x")).unwrap();
            }
            let expected = match row.selectable_fields.is_empty() {
                true => {
                    r#""spec.none" is not a known field selector: only "metadata.name", "metadata.namespace""#
                }
                false => "field label not supported: spec.none",
            };
            assert_eq!(parsed(row, "spec.none=x").unwrap_err(), expected, "{}", row.kind);
            let by_namespace = parsed(row, "metadata.namespace=x");
            let knows = row.is_namespaced() || row.selectable_fields.is_empty();
            assert_eq!(by_namespace.is_ok(), knows, "{}: {by_namespace:?}", row.kind);
        }
    }

    #[test]
    fn the_documented_fields_are_all_there() {
        let documented = [
            ("", "pods", "spec.nodeName spec.restartPolicy spec.schedulerName spec.serviceAccountName"),
            ("", "pods", "spec.hostNetwork status.phase status.podIP status.nominatedNodeName"),
            (
                "",
                "events",
                "involvedObject.kind involvedObject.namespace involvedObject.name involvedObject.uid",
            ),
            (
                "",
                "events",
                "involvedObject.apiVersion involvedObject.resourceVersion involvedObject.fieldPath",
            ),
            ("", "events", "reason reportingComponent source type"),
            (
                "events.k8s.io",
                "events",
                "regarding.kind regarding.name regarding.uid reportingController reason",
            ),
            ("", "secrets", "type"),
            ("", "namespaces", "status.phase"),
            ("", "replicationcontrollers", "status.replicas"),
            ("", "nodes", "spec.unschedulable"),
            ("", "services", "spec.clusterIP spec.type"),
            ("apps", "replicasets", "status.replicas"),
            ("batch", "jobs", "status.successful"),
            ("certificates.k8s.io", "certificatesigningrequests", "spec.signerName"),
            ("resource.k8s.io", "resourceslices", "spec.nodeName spec.driver"),
        ];
        for (group, plural, fields) in documented {
            let row = kinds::by_resource(group, "v1", plural).unwrap();
            for field in fields.split(' ') {
                assert!(row.selectable_fields.iter().any(|name| name == field), "{plural} {field}");
            }
        }
    }
}
