//! What the status of a pod may say, and what it may no longer say once it said otherwise.

use super::addresses;
use super::place::{Faults, Place};
use super::pod_spec;
use super::value::{items, text};
use hako_kube::{field, names};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// All faults of a change of a pod's status.
pub(super) fn validate_update(new: &Value, old: &Value) -> Faults {
    let (pod, before, mut faults) = (Place::of(new), Place::of(old), Faults::new());
    let (is, was) = (pod.at(&["status"]), before.at(&["status"]));
    conditions(&is.at(&["conditions"]), &mut faults);
    let nominated = is.at(&["nominatedNodeName"]);
    if nominated.value != was.at(&["nominatedNodeName"]).value {
        nominated.check_given(names::dns_subdomain, &mut faults);
    }
    is.at(&["qosClass"]).immutable(&was.at(&["qosClass"]), &mut faults);
    states(&is, &was, &before.at(&["spec"]), &mut faults);
    claims(&is.at(&["resourceClaimStatuses"]), &pod.at(&["spec", "resourceClaims"]), &mut faults);
    ips(&is.at(&["podIPs"]), &mut faults);
    host_ips(&is, &mut faults);
    users(&is, &pod.at(&["spec", "os", "name"]), &mut faults);
    faults
}

/// The original says of these that they are in the metadata, and of which member with a capital.
fn conditions(conditions: &Place<'_>, faults: &mut Faults) {
    for (index, condition) in conditions.items().enumerate() {
        let kind = condition.at(&["type"]).text();
        if !matches!(kind, "PodScheduled" | "Ready" | "Initialized") {
            let path = format!("{}.Type", field::index("metadata.conditions", index));
            let of = |fault: String| field::invalid(path.as_str(), kind, &fault);
            faults.extend(names::qualified_name(kind).into_iter().map(of));
        }
    }
}

const LISTS: [&str; 3] = ["containerStatuses", "initContainerStatuses", "ephemeralContainerStatuses"];

/// What ended for good does not run again.
fn states(is: &Place<'_>, was: &Place<'_>, spec: &Place<'_>, faults: &mut Faults) {
    for list in LISTS {
        let now = Vec::from_iter(is.at(&[list]).items());
        let running: HashSet<&str> = now
            .iter()
            .filter(|now| !now.at(&["state", "terminated"]).is_set())
            .map(|now| now.at(&["name"]).text())
            .collect();
        let containers = by_name(list, spec);
        for status in was.at(&[list]).items() {
            let ended = status.at(&["state", "terminated"]);
            let name = status.at(&["name"]).text();
            let own = containers.get(name).copied();
            let may_restart = may_restart(own, ended.at(&["exitCode"]).number(), list, spec);
            if !ended.is_set() || may_restart {
                continue;
            }
            if running.contains(name) {
                let path = field::child(&status.path(), "state");
                faults.push(field::forbidden(path, "may not be transitioned to non-terminated state"));
            }
        }
    }
}

/// The containers that a list of statuses is about. Of a name that is there twice, the first counts.
fn by_name<'a>(list: &str, spec: &Place<'a>) -> HashMap<&'a str, &'a Value> {
    let part = if list == "containerStatuses" { "containers" } else { "initContainers" };
    let containers = items(spec.value, &[part]).iter().rev();
    containers.map(|container| (text(container, &["name"]), container)).collect()
}

/// Whether a container that ended with the code starts again: as it says, or as its pod does.
fn may_restart(own: Option<&Value>, code: i64, list: &str, spec: &Place<'_>) -> bool {
    if list == "ephemeralContainerStatuses" {
        return false;
    }
    let own = own.map(Place::of);
    let own = own.filter(|own| own.at(&["restartPolicy"]).is_set());
    if own.as_ref().is_some_and(|own| !own.at(&["restartPolicyRules"]).is_empty()) {
        return true;
    }
    let policy = own.map_or_else(|| spec.at(&["restartPolicy"]), |own| own.at(&["restartPolicy"]));
    match policy.text() {
        "Always" => true,
        "OnFailure" => code != 0,
        _ => false,
    }
}

fn claims(statuses: &Place<'_>, claims: &Place<'_>, faults: &mut Faults) {
    let known: HashSet<&str> = claims.items().map(|claim| claim.at(&["name"]).text()).collect();
    let mut seen: HashSet<&str> = HashSet::new();
    for status in statuses.items() {
        let name = status.at(&["name"]);
        if !known.contains(name.text()) {
            faults.push(name.invalid_text("must match the name of an entry in `spec.resourceClaims`"));
        }
        if !seen.insert(name.text()) {
            faults.push(name.duplicate());
        }
        let of = status.at(&["resourceClaimName"]);
        name.with(of.value).check_given(names::dns_subdomain, faults);
    }
}

/// Each an address, and no more than one of each family.
fn ips(list: &Place<'_>, faults: &mut Faults) {
    let mut seen: HashSet<&str> = HashSet::new();
    for item in list.items() {
        let ip = item.at(&["ip"]).text();
        let of = |fault: String| field::invalid(item.path(), ip, &fault);
        faults.extend(addresses::ip(ip).into_iter().map(of));
        if !seen.insert(ip) {
            faults.push(item.duplicate());
        }
    }
    let count =
        |is_kind: fn(&IpAddr) -> bool| seen.iter().filter_map(|ip| ip.parse().ok()).filter(is_kind).count();
    if count(IpAddr::is_ipv4) > 1 || count(IpAddr::is_ipv6) > 1 {
        faults.push(list.invalid("may specify no more than one IP for each IP family"));
    }
}

fn host_ips(status: &Place<'_>, faults: &mut Faults) {
    let list = status.at(&["hostIPs"]);
    let Some(first) = list.items().next() else { return };
    let first = first.at(&["ip"]);
    if first.text() != status.at(&["hostIP"]).text() {
        faults.push(first.invalid_text("must be equal to `hostIP`"));
    }
    ips(&list, faults);
}

fn users(status: &Place<'_>, system: &Place<'_>, faults: &mut Faults) {
    let all = LISTS.iter().flat_map(|list| status.at(&[list]).items());
    for container in all {
        let linux = container.at_shown(&["user", "linux"], &["linux"]);
        if !linux.is_set() {
            continue;
        }
        if system.text() == "windows" {
            faults.push(linux.forbidden("cannot be set for a windows pod"));
            continue;
        }
        for id in ["uid", "gid"] {
            pod_spec::id(&linux.at(&[id]), faults);
        }
        linux.at(&["supplementalGroups"]).items().for_each(|group| pod_spec::id(&group, faults));
    }
}
