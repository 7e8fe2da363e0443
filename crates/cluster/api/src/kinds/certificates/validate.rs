//! What is wrong with a request, and with a change of one of its parts.

use super::{DECISIONS, Faults, PartWrite, Place, conditions, of_type, pem};
use hako_kube::{field, names};
use serde_json::Value;
use std::collections::HashSet;

/// Uses of a key that certificates can be for, sorted.
const USAGES: &[&str] = &[
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const SECONDS_MIN: i64 = 600;
const DOMAIN_MAX: usize = 253;
const SIGNER_MAX: usize = DOMAIN_MAX + 1 + 63 + 1 + 253;

/// All faults of a request.
pub(super) fn object(object: &Value) -> Faults {
    let mut faults = Faults::new();
    let spec = Place::of(object).at(&["spec"]);
    let request = spec.at(&["request"]);
    if let Some(fault) = pem::request_fault(request.text()) {
        faults.push(request.invalid_text(&fault));
    }
    usages(&spec.at(&["usages"]), &mut faults);
    signer(&spec.at(&["signerName"]), &mut faults);
    let seconds = spec.at(&["expirationSeconds"]);
    if seconds.is_set() && seconds.number() < SECONDS_MIN {
        let detail = "may not specify a duration less than 600 seconds (10 minutes)";
        faults.push(seconds.invalid(detail));
    }
    decisions(&Place::of(object).at(&["status", "conditions"]), &mut faults);
    faults
}

fn usages(usages: &Place<'_>, faults: &mut Faults) {
    if usages.is_empty() {
        faults.push(usages.required(""));
    }
    let mut seen = HashSet::new();
    for usage in usages.items() {
        usage.one_of(USAGES, faults);
        if !seen.insert(usage.text()) {
            faults.push(usage.duplicate());
        }
    }
}

/// A domain of at least two parts, a slash, and a name.
fn signer(signer: &Place<'_>, faults: &mut Faults) {
    let text = signer.text();
    match text.split('/').collect::<Vec<_>>().as_slice() {
        [""] => faults.push(signer.required("")),
        _ if text == LEGACY_SIGNER => {
            faults.push(signer.invalid("the legacy signerName is not allowed via this API version"));
        }
        [domain, name] => {
            signer_domain(signer, domain, faults);
            labels(signer, name, names::dns_subdomain, faults);
            if text.len() > SIGNER_MAX {
                faults.push(field::too_long(signer.path(), SIGNER_MAX));
            }
        }
        _ => faults.push(
            signer.invalid("must be a fully qualified domain and path of the form 'example.com/signer-name'"),
        ),
    }
}

fn signer_domain(signer: &Place<'_>, domain: &str, faults: &mut Faults) {
    if domain.len() > DOMAIN_MAX {
        faults.push(field::too_long(signer.path(), DOMAIN_MAX));
    }
    labels(signer, domain, names::dns_label, faults);
    if !domain.contains('.') {
        let detail = "should be a domain with at least two segments separated by dots";
        faults.push(field::invalid(signer.path(), domain, detail));
    }
}

/// The faults of the first faulty label.
fn labels(signer: &Place<'_>, part: &str, check: fn(&str) -> Vec<String>, faults: &mut Faults) {
    let Some(label) = part.split('.').find(|label| !check(label).is_empty()) else { return };
    let of =
        |fault: &String| field::invalid(signer.path(), part, &format!("validating label {label:?}: {fault}"));
    faults.extend(check(label).iter().map(of));
}

fn decisions(all: &Place<'_>, faults: &mut Faults) {
    const EXCLUSIVE: &str = "Approved and Denied conditions are mutually exclusive";
    let mut seen: HashSet<&str> = HashSet::new();
    for condition in all.items() {
        let (kind, status) = (condition.at(&["type"]), condition.at(&["status"]));
        if kind.is_empty() {
            faults.push(kind.required(""));
        }
        let is_final = matches!(kind.text(), "Approved" | "Denied" | "Failed");
        let allowed: &[&str] = if is_final { &["True"] } else { &["False", "True", "Unknown"] };
        if status.is_empty() {
            faults.push(status.required(""));
        } else {
            status.one_of(allowed, faults);
        }
        let other = match kind.text() {
            "Approved" => "Denied",
            "Denied" => "Approved",
            _ => "",
        };
        if !other.is_empty() && seen.contains(&other) {
            faults.push(field::invalid(all.path(), kind.text(), EXCLUSIVE));
        }
        seen.insert(kind.text());
    }
    conditions::unique_types(all, faults);
}

/// All faults of a change made through a part.
pub(super) fn part(new: &Value, old: &Value, part: &PartWrite<'_>) -> Faults {
    let mut faults = Faults::new();
    let mut forbidden = |detail: String| faults.push(field::forbidden("status.conditions", &detail));
    for kind in ["Approved", "Denied", "Failed"] {
        let (has, had) = (of_type(new, kind).len(), of_type(old, kind).len());
        if has < had {
            forbidden(format!("updates may not remove a condition of type {kind:?}"));
        }
        if has > had && part.name != "approval" && DECISIONS.contains(&kind) {
            forbidden(format!("updates may not add a condition of type {kind:?}"));
        }
    }
    let certificate = |object| Place::of(object).at(&["status", "certificate"]);
    let (is, was) = (certificate(new), certificate(old));
    if is.value != was.value {
        if !was.is_empty() {
            faults.push(is.forbidden("updates may not modify existing certificate content"));
        }
        if let Some(fault) = pem::certificate_fault(is.text()).filter(|_| !is.is_empty()) {
            faults.push(field::invalid(is.path(), "<certificate data>", &fault));
        }
    }
    faults
}
