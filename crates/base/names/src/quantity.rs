//! Amounts of resources, Kubernetes API conventions, "Resource quantities".

use hako_error::{Classify, Kind};
use std::fmt;
use std::str::FromStr;

/// An exact amount such as `250m`, `1.5`, `64Mi` or `1e3`, down to one billionth.
///
/// Amounts compare and add by value; printing keeps the family of suffixes (decimal, binary or exponent) it was
/// written in and is canonical: no fraction, the largest suffix that divides it. Amounts with binary suffixes stop at
/// 2^63-1 units. Others have up to 38 significant digits; what a sum has beyond these is rounded away from zero.
#[derive(Clone, Copy, Debug)]
pub struct Quantity {
    /// Billionths times ten to the power of `exponent`.
    mantissa: i128,
    /// The smallest with which `mantissa` holds the amount, so that equal amounts are equal in both fields.
    exponent: u16,
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
    /// More significant digits, or a larger exponent, than an amount has.
    #[error("quantity {0:?} is out of range, expected up to 38 significant digits and less than 1e300")]
    OutOfRange(String),
}

impl Classify for ParseQuantityError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

const NANO: i128 = 1_000_000_000;
/// What an amount with a binary suffix is capped at.
const MAX_BINARY: i128 = (i64::MAX as i128) * NANO;
/// Bounds the printed length of an amount.
const MAX_EXPONENT: u16 = 271;
const DECIMAL: [(&str, i32); 10] =
    [("n", -9), ("u", -6), ("m", -3), ("", 0), ("k", 3), ("M", 6), ("G", 9), ("T", 12), ("P", 15), ("E", 18)];
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
    pub const ZERO: Self = Self::small(0, Format::Decimal);

    const fn small(nanos: i128, format: Format) -> Self {
        Self { mantissa: nanos, exponent: 0, format }
    }

    /// `units` whole units, decimal.
    #[must_use]
    pub const fn from_units(units: i64) -> Self {
        Self::small(units as i128 * NANO, Format::Decimal)
    }

    /// `bytes`, printed with binary suffixes.
    #[must_use]
    pub const fn from_bytes(bytes: i64) -> Self {
        Self::small(bytes as i128 * NANO, Format::Binary)
    }

    /// `millis` thousandths, as CPU time is counted.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self::small(millis as i128 * 1_000_000, Format::Decimal)
    }

    /// Whole units, rounded away from zero; the nearest `i64` where they are beyond it.
    #[must_use]
    pub fn units(&self) -> i64 {
        round_up(self.nanos(), NANO)
    }

    /// Thousandths, rounded away from zero; the nearest `i64` where they are beyond it.
    #[must_use]
    pub fn millis(&self) -> i64 {
        round_up(self.nanos(), 1_000_000)
    }

    /// Billionths; the nearest `i128` where they are beyond it.
    #[must_use]
    pub const fn nanos(&self) -> i128 {
        match self.exponent {
            0 => self.mantissa,
            _ if self.mantissa < 0 => i128::MIN,
            _ => i128::MAX,
        }
    }

    /// Units as a floating point number, which may lose precision.
    #[must_use]
    pub fn approximate(&self) -> f64 {
        match self.exponent {
            0 => self.mantissa as f64 / NANO as f64,
            // Read as a text, which rounds once.
            exponent => format!("{}e{}", self.mantissa, i32::from(exponent) - 9).parse().unwrap_or(f64::NAN),
        }
    }

    /// Whether it is below zero.
    #[must_use]
    pub const fn is_negative(&self) -> bool {
        self.mantissa < 0
    }

    /// Whether it is zero.
    #[must_use]
    pub const fn is_zero(&self) -> bool {
        self.mantissa == 0
    }

    /// With the smallest exponent that holds the amount; `None` beyond the largest.
    fn normal(mut mantissa: i128, mut exponent: u32, format: Format) -> Option<Self> {
        if mantissa == 0 {
            exponent = 0;
        }
        while exponent > 0 {
            let Some(larger) = mantissa.checked_mul(10) else { break };
            (mantissa, exponent) = (larger, exponent - 1);
        }
        let exponent = u16::try_from(exponent).ok().filter(|exponent| *exponent <= MAX_EXPONENT)?;
        Some(Self { mantissa, exponent, format })
    }

    /// The mantissa for a larger exponent, rounded away from zero.
    fn mantissa_at(&self, exponent: u32) -> i128 {
        let divisor = exponent.checked_sub(u32::from(self.exponent)).and_then(|by| 10_i128.checked_pow(by));
        divisor.map_or(self.mantissa.signum(), |divisor| divide_away(self.mantissa, divisor))
    }

    fn plus(self, other: Self, format: Format) -> Self {
        let mut exponent = u32::from(self.exponent.max(other.exponent));
        let mantissa = loop {
            match self.mantissa_at(exponent).checked_add(other.mantissa_at(exponent)) {
                Some(mantissa) => break mantissa,
                None => exponent += 1,
            }
        };
        let most = if mantissa < 0 { -i128::MAX } else { i128::MAX };
        Self::normal(mantissa, exponent, format).unwrap_or(Self {
            mantissa: most,
            exponent: MAX_EXPONENT,
            format,
        })
    }
}

