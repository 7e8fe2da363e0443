//! Of kinds that have addresses in them.

use super::super::place::Place;
use super::Warnings;
use serde_json::Value;
use std::net::{IpAddr, Ipv6Addr};

/// Slices of these write addresses in one form alone.
const SLICE_WRITERS: [&str; 2] =
    ["endpointslice-controller.k8s.io", "endpointslicemirroring-controller.k8s.io"];

/// Of a service.
pub(in super::super) fn service(new: &Value, _: Option<&Value>) -> Warnings {
    const HINTS: &str = "service.kubernetes.io/topology-aware-hints";
    const EXTERNAL: &str = "ExternalName";
    let (metadata, spec) = (Place::of(new).at(&["metadata"]), Place::of(new).at(&["spec"]));
    let mut out = Vec::new();
    if metadata.at(&["annotations", HINTS]).is_set() {
        out.push(format!(
            "annotation {HINTS} is deprecated, please use service.kubernetes.io/topology-mode instead"
        ));
    }
    let text = |name: &'static str| spec.at(&[name]).text();
    let (kind, externals) = (text("type"), Vec::from_iter(spec.at(&["externalIPs"]).items()));
    let is_headless = kind == "ClusterIP" && text("clusterIP") == "None";
    if !matches!(text("clusterIP"), "" | "None") {
        spec.at(&["clusterIPs"]).items().for_each(|ip| address(&ip, &mut out));
    }
    let mut ignored = |is_so: bool, what: &str| {
        if is_so {
            out.push(format!("spec.{what} is ignored for headless services"));
        }
    };
    ignored(is_headless && !text("loadBalancerIP").is_empty(), "loadBalancerIP");
    ignored(is_headless && !externals.is_empty(), "externalIPs");
    ignored(is_headless && text("sessionAffinity") != "None", "SessionAffinity");
    externals.iter().for_each(|ip| address(ip, &mut out));
    if !externals.is_empty() && !is_headless && kind != EXTERNAL {
        out.push("spec.externalIPs is deprecated and may no longer be implemented in some clusters".into());
    }
    address(&spec.at(&["loadBalancerIP"]), &mut out);
    spec.at(&["loadBalancerSourceRanges"]).items().for_each(|range| self::range(&range, &mut out));
    if kind == EXTERNAL && !externals.is_empty() {
        out.push(format!("spec.externalIPs is ignored when spec.type is {EXTERNAL:?}"));
    }
    if kind != EXTERNAL && !text("externalName").is_empty() {
        out.push(format!("spec.externalName is ignored when spec.type is not {EXTERNAL:?}"));
    }
    if text("trafficDistribution") == "PreferClose" {
        out.push("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"".into());
    }
    out
}

/// Of endpoints, where no controller wrote them.
pub(in super::super) fn endpoints(new: &Value, _: Option<&Value>) -> Warnings {
    let whole = Place::of(new);
    let mut out = Vec::new();
    if writer(&whole, "endpoints.kubernetes.io/managed-by") != "endpoint-controller" {
        for subset in whole.at(&["subsets"]).items() {
            for list in ["addresses", "notReadyAddresses"] {
                subset.at(&[list]).items().for_each(|it| address(&it.at(&["ip"]), &mut out));
            }
        }
    }
    out
}

/// Of a slice of endpoints.
pub(in super::super) fn endpoint_slice(new: &Value, old: Option<&Value>) -> Warnings {
    let whole = Place::of(new);
    let mut out = Vec::new();
    if old.is_none() && whole.at(&["addressType"]).text() == "FQDN" {
        out.push("spec.addressType: FQDN endpoints are deprecated".into());
    }
    if !SLICE_WRITERS.contains(&writer(&whole, "endpointslice.kubernetes.io/managed-by")) {
        for endpoint in whole.at(&["endpoints"]).items() {
            endpoint.at(&["addresses"]).items().for_each(|it| address(&it, &mut out));
        }
    }
    out
}

fn writer<'a>(whole: &Place<'a>, label: &'a str) -> &'a str {
    whole.at(&["metadata", "labels", label]).text()
}

/// Of a network policy.
pub(in super::super) fn network_policy(new: &Value, _: Option<&Value>) -> Warnings {
    let (spec, mut out) = (Place::of(new).at(&["spec"]), Vec::new());
    for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
        for peer in spec.at(&[direction]).items().flat_map(|rule| rule.at(&[peers]).items()) {
            let block = peer.at(&["ipBlock"]);
            range(&block.at(&["cidr"]), &mut out);
            block.at(&["except"]).items().for_each(|it| range(&it, &mut out));
        }
    }
    out
}

/// Of a node: fields that nothing reads any more.
pub(in super::super) fn node(new: &Value, _: Option<&Value>) -> Warnings {
    let (spec, mut out) = (Place::of(new).at(&["spec"]), Vec::new());
    if spec.at(&["configSource"]).is_set() {
        out.push("spec.configSource: the feature is removed".into());
    }
    if !spec.at(&["externalID"]).text().is_empty() {
        out.push("spec.externalID: this field is deprecated, and is unused by Kubernetes".into());
    }
    spec.at(&["podCIDRs"]).items().for_each(|it| range(&it, &mut out));
    out
}

/// Of an address that has another form.
pub(super) fn address(place: &Place<'_>, out: &mut Warnings) {
    let (path, text) = (&place.path(), place.text());
    let Ok(IpAddr::V6(ip)) = text.parse() else { return };
    match ip.to_ipv4_mapped() {
        Some(mapped) => {
            out.push(format!("{path}: non-standard IP address {text:?} is invalid: use \"{mapped}\""));
        }
        None if ip.to_string() != text => {
            let text = format!("IPv6 address {text:?} should be in RFC 5952 canonical format (\"{ip}\")");
            out.push(format!("{path}: {text}"));
        }
        None => {}
    }
}

/// Of a range that has another form, or that may be meant as an address.
fn range(place: &Place<'_>, out: &mut Warnings) {
    let (path, text) = (&place.path(), place.text());
    let Some((first, bits)) = text.split_once('/') else { return };
    let (Ok(first), Ok(length)) = (first.parse::<IpAddr>(), bits.parse::<u32>()) else { return };
    let (masked, whole) = match first {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32_u32.saturating_sub(length)).unwrap_or(0);
            (IpAddr::V4((ip.to_bits() & mask).into()), 32)
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128_u32.saturating_sub(length)).unwrap_or(0);
            (IpAddr::V6(Ipv6Addr::from_bits(ip.to_bits() & mask)), 128)
        }
    };
    let before = out.len();
    if masked != first {
        let both = format!("(should be \"{masked}/{length}\" or \"{first}/{whole}\"?)");
        out.push(format!("{path}: CIDR value {text:?} is ambiguous in this context {both}"));
    }
    let mapped = match masked {
        IpAddr::V6(ip) => ip.to_ipv4_mapped().filter(|_| length >= 96),
        IpAddr::V4(_) => None,
    };
    let is_padded = bits.len() > 1 && bits.starts_with('0');
    if let Some(ip) = mapped {
        let form = format!("{ip}/{}", length - 96);
        out.push(format!("{path}: non-standard CIDR value {text:?} is invalid: use {form:?}"));
    } else if is_padded {
        out.push(format!("{path}: non-standard CIDR value {text:?} is invalid: use \"{masked}/{length}\""));
    }
    let form = format!("{first}/{length}");
    if out.len() == before && first.is_ipv6() && form != text {
        let text = format!("IPv6 CIDR value {text:?} should be in RFC 5952 canonical format ({form:?})");
        out.push(format!("{path}: {text}"));
    }
}
