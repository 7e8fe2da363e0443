//! Addresses of networks. Those of IPv4 may have leading zeros, as they could be written before they were refused.

use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether a text is an address that has a part of IPv4.
pub(super) fn is_ipv4(text: &str) -> bool {
    text.contains('.') && bits(text).is_some()
}

pub(super) fn is_ipv6(text: &str) -> bool {
    text.parse::<Ipv6Addr>().is_ok()
}

pub(super) fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, prefix)| {
        let is_number = !prefix.is_empty() && prefix.bytes().all(|byte| byte.is_ascii_digit());
        let prefix = prefix.trim_start_matches('0');
        let prefix: u32 = if prefix.is_empty() { 0 } else { prefix.parse().unwrap_or(u32::MAX) };
        is_number && bits(address).is_some_and(|bits| prefix <= bits)
    })
}

/// How many bits an address has.
fn bits(text: &str) -> Option<u32> {
    match text.find(['.', ':']).map(|at| text.as_bytes()[at]) {
        Some(b'.') => without_zeros(text).map(|_| 32),
        Some(_) => {
            let mut groups: Vec<String> = text.split(':').map(short).collect();
            if let Some(last) = groups.last_mut().filter(|last| last.contains('.')) {
                *last = without_zeros(last)?.to_string();
            }
            groups.join(":").parse::<Ipv6Addr>().ok().map(|_| 128)
        }
        None => None,
    }
}

/// A group of digits without the zeros before the last four.
fn short(group: &str) -> String {
    let zeros = group.bytes().take_while(|byte| *byte == b'0').count();
    let surplus = if group.contains('.') { 0 } else { zeros.min(group.len().saturating_sub(4)) };
    group[surplus..].to_owned()
}

fn without_zeros(text: &str) -> Option<Ipv4Addr> {
    let part = |part: &str| {
        let is_number = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        let digits = part.trim_start_matches('0');
        if digits.is_empty() { is_number.then_some(0) } else { digits.parse::<u8>().ok() }
    };
    let parts: Vec<u8> = text.split('.').map(part).collect::<Option<_>>()?;
    <[u8; 4]>::try_from(parts).ok().map(Ipv4Addr::from)
}

/// Six, eight or twenty octets: pairs of digits between colons or dashes, or fours between dots.
pub(super) fn is_mac(text: &str) -> bool {
    let is_of = |separator: char, length: usize, counts: &[usize]| {
        let parts: Vec<&str> = text.split(separator).collect();
        let is_part = |part: &&str| part.len() == length && part.bytes().all(|byte| byte.is_ascii_hexdigit());
        counts.contains(&parts.len()) && parts.iter().all(is_part)
    };
    is_of(':', 2, &[6, 8, 20]) || is_of('-', 2, &[6, 8, 20]) || is_of('.', 4, &[3, 4, 10])
}
