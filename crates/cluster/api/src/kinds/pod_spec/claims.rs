//! Claims of devices: which a pod has, and which of them a container uses.

use super::super::place::{Faults, Place};
use hako_kube::{field, names};

/// All faults of a pod's claims.
pub(super) fn of_pod(claims: &Place<'_>, faults: &mut Faults) {
    let mut seen = Vec::new();
    for claim in claims.items() {
        let name = claim.at(&["name"]);
        if name.is_empty() {
            faults.push(name.required(""));
        } else if seen.contains(&name.text()) {
            faults.push(name.duplicate());
        } else {
            name.check(names::dns_label, faults);
            seen.push(name.text());
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
pub(super) fn of_container(claims: &Place<'_>, pod: &Place<'_>, faults: &mut Faults) {
    let mut known: Vec<&str> = pod.items().iter().map(|claim| claim.at(&["name"]).text()).collect();
    known.retain(|name| !name.is_empty());
    known.sort_unstable();
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for claim in claims.items() {
        let (name, request) = (claim.at(&["name"]).text(), claim.at(&["request"]));
        if name.is_empty() {
            faults.push(claim.required(""));
            continue;
        }
        request.check_given(names::dns_label, faults);
        if let Some(twice) = overlap(&seen, name, request.text()) {
            faults.push(field::duplicate(claim.path.as_str(), twice));
        }
        seen.push((name, request.text()));
        if !known.contains(&name) {
            let mut fault = field::not_found(claim.path.as_str(), name);
            fault.message.push_str(": must be one of the names in pod.spec.resourceClaims");
            fault.message += &match known.as_slice() {
                [] => " which is empty".to_owned(),
                known => format!(": {}", known.join(", ")),
            };
            faults.push(fault);
        }
    }
}

/// What is used twice, if something is: a claim as a whole has each of its requests.
fn overlap(seen: &[(&str, &str)], name: &str, request: &str) -> Option<String> {
    let of_name = |(other, _): &&(&str, &str)| *other == name;
    let mut same = seen.iter().filter(of_name).map(|(_, request)| *request);
    if request.is_empty() || seen.contains(&(name, "")) {
        return same.next().map(|_| name.to_owned());
    }
    same.any(|other| other == request).then(|| format!("{name}/{request}"))
}
