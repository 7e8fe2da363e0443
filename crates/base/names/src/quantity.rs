//! Amounts of resources, Kubernetes API conventions, "Resource quantities".

use hako_error::{Classify, Kind};
use std::fmt;
use std::str::FromStr;

/// An exact amount such as `250m`, `1.5`, `64Mi` or `1e3`, down to one billionth.
///
/// Amounts compare and add by value; printing keeps the family of suffixes (decimal, binary or exponent) it was
/// written in and is canonical: no fraction, the largest suffix that divides it.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    nanos: i128,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Decimal,
    Binary,
    Exponent,
}

/// Why a text is no quantity.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseQuantityError {
    /// Not a number with a known suffix.
    #[error("{0:?} is not a quantity, expected a number with a suffix such as 250m, 1.5, 64Mi or 2G")]
    Malformed(String),
    /// Beyond what 2^63-1 units can say.
    #[error("quantity {0:?} is out of range")]
    OutOfRange(String),
}

impl Classify for ParseQuantityError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

const NANO: i128 = 1_000_000_000;
const MAX: i128 = (i64::MAX as i128) * NANO;
const DECIMAL: [(&str, i128); 10] = [
    ("E", NANO * 1_000_000_000_000_000_000),
    ("P", NANO * 1_000_000_000_000_000),
    ("T", NANO * 1_000_000_000_000),
    ("G", NANO * NANO),
    ("M", NANO * 1_000_000),
    ("k", NANO * 1_000),
    ("", NANO),
    ("m", 1_000_000),
    ("u", 1_000),
    ("n", 1),
];
const BINARY: [(&str, i128); 6] = [
    ("Ei", NANO << 60),
    ("Pi", NANO << 50),
    ("Ti", NANO << 40),
    ("Gi", NANO << 30),
    ("Mi", NANO << 20),
    ("Ki", NANO << 10),
];

impl Quantity {
    /// Nothing of it.
    pub const ZERO: Self = Self { nanos: 0, format: Format::Decimal };

    /// `units` whole units, decimal.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self { nanos: units as i128 * NANO, format: Format::Decimal }
    }

    /// `bytes`, printed with binary suffixes.
    #[must_use]
    pub const fn from_bytes(bytes: i64) -> Self {
        Self { nanos: bytes as i128 * NANO, format: Format::Binary }
    }

    /// `millis` thousandths, as CPU time is counted.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self { nanos: millis as i128 * 1_000_000, format: Format::Decimal }
    }

    /// Whole units, rounded away from zero.
    #[must_use]
    pub fn units(&self) -> i64 {
        round_up(self.nanos, NANO)
    }

    /// Thousandths, rounded away from zero.
    #[must_use]
    pub fn millis(&self) -> i64 {
        round_up(self.nanos, 1_000_000)
    }

    /// Billionths, exactly.
    #[must_use]
    pub const fn nanos(&self) -> i128 {
        self.nanos
    }

    /// Whether it is below zero.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.nanos < 0
    }

    /// Whether it is zero.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.nanos == 0
    }
}

fn round_up(nanos: i128, unit: i128) -> i64 {
    let whole = nanos / unit;
    let away = if nanos % unit == 0 { 0 } else { nanos.signum() };
    i64::try_from(whole + away).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
}

impl FromStr for Quantity {
    type Err = ParseQuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let malformed = || ParseQuantityError::Malformed(text.to_owned());
        let (is_negative, unsigned) = match text.as_bytes().first() {
            Some(b'-') => (true, &text[1..]),
            Some(b'+') => (false, &text[1..]),
            _ => (false, text),
        };
        let end = unsigned.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(unsigned.len());
        let (number, suffix) = unsigned.split_at(end);
        let (unit, format) = unit_of(suffix).ok_or_else(malformed)?;
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(malformed());
        }
        let out_of_range = || ParseQuantityError::OutOfRange(text.to_owned());
        let nanos = scale(whole, fraction, unit).filter(|nanos| *nanos <= MAX).ok_or_else(out_of_range)?;
        Ok(Self { nanos: if is_negative { -nanos } else { nanos }, format })
    }
}

