//! The spec of a pod, alone or in a workload's template: defaults and rules.
//!
//! Owns: what a missing field means and what is wrong within one spec. Does not own: rules between objects.
//! Invariant: defaulting is idempotent, and a defaulted sound spec validates.

mod affinity;
mod container;
mod defaults;
mod ephemeral;
mod label_keys;
mod probe;
mod resources;
mod spread;
mod volumes;

pub(super) use affinity::node_selector;
pub(super) use defaults::default;
pub(super) use label_keys::merge as merge_label_keys;
pub(super) use resources::default_requests;
pub(crate) use resources::qos_class;

use super::value::{at, items, members, number, text};
use super::{meta, pod_gates};
use hako_error::FieldCause;
use hako_kube::{field, names};
use serde_json::Value;

/// One spec under validation: where it is, and the faults found so far.
struct Check<'a> {
    spec: &'a Value,
    path: String,
    causes: Vec<FieldCause>,
}

/// All faults of a pod's spec.
pub(super) fn validate_pod(pod: &Value) -> Vec<FieldCause> {
    match at(pod, &["spec"]) {
        Some(spec) => {
            let mut causes = validate(spec, "spec");
            causes.extend(pod_gates::validate_node(pod));
            causes
        }
        None => vec![field::required("spec.containers", "")],
    }
}

/// All faults of a workload's template, whatever its pods are for.
pub(super) fn validate_template(template: &Value, path: &str) -> Vec<FieldCause> {
    let mut causes = Vec::new();
    meta::labels(template, &["metadata", "labels"], &field::child(path, "labels"), &mut causes);
    meta::annotations(template, &field::child(path, "annotations"), &mut causes);
    let path = field::child(path, "spec");
    let Some(spec) = at(template, &["spec"]) else {
        causes.push(field::required(field::child(&path, "containers"), ""));
        return causes;
    };
    causes.extend(validate(spec, &path));
    if !items(spec, &["ephemeralContainers"]).is_empty() {
        let path = field::child(&path, "ephemeralContainers");
        causes.push(field::forbidden(path, "ephemeral containers not allowed in pod template"));
    }
    causes
}

/// Faults of a template whose pods should run for ever, of a kind as its messages name it.
pub(super) fn keeps_running(template: &Value, path: &str, owner: &str) -> Vec<FieldCause> {
    let (mut causes, path) = (Vec::new(), field::child(path, "spec"));
    let policy = text(template, &["spec", "restartPolicy"]);
    if policy != "Always" && !policy.is_empty() {
        causes.push(field::not_supported(field::child(&path, "restartPolicy"), policy, &["Always"]));
    }
    if at(template, &["spec", "activeDeadlineSeconds"]).is_some() {
        let path = field::child(&path, "activeDeadlineSeconds");
        causes.push(field::forbidden(path, &format!("activeDeadlineSeconds in {owner} is not Supported")));
    }
    causes
}

/// All faults of the limits and requests of something like a container.
pub(super) fn validate_resources(container: &Value, path: &str) -> Vec<FieldCause> {
    let mut check = Check { spec: container, path: path.to_owned(), causes: Vec::new() };
    check.resources_at(container, path);
    check.causes
}

/// All faults of the tolerations of something like a pod's spec.
pub(super) fn validate_tolerations(spec: &Value, path: &str) -> Vec<FieldCause> {
    let mut check = Check { spec, path: path.to_owned(), causes: Vec::new() };
    check.tolerations();
    check.causes
}

fn validate(spec: &Value, path: &str) -> Vec<FieldCause> {
    let mut check = Check { spec, path: path.to_owned(), causes: Vec::new() };
    check.volumes();
    check.containers();
    check.enums();
    check.numbers();
    check.names();
    check.tolerations();
    check.affinity();
    check.spread();
    let gates = check.child("schedulingGates");
    check.causes.extend(pod_gates::validate(spec, &gates));
    check.causes
}

