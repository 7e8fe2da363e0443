//! Timestamps and durations as texts (langdef.md, "Timestamps" and "Durations"; RFC 3339).

use jiff::civil::DateTime;
use jiff::tz::{Offset, TimeZone};
use jiff::{SignedDuration, Timestamp};
use std::cmp::Ordering;
use std::fmt;

pub(crate) const SECOND: i64 = 1_000_000_000;
const UNITS: &[(&str, i64)] = &[
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", 60 * SECOND),
    ("h", 3_600 * SECOND),
];

/// Units in letters, how their words begin, and their nanoseconds.
const WORDS: &[(&[&str], &str, i64)] = &[
    (&["ns"], "nano", 1),
    (&["us", "µs"], "micro", 1_000),
    (&["ms"], "milli", 1_000_000),
    (&["s"], "sec", SECOND),
    (&["m"], "min", 60 * SECOND),
    (&["h", "hr"], "hour", 3_600 * SECOND),
    (&["d"], "day", 24 * 3_600 * SECOND),
    (&["w", "wk"], "week", 7 * 24 * 3_600 * SECOND),
];

/// A point in time of the years 1 to 9999, as nanoseconds since 1970, and the offset with which it was written and is
/// shown. Only the point counts where two are compared.
#[derive(Clone, Copy, Debug)]
pub struct Instant {
    nanos: i128,
    offset: Offset,
}

impl PartialEq for Instant {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Instant {}

impl PartialOrd for Instant {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Instant {
    fn cmp(&self, other: &Self) -> Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl Instant {
    /// `9999-12-31T23:59:59.999999999Z`, people's "never"; it is beyond what `jiff::Timestamp` holds.
    const LAST: i128 = 253_402_300_800 * SECOND as i128 - 1;
    const FIRST: i128 = -62_135_596_800 * SECOND as i128;

    /// None outside of the years that the language has.
    pub(crate) fn from_nanos(nanos: i128) -> Option<Self> {
        Self::at(nanos, Offset::UTC)
    }

    fn at(nanos: i128, offset: Offset) -> Option<Self> {
        (Self::FIRST..=Self::LAST).contains(&nanos).then_some(Self { nanos, offset })
    }

    /// As many nanoseconds later.
    pub(crate) fn shifted(self, by: i128) -> Option<Self> {
        Self::at(self.nanos + by, self.offset)
    }

    pub(crate) fn nanos(self) -> i128 {
        self.nanos
    }

    /// Whether it is the point that stands for none: the first there is.
    pub(crate) fn is_zero(self) -> bool {
        self.nanos == Self::FIRST
    }

    pub(crate) fn seconds(self) -> i64 {
        self.nanos.div_euclid(i128::from(SECOND)) as i64
    }

    /// Date and time of day `offset` east of Greenwich.
    fn civil(self, offset: Offset) -> Option<DateTime> {
        let seconds = self.seconds() + i64::from(offset.seconds());
        let nanos = self.nanos.rem_euclid(i128::from(SECOND)) as i32;
        EPOCH.checked_add(SignedDuration::new(seconds, nanos)).ok()
    }
}

const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

impl fmt::Display for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // An offset may lead out of the years that dates have: then it is told by that of Greenwich.
        let local = self.civil(self.offset).map(|civil| (civil, self.offset.seconds() / 60));
        let (civil, minutes) = local.or_else(|| Some((self.civil(Offset::UTC)?, 0))).ok_or(fmt::Error)?;
        if minutes == 0 {
            return write!(f, "{civil}Z");
        }
        let sign = if minutes < 0 { '-' } else { '+' };
        let minutes = minutes.abs();
        write!(f, "{civil}{sign}{:02}:{:02}", minutes / 60, minutes % 60)
    }
}

/// A date-time of RFC 3339, or a full-date.
#[must_use]
pub fn timestamp(text: &str) -> Option<Instant> {
    let (civil, offset) = if text.len() == 10 { (text, Some(Offset::UTC)) } else { split_offset(text)? };
    let civil: DateTime = civil.parse().ok()?;
    let since = civil.duration_since(EPOCH).as_nanos();
    let offset = offset?;
    Instant::at(since - i128::from(offset.seconds()) * i128::from(SECOND), offset)
}

/// Date and time, and what follows them: `Z` or `+hh:mm`.
fn split_offset(text: &str) -> Option<(&str, Option<Offset>)> {
    if !text.is_ascii() || !matches!(text.as_bytes().get(10), Some(b'T' | b't')) {
        return None;
    }
    if let Some(civil) = text.strip_suffix(['Z', 'z']) {
        return Some((civil, Some(Offset::UTC)));
    }
    let (civil, zone) = text.split_at_checked(text.len().checked_sub(6)?)?;
    zone.starts_with(['+', '-']).then(|| (civil, offset(zone)))
}

/// Nanoseconds of a duration such as `1h30m`, `-1.5s` or `0`.
#[must_use]
pub fn duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest == "0" {
        return Some(0);
    }
    if rest.is_empty() {
        return None;
    }
    let mut nanos: i128 = 0;
    while !rest.is_empty() {
        let (part, after) = component(rest)?;
        nanos = nanos.checked_add(part)?;
        rest = after;
    }
    i64::try_from(if negative { -nanos } else { nanos }).ok()
}

