//! The addresses of a service inside of the cluster, and of which families they are.

use super::super::addresses;
use super::super::place::{Faults, Place};
use hako_kube::field;
use std::collections::HashSet;
use std::net::IpAddr;

const CHANGED: &str = "may not change once set";

/// All faults of addresses and families.
pub(super) fn validate(spec: &Place<'_>, faults: &mut Faults) {
    if spec.at(&["type"]).text() == "ExternalName" {
        return;
    }
    first(spec, faults);
    families(spec, faults);
    let ips = spec.at(&["clusterIPs"]);
    if !are_ips(&ips, faults) {
        return;
    }
    let parsed: Vec<IpAddr> = ips.texts().iter().filter_map(|ip| ip.parse().ok()).collect();
    let of_v4 = parsed.iter().filter(|ip| ip.is_ipv4()).count();
    if parsed.len() > 1 && (of_v4 != 1 || parsed.len() != 2) {
        faults.push(ips.invalid("may specify no more than one IP for each IP family"));
    }
    let families = spec.at(&["ipFamilies"]).texts();
    for (index, (ip, family)) in parsed.iter().zip(families).enumerate() {
        let is_same = ip.is_ipv4() == (family == "IPv4");
        if !is_same && matches!(family, "IPv4" | "IPv6") {
            let detail = format!("expected an {family} value as indicated by `ipFamilies[{index}]`");
            faults.push(field::invalid(field::index(&ips.path(), index), ip.to_string(), &detail));
        }
    }
}

/// The one address and the first of all are the same.
fn first(spec: &Place<'_>, faults: &mut Faults) {
    let (one, all) = (spec.at(&["clusterIP"]), spec.at(&["clusterIPs"]));
    let texts = all.texts();
    match (one.is_empty(), texts.first()) {
        (false, None) => faults.push(all.required("")),
        (false, Some(first)) if *first != one.text() => {
            faults.push(all.invalid("first value must match `clusterIP`"));
        }
        (true, Some(_)) => faults.push(all.invalid("must be empty when `clusterIP` is not specified")),
        _ => {}
    }
}

fn are_ips(ips: &Place<'_>, faults: &mut Faults) -> bool {
    let before = faults.len();
    let items = Vec::from_iter(ips.items());
    for (index, ip) in items.iter().enumerate() {
        if index == 0 && ip.text() == "None" {
            if items.len() > 1 {
                faults.push(ips.invalid("'None' must be the first and only value"));
            }
            continue;
        }
        ip.check(addresses::ip, faults);
    }
    let are_sound = faults.len() == before;
    if items.len() > 2 {
        faults.push(ips.invalid("may only hold up to 2 values"));
    }
    are_sound
}

/// Services have IPv4 addresses only: what cannot be given is refused, as a cluster of one family does. One that selects
/// nothing and has no address may be of any.
fn families(spec: &Place<'_>, faults: &mut Faults) {
    let (policy, families) = (spec.at(&["ipFamilyPolicy"]), spec.at(&["ipFamilies"]));
    policy.one_of_given(&["PreferDualStack", "RequireDualStack", "SingleStack"], faults);
    let is_free = super::is_free(spec.value);
    if policy.text() == "RequireDualStack" && !is_free {
        faults.push(policy.invalid("this cluster is not configured for dual-stack services"));
    }
    let mut seen = HashSet::new();
    for family in families.items() {
        match family.text() {
            other if !seen.insert(other) => faults.push(family.duplicate()),
            "IPv6" if !is_free => faults.push(family.invalid("not configured on this cluster")),
            _ => family.one_of(&["IPv4", "IPv6"], faults),
        }
    }
}

/// All faults of a change: the first address and family stay, and the second goes where one family is wanted.
pub(super) fn validate_update(is: &Place<'_>, was: &Place<'_>, faults: &mut Faults) {
    let is_external = |spec: &Place<'_>| spec.at(&["type"]).text() == "ExternalName";
    if is_external(is) || is_external(was) {
        return;
    }
    let is_headless = |spec: &Place<'_>| spec.at(&["clusterIPs"]).texts() == ["None"];
    if !(is_headless(is) && is_headless(was)) {
        list_update(is, was, "clusterIPs", "clusterIP", faults);
    }
    if !is_headless(is) && !is_headless(was) {
        list_update(is, was, "ipFamilies", "ipFamily", faults);
    }
}

fn list_update(is: &Place<'_>, was: &Place<'_>, list: &str, one: &str, faults: &mut Faults) {
    let (list, had) = (is.at(&[list]), was.at(&[list]).texts());
    let has = list.texts();
    let first = field::index(&list.path(), 0);
    if has.is_empty() && !had.is_empty() {
        let detail = format!("primary {one} can not be unset");
        return faults.push(field::invalid(first, list.value.clone(), &detail));
    }
    for (index, _) in had.iter().zip(&has).enumerate().filter(|(_, (had, has))| had != has) {
        let is_kept = index > 0 && had.len() != has.len();
        if !is_kept {
            faults.push(field::invalid(field::index(&list.path(), index), list.value.clone(), CHANGED));
        }
    }
    let policy = is.at(&["ipFamilyPolicy"]);
    if had.len() > has.len() && has.len() == 1 && policy.text() != "SingleStack" {
        let detail = format!("must be set to 'SingleStack' when releasing the secondary {one}");
        faults.push(policy.invalid_text(&detail));
    }
}
