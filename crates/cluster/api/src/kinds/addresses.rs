//! Addresses, ranges of them, and names of hosts: what is wrong with one.

use super::place::{Faults, Place};
use super::value::text;
use hako_kube::{field, names};
use serde_json::Value;
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const WILDCARD: &str = "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which \
     must consist of lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. \
     '*.example.com', regex used for validation is \
     '\\*\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";

/// A range of addresses: the first, and how many leading bits all have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) first: IpAddr,
    pub(super) bits: u8,
}

impl Range {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (first, bits) = text.split_once('/')?;
        let bits = bits.bytes().all(|digit| digit.is_ascii_digit()).then_some(bits)?;
        let (first, bits): (IpAddr, u8) = (first.parse().ok()?, bits.parse().ok()?);
        let most = if first.is_ipv4() { 32 } else { 128 };
        (bits <= most).then_some(Self { first, bits })
    }

    /// Its first address without what lies beyond the bits.
    fn masked(self) -> IpAddr {
        let host = |width: u8| u32::from(width - self.bits);
        match self.first {
            IpAddr::V4(first) => {
                let mask = u32::MAX.checked_shl(host(32)).unwrap_or(0);
                Ipv4Addr::from_bits(first.to_bits() & mask).into()
            }
            IpAddr::V6(first) => {
                let mask = u128::MAX.checked_shl(host(128)).unwrap_or(0);
                Ipv6Addr::from_bits(first.to_bits() & mask).into()
            }
        }
    }

    /// Whether another range lies in this one and is smaller.
    pub(super) fn has_within(self, other: Self) -> bool {
        let common = |one: u128, two: u128, width: u32| {
            let shift = width - u32::from(self.bits);
            one.checked_shr(shift).unwrap_or(0) == two.checked_shr(shift).unwrap_or(0)
        };
        let is_same = match (self.first, other.first) {
            (IpAddr::V4(one), IpAddr::V4(two)) => common(one.to_bits().into(), two.to_bits().into(), 32),
            (IpAddr::V6(one), IpAddr::V6(two)) => common(one.to_bits(), two.to_bits(), 128),
            _ => false,
        };
        is_same && self.bits < other.bits
    }
}

const PADDED: &str = "must not have leading 0s";
const MAPPED: &str = "must not be an IPv4-mapped IPv6 address";
const PADDED_RANGE: &str = "must not have leading 0s in IP or prefix length";
const MAPPED_RANGE: &str = "must not have an IPv4-mapped IPv6 address";
const NO_RANGE: &str = "must not have bits set beyond the prefix length";

/// What is wrong with an address, in whatever form it is written.
pub(super) fn ip(text: &str) -> Vec<String> {
    let fault = match text.parse() {
        _ if ip_fault(text).is_some() => ip_fault(text),
        Ok::<IpAddr, _>(_) => None,
        Err(_) => Some("must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
    };
    fault.into_iter().map(str::to_owned).collect()
}

/// Why an address is none to everybody: some programs read it as another one.
fn ip_fault(text: &str) -> Option<&'static str> {
    match text.parse() {
        Ok(address) => is_mapped(address).then_some(MAPPED),
        Err(_) => is_padded(text).then_some(PADDED),
    }
}

/// Why a range is none to everybody, or could be a single address.
fn range_fault(text: &str) -> Option<&'static str> {
    let (first, bits) = text.split_once('/')?;
    let is_padded_number = bits.len() > 1 && bits.starts_with('0');
    match Range::parse(text) {
        None => {
            (is_padded(first) && Range::parse(&format!("0.0.0.0/{bits}")).is_some()).then_some(PADDED_RANGE)
        }
        Some(_) if is_padded_number => Some(PADDED_RANGE),
        Some(range) if is_mapped(range.first) => Some(MAPPED_RANGE),
        Some(range) => (range.masked() != range.first).then_some(NO_RANGE),
    }
}

