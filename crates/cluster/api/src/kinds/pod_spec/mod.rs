//! The spec of a pod, alone or in a workload's template: defaults and rules.
//!
//! Owns: what a missing field means and what is wrong within one spec. Does not own: rules between objects.
//! Invariant: defaulting is idempotent, and a defaulted sound spec validates.

mod affinity;
mod beside;
mod claims;
mod container;
mod defaults;
mod dns;
mod env;
mod ephemeral;
mod files;
mod label_keys;
mod mounts;
mod probe;
mod profiles;
mod projected;
mod resources;
mod restart;
mod security;
mod spread;
mod tolerations;
mod volumes;
mod whole;
mod windows;

pub(super) use affinity::node_selector;
pub(super) use defaults::{default, default_host_ports};
pub(super) use label_keys::merge as merge_label_keys;
pub(super) use probe::port;
pub(crate) use resources::qos_class;
pub(super) use resources::{default_requests, default_resize_policy};
pub(super) use security::id;
pub(super) use whole::default as default_whole;

use super::place::{Faults, Place};
use super::value::{at, members, text};
use super::{meta, pod_annotations, pod_gates};
use hako_kube::{field, names};
use serde_json::Value;

/// Whose spec it is: a pod is held to more than a template, and knows its name.
#[derive(Clone, Copy, Debug, Default)]
struct Owner<'a> {
    is_pod: bool,
    /// The pod's name, empty in a template.
    pod: &'a str,
    /// The pod's account, empty where it has none.
    account: &'a str,
}

/// One spec under validation: where it is, and the faults found so far.
struct Check<'a> {
    spec: &'a Value,
    path: String,
    causes: Faults,
}

/// All faults of a pod's spec and of the annotations that are about it.
pub(super) fn validate_pod(pod: &Value) -> Faults {
    let (whole, mut causes) = (Place::of(pod), Faults::new());
    let spec = whole.at(&["spec"]);
    if !spec.is_set() {
        return Faults::from([field::required("spec.containers", "")]);
    }
    let metadata = whole.at(&["metadata"]);
    pod_annotations::validate(&metadata, &spec, &metadata.at(&["annotations"]).path(), &mut causes);
    let owner = Owner {
        is_pod: true,
        pod: metadata.at(&["name"]).text(),
        account: spec.at(&["serviceAccountName"]).text(),
    };
    causes.extend(validate(&spec, owner));
    causes.extend(pod_gates::validate_node(pod));
    causes
}

/// All faults of a workload's template, whatever its pods are for.
pub(super) fn validate_template(template: &Value, path: &str) -> Faults {
    let mut causes = Faults::new();
    let annotations = field::child(path, "annotations");
    meta::labels(template, &["metadata", "labels"], &field::child(path, "labels"), &mut causes);
    meta::annotations(template, &annotations, &mut causes);
    let whole = Place::shown(template, path);
    let (metadata, spec) = (whole.at(&["metadata"]), whole.at(&["spec"]));
    if !spec.is_set() {
        causes.push(spec.at(&["containers"]).required(""));
        return causes;
    }
    pod_annotations::validate(&metadata, &spec, &annotations, &mut causes);
    causes.extend(validate(&spec, Owner::default()));
    profiles::agree(&metadata, &spec, &mut causes);
    let ephemeral = spec.at(&["ephemeralContainers"]);
    if !ephemeral.is_empty() {
        causes.push(ephemeral.forbidden("ephemeral containers not allowed in pod template"));
    }
    causes
}

/// Faults of profiles that a new pod names twice and differently.
pub(super) fn profiles_agree(pod: &Value) -> Faults {
    let (whole, mut faults) = (Place::of(pod), Faults::new());
    profiles::agree(&whole.at(&["metadata"]), &whole.at(&["spec"]), &mut faults);
    faults
}

/// Faults of the annotations of a pod or template that name profiles.
pub(super) fn profile_annotations(metadata: &Place<'_>, spec: &Place<'_>, path: &str, faults: &mut Faults) {
    profiles::annotations(metadata, spec, path, faults);
}

