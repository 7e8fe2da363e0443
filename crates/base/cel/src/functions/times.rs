//! Parts of timestamps and durations (langdef.md, "Timestamp and Duration").

use super::{Args, Result};
use crate::overload::{Cost, Row};
use crate::{EvalError, Value, time};
use jiff::civil::DateTime;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("timestamp_to_year", ".getFullYear", "timestamp", "int", Cost::One, |args| part(args, |at| i64::from(at.year()))),
    Row("timestamp_to_year_with_tz", ".getFullYear", "timestamp string", "int", Cost::One, |args| part(args, |at| i64::from(at.year()))),
    Row("timestamp_to_month", ".getMonth", "timestamp", "int", Cost::One, |args| part(args, month)),
    Row("timestamp_to_month_with_tz", ".getMonth", "timestamp string", "int", Cost::One, |args| part(args, month)),
    Row("timestamp_to_day_of_year", ".getDayOfYear", "timestamp", "int", Cost::One, |args| part(args, |at| i64::from(at.day_of_year()) - 1)),
    Row("timestamp_to_day_of_year_with_tz", ".getDayOfYear", "timestamp string", "int", Cost::One, |args| part(args, |at| i64::from(at.day_of_year()) - 1)),
    Row("timestamp_to_day_of_month", ".getDayOfMonth", "timestamp", "int", Cost::One, |args| part(args, |at| i64::from(at.day()) - 1)),
    Row("timestamp_to_day_of_month_with_tz", ".getDayOfMonth", "timestamp string", "int", Cost::One, |args| part(args, |at| i64::from(at.day()) - 1)),
    Row("timestamp_to_day_of_month_1_based", ".getDate", "timestamp", "int", Cost::One, |args| part(args, |at| i64::from(at.day()))),
    Row("timestamp_to_day_of_month_1_based_with_tz", ".getDate", "timestamp string", "int", Cost::One, |args| part(args, |at| i64::from(at.day()))),
    Row("timestamp_to_day_of_week", ".getDayOfWeek", "timestamp", "int", Cost::One, |args| part(args, weekday)),
    Row("timestamp_to_day_of_week_with_tz", ".getDayOfWeek", "timestamp string", "int", Cost::One, |args| part(args, weekday)),
    Row("timestamp_to_hours", ".getHours", "timestamp", "int", Cost::One, |args| part(args, |at| i64::from(at.hour()))),
    Row("timestamp_to_hours_with_tz", ".getHours", "timestamp string", "int", Cost::One, |args| part(args, |at| i64::from(at.hour()))),
    Row("timestamp_to_minutes", ".getMinutes", "timestamp", "int", Cost::One, |args| part(args, |at| i64::from(at.minute()))),
    Row("timestamp_to_minutes_with_tz", ".getMinutes", "timestamp string", "int", Cost::One, |args| part(args, |at| i64::from(at.minute()))),
    Row("timestamp_to_seconds", ".getSeconds", "timestamp", "int", Cost::One, |args| part(args, |at| i64::from(at.second()))),
    Row("timestamp_to_seconds_tz", ".getSeconds", "timestamp string", "int", Cost::One, |args| part(args, |at| i64::from(at.second()))),
    Row("timestamp_to_milliseconds", ".getMilliseconds", "timestamp", "int", Cost::One, |args| part(args, |at| i64::from(at.millisecond()))),
    Row("timestamp_to_milliseconds_with_tz", ".getMilliseconds", "timestamp string", "int", Cost::One, |args| part(args, |at| i64::from(at.millisecond()))),
    Row("duration_to_hours", ".getHours", "duration", "int", Cost::One, |args| whole(args, 3_600 * time::SECOND)),
    Row("duration_to_minutes", ".getMinutes", "duration", "int", Cost::One, |args| whole(args, 60 * time::SECOND)),
    Row("duration_to_seconds", ".getSeconds", "duration", "int", Cost::One, |args| whole(args, time::SECOND)),
    Row("duration_to_milliseconds", ".getMilliseconds", "duration", "int", Cost::One, |args| whole(args, time::SECOND / 1_000)),
];

/// Months count from 0.
fn month(at: &DateTime) -> i64 {
    i64::from(at.month()) - 1
}

/// Days of the week count from Sunday.
fn weekday(at: &DateTime) -> i64 {
    i64::from(at.weekday().to_sunday_zero_offset())
}

fn part<'a>(args: &[Value<'a>], of: fn(&DateTime) -> i64) -> Result<'a> {
    let Some(Value::Timestamp(timestamp)) = args.first() else { return Err(EvalError::NoSuchOverload) };
    let zone = if args.len() == 2 { Args(args).text(1)? } else { "UTC" };
    let at = time::in_zone(*timestamp, zone)
        .ok_or_else(|| EvalError::data(format!("unknown time zone {zone}")))?;
    Ok(Value::Int(of(&at)))
}

fn whole<'a>(args: &[Value<'a>], unit: i64) -> Result<'a> {
    match args.first() {
        Some(Value::Duration(nanos)) => Ok(Value::Int(nanos / unit)),
        _ => Err(EvalError::NoSuchOverload),
    }
}
