//! What blocks a namespace's end, and the conditions that say so. Pure.

use crate::conditions;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use serde_json::Value;
use std::collections::BTreeMap;

/// What is still in a namespace, and why.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Remains {
    /// Objects by `PLURAL.GROUP`.
    pub counts: BTreeMap<String, usize>,
    /// Objects by the finalizer they wait for.
    pub finalizers: BTreeMap<String, usize>,
    /// Groups and versions that may have content and do not answer.
    pub undiscovered: Vec<String>,
    /// What failed of listing and deleting.
    pub failures: Vec<String>,
}

/// Its type, the reason and message as long as it holds, and those as long as it does not.
type Condition = (&'static str, Option<(&'static str, String)>, &'static str, &'static str);

impl Remains {
    pub(super) fn is_nothing(&self) -> bool {
        self.counts.is_empty() && self.undiscovered.is_empty() && self.failures.is_empty()
    }

    pub(super) fn count(&mut self, plural: &str, group: &str, items: &[Value]) {
        self.counts.insert(format!("{plural}.{group}"), items.len());
        let finalizers = items.iter().filter_map(|item| item["metadata"]["finalizers"].as_array()).flatten();
        for finalizer in finalizers.filter_map(Value::as_str) {
            *self.finalizers.entry(finalizer.to_owned()).or_default() += 1;
        }
    }

    /// The state of each condition: its reason and message as long as it holds, then as long as it does not.
    fn conditions(&self) -> [Condition; 5] {
        let when =
            |is: bool, reason: &'static str, message: &dyn Fn() -> String| is.then(|| (reason, message()));
        let list = |all: &BTreeMap<String, usize>, word: &str| {
            let one = |(name, count): (&String, &usize)| format!("{name} {word} {count} resource instances");
            all.iter().map(one).collect::<Vec<_>>().join(", ")
        };
        let (undiscovered, failures) = (&self.undiscovered, &self.failures);
        [
            (
                "NamespaceDeletionDiscoveryFailure",
                when(!undiscovered.is_empty(), "DiscoveryFailed", &|| {
                    format!(
                        "Discovery failed for some groups, {} failing: unable to retrieve the complete list of server APIs: {}",
                        undiscovered.len(),
                        undiscovered.join(", ")
                    )
                }),
                "ResourcesDiscovered",
                "All resources successfully discovered",
            ),
            (
                "NamespaceDeletionGroupVersionParsingFailure",
                None,
                "ParsedGroupVersions",
                "All legacy kube types successfully parsed",
            ),
            (
                "NamespaceDeletionContentFailure",
                when(!failures.is_empty(), "ContentDeletionFailed", &|| {
                    format!(
                        "Failed to delete all resource types, {} remaining: {}",
                        failures.len(),
                        failures.join(", ")
                    )
                }),
                "ContentDeleted",
                "All content successfully deleted, may be waiting on finalization",
            ),
            (
                "NamespaceContentRemaining",
                when(!self.counts.is_empty(), "SomeResourcesRemain", &|| {
                    format!("Some resources are remaining: {}", list(&self.counts, "has"))
                }),
                "ContentRemoved",
                "All content successfully removed",
            ),
            (
                "NamespaceFinalizersRemaining",
                when(!self.finalizers.is_empty(), "SomeFinalizersRemain", &|| {
                    format!(
                        "Some content in the namespace has finalizers remaining: {}",
                        list(&self.finalizers, "in")
                    )
                }),
                "ContentHasNoFinalizers",
                "All content-preserving finalizers finished",
            ),
        ]
    }
}

/// Says in the conditions what the namespace waits for; whether that is news.
pub(super) fn report(namespace: &mut Namespace, remains: &Remains) -> bool {
    let mut changed = false;
    for (kind, holds, reason, message) in remains.conditions() {
        let status = if holds.is_some() { "True" } else { "False" };
        let (reason, message) = holds.unwrap_or_else(|| (reason, message.to_owned()));
        changed |= set_condition(namespace, kind, status, reason, message);
    }
    changed
}

fn set_condition(namespace: &mut Namespace, kind: &str, status: &str, reason: &str, message: String) -> bool {
    let all = namespace.status.get_or_insert_default().conditions.get_or_insert_default();
    let old = all.iter().position(|condition| condition.type_ == kind);
    let since =
        old.filter(|at| all[*at].status == status).and_then(|at| all[at].last_transition_time.clone());
    let condition = NamespaceCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message),
        last_transition_time: Some(since.unwrap_or_else(conditions::now)),
    };
    match old {
        Some(at) if all[at] == condition => false,
        Some(at) => {
            all[at] = condition;
            true
        }
        None => {
            all.push(condition);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blocks_a_namespace_is_said_once() {
        let mut namespace = Namespace::default();
        let remains = Remains {
            counts: [("pods.".to_owned(), 2), ("things.example.com".to_owned(), 1)].into(),
            finalizers: [("x/y".to_owned(), 1)].into(),
            undiscovered: vec!["metrics.k8s.io/v1: no answer".to_owned()],
            failures: vec!["no".to_owned()],
        };
        assert!(report(&mut namespace, &remains));
        assert!(!report(&mut namespace, &remains));
        let conditions = namespace.status.clone().unwrap().conditions.unwrap();
        let said: Vec<(&str, &str, &str)> = conditions
            .iter()
            .map(|one| (one.type_.as_str(), one.status.as_str(), one.message.as_deref().unwrap()))
            .collect();
        assert_eq!(
            said,
            [
                (
                    "NamespaceDeletionDiscoveryFailure",
                    "True",
                    "Discovery failed for some groups, 1 failing: unable to retrieve the complete list of server APIs: metrics.k8s.io/v1: no answer"
                ),
                (
                    "NamespaceDeletionGroupVersionParsingFailure",
                    "False",
                    "All legacy kube types successfully parsed"
                ),
                (
                    "NamespaceDeletionContentFailure",
                    "True",
                    "Failed to delete all resource types, 1 remaining: no"
                ),
                (
                    "NamespaceContentRemaining",
                    "True",
                    "Some resources are remaining: pods. has 2 resource instances, things.example.com has 1 resource instances"
                ),
                (
                    "NamespaceFinalizersRemaining",
                    "True",
                    "Some content in the namespace has finalizers remaining: x/y in 1 resource instances"
                ),
            ]
        );
        assert!(report(&mut namespace, &Remains::default()));
        assert!(namespace.status.unwrap().conditions.unwrap().iter().all(|one| one.status == "False"));
    }
}