fn divide_away(number: i128, divisor: i128) -> i128 {
    let away = if number % divisor == 0 { 0 } else { number.signum() };
    number / divisor + away
}

fn round_up(nanos: i128, unit: i128) -> i64 {
    i64::try_from(divide_away(nanos, unit)).unwrap_or(if nanos < 0 { i64::MIN } else { i64::MAX })
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
        let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
            return Err(malformed());
        }
        let amount = match BINARY.iter().find(|(name, _)| *name == suffix) {
            Some((_, unit)) => Some(binary(whole, fraction, *unit)),
            None => {
                let (power, format) = power_of(suffix).ok_or_else(malformed)?;
                decimal(whole, fraction, power, format)
            }
        };
        let amount = amount.ok_or_else(|| ParseQuantityError::OutOfRange(text.to_owned()))?;
        Ok(if is_negative { Self { mantissa: -amount.mantissa, ..amount } } else { amount })
    }
}

/// The power of ten that a suffix stands for.
fn power_of(suffix: &str) -> Option<(i32, Format)> {
    if let Some((_, power)) = DECIMAL.iter().find(|(name, _)| *name == suffix) {
        return Some((*power, Format::Decimal));
    }
    Some((suffix.strip_prefix(['e', 'E'])?.parse().ok()?, Format::Exponent))
}

/// `whole.fraction` times a power of ten, rounded up to billionths; `None` where it is out of range.
fn decimal(whole: &str, fraction: &str, power: i32, format: Format) -> Option<Quantity> {
    let digits = format!("{whole}{fraction}");
    let significant = digits.trim_end_matches('0');
    let zeros = digits.len() - significant.len();
    let significant = significant.trim_start_matches('0');
    if significant.is_empty() {
        return Some(Quantity::small(0, format));
    }
    let exponent = i64::from(power) + 9 + i64::try_from(zeros).ok()? - i64::try_from(fraction.len()).ok()?;
    let Ok(lost) = usize::try_from(-exponent) else {
        return Quantity::normal(significant.parse().ok()?, u32::try_from(exponent).ok()?, format);
    };
    // The last digit is no zero: whatever is cut off rounds up.
    let kept = &significant[..significant.len().saturating_sub(lost)];
    let kept: i128 = if kept.is_empty() { 0 } else { kept.parse().ok()? };
    Some(Quantity::small(kept.checked_add(i128::from(lost > 0))?, format))
}

/// `whole.fraction` times a unit of billionths, rounded up and capped.
fn binary(whole: &str, fraction: &str, unit: i128) -> Quantity {
    let whole = whole.trim_start_matches('0');
    let whole = if whole.is_empty() { Some(0) } else { whole.parse::<i128>().ok() };
    let (mut part, mut is_inexact) = (0, false);
    // From the last digit to the first: no intermediate outgrows ten units, however long the fraction is.
    for digit in fraction.bytes().rev() {
        let sum = i128::from(digit - b'0') * unit + part;
        (part, is_inexact) = (sum / 10, is_inexact || sum % 10 != 0);
    }
    let sum = whole
        .and_then(|whole| whole.checked_mul(unit))
        .and_then(|whole| whole.checked_add(part + i128::from(is_inexact)));
    let nanos = sum.map_or(MAX_BINARY, |sum| sum.min(MAX_BINARY));
    let format = if (1..NANO).contains(&nanos) { Format::Decimal } else { Format::Binary };
    Quantity::small(nanos, format)
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("0");
        }
        let is_whole = self.exponent == 0 && self.mantissa % NANO == 0;
        if self.format == Format::Binary && is_whole && self.mantissa.abs() >= 1024 * NANO {
            let (suffix, unit) =
                BINARY.iter().find(|(_, unit)| self.mantissa % unit == 0).unwrap_or(&("", NANO));
            return write!(f, "{}{suffix}", self.mantissa / unit);
        }
        let digits = self.mantissa.unsigned_abs().to_string();
        let significant = digits.trim_end_matches('0');
        let zeros = i32::try_from(digits.len() - significant.len()).map_err(|_| fmt::Error)?;
        let power = i32::from(self.exponent) - 9 + zeros;
        let thousands = power.div_euclid(3) * 3;
        let (shown, suffix) = match self.format {
            Format::Exponent if thousands == 0 => (0, String::new()),
            Format::Exponent => (thousands, format!("e{thousands}")),
            Format::Decimal | Format::Binary => {
                let fits = DECIMAL.iter().rev().find(|(_, power)| *power <= thousands).unwrap_or(&("n", -9));
                (fits.1, fits.0.to_owned())
            }
        };
        let sign = if self.is_negative() { "-" } else { "" };
        let zeros = usize::try_from(power - shown).map_err(|_| fmt::Error)?;
        write!(f, "{sign}{significant}{}{suffix}", "0".repeat(zeros))
    }
}

