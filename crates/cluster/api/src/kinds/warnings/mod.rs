//! What is allowed and is most likely not meant: told to the writer, as upstream tells it, and not refused.

mod accounts;
mod definitions;
mod networks;
mod ports;
mod storage;
mod workloads;

pub(super) use accounts::{secret, service_account};
pub(super) use definitions::definition;
pub(super) use networks::{endpoint_slice, endpoints, network_policy, node, service};
pub(super) use storage::{capacity, claim, class, volume};
pub(super) use workloads::{cron_job, job, named, stateful_set};

use super::place::Place;
use hako_names::Quantity;
use serde_json::Value;
use std::collections::BTreeSet;

/// What is said, in the order in which it was found.
type Warnings = Vec<String>;

/// Labels of nodes that have other names now.
const OLD_LABELS: [(&str, &str); 8] = [
    ("beta.kubernetes.io/arch", "deprecated since v1.14; use \"kubernetes.io/arch\" instead"),
    ("beta.kubernetes.io/os", "deprecated since v1.14; use \"kubernetes.io/os\" instead"),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    ("node-role.kubernetes.io/master", "use \"node-role.kubernetes.io/control-plane\" instead"),
];
/// Annotations that nothing reads any more.
const OLD_ANNOTATIONS: [(&str, &str); 3] = [
    (
        "scheduler.alpha.kubernetes.io/critical-pod",
        "non-functional in v1.16+; use the \"priorityClassName\" field instead",
    ),
    ("security.alpha.kubernetes.io/sysctls", "non-functional in v1.11+; use the \"sysctls\" field instead"),
    (
        "security.alpha.kubernetes.io/unsafe-sysctls",
        "non-functional in v1.11+; use the \"sysctls\" field instead",
    ),
];
/// Sources of volumes that are there no more.
const OLD_VOLUMES: [(&str, &str); 9] = [
    ("photonPersistentDisk", "deprecated in v1.11, non-functional in v1.16+"),
    ("gitRepo", "deprecated in v1.11"),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];
const SECCOMP_OF_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_OF_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
const APPARMOR_OF_CONTAINER: &str = "container.apparmor.security.beta.kubernetes.io/";
const NO_SELECTOR: &str = "a null labelSelector results in matching no pod";
const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Of a new pod. Nobody is told of changes to one: programs make them.
pub(super) fn pod(new: &Value, old: Option<&Value>) -> Warnings {
    match old {
        None => {
            let mut out = workloads::name(new, None, "the Pod's hostname");
            out.extend(of_pod(&Place::of(new), false));
            out
        }
        Some(_) => Vec::new(),
    }
}

/// Of the template at this path, where it is new or has changed.
pub(super) fn template(new: &Value, old: Option<&Value>, path: &[&str]) -> Warnings {
    let template = Place::of(new).at(path);
    let is_as_before = old.is_some_and(|old| Place::of(old).at(path).value == template.value);
    if is_as_before { Vec::new() } else { of_pod(&template, true) }
}

/// Of the template of most workloads.
pub(super) fn workload(new: &Value, old: Option<&Value>) -> Warnings {
    template(new, old, &["spec", "template"])
}

/// Of an ingress.
pub(super) fn ingress(new: &Value, old: Option<&Value>) -> Warnings {
    const CLASS: &str = "kubernetes.io/ingress.class";
    let has_class = new.pointer("/metadata/annotations").is_some_and(|all| all.get(CLASS).is_some());
    if old.is_some() || !has_class {
        return Vec::new();
    }
    vec![format!("annotation {CLASS:?} is deprecated, please use 'spec.ingressClassName' instead")]
}

fn of_pod(whole: &Place<'_>, is_template: bool) -> Warnings {
    let (metadata, spec) = (whole.at(&["metadata"]), whole.at(&["spec"]));
    let mut out = Vec::new();
    placement(&spec, &mut out);
    for (name, text) in OLD_ANNOTATIONS {
        annotation(&metadata, name, text, &mut out);
    }
    for volume in spec.at(&["volumes"]).items() {
        let old = OLD_VOLUMES.iter().filter(|(name, _)| volume.at(&[*name]).is_set());
        out.extend(old.map(|(name, text)| format!("{}: {text}", volume.at(&[*name]).path())));
    }
    repeated(&spec.at(&["hostAliases"]), "ip", &mut out);
    let secrets = spec.at(&["imagePullSecrets"]);
    repeated(&secrets, "name", &mut out);
    for name in secrets.items().map(|secret| secret.at(&["name"])).filter(Place::is_empty) {
        out.push(format!("{}: invalid empty name \"\"", name.path()));
    }
    fractions(&spec.at(&["overhead"]), &mut out);
    profiles(&metadata, &spec, is_template, &mut out);
    for container in containers(&spec) {
        fractions(&container.at(&["resources", "limits"]), &mut out);
        fractions(&container.at(&["resources", "requests"]), &mut out);
        variables(&container.at(&["env"]), &mut out);
    }
    ports::ports(&spec, &mut out);
    let grace = spec.at(&["terminationGracePeriodSeconds"]);
    if grace.number() < 0 {
        out.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            grace.path()
        ));
    }
    neighbours(&spec, &mut out);
    let aliases = spec.at(&["hostAliases"]).items().map(|alias| alias.at(&["ip"]));
    let servers = spec.at(&["dnsConfig", "nameservers"]).items();
    servers.chain(aliases).for_each(|ip| networks::address(&ip, &mut out));
    out
}