/// A duration as the format of that name in schemas has it: as in the language or, as in Scala, whole numbers with units up
/// to weeks, in letters or words and with blanks between them.
#[must_use]
pub fn duration_format(text: &str) -> Option<i64> {
    duration(text).or_else(|| in_words(text))
}

fn in_words(text: &str) -> Option<i64> {
    let is_blank = |c: char| matches!(c, ' ' | '\t' | '\n' | '\u{c}' | '\r');
    // Upstream passes over what is no number with a unit.
    let next = |rest: &'_ str| rest.find(|c: char| c.is_ascii_digit());
    let (mut rest, mut nanos, mut is_known) = (text, 0_i64, false);
    while let Some(start) = next(rest) {
        let (number, after) = leading(&rest[start..], |c| c.is_ascii_digit());
        let (unit, behind) =
            leading(after.trim_start_matches(is_blank), |c| c.is_ascii_alphabetic() || c == 'µ');
        rest = if unit.is_empty() { after } else { behind };
        if unit.is_empty() {
            continue;
        }
        let number: i64 = number.parse().ok()?;
        if let Some(scale) = word_scale(&unit.to_lowercase()) {
            nanos = nanos.checked_add(number.checked_mul(scale)?)?;
            is_known = true;
        }
    }
    is_known.then_some(nanos)
}

/// The characters at the front of which something is so, and what follows them.
fn leading(text: &str, is_so: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(|c| !is_so(c)).unwrap_or(text.len()))
}

fn word_scale(unit: &str) -> Option<i64> {
    let is = |(letters, word, _): &&(&[&str], &str, i64)| letters.contains(&unit) || unit.starts_with(word);
    WORDS.iter().find(is).map(|(_, _, scale)| *scale)
}

/// One number with its unit, and what follows it.
fn component(text: &str) -> Option<(i128, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(end);
    let length = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, after) = rest.split_at(length);
    let scale = i128::from(UNITS.iter().find(|(name, _)| *name == unit)?.1);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.is_empty() && fraction.is_empty() || fraction.contains('.') || whole.len() > 19 {
        return None;
    }
    let whole: i128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction = &fraction[..fraction.len().min(18)];
    let part = match fraction {
        "" => 0,
        digits => digits.parse::<i128>().ok()? * scale / 10_i128.pow(digits.len() as u32),
    };
    Some((whole * scale + part, after))
}

/// Seconds with as many digits as the duration has.
pub(crate) fn show_duration(nanos: i64) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let (seconds, rest) = (nanos.unsigned_abs() / 1_000_000_000, nanos.unsigned_abs() % 1_000_000_000);
    let fraction = format!(".{rest:09}");
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    format!("{sign}{seconds}{fraction}s")
}

