//! Which requests a webhook or policy is about.

use super::{Faults, MATCH_POLICIES, Place, place};
use crate::kinds::value::{each_mut, set_default};
use hako_kube::field;
use serde_json::{Map, Value, json};
use std::collections::HashSet;

const OPERATIONS: &[&str] = &["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: &[&str] = &["*", "Cluster", "Namespaced"];

/// A rule is about objects in and out of namespaces.
pub(super) fn default(owner: &mut Map<String, Value>, list: &str) {
    for rule in each_mut(owner, list) {
        set_default(rule, "scope", "*");
    }
}

/// The defaults of what a policy or binding matches.
pub(super) fn default_resources(owner: &mut Map<String, Value>, name: &str) {
    if let Some(resources) = owner.get_mut(name).and_then(Value::as_object_mut) {
        set_default(resources, "matchPolicy", "Equivalent");
        set_default(resources, "namespaceSelector", json!({}));
        set_default(resources, "objectSelector", json!({}));
        default(resources, "resourceRules");
        default(resources, "excludeResourceRules");
    }
}

/// Faults of what a policy or binding matches.
pub(super) fn resources(resources: &Place<'_>, faults: &mut Faults) {
    if !resources.is_set() {
        return;
    }
    resources.at(&["matchPolicy"]).one_of(MATCH_POLICIES, faults);
    for selector in ["namespaceSelector", "objectSelector"] {
        resources.at(&[selector]).selector(faults);
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for named in resources.at(&[list]).items() {
            let mut seen = HashSet::new();
            for name in named.at(&["resourceNames"]).items() {
                name.check(place::path_segment, faults);
                super::unique(&name, &mut seen, faults);
            }
            rule(&named, faults);
        }
    }
}

/// Only what is created or updated can be changed on its way.
pub(super) fn mutable(resources: &Place<'_>, faults: &mut Faults) {
    // Upstream names the list, not the one in it.
    let path = resources.at(&["resourceRules", "operations"]).path();
    for rule in resources.at(&["resourceRules"]).items() {
        for operation in rule.at(&["operations"]).items() {
            let named = Place::shown(operation.value, &path);
            named.one_of(&["CREATE", "UPDATE"], faults);
        }
    }
}

/// Faults of a rule.
pub(super) fn rule(rule: &Place<'_>, faults: &mut Faults) {
    let operations = rule.at(&["operations"]);
    some(&operations, "operations", faults);
    operations.items().for_each(|operation| operation.one_of(OPERATIONS, faults));
    some(&rule.at(&["apiGroups"]), "API groups", faults);
    let versions = rule.at(&["apiVersions"]);
    some(&versions, "API versions", faults);
    for version in versions.items().filter(|version| version.is_empty()) {
        faults.push(version.required(""));
    }
    named_resources(&rule.at(&["resources"]), faults);
    rule.at(&["scope"]).one_of_given(SCOPES, faults);
}

/// At least one, and nothing beside the one that means all.
fn some(list: &Place<'_>, what: &str, faults: &mut Faults) {
    let texts = list.texts();
    if texts.is_empty() {
        faults.push(list.required(""));
    } else if texts.len() > 1 && texts.contains(&"*") {
        faults.push(list.invalid(&format!("if '*' is present, must not specify other {what}")));
    }
}

/// `resource`, `resource/part`, and stars in either place, none of which another one covers.
fn named_resources(list: &Place<'_>, faults: &mut Faults) {
    let texts = list.texts();
    if texts.is_empty() {
        faults.push(list.required(""));
    }
    let (mut all_parts, mut all_owners): (HashSet<&str>, HashSet<&str>) = (HashSet::new(), HashSet::new());
    for entry in list.items() {
        let text = entry.text();
        if text.is_empty() {
            faults.push(entry.required(""));
        }
        let Some((resource, part)) = text.split_once('/') else { continue };
        let covered = |by: String| {
            field::invalid(entry.path(), text, &format!("if '{by}' is present, must not specify {text}"))
        };
        if all_parts.contains(resource) {
            faults.push(covered(format!("{resource}/*")));
        }
        if all_owners.contains(part) {
            faults.push(covered(format!("*/{part}")));
        }
        if part == "*" {
            all_parts.insert(resource);
        }
        if resource == "*" {
            all_owners.insert(part);
        }
    }
    if texts.len() > 1 && texts.contains(&"*/*") {
        faults.push(list.invalid("if '*/*' is present, must not specify other resources"));
    }
    let is_whole = |text: &&str| !text.contains('/') && *text != "*";
    if texts.contains(&"*") && texts.iter().any(is_whole) {
        let detail = "if '*' is present, must not specify other resources without subresources";
        faults.push(list.invalid(detail));
    }
}
