//! Query strings of the node API.

use hako_container::LogOptions;
use hako_error::{Error, Kind, Result};
use hako_names::percent::query_pairs;
use jiff::{SignedDuration, Timestamp};

/// Names and values in order, decoded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query(Vec<(String, String)>);

impl Query {
    /// Parses `a=1&b=%20`.
    pub(super) fn parse(text: &str) -> Self {
        Self(query_pairs(text).collect())
    }

    /// The first value of `name` that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let mut values = self.0.iter().filter(|(known, value)| known == name && !value.is_empty());
        values.next().map(|(_, value)| value.as_str())
    }

    /// All values of `name`.
    pub(super) fn all(&self, name: &str) -> Vec<String> {
        let values = self.0.iter().filter(|(known, _)| known == name);
        values.map(|(_, value)| value.clone()).collect()
    }

    /// Whether any of `names` is true.
    pub(super) fn is_set(&self, names: &[&str]) -> bool {
        names.iter().any(|name| matches!(self.get(name), Some("true" | "1" | "True" | "TRUE")))
    }

    fn number(&self, name: &str) -> Result<Option<i64>> {
        let Some(text) = self.get(name) else { return Ok(None) };
        let number = text.parse::<i64>().ok().filter(|number| *number >= 0);
        number.map(Some).ok_or_else(|| {
            Error::new(Kind::Invalid, format!("{name}={text:?} is not valid, expected a whole number from 0"))
        })
    }
}

/// Which part of a container's log is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct LogQuery {
    pub(super) is_followed: bool,
    pub(super) is_previous: bool,
    pub(super) has_timestamps: bool,
    pub(super) since: Option<Timestamp>,
    pub(super) tail: Option<u64>,
    pub(super) limit_bytes: Option<u64>,
    /// `Stdout` or `Stderr` alone.
    pub(super) stream: Option<String>,
}

impl LogQuery {
    /// Reads the query of `/containerLogs`.
    pub(super) fn new(query: &Query, now: Timestamp) -> Result<Self> {
        let seconds = query.number("sinceSeconds")?;
        let time = query.get("sinceTime").map(|text| {
            text.parse::<Timestamp>().map_err(|error| {
                Error::new(Kind::Invalid, format!("sinceTime={text:?} is not a time, expected RFC 3339"))
                    .with_source(error)
            })
        });
        let time = time.transpose()?;
        if seconds.is_some() && time.is_some() {
            return Err(Error::new(
                Kind::Invalid,
                "at most one of sinceTime or sinceSeconds may be specified",
            ));
        }
        let ago = |seconds| now.saturating_sub(SignedDuration::from_secs(seconds)).unwrap_or(now);
        let unsigned = |number: Option<i64>| number.and_then(|number| u64::try_from(number).ok());
        let limit_bytes = unsigned(query.number("limitBytes")?);
        if limit_bytes == Some(0) {
            return Err(Error::new(Kind::Invalid, "limitBytes must be greater than 0"));
        }
        Ok(Self {
            is_followed: query.is_set(&["follow"]),
            is_previous: query.is_set(&["previous"]),
            has_timestamps: query.is_set(&["timestamps"]),
            since: time.or(seconds.map(ago)),
            tail: unsigned(query.number("tailLines")?),
            limit_bytes,
            stream: query.get("stream").map(str::to_owned),
        })
    }

    /// In the engine's words.
    pub(super) fn options(&self) -> LogOptions {
        LogOptions {
            follow: self.is_followed,
            since: self.since,
            tail: self.tail,
            stdout: self.stream.as_deref() != Some("Stderr"),
            stderr: self.stream.as_deref() != Some("Stdout"),
            ..LogOptions::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_repeated_names_are_read() {
        let query = Query::parse("command=sh&command=-c&command=echo%20a%2Bb+c%&input=1&tty=false&x");
        assert_eq!(query.all("command"), ["sh", "-c", "echo a+b c%"]);
        assert!(query.is_set(&["stdin", "input"]) && !query.is_set(&["tty"]) && !query.is_set(&["x"]));
    }

    #[test]
    fn the_log_is_chosen_by_time_lines_and_bytes() {
        let now: Timestamp = "2026-11-20T20:00:00Z".parse().unwrap();
        let read = |text: &str| LogQuery::new(&Query::parse(text), now);
        let all =
            read("follow=true&previous=1&timestamps=true&sinceSeconds=60&tailLines=5&limitBytes=9").unwrap();
        assert!(all.is_followed && all.is_previous && all.has_timestamps);
        assert_eq!(all.since.unwrap().to_string(), "2026-11-20T19:59:00Z");
        assert_eq!((all.tail, all.limit_bytes), (Some(5), Some(9)));
        assert_eq!(read("tailLines=0").unwrap().tail, Some(0));
        let time = read("sinceTime=2026-01-01T00%3A00%3A00Z").unwrap().since.unwrap();
        assert_eq!(time.to_string(), "2026-01-01T00:00:00Z");
        for bad in [
            "tailLines=-1",
            "tailLines=x",
            "limitBytes=0",
            "sinceTime=noon",
            "sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z",
        ] {
            assert_eq!(read(bad).unwrap_err().kind(), Kind::Invalid, "{bad}");
        }
    }
}
