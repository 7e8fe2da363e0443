//! Where a call goes outside this server: a service or an address.

use super::place::{Faults, Place};
use hako_kube::{field, names};
use std::collections::HashSet;

/// The versions of reviews that this server can send.
pub(super) const REVIEWS: [&str; 2] = ["v1", "v1beta1"];
const FORM: &str = "; desired format: https://host[/path]";

/// Faults of a client's configuration: one of service and address, each sound.
pub(super) fn client_config(config: &Place<'_>, faults: &mut Faults) {
    let (url, service) = (config.at(&["url"]), config.at(&["service"]));
    match (url.is_set(), service.is_set()) {
        (true, false) => address(&url, faults),
        (false, true) => {
            service_name(&service, faults);
            service_port(&service.at(&["port"]), faults);
            path(&service.at(&["path"]), faults);
        }
        _ => faults.push(config.required("exactly one of url or service is required")),
    }
}

/// A service has a name and a namespace.
pub(super) fn service_name(service: &Place<'_>, faults: &mut Faults) {
    for part in ["name", "namespace"] {
        let part = service.at(&[part]);
        if part.is_empty() {
            faults.push(part.required(""));
        }
    }
}

/// The port of a service, already defaulted.
pub(super) fn service_port(port: &Place<'_>, faults: &mut Faults) {
    let found = names::port_number(port.number());
    if !found.is_empty() {
        faults.push(port.invalid_number(&format!("port is not valid: {}", found.join(", "))));
    }
}

/// The versions of reviews that a webhook takes; this server has to have one of them.
pub(super) fn review_versions(versions: &Place<'_>, missing: &str, faults: &mut Faults) {
    if versions.is_empty() {
        faults.push(versions.required(missing));
        return;
    }
    let mut seen = HashSet::new();
    for version in versions.items() {
        if !seen.insert(version.text()) {
            faults.push(version.invalid("duplicate version"));
            continue;
        }
        version.check(names::dns_1035_label, faults);
    }
    if !seen.iter().any(|version| REVIEWS.contains(version)) {
        let detail = format!("must include at least one of {}", REVIEWS.join(", "));
        faults.push(versions.invalid(&detail));
    }
}

fn path(path: &Place<'_>, faults: &mut Faults) {
    let text = path.text();
    if matches!(text, "" | "/") {
        return;
    }
    if text == "//" {
        faults.push(path.invalid("segment[0] may not be empty"));
        return;
    }
    if !text.starts_with('/') {
        faults.push(path.invalid("must start with a '/'"));
    }
    let inner = text.get(1..).unwrap_or("");
    for (at, segment) in inner.strip_suffix('/').unwrap_or(inner).split('/').enumerate() {
        if segment.is_empty() {
            faults.push(path.invalid(&format!("segment[{at}] may not be empty")));
            continue;
        }
        let found = names::dns_subdomain(segment);
        faults.extend(found.iter().map(|fault| path.invalid(&format!("segment[{at}]: {fault}"))));
    }
}

fn address(url: &Place<'_>, faults: &mut Faults) {
    let of = |value: &str, detail: &str| field::invalid(url.path(), value, detail);
    let (rest, fragment) = url.text().split_once('#').unwrap_or((url.text(), ""));
    let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (scheme, rest) = rest.split_once("://").unwrap_or(("", ""));
    let authority = rest.split('/').next().unwrap_or("");
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if scheme != "https" {
        faults.push(of(scheme, &format!("'https' is the only allowed URL scheme{FORM}")));
    }
    if host.is_empty() {
        faults.push(of(host, &format!("host must be specified{FORM}")));
    }
    if authority.contains('@') {
        faults.push(of(user, "user information is not permitted in the URL"));
    }
    if !fragment.is_empty() {
        faults.push(of(fragment, "fragments are not permitted in the URL"));
    }
    if !query.is_empty() {
        faults.push(of(query, "query parameters are not permitted in the URL"));
    }
}
