//! What a namespace's pods would be told if they were made now.

use std::collections::BTreeMap;

use serde_json::Value;

use super::checks::{Subject, violations};
use super::policy::LevelVersion;
use super::{Change, items, text};

/// Pods that are looked at; a namespace with more is told so.
const PODS_MAX: usize = 3000;

/// Warns of pods that the level does not allow. Those of one owner are alike, so one is named for all.
pub(super) fn warn(change: &Change<'_>, pods: &[Value], by: LevelVersion) {
    let mut found: BTreeMap<(String, String), Vec<&str>> = BTreeMap::new();
    let mut order = Vec::new();
    for pod in pods.iter().take(PODS_MAX) {
        let reasons: Vec<String> =
            violations(&Subject::of(pod), by).into_iter().map(|it| it.reason).collect();
        if reasons.is_empty() {
            continue;
        }
        let owner = items(pod, "/metadata/ownerReferences").iter().find(|it| it["controller"] == true);
        let name = text(pod, "/metadata/name");
        let owner = owner.map_or(format!("/{name}"), |it| text(it, "/uid").to_owned());
        let key = (owner, reasons.join(", "));
        if !found.contains_key(&key) {
            order.push(key.clone());
        }
        found.entry(key).or_default().push(name);
    }
    if pods.len() > PODS_MAX {
        let (all, name) = (pods.len(), &change.target.name);
        change.notes.warn(format!(
            "new PodSecurity enforce level only checked against the first {PODS_MAX} of {all} existing pods in {name:?}"
        ));
    }
    if order.is_empty() {
        return;
    }
    let name = &change.target.name;
    change.notes.warn(format!(
        "existing pods in namespace {name:?} violate the new PodSecurity enforce level \"{by}\""
    ));
    for key in order {
        let names = &found[&key];
        let others = match names.len() - 1 {
            0 => String::new(),
            1 => " (and 1 other pod)".to_owned(),
            count => format!(" (and {count} other pods)"),
        };
        change.notes.warn(format!("{}{others}: {}", names[0], key.1));
    }
}
