//! Times as clients write them, read as Go reads them by a layout: what it refuses is refused, in its words.

use jiff::Timestamp;
use jiff::civil::Date;

/// How precise a time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// `metav1.Time`: a fraction may be there, and is dropped.
    Seconds,
    /// `metav1.MicroTime`: six digits have to be there.
    Micros,
}

impl Precision {
    const fn layout(self) -> &'static str {
        match self {
            Self::Seconds => "2006-01-02T15:04:05Z07:00",
            Self::Micros => "2006-01-02T15:04:05.000000Z07:00",
        }
    }

    /// A time as it is written in this precision, in UTC; none of the zero time of Go, which is no time.
    ///
    /// # Errors
    /// What Go says where the text is none.
    pub fn canonical(self, text: &str) -> Result<Option<String>, String> {
        let at = self.read(text)?;
        let is_zero = at.as_second() == ZERO && at.subsec_nanosecond() == 0;
        let written = match self {
            Self::Seconds => crate::time::seconds(at),
            Self::Micros => crate::time::micros(at),
        };
        Ok((!is_zero).then_some(written))
    }

    fn read(self, text: &str) -> Result<Timestamp, String> {
        let mut reader = Reader { rest: text };
        reader.time(self).map_err(|fault| match fault {
            Fault::Not(element) => format!(
                "parsing time {text:?} as {:?}: cannot parse {:?} as {element:?}",
                self.layout(),
                reader.rest
            ),
            Fault::Range(what) => format!("parsing time {text:?}: {what} out of range"),
            Fault::More => format!("parsing time {text:?}: extra text: {:?}", reader.rest),
        })
    }
}

/// The first second of the year 1.
const ZERO: i64 = -62_135_596_800;

enum Fault {
    /// What comes next is not this element of the layout.
    Not(&'static str),
    Range(&'static str),
    More,
}

struct Reader<'t> {
    /// What is not read yet, or could not be.
    rest: &'t str,
}

impl Reader<'_> {
    fn time(&mut self, precision: Precision) -> Result<Timestamp, Fault> {
        let year = self.number(4, 4, "2006")?;
        self.literal("-")?;
        let month = self.within(2, "01", 1..=12, "month")?;
        self.literal("-")?;
        let day = self.number(2, 2, "02")?;
        self.literal("T")?;
        let hour = self.hour()?;
        self.literal(":")?;
        let minute = self.within(2, "04", 0..=59, "minute")?;
        self.literal(":")?;
        let second = self.within(2, "05", 0..=59, "second")?;
        let nanos = match precision {
            Precision::Seconds => self.any_fraction(),
            Precision::Micros => self.micros()?,
        };
        let offset = self.offset()?;
        if !self.rest.is_empty() {
            return Err(Fault::More);
        }
        let of_day = hour * 3600 + minute * 60 + second;
        let date = Date::new(narrow(year), narrow(month), narrow(day)).map_err(|_| Fault::Range("day"))?;
        let since = date.since(Date::new(1970, 1, 1).map_err(|_| Fault::Range("day"))?);
        let days = since.map_err(|_| Fault::Range("day"))?.get_days();
        let at = i64::from(days) * 86_400 + i64::from(of_day) - i64::from(offset);
        Timestamp::new(at, nanos).map_err(|_| Fault::Range("year"))
    }

    fn literal(&mut self, literal: &'static str) -> Result<(), Fault> {
        self.rest = self.rest.strip_prefix(literal).ok_or(Fault::Not(literal))?;
        Ok(())
    }

    /// A number of so many digits.
    fn number(&mut self, least: usize, most: usize, element: &'static str) -> Result<i32, Fault> {
        let digits = self.rest.bytes().take(most).take_while(u8::is_ascii_digit).count();
        if digits < least {
            return Err(Fault::Not(element));
        }
        let (number, rest) = self.rest.split_at(digits);
        self.rest = rest;
        number.parse().map_err(|_| Fault::Not(element))
    }

    fn within(
        &mut self,
        digits: usize,
        element: &'static str,
        range: std::ops::RangeInclusive<i32>,
        what: &'static str,
    ) -> Result<i32, Fault> {
        let number = self.number(digits, digits, element)?;
        if range.contains(&number) { Ok(number) } else { Err(Fault::Range(what)) }
    }

    /// One digit is enough.
    fn hour(&mut self) -> Result<i32, Fault> {
        let number = self.number(1, 2, "15")?;
        if number < 24 { Ok(number) } else { Err(Fault::Range("hour")) }
    }

    /// A fraction that the layout does not have.
    fn any_fraction(&mut self) -> i32 {
        let digits = self.rest.strip_prefix(['.', ',']).unwrap_or("");
        let count = digits.bytes().take_while(u8::is_ascii_digit).count();
        if count > 0 {
            self.rest = &digits[count..];
        }
        0
    }