fn containers<'a>(spec: &Place<'a>) -> Vec<Place<'a>> {
    CONTAINERS.iter().flat_map(|list| spec.at(&[*list]).items()).collect()
}

fn old_label(name: &str) -> Option<&'static str> {
    OLD_LABELS.iter().find(|(old, _)| *old == name).map(|(_, text)| *text)
}

/// Labels of nodes that have other names now, and spreads that count no pod.
fn placement(spec: &Place<'_>, out: &mut Warnings) {
    for (name, place) in spec.at(&["nodeSelector"]).entries() {
        out.extend(old_label(name).map(|text| format!("{}: {text}", place.path())));
    }
    let affinity = spec.at(&["affinity", "nodeAffinity"]);
    let required = affinity.at(&["requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"]);
    let preferred = affinity.at(&["preferredDuringSchedulingIgnoredDuringExecution"]).items();
    let preferred = preferred.map(|term| term.at(&["preference"]));
    for term in required.items().chain(preferred) {
        for rule in term.at(&["matchExpressions"]).items() {
            let key = rule.at(&["key"]);
            out.extend(old_label(key.text()).map(|text| format!("{}: {} is {text}", key.path(), key.text())));
        }
    }
    for spread in spec.at(&["topologySpreadConstraints"]).items() {
        let key = spread.at(&["topologyKey"]);
        out.extend(old_label(key.text()).map(|text| format!("{}: {} is {text}", key.path(), key.text())));
        selector(&spread, out);
    }
}

fn selector(of: &Place<'_>, out: &mut Warnings) {
    let selector = of.at(&["labelSelector"]);
    if !selector.is_set() {
        out.push(format!("{}: {NO_SELECTOR}", selector.path()));
    }
}

/// Terms about other pods that match none.
fn neighbours(spec: &Place<'_>, out: &mut Warnings) {
    for kind in ["podAffinity", "podAntiAffinity"] {
        let affinity = spec.at(&["affinity", kind]);
        for term in affinity.at(&["requiredDuringSchedulingIgnoredDuringExecution"]).items() {
            selector(&term, out);
        }
        for term in affinity.at(&["preferredDuringSchedulingIgnoredDuringExecution"]).items() {
            selector(&term.at(&["podAffinityTerm"]), out);
        }
    }
}

fn annotation(metadata: &Place<'_>, name: &str, text: &str, out: &mut Warnings) {
    let there = metadata.at(&["annotations"]).entries().into_iter().find(|(key, _)| *key == name);
    out.extend(there.map(|(_, place)| format!("{}: {text}", place.path())));
}

fn repeated(list: &Place<'_>, name: &str, out: &mut Warnings) {
    let mut seen = BTreeSet::new();
    for place in list.items().map(|item| item.at(&[name])) {
        if !seen.insert(place.text()) {
            out.push(format!("{}: duplicate {name} {:?}", place.path(), place.text()));
        }
    }
}

/// Bytes are counted in whole ones.
fn fractions(amounts: &Place<'_>, out: &mut Warnings) {
    for (_, amount) in amounts.entries().filter(|(name, _)| matches!(*name, "memory" | "ephemeral-storage")) {
        fraction(&amount, out);
    }
}

fn fraction(amount: &Place<'_>, out: &mut Warnings) {
    if let Some(bytes) = amount.text().parse::<Quantity>().ok().filter(|bytes| bytes.millis() % 1000 != 0) {
        let text = format!("fractional byte value \"{bytes}\" is invalid, must be an integer");
        out.push(format!("{}: {text}", amount.path()));
    }
}

/// Of a class of runtimes.
pub(super) fn runtime_class(new: &Value, _: Option<&Value>) -> Warnings {
    let selector = Place::of(new).at(&["scheduling", "nodeSelector"]);
    let of = |(name, _): (&str, _)| old_label(name).map(|text| format!("{}: {text}", selector.path()));
    selector.entries().filter_map(of).collect()
}

/// Annotations that fields have taken the place of.
fn profiles(metadata: &Place<'_>, spec: &Place<'_>, is_template: bool, out: &mut Warnings) {
    const SECCOMP: &str = "non-functional in v1.27+; use the \"seccompProfile\" field instead";
    const APPARMOR: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";
    let has = |of: &Place<'_>, name: &str| of.at(&["securityContext", name]).is_set();
    if !has(spec, "seccompProfile") {
        annotation(metadata, SECCOMP_OF_POD, SECCOMP, out);
    }
    for container in containers(spec) {
        let name = container.at(&["name"]).text();
        if !has(&container, "seccompProfile") {
            annotation(metadata, &format!("{SECCOMP_OF_CONTAINER}{name}"), SECCOMP, out);
        }
        if is_template && !has(spec, "appArmorProfile") && !has(&container, "appArmorProfile") {
            annotation(metadata, &format!("{APPARMOR_OF_CONTAINER}{name}"), APPARMOR, out);
        }
    }
}

/// A variable may be said again in terms of itself; otherwise the one before is hidden.
fn variables(list: &Place<'_>, out: &mut Warnings) {
    let mut seen = BTreeSet::new();
    for variable in list.items() {
        let (name, value) = (variable.at(&["name"]).text(), variable.at(&["value"]).text());
        let own = format!("$({name})");
        let extends = value.contains(&own) && value != own && !variable.at(&["valueFrom"]).is_set();
        if !seen.insert(name) && !extends {
            let text =
                format!("hides previous definition of {name:?}, which may be dropped when using apply");
            out.push(format!("{}: {text}", variable.path()));
        }
    }
}