impl PartialEq for Quantity {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
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
        // As exponents are the smallest possible, a larger one is a larger amount.
        let key = |one: &Self| (one.mantissa.signum() * i128::from(one.exponent), one.mantissa);
        key(self).cmp(&key(other))
    }
}

impl std::ops::Add for Quantity {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        self.plus(other, if self.is_zero() { other.format } else { self.format })
    }
}

impl std::ops::Sub for Quantity {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        self.plus(Self { mantissa: other.mantissa.saturating_neg(), ..other }, self.format)
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
    fn amounts_beyond_an_i64_are_exact_and_binary_ones_are_capped() {
        for (text, canonical) in [
            ("9223372036854775808", "9223372036854775808"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("1000E", "1000E"),
            ("1e30", "1e30"),
            ("12345e31", "123450e30"),
            ("1e99", "1e99"),
            ("99999999999999999999999G", "99999999999999999999999G"),
            ("9999999999999999999999999999999999999G", "9999999999999999999999999999999999999G"),
            (
                "1000000000000000000000000000000000000000000000000000000m",
                "1000000000000000000000000000000000E",
            ),
            ("100Ei", "9223372036854775807"),
            ("-100Ei", "-9223372036854775807"),
            ("99999999999999999999999999999999999999999999999Ki", "9223372036854775807"),
            ("1e-12", "1e-9"),
            ("0.0000000001", "1n"),
            ("1.00000000000000000000000000000000000000000000000001", "1000000001n"),
            ("1.0000000000000000000000000000000000000000Ei", "1Ei"),
            ("976.5625Ki", "1000000"),
            ("1e-999999", "1e-9"),
        ] {
            assert_eq!(quantity(text).to_string(), canonical, "{text}");
            assert_eq!(quantity(canonical), quantity(text), "{text}");
        }
        assert_eq!(quantity("1e30").units(), i64::MAX);
        assert_eq!(quantity("-1e30").millis(), i64::MIN);
        assert_eq!(quantity("1000E").approximate(), 1e21);
        assert_eq!(quantity("-1e30").approximate(), -1e30);
    }

    #[test]
    fn amounts_beyond_an_i64_compare_and_add_by_value() {
        let ascending = [
            "-1e40",
            "-1e30",
            "-1e29",
            "-1",
            "0",
            "1n",
            "1",
            "9223372036854775808",
            "1000E",
            "1e29",
            "1.7e29",
            "1.8e29",
            "1e30",
            "1e40",
            "2e40",
            "1e99",
        ];
        for (at, left) in ascending.iter().enumerate() {
            for (other, right) in ascending.iter().enumerate() {
                assert_eq!(quantity(left).cmp(&quantity(right)), at.cmp(&other), "{left} {right}");
            }
        }
        assert_eq!(quantity("1000000000000E"), quantity("1e30"));
        assert_eq!(quantity("1e30") + quantity("1e30"), quantity("2e30"));
        assert_eq!(quantity("1.5e29") + quantity("1.5e29"), quantity("3e29"));
        assert_eq!(quantity("3e29") - quantity("1.5e29"), quantity("1.5e29"));
        assert_eq!(quantity("1e30") - quantity("1e30"), Quantity::ZERO);
        assert!(quantity("1e99") + quantity("1") > quantity("1e99"));
        let most = (0..400).fold(quantity("1e299"), |sum, _| sum + sum);
        assert!(most > quantity("1e299") && most.to_string().len() < 400, "{most}");
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
            "1e",
            "1e400",
            "1e99999999999",
            "9999999999999999999999999999999999999999999",
        ] {
            assert!(text.parse::<Quantity>().is_err(), "{text:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn printing_round_trips(nanos in 0_i128..=(1 << 70)) {
            let quantity = Quantity::small(nanos, Format::Decimal);
            proptest::prop_assert_eq!(quantity.to_string().parse(), Ok(quantity));
        }
    }
}
