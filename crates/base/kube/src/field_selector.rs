//! Field selectors: `metadata.name=x,spec.nodeName!=y`.

use hako_error::{Classify, Kind};
use std::fmt;

/// All terms have to hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSelector {
    /// The terms, in the order written.
    pub terms: Vec<FieldTerm>,
}

/// One comparison of a field with a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldTerm {
    /// The field's path, such as `spec.nodeName`.
    pub field: String,
    /// Whether the values must be equal, or must differ.
    pub is_equal: bool,
    /// The value to compare with.
    pub value: String,
}

/// Why a text is no field selector.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ParseFieldSelectorError {
    /// A term without an operator.
    #[error("invalid selector: '{0}'; can't understand '{1}'")]
    NoOperator(String, String),
    /// A backslash before something that needs none.
    #[error("invalid field selector: invalid escape sequence in {0}")]
    Escape(String),
    /// A character in a value that has to be written with a backslash.
    #[error("invalid field selector: unescaped character in value: {0}")]
    Unescaped(char),
    /// The kind has no such selectable field.
    #[error("field label not supported: {0}")]
    Unsupported(String),
}

impl Classify for ParseFieldSelectorError {
    fn kind(&self) -> Kind {
        Kind::Invalid
    }
}

impl FieldSelector {
    /// Parses the string form; an empty text selects all.
    ///
    /// # Errors
    /// Where a term has no operator or a wrong escape.
    pub fn parse(text: &str) -> Result<Self, ParseFieldSelectorError> {
        let mut terms = Vec::new();
        for term in split_unescaped(text) {
            if term.is_empty() {
                continue;
            }
            let no_operator = || ParseFieldSelectorError::NoOperator(text.to_owned(), term.to_owned());
            let at = term.find(['=', '!']).ok_or_else(no_operator)?;
            let (field, rest) = term.split_at(at);
            let (is_equal, value) = match rest {
                _ if rest.starts_with("!=") => (false, &rest[2..]),
                _ if rest.starts_with("==") => (true, &rest[2..]),
                _ if rest.starts_with('=') => (true, &rest[1..]),
                _ => return Err(no_operator()),
            };
            terms.push(FieldTerm { field: field.trim().to_owned(), is_equal, value: unescape(value)? });
        }
        Ok(Self { terms })
    }

    /// Whether it selects all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether all terms hold; `field` reads one field, `None` where the kind cannot be selected by it.
    pub fn matches<'a>(&self, field: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.terms.iter().all(|term| (field(&term.field).unwrap_or("") == term.value) == term.is_equal)
    }

    /// Refuses fields that are not in `supported`.
    ///
    /// # Errors
    /// Names the first unsupported field.
    pub fn check(&self, supported: &[&str]) -> Result<(), ParseFieldSelectorError> {
        match self.terms.iter().find(|term| !supported.contains(&term.field.as_str())) {
            Some(term) => Err(ParseFieldSelectorError::Unsupported(term.field.clone())),
            None => Ok(()),
        }
    }

    /// The value a field must equal, if a term demands one: lets a list by name become a get.
    #[must_use]
    pub fn required(&self, field: &str) -> Option<&str> {
        self.terms.iter().find(|term| term.is_equal && term.field == field).map(|term| term.value.as_str())
    }
}

impl fmt::Display for FieldSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, term) in self.terms.iter().enumerate() {
            let comma = if at == 0 { "" } else { "," };
            let operator = if term.is_equal { "=" } else { "!=" };
            write!(f, "{comma}{}{operator}{}", term.field, escape(&term.value))?;
        }
        Ok(())
    }
}

fn split_unescaped(text: &str) -> Vec<&str> {
    let (mut parts, mut start, mut is_escaped) = (Vec::new(), 0, false);
    for (at, c) in text.char_indices() {
        if is_escaped {
            is_escaped = false;
        } else if c == '\\' {
            is_escaped = true;
        } else if c == ',' {
            parts.push(&text[start..at]);
            start = at + 1;
        }
    }
    parts.push(&text[start..]);
    parts
}

/// So that the value is read as what it is.
fn escape(value: &str) -> String {
    let is_special = |c: &char| matches!(c, '\\' | ',' | '=');
    value.chars().flat_map(|c| Some('\\').filter(|_| is_special(&c)).into_iter().chain([c])).collect()
}

fn unescape(value: &str) -> Result<String, ParseFieldSelectorError> {
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => match chars.next() {
                Some(next @ ('\\' | ',' | '=')) => out.push(next),
                _ => return Err(ParseFieldSelectorError::Escape(value.to_owned())),
            },
            ',' | '=' => return Err(ParseFieldSelectorError::Unescaped(c)),
            c => out.push(c),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_parse_and_match() {
        let selector =
            FieldSelector::parse("metadata.name=a,spec.nodeName!=n,status.phase==Running").unwrap();
        let field = |name: &str| match name {
            "metadata.name" => Some("a"),
            "status.phase" => Some("Running"),
            _ => None,
        };
        assert!(selector.matches(field));
        assert_eq!(selector.required("metadata.name"), Some("a"));
        assert_eq!(selector.to_string(), "metadata.name=a,spec.nodeName!=n,status.phase=Running");
        assert!(selector.check(&["metadata.name"]).is_err());
        assert!(FieldSelector::parse("").unwrap().is_empty());
        assert_eq!(FieldSelector::parse(r"a=x\,y").unwrap().terms[0].value, "x,y");
        assert!(FieldSelector::parse("abc").is_err());
        assert_eq!(FieldSelector::parse("a=b=c"), Err(ParseFieldSelectorError::Unescaped('=')));
        assert!(FieldSelector::parse(r"a=\x").is_err());
    }
}
