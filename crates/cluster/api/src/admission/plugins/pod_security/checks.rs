//! The checks as rows, and what they share.

use serde_json::Value;

use super::policy::{Level, LevelVersion, Version};
use super::{baseline, items, restricted, text};

/// What a pod, or a template of pods, does that its level does not allow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Violation {
    pub reason: String,
    pub detail: String,
}

/// A pod, or a template of pods.
pub(super) struct Subject<'a> {
    pub object: &'a Value,
    /// All its containers, in the order that messages name them in.
    pub containers: Vec<&'a Value>,
}

/// One check of the standards.
pub(super) struct Check {
    pub level: Level,
    /// Since which minor version it holds.
    pub since: u32,
    /// Since which one a check of the restricted level says the same and more.
    pub replaced: Option<u32>,
    pub find: fn(&Subject<'_>, Version) -> Option<Violation>,
}

impl Check {
    pub(super) const fn baseline(find: fn(&Subject<'_>, Version) -> Option<Violation>) -> Self {
        Self { level: Level::Baseline, since: 0, replaced: None, find }
    }

    pub(super) const fn restricted(find: fn(&Subject<'_>, Version) -> Option<Violation>) -> Self {
        Self { level: Level::Restricted, since: 0, replaced: None, find }
    }

    pub(super) const fn since(self, since: u32) -> Self {
        Self { since, ..self }
    }

    pub(super) const fn replaced(self, since: u32) -> Self {
        Self { replaced: Some(since), ..self }
    }

    fn applies(&self, to: LevelVersion) -> bool {
        let is_replaced = to.level == Level::Restricted
            && self.replaced.is_some_and(|since| to.version >= Version::Minor(since));
        self.level <= to.level && to.version >= Version::Minor(self.since) && !is_replaced
    }
}

/// All that a level does not allow, in upstream's order.
pub(super) fn violations(pod: &Subject<'_>, by: LevelVersion) -> Vec<Violation> {
    let all = baseline::CHECKS.iter().chain(restricted::CHECKS);
    all.filter(|check| check.applies(by)).filter_map(|check| (check.find)(pod, by.version)).collect()
}

impl<'a> Subject<'a> {
    pub(super) fn of(object: &'a Value) -> Self {
        let lists = ["/spec/initContainers", "/spec/containers", "/spec/ephemeralContainers"];
        Self { object, containers: lists.iter().flat_map(|list| items(object, list)).collect() }
    }

    /// A field of the pod's security context.
    pub(super) fn security(&self, pointer: &str) -> Option<&'a Value> {
        self.object.pointer(&format!("/spec/securityContext{pointer}"))
    }

    /// Names of the containers of which something is so.
    pub(super) fn which(&self, is_so: impl Fn(&Value) -> bool) -> Vec<String> {
        let found = self.containers.iter().filter(|it| is_so(it));
        found.map(|it| text(it, "/name").to_owned()).collect()
    }

    pub(super) fn is_windows(&self, version: Version) -> bool {
        version >= Version::Minor(25) && text(self.object, "/spec/os/name") == "windows"
    }

    /// Whether root inside is nobody outside.
    pub(super) fn has_own_users(&self, version: Version) -> bool {
        version >= Version::Minor(35) && self.object.pointer("/spec/hostUsers") == Some(&Value::Bool(false))
    }
}

/// A field of a container's security context.
pub(super) fn security<'a>(container: &'a Value, pointer: &str) -> Option<&'a Value> {
    container.pointer(&format!("/securityContext{pointer}"))
}

pub(super) fn violation(reason: &str, detail: String) -> Option<Violation> {
    Some(Violation { reason: reason.to_owned(), detail })
}

/// `"a", "b"`.
pub(super) fn quoted<'a>(names: impl IntoIterator<Item = &'a String>) -> String {
    names.into_iter().map(|name| format!("{name:?}")).collect::<Vec<_>>().join(", ")
}

pub(super) fn plural<'a>(one: &'a str, many: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { many }
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn containers(names: &[String]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// `pod and container "a"`: who set something.
pub(super) fn setters(is_pod: bool, names: &[String]) -> Option<String> {
    let mut all = Vec::new();
    if is_pod {
        all.push("pod".to_owned());
    }
    if !names.is_empty() {
        all.push(containers(names));
    }
    (!all.is_empty()).then(|| all.join(" and "))
}
