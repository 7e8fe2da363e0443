//! Formats of strings and numbers that a schema may ask for, as upstream's `strfmt` has them; others are not checked, such
//! as `quantity`.

mod email;
mod net;
mod uri;

use hako_kube::names;
use regex::Regex;
use std::sync::LazyLock;

/// Whether `text` is of `format`. Dashes in names of formats do not count.
pub(crate) fn is_text_of(format: &str, text: &str) -> bool {
    let without_dashes;
    let name = if format.contains('-') {
        without_dashes = format.replace('-', "");
        &without_dashes
    } else {
        format
    };
    match name {
        "date" => is_date(text),
        "datetime" => is_date_time(text),
        "duration" => hako_cel::parse_duration_format(text).is_some(),
        "byte" => is_base64(text),
        "ipv4" => net::is_ipv4(text),
        "ipv6" => net::is_ipv6(text),
        "cidr" => net::is_cidr(text),
        "mac" => net::is_mac(text),
        "hostname" => is_hostname(text),
        "email" => email::is_email(text),
        "uri" => uri::is_request_uri(text),
        "uuid" => is_uuid(text, None, false),
        "uuid3" => is_uuid(text, Some(b'3'), false),
        "uuid4" => is_uuid(text, Some(b'4'), true),
        "uuid5" => is_uuid(text, Some(b'5'), true),
        "bsonobjectid" => text.len() == 24 && is_hexadecimal(text),
        "isbn" => is_isbn_10(text) || is_isbn_13(text),
        "isbn10" => is_isbn_10(text),
        "isbn13" => is_isbn_13(text),
        "creditcard" => is_credit_card(text),
        "ssn" => is_social_security_number(text),
        "hexcolor" => is_hex_color(text),
        "rgbcolor" => is_rgb_color(text),
        "k8sshortname" => names::dns_label(text).is_empty(),
        "k8slongname" => names::dns_subdomain(text).is_empty(),
        _ => true,
    }
}

/// The formats of texts that are checked, without dashes.
const KNOWN: &[&str] = &[
    "bsonobjectid",
    "byte",
    "cidr",
    "creditcard",
    "date",
    "datetime",
    "duration",
    "email",
    "hexcolor",
    "hostname",
    "ipv4",
    "ipv6",
    "isbn",
    "isbn10",
    "isbn13",
    "k8slongname",
    "k8sshortname",
    "mac",
    "password",
    "rgbcolor",
    "ssn",
    "uri",
    "uuid",
    "uuid3",
    "uuid4",
    "uuid5",
];

