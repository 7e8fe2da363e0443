//! Formats of strings and numbers that a schema may ask for; unknown ones are not checked.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hako_kube::names;
use std::net::{Ipv4Addr, Ipv6Addr};

/// Whether `text` is of `format`.
pub(crate) fn is_text_of(format: &str, text: &str) -> bool {
    match format {
        "date" => text.len() == 10 && hako_cel::parse_timestamp(text).is_some(),
        "date-time" | "datetime" => text.len() > 10 && hako_cel::parse_timestamp(text).is_some(),
        "duration" => hako_cel::parse_duration(text).is_some(),
        "byte" => STANDARD.decode(text).is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "hostname" => names::dns_subdomain(&text.to_ascii_lowercase()).is_empty(),
        "email" => is_email(text),
        "uri" => text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)) || text.starts_with('/'),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(format, text),
        _ => true,
    }
}

/// Whether `number` is in the range of `format`.
pub(crate) fn is_number_of(format: &str, number: f64) -> bool {
    match format {
        "int32" => number >= f64::from(i32::MIN) && number <= f64::from(i32::MAX),
        "float" => number.abs() <= f64::from(f32::MAX),
        _ => true,
    }
}

fn is_cidr(text: &str) -> bool {
    text.split_once('/').is_some_and(|(address, prefix)| {
        let bits = match address.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V4(_)) => 32,
            Ok(std::net::IpAddr::V6(_)) => 128,
            Err(_) => return false,
        };
        prefix.parse::<u8>().is_ok_and(|prefix| prefix <= bits) && !prefix.starts_with('+')
    })
}

fn is_mac(text: &str) -> bool {
    let parts: Vec<_> = text.split([':', '-']).collect();
    matches!(parts.len(), 6 | 8) && parts.iter().all(|part| part.len() == 2 && is_hexadecimal(part))
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn is_email(text: &str) -> bool {
    text.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && !local.contains(char::is_whitespace)
            && !domain.is_empty()
            && !domain.contains(char::is_whitespace)
    })
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'))
}

fn is_uuid(format: &str, text: &str) -> bool {
    let digits = text.replace('-', "");
    let version = format.strip_prefix("uuid").and_then(|version| version.chars().next());
    digits.len() == 32
        && is_hexadecimal(&digits)
        && version.is_none_or(|version| digits.chars().nth(12) == Some(version))
}
