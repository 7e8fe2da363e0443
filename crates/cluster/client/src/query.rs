//! Paths and query strings.

use hako_names::percent::encode_into;

/// Builds `path?key=value&…` with percent-encoding.
#[derive(Debug)]
pub(crate) struct Query {
    uri: String,
    first: bool,
}

impl Query {
    pub(crate) fn new(path: impl Into<String>) -> Self {
        Self { uri: path.into(), first: true }
    }

    pub(crate) fn add(&mut self, key: &str, value: &str) -> &mut Self {
        self.uri.push(if self.first { '?' } else { '&' });
        self.first = false;
        self.uri.push_str(key);
        self.uri.push('=');
        encode_into(&mut self.uri, value);
        self
    }

    pub(crate) fn opt(&mut self, key: &str, value: Option<&str>) -> &mut Self {
        match value {
            Some(value) => self.add(key, value),
            None => self,
        }
    }

    pub(crate) fn finish(self) -> String {
        self.uri
    }
}
