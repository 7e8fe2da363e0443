//! Query strings.

use super::Failure;
use hako_names::percent::{encode_into, query_pairs};
use std::num::{IntErrorKind, ParseIntError};

/// Decoded pairs, in order, and the text they were read from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query(Vec<(String, String)>, String);

impl Query {
    pub(crate) fn parse(text: &str) -> Self {
        Self(query_pairs(text).collect(), text.to_owned())
    }

    /// As it was sent.
    pub(crate) fn raw(&self) -> &str {
        &self.1
    }

    /// The first value of a key.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// All values of a key.
    pub(crate) fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// The first value of a key that is not empty.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.get(key).filter(|value| !value.is_empty())
    }

    /// All pairs but those of one key, encoded again.
    pub(crate) fn encode_without(&self, key: &str) -> String {
        let mut out = String::new();
        for (name, value) in self.0.iter().filter(|(name, _)| name != key) {
            if !out.is_empty() {
                out.push('&');
            }
            encode_into(&mut out, name);
            out.push('=');
            encode_into(&mut out, value);
        }
        out
    }

    /// Puts these pairs in the place of all of some keys.
    pub(crate) fn replace(&mut self, keys: &[&str], pairs: &[(&str, String)]) {
        self.0.retain(|(name, _)| !keys.contains(&name.as_str()));
        self.0.extend(pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        self.1 = self.encode_without("");
    }

    /// As Kubernetes reads it: whatever is neither `0` nor `false` is so, also nothing.
    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| value != "0" && !value.eq_ignore_ascii_case("false"))
    }

    /// A number that may be below zero; a key without one is refused.
    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, Failure> {
        let number = |text: &str| {
            text.parse().map_err(|error| Failure::bad_request(Self::no_number("ParseInt", text, &error)))
        };
        self.get(key).map(number).transpose()
    }

    /// Why a text is no number, in the words of Go's function for it.
    pub(crate) fn no_number(function: &str, text: &str, error: &ParseIntError) -> String {
        let why = match error.kind() {
            IntErrorKind::PosOverflow | IntErrorKind::NegOverflow => "value out of range",
            _ => "invalid syntax",
        };
        format!("strconv.{function}: parsing {text:?}: {why}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_decoded_and_rubbish_is_kept() {
        let query = Query::parse("labelSelector=a%3Db%2Cc&x=1+2&y&z=%zz&watch=true");
        assert_eq!(query.get("labelSelector"), Some("a=b,c"));
        assert_eq!(query.get("x"), Some("1 2"));
        assert_eq!(query.get("y"), Some(""));
        assert_eq!(query.get("z"), Some("%zz"));
        assert!(query.flag("watch") && !query.flag("none"));
    }

    #[test]
    fn flags_and_numbers_are_read_as_upstream_reads_them() {
        let query = Query::parse("a=0&b=FALSE&c=f&d&e=-1&f=1.5&g=99999999999999999999&h=");
        assert!(!query.flag("a") && !query.flag("b") && query.flag("c") && query.flag("d"));
        assert_eq!(query.integer("e").ok(), Some(Some(-1)));
        assert_eq!(query.integer("none").ok(), Some(None));
        for (key, expected) in [
            ("f", "strconv.ParseInt: parsing \"1.5\": invalid syntax"),
            ("g", "strconv.ParseInt: parsing \"99999999999999999999\": value out of range"),
            ("h", "strconv.ParseInt: parsing \"\": invalid syntax"),
        ] {
            let failure = query.integer(key).unwrap_err();
            assert_eq!((failure.status().code, failure.status().message.as_str()), (400, expected));
        }
    }
}
