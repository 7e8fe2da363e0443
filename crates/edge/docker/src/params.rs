//! Query parameters and Docker's `filters`.

use crate::clean::decoded;
use crate::error::{Failure, invalid};
use crate::hijack::LongQuery;
use axum::extract::{FromRequestParts, Query};
use http::request::Parts;
use regex::Regex;
use serde_json::Value;
use std::collections::BTreeMap;

/// The query, in order; unknown parameters are ignored by not being asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params(Vec<(String, String)>);

impl<S: Send + Sync> FromRequestParts<S> for Params {
    type Rejection = Failure;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Failure> {
        if let Some(long) = parts.extensions.get::<LongQuery>() {
            return Self::read(&long.0);
        }
        match Query::<Vec<(String, String)>>::from_request_parts(parts, state).await {
            Ok(Query(pairs)) => Ok(Self(pairs)),
            Err(error) => Err(invalid(format!("query is not valid: {error}"))),
        }
    }
}

impl Params {
    pub(crate) fn read(query: &str) -> Result<Self, Failure> {
        let text = |coded: &str| {
            let bytes = decoded(&coded.replace('+', " ")).and_then(|bytes| String::from_utf8(bytes).ok());
            bytes.ok_or_else(|| invalid("query is not valid: its percent encoding"))
        };
        let pair = |pair: &str| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            Ok((text(name)?, text(value)?))
        };
        query.split('&').filter(|pair| !pair.is_empty()).map(pair).collect::<Result<_, _>>().map(Self)
    }

    #[cfg(test)]
    pub(crate) fn of(pairs: &[(&str, &str)]) -> Self {
        Self(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0
            .iter()
            .filter(move |(key, value)| key == name && !value.is_empty())
            .map(|(_, value)| value.as_str())
    }

    /// Docker's truth: everything but nothing, 0, no, false, none.
    pub(crate) fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| {
            !matches!(value.to_ascii_lowercase().as_str(), "0" | "no" | "false" | "none")
        })
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, name: &str) -> Result<Option<T>, Failure> {
        match self.get(name) {
            None => Ok(None),
            Some(text) => {
                text.parse().map(Some).map_err(|_| invalid(format!("{name} {text:?} is not a number")))
            }
        }
    }

    /// `{"name": ["value"]}` or the older `{"name": {"value": true}}`.
    pub(crate) fn filters(&self) -> Result<Filters, Failure> {
        let Some(text) = self.get("filters") else { return Ok(Filters::default()) };
        let bad = || invalid(format!("filters {text:?} is not a JSON map from names to lists"));
        let map: BTreeMap<String, Value> = serde_json::from_str(text).map_err(|_| bad())?;
        let mut filters = BTreeMap::new();
        for (name, values) in map {
            let values: Vec<String> = match values {
                Value::Array(list) => {
                    list.into_iter().filter_map(|value| value.as_str().map(str::to_owned)).collect()
                }
                Value::Object(set) => set
                    .into_iter()
                    .filter(|(_, is_in)| is_in != &Value::Bool(false))
                    .map(|(value, _)| value)
                    .collect(),
                _ => return Err(bad()),
            };
            filters.insert(name, values);
        }
        Ok(Filters(filters))
    }

    /// A JSON map of strings in a parameter, such as `buildargs`.
    pub(crate) fn map(&self, name: &str) -> Result<BTreeMap<String, String>, Failure> {
        let Some(text) = self.get(name) else { return Ok(BTreeMap::new()) };
        let map: BTreeMap<String, Option<String>> = serde_json::from_str(text)
            .map_err(|_| invalid(format!("{name} {text:?} is not a JSON map of strings")))?;
        Ok(map.into_iter().filter_map(|(key, value)| value.map(|value| (key, value))).collect())
    }

    /// Seconds since 1970 with a fraction, or RFC 3339.
    pub(crate) fn time(&self, name: &str) -> Result<Option<jiff::Timestamp>, Failure> {
        let Some(text) = self.get(name).filter(|text| *text != "0") else { return Ok(None) };
        time(name, text).map(Some)
    }
}

