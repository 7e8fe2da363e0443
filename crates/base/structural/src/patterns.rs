//! Patterns (`pattern` in schemas), which are Go's regular expressions.

use hako_cel::{PatternError, compile_pattern};
use regex::Regex;
use std::collections::HashMap;

/// Bytes of a compiled pattern.
const MAX_PATTERN: usize = 1024 * 1024;
/// Bytes that a pattern counts at least; one that takes more is tried with four times as many, and so on.
const MIN_PATTERN: usize = 16 * 1024;
/// Bytes of all patterns that are compiled together.
const MAX_TOGETHER: usize = 16 * 1024 * 1024;

/// The patterns of a definition: equal ones are compiled once, and together they take a bounded size and time.
#[derive(Debug)]
pub struct Patterns {
    known: HashMap<String, Result<Regex, String>>,
    left: usize,
}

impl Default for Patterns {
    fn default() -> Self {
        Self { known: HashMap::new(), left: MAX_TOGETHER }
    }
}

impl Patterns {
    /// What a pattern is compiled to, or what is wrong with it.
    pub(crate) fn compile(&mut self, text: &str) -> Result<Regex, String> {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        let compiled = self.compile_new(text);
        self.known.insert(text.to_owned(), compiled.clone());
        compiled
    }

    /// What was tried counts also where nothing came of it.
    fn compile_new(&mut self, text: &str) -> Result<Regex, String> {
        let mut limit = MIN_PATTERN;
        while limit <= self.left {
            let tried = compile_pattern(text, limit);
            if matches!(tried, Err(PatternError::TooLarge(_))) && limit < MAX_PATTERN {
                limit *= 4;
                continue;
            }
            self.left -= limit;
            return tried.map_err(|error| match error {
                PatternError::TooLarge(_) => {
                    "the pattern takes too much memory when it is compiled".to_owned()
                }
                error @ PatternError::Syntax(_) => {
                    format!("must be a valid regular expression, but isn't: {error}")
                }
            });
        }
        self.left = 0;
        Err("the patterns of the definition take too much memory together when they are compiled".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_of_schemas_are_of_go() {
        let mut patterns = Patterns::default();
        for (pattern, text, expected) in [
            (r"^\w+$", "é", false),
            (r"^\d+$", "٣", false),
            (r"^[\w-]{1,253}$", "a-b", true),
            (r"^[^[\]]+$", "a(b)", true),
            (r"^{{.*}}$", "{{a}}", true),
        ] {
            assert_eq!(patterns.compile(pattern).unwrap().is_match(text), expected, "{pattern} {text}");
        }
        let expected = "must be a valid regular expression, but isn't: error parsing regexp: invalid repeat count: `{1001}`";
        assert_eq!(patterns.compile("a{1001}").unwrap_err(), expected);
    }

    #[test]
    fn equal_patterns_count_once() {
        let mut patterns = Patterns::default();
        for _ in 0..10_000 {
            assert!(patterns.compile(r"^\w{20}$").unwrap().is_match("abcdefghijklmnopqrst"));
            assert!(patterns.compile("a(").unwrap_err().contains("must be a valid regular expression"));
        }
        assert_eq!(MAX_TOGETHER - patterns.left, 2 * MIN_PATTERN);
    }

    #[test]
    fn patterns_that_take_too_much_together_are_refused_and_no_longer_tried() {
        let mut patterns = Patterns { left: 3 * MAX_PATTERN, ..Patterns::default() };
        for at in 0..3 {
            let error = patterns.compile(&format!("((a{{999}}){{999}}){{999}}{at}")).unwrap_err();
            assert!(error.contains("the pattern takes too much memory"), "{error}");
        }
        for text in ["((a{999}){999}){999}", "a"] {
            assert!(patterns.compile(text).unwrap_err().contains("together"), "{text}");
        }
        let mut patterns = Patterns { left: MAX_PATTERN, ..Patterns::default() };
        assert!((0..64).all(|at| patterns.compile(&format!("^a{at}$")).is_ok()));
        assert!(patterns.compile("b").unwrap_err().contains("together"));
    }
}
