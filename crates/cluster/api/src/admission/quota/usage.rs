//! Which writes are counted, and what pods have to say because they are.

use std::collections::{BTreeMap, BTreeSet};

use hako_kube::quota::{self, Resource};
use serde_json::Value;

use crate::admission::amounts::Amounts;
use crate::admission::plugin::{Change, Operation, items, text};

/// Counts the objects of one kind.
#[derive(Clone, Copy, Debug)]
pub(super) struct Evaluator<'a> {
    resource: Resource<'a>,
}

const POD: Resource<'static> = ("", "pods");
const CLAIM: Resource<'static> = ("", "persistentvolumeclaims");
const SERVICE: Resource<'static> = ("", "services");

impl<'a> Evaluator<'a> {
    /// None for writes that are not counted.
    pub(super) fn of(change: &Change<'a>) -> Option<Self> {
        let row = &*change.target.row;
        let resource = (&*row.group, &*row.plural);
        if matches!(resource, ("" | "events.k8s.io", "events")) {
            return None;
        }
        let is_counted = match change.operation {
            Operation::Create => change.part.is_empty(),
            Operation::Update if resource == POD => change.part == "resize",
            Operation::Update => matches!(resource, SERVICE | CLAIM) && change.part.is_empty(),
            Operation::Delete | Operation::Connect => false,
        };
        (is_counted && row.is_namespaced() && row.question.is_none()).then_some(Self { resource })
    }

    /// Whether objects of the kind may use what a quota names.
    pub(super) fn counts(self, name: &str) -> bool {
        quota::counted_by(name) == Some(self.resource)
    }

    /// Whether an object is in all scopes of a quota.
    pub(super) fn is_selected(self, quota: &Value, object: &Value) -> bool {
        quota::is_selected(&quota["spec"], self.resource, object)
    }

    /// What an object uses.
    pub(super) fn usage(self, object: &Value) -> Amounts {
        quota::usage(self.resource, object)
    }

    /// What containers have to say because a quota counts it, and do not.
    pub(super) fn unsaid(self, counted: &[&str], object: &Value) -> Option<String> {
        if self.resource != POD {
            return None;
        }
        let of = |name: &str| match name.split_once('.') {
            Some(("requests", bare @ ("cpu" | "memory"))) => Some(("requests", bare.to_owned())),
            Some(("limits", bare @ ("cpu" | "memory"))) => Some(("limits", bare.to_owned())),
            None if matches!(name, "cpu" | "memory") => Some(("requests", name.to_owned())),
            _ => None,
        };
        let mut missing: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
        let containers = ["/spec/containers", "/spec/initContainers"].map(|list| items(object, list));
        for container in containers.iter().flat_map(|list| list.iter()) {
            for name in counted {
                let Some((kind, bare)) = of(name) else { continue };
                if container["resources"][kind].get(&bare).is_none() {
                    missing.entry(*name).or_default().insert(text(container, "/name"));
                }
            }
        }
        let texts = missing
            .into_iter()
            .map(|(name, of)| format!("{name} for: {}", of.into_iter().collect::<Vec<_>>().join(",")));
        let texts: Vec<String> = texts.collect();
        (!texts.is_empty()).then(|| format!("must specify {}", texts.join("; ")))
    }
}
