//! Paths and query strings.

use std::fmt::Write as _;

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

/// Percent-encodes everything but unreserved characters.
pub(crate) fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode_into(&mut out, text);
    out
}

fn encode_into(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}