/// Whether a format means anything for values of a type; all others are let pass.
#[must_use]
pub fn is_known(ty: &str, format: &str) -> bool {
    match ty {
        "" | "string" => KNOWN.contains(&&*format.replace('-', "")),
        "integer" => matches!(format, "int32" | "int64"),
        "number" => matches!(format, "float" | "double"),
        _ => false,
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

fn is_date(text: &str) -> bool {
    text.len() == 10 && hako_cel::parse_timestamp(text).is_some()
}

/// A date and a time with a zone. As upstream has it, hours of a zone are any, and so is the mark before a fraction.
fn is_date_time(text: &str) -> bool {
    let lower = text.to_lowercase();
    let mut parts = lower.split('t');
    let (Some(date), Some(time)) = (parts.next(), parts.next()) else { return false };
    is_date(date) && is_time(time)
}

fn is_time(text: &str) -> bool {
    let Some((clock, rest)) = text.split_at_checked(8) else { return false };
    let is_clock = clock.split(':').count() == 3
        && clock.split(':').zip([23, 59, 59]).all(|(part, max)| {
            part.len() == 2 && is_number(part) && part.parse::<u8>().is_ok_and(|value| value <= max)
        });
    let is_zone = |zone: &str| {
        let offset = zone.strip_prefix(['+', '-']).and_then(|offset| offset.split_once(':'));
        zone == "z"
            || offset.is_some_and(|(hours, minutes)| {
                hours.len() == 2 && minutes.len() == 2 && is_number(hours) && is_number(minutes)
            })
    };
    let with_fraction = || {
        let mut chars = rest.chars();
        let digits = chars.next().filter(|mark| *mark != '\n').map_or("", |_| chars.as_str());
        let zone = digits.trim_start_matches(|c: char| c.is_ascii_digit());
        zone.len() < digits.len() && is_zone(zone)
    };
    is_clock && (is_zone(rest) || with_fraction())
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Fours of digits of base64, the last with its padding; what the bits of a padded one are does not matter.
fn is_base64(text: &str) -> bool {
    let digits = text.strip_suffix("==").or_else(|| text.strip_suffix('=')).unwrap_or(text);
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    !text.is_empty() && text.len().is_multiple_of(4) && digits.bytes().all(is_digit)
}

/// Labels of letters, symbols, digits and dashes. One alone has a dash at most, after its first character.
fn is_hostname(text: &str) -> bool {
    static PATTERN: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let part = r"[a-zA-Z0-9\p{S}\p{L}]";
        let inner = r"[a-zA-Z0-9\p{S}\p{L}-]";
        let labels = format!(r"(?:{part}(?:{inner}{{0,61}}{part})?\.)+[a-zA-Z\p{{L}}]{{2,63}}");
        Regex::new(&format!("^(?:{part}-?{part}{{0,62}}|{labels})$")).ok()
    });
    let is_match = PATTERN.as_ref().is_some_and(|pattern| pattern.is_match(text));
    is_match && text.len() <= 255 && text.split('.').all(|label| label.len() <= 63)
}

fn is_hexadecimal(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// Eight, four, four, four and twelve digits, with a dash between them or nothing.
fn is_uuid(text: &str, version: Option<u8>, has_variant: bool) -> bool {
    let mut rest = text;
    for (place, length) in [8, 4, 4, 4, 12].into_iter().enumerate() {
        let Some((digits, after)) = rest.split_at_checked(length) else { return false };
        let first = digits.as_bytes()[0];
        let is_sound = match place {
            2 => version.is_none_or(|version| first == version),
            3 => !has_variant || matches!(first.to_ascii_lowercase(), b'8' | b'9' | b'a' | b'b'),
            _ => true,
        };
        if !is_hexadecimal(digits) || !is_sound {
            return false;
        }
        rest = if place < 4 { after.strip_prefix('-').unwrap_or(after) } else { after };
    }
    rest.is_empty()
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

/// Three, two and four digits, with a dash or a blank between them.
fn is_social_security_number(text: &str) -> bool {
    if text.len() != 11 {
        return false;
    }
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
    use super::{is_known, is_text_of};

    #[test]
    fn texts_are_of_the_formats_that_definitions_may_name() {
        for (format, good, bad) in CASES {
            for text in *good {
                assert!(is_text_of(format, text), "{format} {text:?}");
            }
            for text in *bad {
                assert!(!is_text_of(format, text), "{format} {text:?}");
            }
            assert_eq!(is_known("string", format), !matches!(*format, "quantity" | "made-up"), "{format}");
        }
    }

    /// Format, texts of it, others.
    const CASES: &[(&str, &[&str], &[&str])] = &[
        ("duration", &["1h30m", "1d", "30 s", "2 weeks", "in 3 days", "22 ns"], &["", "1", "1x"]),
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
            &["111-11-1111", "111 11 1111", "111-11 1111"],
            &["11-111-1111", "111--11-1111", "111-11-111é", "111111111"],
        ),
        ("hexcolor", &["#FFFFFF", "0af"], &["#FFFF", "##FFF", "#fffffg"]),
        (
            "rgbcolor",
            &["rgb(100,100,100)", "rgb( 0 , 9, 255 )"],
            &["rgb(256,0,0)", "rgb(01,0,0)", "rgb(+1,0,0)", "rgb(1,2)"],
        ),
        ("k8s-short-name", &["a-1"], &["A", "a.b", "-a", ""]),
        ("k8s-long-name", &["a-1.b"], &["A.b", "a..b", ""]),
        (
            "uuid",
            &["00000000-0000-0000-0000-000000000000", "A987FBC9-4bed-3078cf079141ba07c9f3"],
            &[
                "a987fbc9-4bed-3078-cf07-9141ba07c9f",
                "a987f-bc94bed-3078-cf07-9141ba07c9f3",
                "a987fbc94bed3078cf079141ba07c9f3-",
                "é987fbc94bed3078cf079141ba07c9f3",
            ],
        ),
        ("uuid3", &["a987fbc9-4bed-3078-cf07-9141ba07c9f3"], &["a987fbc9-4bed-4078-8f07-9141ba07c9f3"]),
        (
            "uuid4",
            &["57b73598-8764-4ad0-a76a-679bb6640eb1"],
            &["57b73598-8764-4ad0-c76a-679bb6640eb1", "57b73598-8764-5ad0-a76a-679bb6640eb1"],
        ),
        ("uuid5", &["987fbc97-4bed-5078-Af07-9141ba07c9f3"], &["987fbc97-4bed-5078-ff07-9141ba07c9f3"]),
        (
            "ipv4",
            &["10.0.0.1", "010.000.0.01", "::ffff:10.0.0.1"],
            &["10.0.0", "10.0.0.256", "10.0.0.1.2", "::1", "a.b.c.d", ""],
        ),
        ("ipv6", &["::1", "fe80::1", "::ffff:10.0.0.1"], &["10.0.0.1", "fe80::1%eth0", "00001::", ":::", ""]),
        (
            "cidr",
            &["10.0.0.0/8", "010.0.0.0/08", "::/0", "fd00::/128"],
            &["10.0.0.0/33", "10.0.0.0", "::/129", "10.0.0.0/", "10.0.0.0/+8"],
        ),
        (
            "mac",
            &["01:23:45:67:89:ab", "01-23-45-67-89-AB-cd-ef", "0123.4567.89ab"],
            &["01:23:45:67:89", "01:23-45:67:89:ab", "0123.4567", "01:23:45:67:89:ag"],
        ),
        (
            "hostname",
            &[
                "localhost",
                "a-b",
                "example.com",
                "my-host.example.com",
                "1.example",
                "☺.example",
                "bücher.example",
            ],
            &["my-host", "a_b.example", "-a.example", "example.c", "a..b", "", "10.0.0.1", "a.example."],
        ),
        (
            "email",
            &[
                "a@b",
                "a.b+c@example.com",
                "\"a b\"@example.com",
                "A B <a@b>",
                "\"A, B\" <a@b> (he)",
                "<a@b>",
                "a@[10.0.0.1]",
                "ü@ü.example",
            ],
            &["", "a", "@b", "a@", "a b@c", "a..b@c", ".a@b", "a@b c", "A <a@b", "a@b@c", "\"\"@b", "a@b (c"],
        ),
        (
            "uri",
            &[
                "http://example.com/a?b#c",
                "/a",
                "urn:a:b",
                "*",
                "http://[::1]:80/",
                "http://u:p@h:1/%41",
                "HTTP://h",
                "http://h:",
                "//a",
            ],
            &[
                "",
                "a",
                "a/b",
                "http://a b/",
                "http://[::1",
                "http://h:x/",
                "/%zz",
                "http://h%41/",
                ":a",
                "http://a\n/",
                "?a",
                "1a:b",
            ],
        ),
        ("byte", &["YQ==", "YWI=", "YWJj", "YR=="], &["", "YQ", "YQ=", "Y===", "YWJj=", "Y-_j", "YW Jj"]),
        ("date", &["2024-02-29"], &["2023-02-29", "2024-2-9", "2024-02-29T00:00:00Z", ""]),
        (
            "datetime",
            &["2014-12-15T19:30:20.000Z", "2014-12-15t19:30:20z", "2014-12-15T19:30:20,5+99:99"],
            &[
                "2014-12-15T19:30:20",
                "2014-12-15T24:30:20Z",
                "2014-12-15T19:60:20Z",
                "2014-12-15 19:30:20Z",
                "2014-12-15T19:30Z",
                "2014-13-15T19:30:20Z",
            ],
        ),
        ("date-time", &["2014-12-15T19:30:20Z"], &["2014-12-15"]),
        ("password", &["", "anything"], &[]),
        ("quantity", &["no amount"], &[]),
        ("made-up", &["anything"], &[]),
    ];
}