/// Faults without those of addresses and ranges that the object had before: they may stay where they are.
pub(super) fn forgive(faults: Faults, old: &Value) -> Faults {
    if faults.is_empty() {
        return faults;
    }
    let mut had = HashSet::new();
    note_faults(old, &mut had);
    faults.into_iter().filter(|fault| !had.contains(&fault.message)).collect()
}

/// What would be said of the addresses in an object, whichever field they are in.
fn note_faults(value: &Value, had: &mut HashSet<String>) {
    match value {
        Value::String(text) => {
            let said = [ip_fault(text), range_fault(text)].into_iter().flatten();
            had.extend(said.map(|fault| field::invalid("", text.as_str(), fault).message));
        }
        Value::Array(items) => items.iter().for_each(|item| note_faults(item, had)),
        Value::Object(members) => members.values().for_each(|member| note_faults(member, had)),
        _ => {}
    }
}

/// What is wrong with an address of a kind that takes one form of each alone.
pub(super) fn strict_ip(text: &str) -> Vec<String> {
    match (ip(text), text.parse::<IpAddr>()) {
        (faults, Ok(address)) if faults.is_empty() => canonical(text, &address.to_string()),
        (faults, _) => faults,
    }
}

/// What is wrong with a range of a kind that takes one form of each alone.
pub(super) fn strict_cidr(text: &str) -> Vec<String> {
    match (cidr(text), Range::parse(text)) {
        (faults, Some(range)) if faults.is_empty() => {
            canonical(text, &format!("{}/{}", range.first, range.bits))
        }
        (faults, _) => faults,
    }
}

/// What is wrong with an address and the range that it is in, as an interface has them.
pub(super) fn of_interface(text: &str) -> Vec<String> {
    const FORM: &str = "must be a valid address in CIDR form, (e.g. 10.9.8.7/24 or 2001:db8::1/64)";
    match (Range::parse(text), text.split_once('/')) {
        (Some(range), _) if is_mapped(range.first) => {
            vec!["must not have an IPv4-mapped IPv6 address".to_owned()]
        }
        (Some(range), _) => canonical(text, &format!("{}/{}", range.first, range.bits)),
        (None, Some((first, _))) if is_padded(first) => {
            vec!["must not have leading 0s in IP or prefix length".to_owned()]
        }
        (None, _) => vec![FORM.to_owned()],
    }
}

fn canonical(text: &str, form: &str) -> Vec<String> {
    if text == form { Vec::new() } else { vec![format!("must be in canonical form ({form:?})")] }
}

/// Whether it is an address but for zeros before its numbers.
fn is_padded(text: &str) -> bool {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = text.split('.').collect();
    let is_padded = |part: &&str| part.len() > 1 && part.starts_with('0');
    let is_small = |part: &str| part.trim_start_matches('0').parse::<u16>().is_ok_and(|it| it < 256);
    parts.len() == 4
        && parts.iter().all(|part| is_number(part) && (part.bytes().all(|it| it == b'0') || is_small(part)))
        && parts.iter().any(is_padded)
}

fn is_mapped(address: IpAddr) -> bool {
    matches!(address, IpAddr::V6(address) if address.to_ipv4_mapped().is_some())
}

/// Whether it is an address.
pub(super) fn is_ip(text: &str) -> bool {
    text.parse::<IpAddr>().is_ok()
}

/// Whether the object tells where the API itself is, which on a single machine may be a loopback address.
pub(super) fn is_of_api(object: &Value) -> bool {
    let label = "kubernetes.io/service-name";
    let (name, service) = (text(object, &["metadata", "name"]), text(object, &["metadata", "labels", label]));
    text(object, &["metadata", "namespace"]) == "default" && [name, service].contains(&"kubernetes")
}

