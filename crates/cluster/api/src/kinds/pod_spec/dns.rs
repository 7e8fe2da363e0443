//! Names: how a pod finds others, and what it is called itself.

use super::super::addresses;
use super::super::place::{Faults, Place};
use hako_kube::{field, names};

const SERVERS_MAX: usize = 3;
const SEARCHES_MAX: usize = 32;
const SEARCH_BYTES_MAX: usize = 2048;
/// What the kernel keeps of a host's name.
const HOSTNAME_MAX: usize = 64;

/// All faults of a pod's resolver; `spec` is the pod's.
pub(super) fn resolver(spec: &Place<'_>, faults: &mut Faults) {
    let config = spec.at(&["dnsConfig"]);
    let servers = config.at(&["nameservers"]);
    if spec.at(&["dnsPolicy"]).text() == "None" {
        if !config.is_set() {
            return faults.push(config.required("must provide `dnsConfig` when `dnsPolicy` is None"));
        }
        if servers.is_empty() {
            let detail = "must provide at least one DNS nameserver when `dnsPolicy` is None";
            return faults.push(servers.required(detail));
        }
    }
    let list = Vec::from_iter(servers.items());
    if list.len() > SERVERS_MAX {
        faults.push(servers.invalid(&format!("must not have more than {SERVERS_MAX} nameservers")));
    }
    list.iter().for_each(|server| server.check(addresses::ip, faults));
    searches(&config.at(&["searches"]), faults);
    let unnamed = config.at(&["options"]).items().filter(|it| it.at(&["name"]).is_empty());
    faults.extend(unnamed.map(|option| option.required("must not be empty")));
}

fn searches(searches: &Place<'_>, faults: &mut Faults) {
    let texts = searches.texts();
    if texts.len() > SEARCHES_MAX {
        faults.push(searches.invalid(&format!("must not have more than {SEARCHES_MAX} search paths")));
    }
    if texts.join(" ").len() > SEARCH_BYTES_MAX {
        faults.push(searches.invalid(&format!(
            "must not have more than {SEARCH_BYTES_MAX} characters (including spaces) in the search list"
        )));
    }
    for search in searches.items().filter(|search| search.text() != ".") {
        let domain = search.text().strip_suffix('.').unwrap_or(search.text());
        let of = |fault: String| field::invalid(search.path(), domain, &fault);
        faults.extend(names::dns_subdomain_with_underscores(domain).into_iter().map(of));
    }
}

/// All faults of further lines in a pod's table of hosts.
pub(super) fn host_aliases(aliases: &Place<'_>, faults: &mut Faults) {
    for alias in aliases.items() {
        alias.at(&["ip"]).check(addresses::ip, faults);
        alias.at(&["hostnames"]).items().for_each(|name| name.check(names::dns_subdomain, faults));
    }
}

/// All faults of what a pod's host is called.
pub(super) fn hostname(spec: &Place<'_>, faults: &mut Faults) {
    for name in ["hostname", "subdomain"] {
        spec.at(&[name]).check_given(names::dns_label, faults);
    }
    let instead = spec.at(&["hostnameOverride"]);
    if !instead.is_set() {
        return;
    }
    instead.check(names::dns_subdomain, faults);
    if instead.text().len() > HOSTNAME_MAX {
        faults.push(field::too_long(instead.path(), HOSTNAME_MAX));
    }
    if spec.at(&["hostNetwork"]).is_true() {
        faults.push(instead.forbidden("may not be set when hostNetwork is true"));
    }
    if spec.at(&["setHostnameAsFQDN"]).is_true() {
        let path = field::child(&spec.path(), "setHostnameAsFQDN");
        faults.push(field::forbidden(path, "may not be set when hostnameOverride is set"));
    }
}
