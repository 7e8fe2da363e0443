//! Claims of devices: which a pod has, and which of them a container uses.

use super::super::place::{Faults, Place};
use hako_kube::{field, names};
use std::collections::{HashMap, HashSet};

/// Names of claims that a fault tells of: with all of many it would be as long as their number times their number.
const NAMED_MAX: usize = 32;

/// All faults of a pod's claims.
pub(super) fn of_pod(claims: &Place<'_>, faults: &mut Faults) {
    let mut seen = HashSet::new();
    for claim in claims.items() {
        let name = claim.at(&["name"]);
        if name.is_empty() {
            faults.push(name.required(""));
        } else if !seen.insert(name.text()) {
            faults.push(name.duplicate());
        } else {
            name.check(names::dns_label, faults);
        }
        let (of, template) = (claim.at(&["resourceClaimName"]), claim.at(&["resourceClaimTemplateName"]));
        match (of.is_set(), template.is_set()) {
            (true, true) => faults.push(claim.invalid(
                "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be specified",
            )),
            (false, false) => faults
                .push(claim.invalid("must specify one of: `resourceClaimName`, `resourceClaimTemplateName`")),
            _ => {}
        }
        for name in [of, template].iter().filter(|name| name.is_set()) {
            name.check(names::dns_subdomain, faults);
        }
    }
}

/// All faults of the claims that a container uses, of those that its pod has.
/// `known` are the names of those, in order.
pub(super) fn of_container(claims: &Place<'_>, known: &[&str], faults: &mut Faults) {
    let mut seen: HashMap<&str, HashSet<&str>> = HashMap::new();
    for claim in claims.items() {
        let (name, request) = (claim.at(&["name"]).text(), claim.at(&["request"]));
        if name.is_empty() {
            faults.push(claim.required(""));
            continue;
        }
        request.check_given(names::dns_label, faults);
        let of_name = seen.entry(name).or_default();
        if let Some(twice) = overlap(of_name, name, request.text()) {
            faults.push(field::duplicate(claim.path(), twice));
        }
        of_name.insert(request.text());
        if known.binary_search(&name).is_err() {
            let mut fault = field::not_found(claim.path(), name);
            fault.message.push_str(": must be one of the names in pod.spec.resourceClaims");
            fault.message += &match known.len() {
                0 => " which is empty".to_owned(),
                1..=NAMED_MAX => format!(": {}", known.join(", ")),
                more => format!(": {}, and {} more", known[..NAMED_MAX].join(", "), more - NAMED_MAX),
            };
            faults.push(fault);
        }
    }
}

/// What is used twice, if something is: a claim as a whole has each of its requests.
fn overlap(seen: &HashSet<&str>, name: &str, request: &str) -> Option<String> {
    if request.is_empty() || seen.contains("") {
        return (!seen.is_empty()).then(|| name.to_owned());
    }
    seen.contains(request).then(|| format!("{name}/{request}"))
}
