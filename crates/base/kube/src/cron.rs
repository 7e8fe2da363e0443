//! Cron schedules: `minute hour day-of-month month day-of-week`, or `@daily` and its like.
//!
//! Owns: which texts are schedules, and which minutes a schedule names. Does not own: time zones and the clock.

use std::time::Duration;

/// Why a text is no schedule, in the words that clients know from the original.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseScheduleError {
    /// Nothing at all.
    #[error("empty spec string")]
    Empty,
    /// Too few or too many fields.
    #[error("expected exactly 5 fields, found {}: [{}]", fields.len(), fields.join(" "))]
    Fields {
        /// The fields found.
        fields: Vec<String>,
    },
    /// A field, or a part of one, that says nothing sensible.
    #[error("{what}: {text}")]
    Part {
        /// What is wrong.
        what: String,
        /// The part.
        text: String,
    },
    /// An `@` word that means nothing.
    #[error("unrecognized descriptor: {word}")]
    Descriptor {
        /// The word.
        word: String,
    },
    /// An `@every` whose duration is none.
    #[error("failed to parse duration {word}: time: invalid duration {duration:?}")]
    Every {
        /// The word.
        word: String,
        /// What stands where the duration should be.
        duration: String,
    },
}

/// When something happens again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// At the minutes that all fields name.
    Calendar(Fields),
    /// Every so often, from whenever it began.
    Every(Duration),
}

/// The values that each field names, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fields {
    /// 0 to 59.
    pub minutes: u64,
    /// 0 to 23.
    pub hours: u64,
    /// 1 to 31.
    pub days: u64,
    /// 1 to 12.
    pub months: u64,
    /// 0, Sunday, to 6.
    pub weekdays: u64,
    /// Whether days and days of the week both restrict: then either of them suffices.
    pub is_either_day: bool,
}

struct Range {
    min: u32,
    max: u32,
    names: &'static [&'static str],
}

const MINUTE: Range = Range { min: 0, max: 59, names: &[] };
const HOUR: Range = Range { min: 0, max: 23, names: &[] };
const DAY: Range = Range { min: 1, max: 31, names: &[] };
const MONTH: Range = Range {
    min: 1,
    max: 12,
    names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
};
const WEEKDAY: Range = Range { min: 0, max: 6, names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"] };

impl Schedule {
    /// Reads a schedule.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ParseScheduleError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ParseScheduleError::Empty);
        }
        if text.starts_with('@') {
            return descriptor(text);
        }
        let fields: Vec<&str> = text.split_whitespace().collect();
        let &[minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(ParseScheduleError::Fields {
                fields: fields.into_iter().map(str::to_owned).collect(),
            });
        };
        let (days, is_any_day) = DAY.read(day)?;
        let (weekdays, is_any_weekday) = WEEKDAY.read(weekday)?;
        Ok(Self::Calendar(Fields {
            minutes: MINUTE.read(minute)?.0,
            hours: HOUR.read(hour)?.0,
            days,
            months: MONTH.read(month)?.0,
            weekdays,
            is_either_day: !is_any_day && !is_any_weekday,
        }))
    }
}

fn descriptor(word: &str) -> Result<Schedule, ParseScheduleError> {
    if let Some(duration) = word.strip_prefix("@every ") {
        let every = || ParseScheduleError::Every { word: word.to_owned(), duration: duration.to_owned() };
        return self::duration(duration).map(Schedule::Every).ok_or_else(every);
    }
    let fields = match word {
        "@yearly" | "@annually" => "0 0 1 1 *",
        "@monthly" => "0 0 1 * *",
        "@weekly" => "0 0 * * 0",
        "@daily" | "@midnight" => "0 0 * * *",
        "@hourly" => "0 * * * *",
        _ => return Err(ParseScheduleError::Descriptor { word: word.to_owned() }),
    };
    Schedule::parse(fields)
}

/// A duration such as `1h30m` or `1.5s`.
fn duration(text: &str) -> Option<Duration> {
    let (mut seconds, mut rest) = (0.0, text);
    while !rest.is_empty() {
        let digits = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.')?;
        let (number, after) = rest.split_at(digits);
        let unit = after.find(|letter: char| letter.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit);
        seconds += number.parse::<f64>().ok()? * unit_seconds(unit)?;
        rest = after;
    }
    (!text.is_empty()).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ns" => 1e-9,
        "us" | "µs" | "μs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    })
}

fn part(what: impl Into<String>, text: &str) -> ParseScheduleError {
    ParseScheduleError::Part { what: what.into(), text: text.to_owned() }
}

