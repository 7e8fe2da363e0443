//! Patterns of repositories, tags and users.

use std::fmt;

/// `*` stands for any characters but `/`, `**` for any, everything else for itself.
#[derive(Clone, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// A pattern; every text is one, though not every one can match: [`Config::examine`](super::Config::examine) says which.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Why no name can match, where names have only what `is_allowed`.
    pub(super) fn fault(&self, is_allowed: fn(char) -> bool) -> Option<String> {
        if self.0.is_empty() {
            return Some("an empty pattern stands for nothing; leave the field out for all".into());
        }
        let odd = self.0.chars().find(|one| *one != '*' && !is_allowed(*one))?;
        Some(format!("{self:?} matches nothing: {odd:?} is in no name, and only * and ** stand for others"))
    }

    /// Whether the whole of `text` matches.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        matches(self.0.as_bytes(), text.as_bytes())
    }
}

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Whether one of the patterns matches.
pub(crate) fn any(patterns: &[Pattern], text: &str) -> bool {
    patterns.iter().any(|pattern| pattern.matches(text))
}

/// For every prefix of the pattern, which prefixes of the text it matches: never more than one pass over the text for
/// each character of the pattern, whatever is written there.
fn matches(pattern: &[u8], text: &[u8]) -> bool {
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    let mut rest = pattern;
    while let Some((first, after)) = rest.split_first() {
        let is_any = *first == b'*' && after.first() == Some(&b'*');
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            next[at] = if *first == b'*' {
                reached[at] || (at > 0 && next[at - 1] && (is_any || text[at - 1] != b'/'))
            } else {
                at > 0 && reached[at - 1] && text[at - 1] == *first
            };
        }
        reached = next;
        rest = if is_any { &after[1..] } else { after };
    }
    reached[text.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stop_at_slashes_and_double_stars_do_not() {
        let yes = [
            ("a", "a"),
            ("*", "abc"),
            ("**", "a/b/c"),
            ("a/*", "a/b"),
            ("a/**", "a/b/c"),
            ("*/b", "a/b"),
            ("v*.*", "v1.2"),
            ("**/x", "a/b/x"),
            ("*", ""),
            ("release-*", "release-"),
        ];
        let no = [
            ("a", "b"),
            ("*", "a/b"),
            ("a/*", "a/b/c"),
            ("a/**", "a"),
            ("v*", "1v"),
            ("", "a"),
            ("a*b", "a/b"),
        ];
        for (pattern, text) in yes {
            assert!(Pattern::new(pattern).matches(text), "{pattern} {text}");
        }
        for (pattern, text) in no {
            assert!(!Pattern::new(pattern).matches(text), "{pattern} {text}");
        }
    }
}