/// Seconds since 1970 with a fraction, or RFC 3339.
fn time(name: &str, text: &str) -> Result<jiff::Timestamp, Failure> {
    let bad = || {
        invalid(format!(
            "{name} {text:?} is neither seconds since 1970 nor a time such as 2026-01-02T15:04:05Z"
        ))
    };
    let (seconds, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let Ok(seconds) = seconds.parse::<i64>() else { return text.parse().map_err(|_| bad()) };
    let padded: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    let nanoseconds = padded.parse().map_err(|_| bad())?;
    jiff::Timestamp::new(seconds, nanoseconds).map_err(|_| bad())
}

/// A day, or a time without a zone. Nobody says which zone is meant, and UTC is what times are shown in.
fn date(text: &str) -> Option<jiff::Timestamp> {
    if let Some(zone) = text.get(..10).and_then(|day| text.strip_prefix(day)).filter(|rest| is_zone(rest)) {
        return format!("{}T00:00:00{zone}", &text[..10]).parse().ok();
    }
    let local: jiff::civil::DateTime = text.parse().ok()?;
    local.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|at| at.timestamp())
}

/// Whether a zone is all that follows a day: `Z`, `+01:00`.
fn is_zone(rest: &str) -> bool {
    rest == "Z" || rest.starts_with(['+', '-'])
}

/// Patterns of a filter.
#[derive(Debug)]
pub(crate) struct Patterns(Vec<Regex>);

impl Patterns {
    /// Whether there is none, or one is found in `text`.
    pub(crate) fn hold(&self, text: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| pattern.is_match(text))
    }
}

/// Filters of a list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Filters(BTreeMap<String, Vec<String>>);

impl Filters {
    pub(crate) fn get(&self, name: &str) -> &[String] {
        self.0.get(name).map_or(&[], Vec::as_slice)
    }

