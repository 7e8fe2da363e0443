//! HEALTHCHECK.

use super::flags::{Flags, Takes};
use super::instruction::{Command, Refused, command, refuse};
use super::lines::split_keyword;
use serde_json::Value;

pub(super) const FLAGS: [(&str, Takes); 5] = [
    ("interval", Takes::Text),
    ("timeout", Takes::Text),
    ("start-period", Takes::Text),
    ("start-interval", Takes::Text),
    ("retries", Takes::Text),
];

/// `NONE`, or options and `CMD command`; durations become nanoseconds as Docker stores them.
pub(super) fn healthcheck(rest: &str, flags: Vec<String>) -> Result<Value, Refused> {
    let flags = Flags::parse("HEALTHCHECK", flags, &FLAGS)?;
    let (keyword, tail) = split_keyword(rest);
    if keyword.eq_ignore_ascii_case("none") {
        return match tail {
            "" => Ok(serde_json::json!({"Test": ["NONE"]})),
            _ => refuse("HEALTHCHECK NONE takes no arguments"),
        };
    }
    if !keyword.eq_ignore_ascii_case("cmd") || tail.is_empty() {
        return refuse("HEALTHCHECK needs NONE or CMD and a command");
    }
    let mut check = serde_json::Map::new();
    for (name, key) in [
        ("interval", "Interval"),
        ("timeout", "Timeout"),
        ("start-period", "StartPeriod"),
        ("start-interval", "StartInterval"),
    ] {
        if let Some(text) = flags.text(name) {
            let nanoseconds = duration(name, &text)?;
            // Nothing stands for the default.
            if nanoseconds > 0 {
                check.insert(key.into(), nanoseconds.into());
            }
        }
    }
    if let Some(text) = flags.text("retries") {
        match text.parse::<i32>() {
            Ok(number) if number > 0 => drop(check.insert("Retries".into(), number.into())),
            Ok(0) => {}
            _ => return refuse(format!("HEALTHCHECK --retries={text}: expected a number from 0")),
        }
    }
    let test = match command("HEALTHCHECK", tail)? {
        Command::Shell(line) => vec!["CMD-SHELL".to_owned(), line],
        Command::Exec(words) if words.is_empty() => {
            return refuse("HEALTHCHECK CMD [] names no program");
        }
        Command::Exec(words) => [vec!["CMD".to_owned()], words].concat(),
    };
    check.insert("Test".into(), test.into());
    Ok(Value::Object(check))
}

fn duration(name: &str, text: &str) -> Result<i64, Refused> {
    match duration_ns(text) {
        None => refuse(format!("HEALTHCHECK --{name}={text} is no duration such as 30s, 1m30s or 500ms")),
        Some(short) if short != 0 && short < 1_000_000 => {
            refuse(format!("HEALTHCHECK --{name}={text} is less than a millisecond"))
        }
        Some(nanoseconds) => Ok(nanoseconds),
    }
}

/// Go's durations: `90s`, `1m30s`, `1.5h`, `250ms`, `0`. Negative ones are none here.
fn duration_ns(text: &str) -> Option<i64> {
    let text = text.strip_prefix('+').unwrap_or(text);
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut total) = (text, 0_i64);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (whole, fraction) = rest[..digits].split_once('.').unwrap_or((&rest[..digits], ""));
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let after = &rest[digits..];
        let (unit, scale) = [
            ("ms", 1_000_000),
            ("us", 1_000),
            ("µs", 1_000),
            ("μs", 1_000),
            ("ns", 1),
            ("h", 3_600_000_000_000),
            ("m", 60_000_000_000),
            ("s", 1_000_000_000_i64),
        ]
        .into_iter()
        .find(|(unit, _)| after.starts_with(unit))?;
        let whole: i64 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
        total = total.checked_add(whole.checked_mul(scale)?)?;
        total = total.checked_add(part_of(fraction, scale)?)?;
        rest = &after[unit.len()..];
    }
    (!text.is_empty()).then_some(total)
}

/// `0.fraction` of `scale`, rounded down.
fn part_of(fraction: &str, scale: i64) -> Option<i64> {
    let digits = &fraction[..fraction.len().min(15)];
    if digits.is_empty() {
        return (!fraction.contains('.')).then_some(0);
    }
    let number: i128 = digits.parse().ok()?;
    let divisor = 10_i128.pow(u32::try_from(digits.len()).ok()?);
    i64::try_from(number * i128::from(scale) / divisor).ok()
}