/// The date and time in the zone called `zone`: a name of the IANA database or an offset such as `-08:00`.
pub(crate) fn in_zone(instant: Instant, zone: &str) -> Option<DateTime> {
    let offset = match offset(zone) {
        Some(offset) => offset,
        None if zone.is_empty() || zone == "UTC" => Offset::UTC,
        None => {
            let at = Timestamp::from_nanosecond(instant.nanos).unwrap_or(Timestamp::MAX);
            TimeZone::get(zone).ok()?.to_offset(at)
        }
    };
    instant.civil(offset)
}

fn offset(zone: &str) -> Option<Offset> {
    let (hours, minutes) = zone.split_once(':')?;
    let negative = hours.starts_with('-');
    let hours: i32 = hours.trim_start_matches(['-', '+']).parse().ok()?;
    let minutes: i32 = minutes.parse().ok()?;
    let seconds = (hours * 60 + minutes) * 60;
    Offset::from_seconds(if negative { -seconds } else { seconds }).ok()
}

#[cfg(test)]
mod tests {
    use super::{SECOND, duration, duration_format, show_duration, timestamp};

    #[test]
    fn durations_are_read_and_shown() {
        for (text, nanos, shown) in [
            ("1h30m", 5_400 * SECOND, "5400s"),
            ("-1.5s", -1_500_000_000, "-1.5s"),
            ("0", 0, "0s"),
            ("100ms", 100_000_000, "0.1s"),
            ("1us", 1_000, "0.000001s"),
        ] {
            assert_eq!(duration(text), Some(nanos), "{text}");
            assert_eq!(show_duration(nanos), shown);
        }
        for text in ["", "1", "s", "1x", "-", "1.2.3s", "99999999999999999999h"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }

    #[test]
    fn durations_of_schemas_may_have_days_weeks_words_and_blanks() {
        for (text, nanos) in [
            ("1h30m", 5_400 * SECOND),
            ("-1.5s", -1_500_000_000),
            ("1d", 86_400 * SECOND),
            ("30 s", 30 * SECOND),
            (" 2 weeks 1 Day ", 15 * 86_400 * SECOND),
            ("1wk 1hr 1 minute 1 sec", 608_461 * SECOND),
            ("3 millis 2 µs 1 nanos", 3_002_001),
            ("1d 5 parsecs", 86_400 * SECOND),
            ("1.5d", 5 * 86_400 * SECOND),
            ("-1d", 86_400 * SECOND),
            ("in 1 d 2", 86_400 * SECOND),
        ] {
            assert_eq!(duration_format(text), Some(nanos), "{text}");
        }
        for text in ["", " ", "1", "d", "1x", "20000w", "9223372036854775808ns"] {
            assert_eq!(duration_format(text), None, "{text}");
        }
        assert_eq!(duration("1d"), None, "the language has no days");
    }

    #[test]
    fn timestamps_are_of_rfc_3339() {
        for text in
            ["2023-01-02T03:04:05Z", "2023-01-02T03:04:05.123+02:00", "2023-01-02", "9999-12-31T23:59:59Z"]
        {
            assert!(timestamp(text).is_some(), "{text}");
        }
        for text in ["2023-01-02T03:04:05.5+02:00", "2023-01-02T03:04:05-00:30", "0001-01-01T00:00:00Z"] {
            assert_eq!(timestamp(text).unwrap().to_string(), text, "the offset is kept");
        }
        assert_eq!(timestamp("2023-01-02T03:04:05+00:00").unwrap().to_string(), "2023-01-02T03:04:05Z");
        assert_eq!(timestamp("2023-01-02T03:04:05.5+02:00"), timestamp("2023-01-02T01:04:05.5Z"));
        assert_eq!(timestamp("1969-12-31T23:59:59Z").unwrap().seconds(), -1);
        for text in [
            "",
            "2023-13-01",
            "2023-01-02T03:04:05",
            "0000-01-01T00:00:00Z",
            "2023-01-02T03:04:05+02:00[Europe/Rome]",
        ] {
            assert_eq!(timestamp(text), None, "{text}");
        }
    }
}