impl Check<'_> {
    fn child(&self, name: &str) -> String {
        field::child(&self.path, name)
    }

    fn enums(&mut self) {
        self.one_of(self.spec, &["restartPolicy"], &["Always", "Never", "OnFailure"], true);
        self.one_of(
            self.spec,
            &["dnsPolicy"],
            &["ClusterFirst", "ClusterFirstWithHostNet", "Default", "None"],
            true,
        );
        self.one_of(self.spec, &["preemptionPolicy"], &["Never", "PreemptLowerPriority"], false);
        let is_host = at(self.spec, &["hostNetwork"]) == Some(&Value::Bool(true));
        if !is_host {
            return;
        }
        for (index, container) in items(self.spec, &["containers"]).iter().enumerate() {
            for (at, port) in items(container, &["ports"]).iter().enumerate() {
                let (inner, host) = (number(port, &["containerPort"]), number(port, &["hostPort"]));
                if host.is_some_and(|host| host != 0) && inner != host {
                    let path = field::index(&self.child("containers"), index);
                    let path = field::index(&field::child(&path, "ports"), at);
                    self.causes.push(field::invalid(
                        field::child(&path, "containerPort"),
                        inner,
                        "must match `hostPort` when `hostNetwork` is true",
                    ));
                }
            }
        }
    }

    /// A fault where a text is none of those allowed, or missing though required.
    fn one_of(&mut self, object: &Value, path: &[&str], allowed: &[&str], is_required: bool) {
        let shown = field::child(&self.path, &path.join("."));
        match text(object, path) {
            "" if is_required => self.causes.push(field::required(shown, "")),
            "" => {}
            value if allowed.contains(&value) => {}
            other => self.causes.push(field::not_supported(shown, other, allowed)),
        }
    }

    fn numbers(&mut self) {
        const MAX: i64 = i32::MAX as i64;
        if let Some(seconds) = number(self.spec, &["terminationGracePeriodSeconds"])
            && seconds < 0
        {
            let path = self.child("terminationGracePeriodSeconds");
            self.causes.push(field::invalid(path, seconds, "must be greater than or equal to 0"));
        }
        if let Some(seconds) = number(self.spec, &["activeDeadlineSeconds"])
            && !(1..=MAX).contains(&seconds)
        {
            let path = self.child("activeDeadlineSeconds");
            self.causes.push(field::invalid(path, seconds, "must be between 1 and 2147483647, inclusive"));
        }
        for name in ["runAsUser", "runAsGroup", "fsGroup"] {
            if let Some(id) = number(self.spec, &["securityContext", name])
                && !(0..=MAX).contains(&id)
            {
                let path = field::child(&self.child("securityContext"), name);
                self.causes.push(field::invalid(path, id, "must be between 0 and 2147483647, inclusive"));
            }
        }
    }

    fn names(&mut self) {
        meta::labels(self.spec, &["nodeSelector"], &self.child("nodeSelector"), &mut self.causes);
        type Syntax = fn(&str) -> Vec<String>;
        let checks: [(&str, Syntax); 5] = [
            ("serviceAccountName", names::dns_subdomain),
            ("nodeName", names::dns_subdomain),
            ("hostname", names::dns_label),
            ("subdomain", names::dns_label),
            ("schedulerName", names::qualified_name),
        ];
        for (name, syntax) in checks {
            let value = text(self.spec, &[name]);
            if !value.is_empty() {
                let path = self.child(name);
                let of = |fault: String| field::invalid(&path, value, &fault);
                self.causes.extend(syntax(value).into_iter().map(of));
            }
        }
        for (index, secret) in items(self.spec, &["imagePullSecrets"]).iter().enumerate() {
            if text(secret, &["name"]).is_empty() {
                let path = field::index(&self.child("imagePullSecrets"), index);
                self.causes.push(field::required(field::child(&path, "name"), ""));
            }
        }
    }

    fn tolerations(&mut self) {
        for (index, toleration) in items(self.spec, &["tolerations"]).iter().enumerate() {
            let path = field::index(&self.child("tolerations"), index);
            let get = |name: &str| text(toleration, &[name]);
            let (key, operator, value, effect) = (get("key"), get("operator"), get("value"), get("effect"));
            if !key.is_empty() {
                let of = |fault: String| field::invalid(field::child(&path, "key"), key, &fault);
                self.causes.extend(names::qualified_name(key).into_iter().map(of));
            } else if operator != "Exists" {
                self.causes.push(field::invalid(
                    field::child(&path, "operator"),
                    operator,
                    "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
                ));
            }
            match operator {
                "Exists" if !value.is_empty() => self.causes.push(field::invalid(
                    field::child(&path, "operator"),
                    operator,
                    "value must be empty when `operator` is 'Exists'",
                )),
                "Exists" => {}
                "" | "Equal" => {
                    let of = |fault: String| field::invalid(field::child(&path, "operator"), value, &fault);
                    self.causes.extend(names::label_value(value).into_iter().map(of));
                }
                other => self.causes.push(field::not_supported(
                    field::child(&path, "operator"),
                    other,
                    &["Equal", "Exists"],
                )),
            }
            if toleration.get("tolerationSeconds").is_some_and(|it| !it.is_null()) && effect != "NoExecute" {
                self.causes.push(field::invalid(
                    field::child(&path, "effect"),
                    effect,
                    "effect must be 'NoExecute' when `tolerationSeconds` is set",
                ));
            }
            if !matches!(effect, "" | "NoSchedule" | "PreferNoSchedule" | "NoExecute") {
                self.causes.push(field::not_supported(
                    field::child(&path, "effect"),
                    effect,
                    &["NoExecute", "NoSchedule", "PreferNoSchedule"],
                ));
            }
        }
    }

    /// Faults of the labels or keys of an object's member.
    fn key_path(&mut self, items_of: &Value, path: &str) {
        for (index, item) in items(items_of, &["items"]).iter().enumerate() {
            let path = field::index(&field::child(path, "items"), index);
            for name in ["key", "path"] {
                if text(item, &[name]).is_empty() {
                    self.causes.push(field::required(field::child(&path, name), ""));
                }
            }
            local_path(text(item, &["path"]), &field::child(&path, "path"), &mut self.causes);
        }
    }
}

/// A path inside a volume stays inside.
fn local_path(path: &str, shown: &str, causes: &mut Vec<FieldCause>) {
    if path.starts_with('/') {
        causes.push(field::invalid(shown, path, "must be a relative path"));
    }
    if path.split('/').any(|part| part == "..") {
        causes.push(field::invalid(shown, path, "must not contain '..'"));
    }
}

/// The names of the members that are set, of those given.
fn set_members<'a>(object: &'a Value, known: &[&str]) -> Vec<&'a str> {
    members(object, &[])
        .filter(|(name, value)| known.contains(&name.as_str()) && !value.is_null())
        .map(|(name, _)| name.as_str())
        .collect()
}