impl Range {
    /// The values of a field, and whether it is a bare `*`.
    fn read(&self, field: &str) -> Result<(u64, bool), ParseScheduleError> {
        let (mut bits, mut is_any) = (0, false);
        for item in field.split(',').filter(|item| !item.is_empty()) {
            let (these, any) = self.item(item)?;
            bits |= these;
            is_any |= any;
        }
        Ok((bits, is_any))
    }

    /// `low`, `low-high`, `*`, each perhaps with `/step`.
    fn item(&self, item: &str) -> Result<(u64, bool), ParseScheduleError> {
        let mut halves = item.split('/');
        let span: Vec<&str> = halves.next().unwrap_or("").split('-').collect();
        let step = halves.next();
        let is_any = matches!(span[0], "*" | "?");
        let (low, mut high) = match span.as_slice() {
            _ if is_any => (self.min, self.max),
            [one] => (self.value(one)?, self.value(one)?),
            [low, high] => (self.value(low)?, self.value(high)?),
            _ => return Err(part("too many hyphens", item)),
        };
        if halves.next().is_some() {
            return Err(part("too many slashes", item));
        }
        let by = step.map_or(Ok(1), whole)?;
        if step.is_some() && span.len() == 1 {
            high = self.max;
        }
        self.check(low, high, by, item)?;
        let bits = (low..=high).step_by(by as usize).fold(0, |bits, value| bits | 1 << value);
        Ok((bits, is_any && by == 1))
    }

    fn check(&self, low: u32, high: u32, by: u32, item: &str) -> Result<(), ParseScheduleError> {
        let (min, max) = (self.min, self.max);
        let what = if low < min {
            format!("beginning of range ({low}) below minimum ({min})")
        } else if high > max {
            format!("end of range ({high}) above maximum ({max})")
        } else if low > high {
            format!("beginning of range ({low}) beyond end of range ({high})")
        } else if by == 0 {
            "step of range should be a positive number".to_owned()
        } else {
            return Ok(());
        };
        Err(part(what, item))
    }

    fn value(&self, text: &str) -> Result<u32, ParseScheduleError> {
        let lower = text.to_lowercase();
        match self.names.iter().position(|name| *name == lower) {
            Some(at) => Ok(self.min + at as u32),
            None => whole(text),
        }
    }
}

fn whole(text: &str) -> Result<u32, ParseScheduleError> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        let why = format!("strconv.Atoi: parsing {text:?}: invalid syntax");
        return Err(part(format!("failed to parse int from {text}"), &why));
    }
    if text.starts_with('-') && digits.bytes().any(|byte| byte != b'0') {
        return Err(part(format!("negative number ({text}) not allowed"), text));
    }
    digits.parse().map_err(|_| {
        let why = format!("strconv.Atoi: parsing {text:?}: value out of range");
        part(format!("failed to parse int from {text}"), &why)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        match Schedule::parse(text).unwrap() {
            Schedule::Calendar(fields) => fields,
            Schedule::Every(_) => panic!("{text}"),
        }
    }

    #[test]
    fn schedules_name_their_minutes() {
        let quarter = fields("*/15 8-10 1,15 jan-MAR mon-fri");
        assert_eq!(quarter.minutes, 1 | 1 << 15 | 1 << 30 | 1 << 45);
        assert_eq!(quarter.hours, 0b111 << 8);
        assert_eq!(quarter.days, 1 << 1 | 1 << 15);
        assert_eq!(quarter.months, 0b1110);
        assert_eq!(quarter.weekdays, 0b11_1110);
        assert!(quarter.is_either_day && !fields("0 0 1 * *").is_either_day);
        assert_eq!(fields("5/20 * * * *").minutes, 1 << 5 | 1 << 25 | 1 << 45);
        assert_eq!(fields("@weekly"), fields("0 0 * * 0"));
        assert_eq!(Schedule::parse("@every 1h30m"), Ok(Schedule::Every(Duration::from_secs(5400))));
    }

    #[test]
    fn what_is_no_schedule_is_refused_with_a_reason() {
        for (text, reason) in [
            ("", "empty spec string"),
            ("* * * *", "expected exactly 5 fields, found 4: [* * * *]"),
            ("60 * * * *", "end of range (60) above maximum (59): 60"),
            ("* * 0 * *", "beginning of range (0) below minimum (1): 0"),
            ("9-2 * * * *", "beginning of range (9) beyond end of range (2): 9-2"),
            ("1-2-3 * * * *", "too many hyphens: 1-2-3"),
            ("1/2/3 * * * *", "too many slashes: 1/2/3"),
            ("*/0 * * * *", "step of range should be a positive number: */0"),
            ("x * * * *", "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax"),
            ("@sometimes", "unrecognized descriptor: @sometimes"),
            ("@every day", "failed to parse duration @every day: time: invalid duration \"day\""),
        ] {
            assert_eq!(Schedule::parse(text).unwrap_err().to_string(), reason, "{text}");
        }
    }
}