    fn micros(&mut self) -> Result<i32, Fault> {
        const ELEMENT: &str = ".000000";
        let (whole, fault) = (self.rest, Fault::Not(ELEMENT));
        let Some(digits) = whole.strip_prefix(['.', ',']).and_then(|rest| rest.get(..6)) else {
            return Err(fault);
        };
        let micros = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse::<i32>());
        let Some(Ok(micros)) = micros else { return Err(fault) };
        self.rest = &whole[ELEMENT.len()..];
        Ok(micros * 1000)
    }

    /// Seconds east of UTC.
    fn offset(&mut self) -> Result<i32, Fault> {
        const ELEMENT: &str = "Z07:00";
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        let whole = self.rest;
        let read = || {
            let (head, rest) = whole.split_at_checked(ELEMENT.len())?;
            let (sign, place) = head.split_at_checked(1)?;
            let (hours, minutes) = place.split_once(':').filter(|(hours, _)| hours.len() == 2)?;
            let number = |text: &str| {
                text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i32>().ok()).flatten()
            };
            let sign = match sign {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            Some((sign, number(hours)?, number(minutes)?, rest))
        };
        let (sign, hours, minutes, rest) = read().ok_or(Fault::Not(ELEMENT))?;
        if hours > 24 {
            return Err(Fault::Range("time zone offset hour"));
        }
        if minutes > 60 {
            return Err(Fault::Range("time zone offset minute"));
        }
        self.rest = rest;
        Ok(sign * (hours * 3600 + minutes * 60))
    }
}

/// INVARIANT: what was read has at most four digits.
fn narrow<T: TryFrom<i32> + Default>(number: i32) -> T {
    T::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::Precision::{Micros, Seconds};

    #[test]
    fn times_are_written_in_utc_as_precise_as_their_type() {
        for (precision, text, written) in [
            (Seconds, "2020-01-01T00:00:00Z", Some("2020-01-01T00:00:00Z")),
            (Seconds, "2020-01-01T03:00:00+03:00", Some("2020-01-01T00:00:00Z")),
            (Seconds, "2020-01-01T00:30:00-00:45", Some("2020-01-01T01:15:00Z")),
            (Seconds, "2020-01-01T0:00:59.987654321Z", Some("2020-01-01T00:00:59Z")),
            (Seconds, "2020-01-01T00:00:00,5Z", Some("2020-01-01T00:00:00Z")),
            (Seconds, "2020-02-29T00:00:00Z", Some("2020-02-29T00:00:00Z")),
            (Seconds, "0001-01-01T00:00:00Z", None),
            (Micros, "0001-01-01T00:00:00.000000Z", None),
            (Micros, "2020-01-01T00:00:00.120000Z", Some("2020-01-01T00:00:00.120000Z")),
            (Micros, "2019-12-31T23:00:00.000001-01:00", Some("2020-01-01T00:00:00.000001Z")),
        ] {
            assert_eq!(precision.canonical(text), Ok(written.map(str::to_owned)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_told_as_go_tells_it() {
        let layout = |fault: &str| format!("as \"2006-01-02T15:04:05Z07:00\": cannot parse {fault}");
        for (text, why) in [
            ("", layout("\"\" as \"2006\"")),
            ("yesterday", layout("\"yesterday\" as \"2006\"")),
            ("2020-1-01T00:00:00Z", layout("\"1-01T00:00:00Z\" as \"01\"")),
            ("2020-01-01 00:00:00Z", layout("\" 00:00:00Z\" as \"T\"")),
            ("2020-01-01T00:00:00", layout("\"\" as \"Z07:00\"")),
            ("2020-01-01T00:00:00z", layout("\"z\" as \"Z07:00\"")),
            ("2020-01-01T00:00:00+0100", layout("\"+0100\" as \"Z07:00\"")),
            ("2020-13-01T00:00:00Z", "month out of range".to_owned()),
            ("2020-02-30T00:00:00Z", "day out of range".to_owned()),
            ("2020-01-01T24:00:00Z", "hour out of range".to_owned()),
            ("2020-01-01T00:00:60Z", "second out of range".to_owned()),
            ("2020-01-01T00:00:00Z[UTC]", "extra text: \"[UTC]\"".to_owned()),
        ] {
            let said = Seconds.canonical(text).unwrap_err();
            assert!(said.starts_with(&format!("parsing time {text:?}")) && said.ends_with(&why), "{said}");
        }
        for (text, why) in [
            ("2020-01-01T00:00:00Z", "cannot parse \"Z\" as \".000000\""),
            ("2020-01-01T00:00:00.5Z", "cannot parse \".5Z\" as \".000000\""),
            ("2020-01-01T00:00:00.1234567Z", "cannot parse \"7Z\" as \"Z07:00\""),
        ] {
            let said = Micros.canonical(text).unwrap_err();
            assert!(said.ends_with(why), "{said}");
        }
    }
}
