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
        "duration" => hako_cel::parse_duration_format(text).is_some(),
        "byte" => STANDARD.decode(text).is_ok(),
        "ipv4" => text.parse::<Ipv4Addr>().is_ok(),
        "ipv6" => text.parse::<Ipv6Addr>().is_ok(),
        "cidr" => is_cidr(text),
        "mac" => is_mac(text),
        "hostname" => names::dns_subdomain(&text.to_ascii_lowercase()).is_empty(),
        "email" => is_email(text),
        "uri" => text.split_once(':').is_some_and(|(scheme, _)| is_scheme(scheme)) || text.starts_with('/'),
        "uuid" | "uuid3" | "uuid4" | "uuid5" => is_uuid(format, text),
        "bsonobjectid" => text.len() == 24 && is_hexadecimal(text),
        "isbn" => is_isbn_10(text) || is_isbn_13(text),
        "isbn10" => is_isbn_10(text),
        "isbn13" => is_isbn_13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => is_social_security_number(text),
        "hexcolor" => is_hex_color(text),
        "rgbcolor" => is_rgb_color(text),
        "k8s-short-name" => names::dns_label(text).is_empty(),
        "k8s-long-name" => names::dns_subdomain(text).is_empty(),
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

/// The digits of a book number, without the blanks and dashes between its groups.
fn isbn_digits(text: &str) -> Vec<u8> {
    text.bytes().filter(|byte| *byte != b'-' && !is_blank(char::from(*byte))).collect()
}

/// Nine digits and a check digit, which may be `X` for 10 (ISO 2108).
fn is_isbn_10(text: &str) -> bool {
    let digits = isbn_digits(text);
    let Some((last, first)) = digits.split_last().filter(|(_, first)| first.len() == 9) else { return false };
    let check = match last {
        b'X' => 10,
        digit => u32::from(digit.wrapping_sub(b'0')),
    };
    let sum: u32 = (1..).zip(first).map(|(weight, digit)| weight * u32::from(digit.wrapping_sub(b'0'))).sum();
    first.iter().all(u8::is_ascii_digit)
        && (last.is_ascii_digit() || *last == b'X')
        && (sum + 10 * check).is_multiple_of(11)
}

/// Thirteen digits that weigh 1 and 3 in turn (ISO 2108).
fn is_isbn_13(text: &str) -> bool {
    let digits = isbn_digits(text);
    let weighed = |(at, digit): (usize, &u8)| u32::from(digit - b'0') * if at % 2 == 0 { 1 } else { 3 };
    digits.len() == 13
        && digits.iter().all(u8::is_ascii_digit)
        && digits.iter().enumerate().map(weighed).sum::<u32>().is_multiple_of(10)
}

/// A number of a known issuer with its check digit (ISO/IEC 7812); what is between the digits does not matter.
fn is_credit_card(text: &str) -> bool {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let is_of = |length: usize, starts: &[&str]| {
        digits.len() == length && starts.iter().any(|start| digits.starts_with(start))
    };
    let is_known = is_of(13, &["4"])
        || is_of(14, &["300", "301", "302", "303", "304", "305", "36", "38"])
        || is_of(15, &["34", "37", "2131", "1800"])
        || is_of(16, &["4", "51", "52", "53", "54", "55", "6011", "65", "35"]);
    let weighed = |(at, digit): (usize, u8)| {
        let digit = u32::from(digit - b'0');
        if at % 2 == 0 { digit } else { digit * 2 / 10 + digit * 2 % 10 }
    };
    is_known && digits.bytes().rev().enumerate().map(weighed).sum::<u32>().is_multiple_of(10)
}

/// Three, two and four digits, with a dash or a blank between them or nothing.
fn is_social_security_number(text: &str) -> bool {
    let digits =
        |text: &str, count: usize| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    let Some((first, rest)) = text.split_at_checked(3) else { return false };
    let Some((second, rest)) = without_dash(rest).split_at_checked(2) else { return false };
    digits(first, 3) && digits(second, 2) && digits(without_dash(rest), 4)
}

fn without_dash(text: &str) -> &str {
    text.strip_prefix(['-', ' ']).unwrap_or(text)
}

fn is_hex_color(text: &str) -> bool {
    let digits = text.strip_prefix('#').unwrap_or(text);
    matches!(digits.len(), 3 | 6) && is_hexadecimal(digits)
}

/// `rgb(r, g, b)`, each from 0 to 255 and without leading zeros.
fn is_rgb_color(text: &str) -> bool {
    let is_part = |part: &str| {
        let part = part.trim_matches(is_blank);
        part.parse::<u8>().is_ok_and(|value| value.to_string() == part)
    };
    let parts = text.strip_prefix("rgb(").and_then(|rest| rest.strip_suffix(')'));
    parts.is_some_and(|parts| parts.split(',').count() == 3 && parts.split(',').all(is_part))
}

/// What `\s` stands for in Go's patterns.
fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{c}' | '\r')
}

#[cfg(test)]
mod tests {
    use super::is_text_of;

    #[test]
    fn texts_are_of_the_formats_that_definitions_may_name() {
        for (format, good, bad) in [
            ("duration", &["1h30m", "1d", "30 s", "2 weeks"][..], &["", "1", "1x"][..]),
            (
                "bsonobjectid",
                &["507f1f77bcf86cd799439011"],
                &["507f1f77bcf86cd79943901", "507f1f77bcf86cd79943901g"],
            ),
            (
                "isbn10",
                &["0321751043", "0-306-40615-2", "097522980X"],
                &["0321751044", "X321751043", "978-0321751041"],
            ),
            ("isbn13", &["978-0321751041", "978 0 306 40615 7"], &["978-0321751042", "0321751043", ""]),
            ("isbn", &["0321751043", "978-0321751041"], &["0321751044", "é", ""]),
            (
                "creditcard",
                &["4111 1111 1111 1111", "378282246310005"],
                &["4111111111111112", "9111111111111111", ""],
            ),
            (
                "ssn",
                &["111-11-1111", "111 11 1111", "111111111"],
                &["11-111-1111", "111--11-1111", "111-11-111é", "1"],
            ),
            ("hexcolor", &["#FFFFFF", "0af"], &["#FFFF", "##FFF", "#fffffg"]),
            (
                "rgbcolor",
                &["rgb(100,100,100)", "rgb( 0 , 9, 255 )"],
                &["rgb(256,0,0)", "rgb(01,0,0)", "rgb(+1,0,0)", "rgb(1,2)"],
            ),
            ("k8s-short-name", &["a-1"], &["A", "a.b", "-a"]),
            ("k8s-long-name", &["a-1.b"], &["A.b", "a..b"]),
            ("made-up", &["anything"], &[]),
        ] {
            for text in good {
                assert!(is_text_of(format, text), "{format} {text:?}");
            }
            for text in bad {
                assert!(!is_text_of(format, text), "{format} {text:?}");
            }
        }
    }
}