/// Faults of an address that no service is at: of no host, of every host itself, or of a link.
pub(super) fn not_special(ip: &Place<'_>, may_be_loopback: bool, faults: &mut Faults) {
    let Ok(address) = ip.text().parse::<IpAddr>() else {
        return faults.push(ip.invalid_text("must be a valid IP address"));
    };
    let is_link = match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    let is_link_group = match address {
        IpAddr::V4(ip) => ip.octets()[..3] == [224, 0, 0],
        IpAddr::V6(ip) => ip.octets()[0] == 0xff && ip.octets()[1] & 0x0f == 2,
    };
    let unspecified = format!("may not be unspecified ({})", ip.text());
    for (is_it, detail) in [
        (address.is_unspecified(), unspecified.as_str()),
        (
            address.is_loopback() && !may_be_loopback,
            "may not be in the loopback range (127.0.0.0/8, ::1/128)",
        ),
        (is_link, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"),
        (is_link_group, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"),
    ] {
        if is_it {
            faults.push(ip.invalid_text(detail));
        }
    }
}

/// What is wrong with a range.
pub(super) fn cidr(text: &str) -> Vec<String> {
    let fault = match Range::parse(text) {
        _ if range_fault(text).is_some() => range_fault(text),
        Some(_) => None,
        None => Some("must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
    };
    fault.into_iter().map(str::to_owned).collect()
}

/// What is wrong with the name of a host, which may begin with `*.`.
pub(super) fn host(text: &str) -> Vec<String> {
    if !text.contains('*') {
        return names::dns_subdomain(text);
    }
    let is_sound = text.strip_prefix("*.").is_some_and(|rest| names::dns_subdomain(rest).is_empty());
    if is_sound { Vec::new() } else { vec![WILDCARD.to_owned()] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_within_another_is_smaller_and_begins_alike() {
        let range = |text: &str| Range::parse(text).unwrap();
        assert!(range("10.0.0.0/8").has_within(range("10.1.0.0/16")));
        assert!(!range("10.0.0.0/8").has_within(range("10.0.0.0/8")));
        assert!(!range("10.0.0.0/8").has_within(range("11.0.0.0/16")));
        assert!(!range("10.0.0.0/8").has_within(range("fd00::/16")));
        assert!(range("0.0.0.0/0").has_within(range("11.0.0.0/16")));
        assert!(range("::/0").has_within(range("fd00::/16")));
        assert_eq!((Range::parse("10.0.0.0/33"), Range::parse("10.0.0.0")), (None, None));
    }

    #[test]
    fn strict_forms_are_one_for_each_address_and_range() {
        let ips = [
            ("10.0.0.1", ""),
            ("2001:db8::1", ""),
            ("x", "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"),
            ("010.0.0.1", "must not have leading 0s"),
            ("::ffff:1.2.3.4", "must not be an IPv4-mapped IPv6 address"),
            ("2001:DB8::1", "must be in canonical form (\"2001:db8::1\")"),
        ];
        for (text, fault) in ips {
            assert_eq!(strict_ip(text).join(""), fault, "{text}");
        }
        let cidrs = [
            ("10.0.0.0/8", ""),
            ("0.0.0.0/0", ""),
            ("fd00::/64", ""),
            ("10.0.0.0", "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"),
            ("10.00.0.0/8", "must not have leading 0s in IP or prefix length"),
            ("10.0.0.0/08", "must not have leading 0s in IP or prefix length"),
            ("10.1.0.0/8", "must not have bits set beyond the prefix length"),
            ("fd00::1/64", "must not have bits set beyond the prefix length"),
            ("::ffff:1.2.3.0/120", "must not have an IPv4-mapped IPv6 address"),
            ("FD00::/64", "must be in canonical form (\"fd00::/64\")"),
        ];
        for (text, fault) in cidrs {
            assert_eq!(strict_cidr(text).join(""), fault, "{text}");
        }
        for text in ["2001:DB8::1", "10.0.0.1"] {
            assert!(ip(text).is_empty(), "{text}: other kinds take other forms of what is the same to all");
        }
        assert!(cidr("FD00::/64").is_empty());
        assert_eq!(Range::parse("10.0.0.0/+8"), None);
    }

    #[test]
    fn a_star_stands_for_the_first_part_of_a_host_alone() {
        assert!(host("*.example.com").is_empty());
        for faulty in ["*", "*example.com", "a.*.com", "*.*.com"] {
            assert_eq!(host(faulty), [WILDCARD], "{faulty}");
        }
    }
}