/// Faults of a template whose pods should run for ever, of a kind as its messages name it.
pub(super) fn keeps_running(template: &Value, path: &str, owner: &str) -> Faults {
    let (mut causes, path) = (Faults::new(), field::child(path, "spec"));
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
pub(super) fn validate_resources(container: &Value, path: &str) -> Faults {
    let resources = Place::shown(&container["resources"], path);
    let mut faults = Faults::new();
    resources::validate(&resources, resources::Of::Container, &mut faults);
    faults
}

/// All faults of the tolerations of something like a pod's spec.
pub(super) fn validate_tolerations(spec: &Value, path: &str) -> Faults {
    let (spec, mut faults) = (Place::shown(spec, path), Faults::new());
    tolerations::validate(&spec.at(&["tolerations"]), &mut faults);
    faults
}

fn validate(spec: &Place<'_>, owner: Owner<'_>) -> Faults {
    let mut faults = Faults::new();
    volumes::validate(&spec.at(&["volumes"]), owner, &mut faults);
    claims::of_pod(&spec.at(&["resourceClaims"]), &mut faults);
    container::validate(spec, owner, &mut faults);
    whole::validate(spec, &mut faults);
    host_ports(spec, owner, &mut faults);
    choices(spec, &mut faults);
    security::pod(spec, &mut faults);
    dns::resolver(spec, &mut faults);
    for gate in spec.at(&["readinessGates"]).items() {
        gate.at(&["conditionType"]).check(names::qualified_name, &mut faults);
    }
    windows::host_process(spec, &mut faults);
    windows::host_users(spec, &mut faults);
    identifiers(spec, &mut faults);
    dns::hostname(spec, &mut faults);
    dns::host_aliases(&spec.at(&["hostAliases"]), &mut faults);
    let overhead = spec.at(&["overhead"]);
    if overhead.is_set() {
        let limits = serde_json::json!({ "resources": { "limits": overhead.value } });
        faults.extend(validate_resources(&limits, &overhead.path()));
    }
    windows::system(spec, &mut faults);
    tolerations::validate(&spec.at(&["tolerations"]), &mut faults);
    let mut check = Check { spec: spec.value, path: spec.path(), causes: faults };
    check.affinity();
    check.spread();
    check.causes.extend(pod_gates::validate(spec.value, &spec.at(&["schedulingGates"]).path()));
    check.causes
}

/// On the host's network a port is the host's.
fn host_ports(spec: &Place<'_>, owner: Owner<'_>, faults: &mut Faults) {
    if !spec.at(&["hostNetwork"]).is_true() {
        return;
    }
    let ports = spec.at(&["containers"]).items().flat_map(|it| it.at(&["ports"]).items());
    for port in ports {
        let (inner, host) = (port.at(&["containerPort"]).number(), port.at(&["hostPort"]));
        if (owner.is_pod || host.number() != 0) && inner != host.number() {
            faults.push(host.invalid_number("must match `containerPort` when `hostNetwork` is true"));
        }
    }
}

fn choices(spec: &Place<'_>, faults: &mut Faults) {
    let required: [(&str, &[&str]); 2] = [
        ("restartPolicy", &["Always", "OnFailure", "Never"]),
        ("dnsPolicy", &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"]),
    ];
    for (name, allowed) in required {
        let choice = spec.at(&[name]);
        if choice.is_empty() {
            faults.push(choice.required(""));
        } else {
            choice.one_of(allowed, faults);
        }
    }
    spec.at(&["preemptionPolicy"]).one_of_given(&["PreemptLowerPriority", "Never"], faults);
    let (grace, deadline) =
        (spec.at(&["terminationGracePeriodSeconds"]), spec.at(&["activeDeadlineSeconds"]));
    grace.not_negative(faults);
    if deadline.is_set() && !(1..=i64::from(i32::MAX)).contains(&deadline.number()) {
        faults.push(deadline.invalid("must be between 1 and 2147483647, inclusive"));
    }
}

fn identifiers(spec: &Place<'_>, faults: &mut Faults) {
    let selector = spec.at(&["nodeSelector"]);
    meta::labels(spec.value, &["nodeSelector"], &selector.path(), faults);
    for name in ["serviceAccountName", "nodeName", "priorityClassName"] {
        spec.at(&[name]).check_given(names::dns_subdomain, faults);
    }
    let class = spec.at(&["runtimeClassName"]);
    if class.is_set() {
        class.check(names::dns_subdomain, faults);
    }
}

/// Whether a pod's users are the host's.
fn has_host_users(spec: &Place<'_>) -> bool {
    spec.at(&["hostUsers"]).value != &Value::Bool(false)
}

/// The containers of every list, in the order in which they start.
fn all_containers<'a>(spec: &Place<'a>) -> Vec<Place<'a>> {
    let lists = ["initContainers", "containers", "ephemeralContainers"];
    lists.iter().flat_map(|list| spec.at(&[list]).items()).collect()
}

impl Check<'_> {
    fn child(&self, name: &str) -> String {
        field::child(&self.path, name)
    }
}

/// A path inside a volume stays inside.
fn local_path(path: &Place<'_>, causes: &mut Faults) {
    if path.text().starts_with('/') {
        causes.push(path.invalid("must be a relative path"));
    }
    if path.text().split('/').any(|part| part == "..") {
        causes.push(path.invalid("must not contain '..'"));
    }
}

/// A path inside a volume that leaves alone what the volume itself keeps there.
fn non_reserved_path(path: &Place<'_>, causes: &mut Faults) {
    local_path(path, causes);
    if path.text().starts_with("..") && path.text() != ".." && !path.text().starts_with("../") {
        causes.push(path.invalid("must not start with '..'"));
    }
}

/// The names of the members that are set, of those given.
fn set_members<'a>(object: &'a Value, known: &[&str]) -> Vec<&'a str> {
    members(object, &[])
        .filter(|(name, value)| known.contains(&name.as_str()) && !value.is_null())
        .map(|(name, _)| name.as_str())
        .collect()
}
