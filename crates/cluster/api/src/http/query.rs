//! Query strings.

use super::Failure;
use hako_names::percent::{encode_into, query_pairs};

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

    pub(crate) fn flag(&self, key: &str) -> bool {
        self.get(key).is_some_and(|value| !matches!(value, "false" | "0" | "False" | "f" | "F"))
    }

    pub(crate) fn number<T: std::str::FromStr>(&self, key: &str) -> Result<Option<T>, Failure> {
        let number = |text: &str| {
            text.parse()
                .map_err(|_| Failure::bad_request(format!("query parameter {key}={text:?} is no number")))
        };
        self.text(key).map(number).transpose()
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
}