/// What one unit of a suffix is in billionths.
fn unit_of(suffix: &str) -> Option<(i128, Format)> {
    if let Some((_, unit)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((*unit, Format::Decimal));
    }
    if let Some((_, unit)) = BINARY.iter().find(|(name, _)| *name == suffix) {
        return Some((*unit, Format::Binary));
    }
    let exponent: i32 = suffix.strip_prefix(['e', 'E'])?.parse().ok()?;
    let unit = match exponent {
        -9..=18 => 10_i128.pow(u32::try_from(exponent + 9).ok()?),
        _ => return None,
    };
    Some((unit, Format::Exponent))
}

/// `whole.fraction` units in billionths, rounded up; `None` where it overflows.
fn scale(whole: &str, fraction: &str, unit: i128) -> Option<i128> {
    let parse = |digits: &str| {
        if digits.is_empty() { Some(0) } else { digits.parse::<i128>().ok() }
    };
    let whole = parse(whole)?.checked_mul(unit)?;
    let fraction = &fraction[..fraction.len().min(18)];
    let power = 10_i128.pow(u32::try_from(fraction.len()).ok()?);
    let part = parse(fraction)?.checked_mul(unit)?;
    whole.checked_add(part / power + i128::from(part % power != 0))
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let binary = BINARY.iter().find(|(_, unit)| self.nanos % unit == 0);
        match (self.format, binary) {
            (Format::Binary, Some((suffix, unit))) if self.nanos != 0 => {
                write!(f, "{}{suffix}", self.nanos / unit)
            }
            (Format::Exponent, _) if self.nanos != 0 => self.fmt_exponent(f),
            _ => {
                let largest = DECIMAL.iter().find(|(_, unit)| self.nanos % unit == 0);
                match largest {
                    Some((suffix, unit)) if self.nanos != 0 => write!(f, "{}{suffix}", self.nanos / unit),
                    _ => f.write_str("0"),
                }
            }
        }
    }
}

impl Quantity {
    fn fmt_exponent(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut number, mut exponent) = (self.nanos, -9);
        while number % 1000 == 0 && exponent < 18 {
            (number, exponent) = (number / 1000, exponent + 3);
        }
        if exponent == 0 { write!(f, "{number}") } else { write!(f, "{number}e{exponent}") }
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.nanos == other.nanos
    }
}

impl Eq for Quantity {}

impl PartialOrd for Quantity {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Quantity {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.nanos.cmp(&other.nanos)
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        let format = if self.nanos == 0 { other.format } else { self.format };
        Self { nanos: self.nanos.saturating_add(other.nanos), format }
    }
}

impl std::ops::Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        Self { nanos: self.nanos.saturating_sub(other.nanos), format: self.format }
    }
}

impl std::iter::Sum for Quantity {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, |sum, next| sum + next)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantity(text: &str) -> Quantity {
        text.parse().unwrap()
    }

    #[test]
    fn values_are_exact() {
        assert_eq!(quantity("250m").millis(), 250);
        assert_eq!(quantity("0.1").millis(), 100);
        assert_eq!(quantity("1.5").units(), 2);
        assert_eq!(quantity("64Mi").units(), 64 << 20);
        assert_eq!(quantity("1.5Gi").units(), 3 << 29);
        assert_eq!(quantity("2G").units(), 2_000_000_000);
        assert_eq!(quantity("1e3"), quantity("1k"));
        assert_eq!(quantity("-1").units(), -1);
        assert_eq!(quantity("1n").units(), 1);
    }

    #[test]
    fn printing_is_canonical_in_the_family_it_was_written_in() {
        for (text, canonical) in [
            ("0.5", "500m"),
            ("1000m", "1"),
            ("1024Ki", "1Mi"),
            ("1.5Gi", "1536Mi"),
            ("0", "0"),
            ("1500", "1500"),
            ("1000k", "1M"),
            ("1e3", "1e3"),
            ("12e6", "12e6"),
        ] {
            assert_eq!(quantity(text).to_string(), canonical, "{text}");
        }
    }

    #[test]
    fn malformed_and_huge_are_refused() {
        for text in [
            "",
            "m",
            "1x",
            "1.2.3",
            "--1",
            "1 ",
            "1ki",
            ".",
            "1e99",
            "9999999999999999999999999999999999999999999",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn printing_round_trips(nanos in 0_i128..=(1 << 70)) {
            let quantity = Quantity { nanos, format: Format::Decimal };
            proptest::prop_assert_eq!(quantity.to_string().parse(), Ok(quantity));
        }
    }
}
