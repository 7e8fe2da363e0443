//! What a request presumes of the thing that it is about: `If-Match` and `If-None-Match`, RFC 9110, section 13.
//!
//! Owns: reading both fields, and comparing entity tags, which here are digests in quotes. Does not own: what is there.
//! Invariant: a change is compared in the transaction that makes it, so that of two who presume the same one is refused.

use crate::error::RegistryError;
use crate::name::{Reference, Repository};
use hako_names::Digest;
use http::HeaderMap;
use http::header::{HeaderName, IF_MATCH, IF_NONE_MATCH};

/// Both fields of a request; one that is missing presumes nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Conditions {
    matches: Option<Tags>,
    matches_none: Option<Tags>,
}

/// The entity tags of a field.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Tags {
    /// Whether `*` is among them, which stands for whatever is there.
    is_any: bool,
    strong: Vec<String>,
    /// Those after `W/`.
    weak: Vec<String>,
}

/// How two tags are compared, RFC 9110, section 8.8.3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Comparison {
    /// What is weak equals nothing.
    Strong,
    Weak,
}

impl Tags {
    /// `None` where there is no such field; one that cannot be read names nothing.
    fn of(headers: &HeaderMap, name: &HeaderName) -> Option<Self> {
        let mut tags = headers.contains_key(name).then(Self::default)?;
        let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
        for tag in values.flat_map(|value| value.split(',')).map(str::trim) {
            let text = |tag: &str| tag.trim_matches('"').to_owned();
            match tag.strip_prefix("W/") {
                _ if tag == "*" => tags.is_any = true,
                Some(weak) => tags.weak.push(text(weak)),
                None => tags.strong.push(text(tag)),
            }
        }
        Some(tags)
    }

    /// Whether one of them is that of what is there.
    fn has(&self, current: Option<Digest>, comparison: Comparison) -> bool {
        let Some(current) = current.map(|digest| digest.to_string()) else { return false };
        let is_weakly = comparison == Comparison::Weak && self.weak.contains(&current);
        self.is_any || is_weakly || self.strong.contains(&current)
    }
}

impl Conditions {
    /// What the request's fields say.
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        Self { matches: Tags::of(headers, &IF_MATCH), matches_none: Tags::of(headers, &IF_NONE_MATCH) }
    }

    /// Whether `If-Match`, if there is any, names what is there.
    pub(crate) fn is_match(&self, current: Option<Digest>) -> bool {
        self.matches.as_ref().is_none_or(|tags| tags.has(current, Comparison::Strong))
    }

    /// Whether `If-None-Match` says that the client has what is there.
    pub(crate) fn is_known(&self, current: Digest) -> bool {
        self.matches_none.as_ref().is_some_and(|tags| tags.has(Some(current), Comparison::Weak))
    }

    /// Before something is read that is there: refuses unless `If-Match` names it. Of `If-None-Match` the answer makes a 304.
    pub(crate) fn before_read(
        &self,
        repository: &Repository,
        reference: &Reference,
        current: Digest,
    ) -> Result<(), RegistryError> {
        if self.is_match(Some(current)) { Ok(()) } else { Err(refused("If-Match", repository, reference)) }
    }

    /// Before a change of what is there, or is not: refuses unless both fields hold.
    pub(crate) fn before_change(
        &self,
        repository: &Repository,
        reference: &Reference,
        current: Option<Digest>,
    ) -> Result<(), RegistryError> {
        if !self.is_match(current) {
            return Err(refused("If-Match", repository, reference));
        }
        match current {
            Some(current) if self.is_known(current) => Err(refused("If-None-Match", repository, reference)),
            _ => Ok(()),
        }
    }
}

/// Does not say what is there: who may push may not always pull.
fn refused(field: &'static str, repository: &Repository, reference: &Reference) -> RegistryError {
    RegistryError::ConditionFailed { field, repository: repository.clone(), reference: reference.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(fields: &[(HeaderName, String)]) -> Conditions {
        Conditions::of(&fields.iter().map(|(name, value)| (name.clone(), value.parse().unwrap())).collect())
    }

    #[test]
    fn if_match_compares_strongly_and_if_none_match_weakly() {
        let (one, other) = (Digest::of(b"1"), Digest::of(b"2"));
        let quoted = format!("\"{one}\"");
        // Whether it names the one, another, nothing at all.
        let cases = [
            (quoted.clone(), [true, false, false], true),
            (one.to_string(), [true, false, false], true),
            (format!("\"x\", {quoted}"), [true, false, false], true),
            ("*".to_owned(), [true, true, false], true),
            (format!("W/{quoted}"), [false; 3], true),
            ("\"x\"".to_owned(), [false; 3], false),
            (String::new(), [false; 3], false),
        ];
        for (value, matches, is_known) in cases {
            let read = conditions(&[(IF_MATCH, value.clone())]);
            let named = [Some(one), Some(other), None].map(|current| read.is_match(current));
            assert_eq!(named, matches, "If-Match: {value}");
            let read = conditions(&[(IF_NONE_MATCH, value.clone())]);
            assert_eq!(read.is_known(one), is_known, "If-None-Match: {value}");
            assert!(read.is_match(None));
        }
        assert!(conditions(&[]).is_match(None) && !conditions(&[]).is_known(one));
    }

    #[test]
    fn a_field_that_is_no_text_holds_for_nothing() {
        let mut headers = HeaderMap::new();
        headers.insert(IF_MATCH, http::HeaderValue::from_bytes(b"\xff").unwrap());
        assert!(!Conditions::of(&headers).is_match(Some(Digest::of(b""))));
    }
}