    /// Refuses names that are not in `known`: a filter that does nothing shows too much.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Failure> {
        match self.0.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) if known.is_empty() => {
                Err(invalid(format!("invalid filter {name:?}: there is none here")))
            }
            Some(name) => Err(invalid(format!("invalid filter {name:?}: use one of {}", known.join(", ")))),
            None => Ok(()),
        }
    }

    /// Whether `dangling` is asked for, or the contrary.
    pub(crate) fn dangling(&self) -> Result<Option<bool>, Failure> {
        let values = self.get("dangling");
        let has = |words: [&str; 2]| values.iter().any(|value| words.contains(&value.as_str()));
        match (has(["1", "true"]), has(["0", "false"])) {
            (false, false) if values.is_empty() => Ok(None),
            (yes, no) if yes != no => Ok(Some(yes)),
            _ => Err(invalid(format!("invalid filter 'dangling=[{}]'", values.join(" ")))),
        }
    }

    /// The values of a filter that Docker reads as regular expressions: a part of a name is one too.
    pub(crate) fn patterns(&self, name: &str) -> Result<Patterns, Failure> {
        let pattern = |text: &String| {
            Regex::new(text).map_err(|error| invalid(format!("invalid filter '{name}={text}': {error}")))
        };
        self.get(name).iter().map(pattern).collect::<Result<_, _>>().map(Patterns)
    }

    /// Whether no value was given, or one of them holds.
    pub(crate) fn any(&self, name: &str, holds: impl Fn(&str) -> bool) -> bool {
        let values = self.get(name);
        values.is_empty() || values.iter().any(|value| holds(value))
    }

    /// Whether all `label` filters, `key` or `key=value`, hold, and none of `label!`.
    pub(crate) fn labels(&self, labels: &BTreeMap<String, String>) -> bool {
        let has = |wanted: &String| match wanted.split_once('=') {
            Some((key, value)) => labels.get(key).is_some_and(|has| has == value),
            None => labels.contains_key(wanted),
        };
        self.get("label").iter().all(has) && !self.get("label!").iter().any(has)
    }

    /// The moment that `until` names: a time, or how long before `now`, such as `24h` or `1h30m`.
    pub(crate) fn until(&self, now: jiff::Timestamp) -> Result<Option<jiff::Timestamp>, Failure> {
        let text = match self.get("until") {
            [] => return Ok(None),
            [text] => text,
            _ => return Err(invalid("more than one until filter specified")),
        };
        let is_age = text.ends_with(|last: char| last.is_ascii_alphabetic() && last != 'Z');
        if !is_age {
            return time("until", text).or_else(|refused| date(text).ok_or(refused)).map(Some);
        }
        let bad =
            |_| invalid(format!("until {text:?} is neither a time nor a duration such as 24h or 1h30m"));
        let age: jiff::SignedDuration = text.parse().map_err(bad)?;
        Ok(Some(now.saturating_sub(age).unwrap_or(jiff::Timestamp::MIN)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params::of(pairs)
    }

    #[test]
    fn a_long_query_is_read_as_a_short_one() {
        let params = Params::read("all=1&name=a%2Fb+c&&x&name=d%3D").unwrap();
        let names: Vec<&str> = params.all("name").collect();
        assert_eq!((params.get("all"), names), (Some("1"), vec!["a/b c", "d="]));
        assert!(params.get("x").is_none() && Params::read("a=%4").is_err() && Params::read("a=%ff").is_err());
    }

    #[test]
    fn both_forms_of_filters_are_read() {
        for text in [r#"{"label":["a=1","b"]}"#, r#"{"label":{"a=1":true,"b":true}}"#] {
            let filters = params(&[("filters", text)]).filters().unwrap();
            let labels = |pairs: &[(&str, &str)]| {
                pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
            };
            assert!(filters.labels(&labels(&[("a", "1"), ("b", "x")])));
            assert!(!filters.labels(&labels(&[("a", "2"), ("b", "x")])));
            assert!(filters.only(&["label"]).is_ok());
            assert!(filters.only(&["id"]).is_err());
        }
    }

    #[test]
    fn until_is_an_age_or_a_time_as_exact_as_somebody_cares_to_write_it() {
        let now = jiff::Timestamp::new(1_000_000_000, 0).unwrap();
        let until = |text: &str| {
            let filters = serde_json::json!({ "until": [text] }).to_string();
            let until = params(&[("filters", &filters)]).filters().unwrap().until(now);
            until.map(|at| at.unwrap().to_string()).map_err(|error| error.0.chain())
        };
        let all = [
            ("1h30m", "2001-09-09T00:16:40Z"),
            ("2000-01-02", "2000-01-02T00:00:00Z"),
            ("2000-01-02Z", "2000-01-02T00:00:00Z"),
            ("2000-01-02+01:00", "2000-01-01T23:00:00Z"),
            ("2000-01-02T03", "2000-01-02T03:00:00Z"),
            ("2000-01-02T03:04", "2000-01-02T03:04:00Z"),
            ("2000-01-02T03:04Z", "2000-01-02T03:04:00Z"),
            ("2000-01-02T03:04:05", "2000-01-02T03:04:05Z"),
            ("2000-01-02T03:04:05.5", "2000-01-02T03:04:05.5Z"),
            ("2000-01-02T03:04:05+01:00", "2000-01-02T02:04:05Z"),
            ("946684800.5", "2000-01-01T00:00:00.5Z"),
        ];
        for (text, time) in all {
            assert_eq!(until(text).as_deref(), Ok(time), "{text}");
        }
        for bad in ["2000-13-01", "2000-01-02x", "2000-01-02+", "yesterday", "é000-01-02"] {
            assert!(until(bad).unwrap_err().contains(bad), "{bad}");
        }
    }

    #[test]
    fn dangling_is_yes_or_no() {
        let dangling = |text: &str| params(&[("filters", text)]).filters().unwrap().dangling();
        assert_eq!(dangling(r#"{"dangling":["1"]}"#).unwrap(), Some(true));
        assert_eq!(dangling(r#"{"dangling":["false"]}"#).unwrap(), Some(false));
        assert_eq!(dangling("{}").unwrap(), None);
        let wrong = dangling(r#"{"dangling":["wat"]}"#).unwrap_err().0.chain();
        assert_eq!(wrong, "invalid filter 'dangling=[wat]'");
        assert!(dangling(r#"{"dangling":["true","false"]}"#).is_err());
    }

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        let time = |text: &str| params(&[("since", text)]).time("since");
        assert_eq!(time("1.5").unwrap().unwrap().as_nanosecond(), 1_500_000_000);
        assert_eq!(time("1970-01-01T00:00:02Z").unwrap().unwrap().as_second(), 2);
        assert!(time("yesterday").is_err());
        assert!(time("0").unwrap().is_none());
    }
}
