//! Regular expressions of RE2's syntax (langdef.md, "Regular Expressions"; Kubernetes' `find`, `findAll`).

use super::re2::translate;
use super::{Args, Result};
use crate::overload::{Cost, Row};
use crate::{EvalError, Value};
use regex::{Regex, RegexBuilder};
use std::collections::HashMap;
use std::fmt;

#[rustfmt::skip]
pub(super) const ROWS: &[Row] = &[
    Row("matches", "matches", "string string", "bool", Cost::Matches, matches),
    Row("matches_string", ".matches", "string string", "bool", Cost::Matches, matches),
    Row("string_find_string", ".find", "string string", "string", Cost::Find, find),
    Row("string_find_all_string", ".findAll", "string string", "list(string)", Cost::Find, find_all),
    Row("string_find_all_string_int", ".findAll", "string string int", "list(string)", Cost::Find, find_all),
];

/// Bytes that a compiled expression may take: `a{1000}{1000}` is refused, not unrolled.
const MAX_COMPILED: usize = 1024 * 1024;

/// Why a pattern was not compiled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PatternError {
    /// It takes more bytes than it may.
    TooLarge(usize),
    /// All that are compiled together take more than they may.
    TooMany,
    /// It is none; the text says why.
    Syntax(String),
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("error parsing regexp: ")?;
        match self {
            Self::TooMany => f.write_str("the patterns take too much memory together when they are compiled"),
            Self::TooLarge(limit) => write!(f, "it takes more than {limit} bytes when compiled"),
            Self::Syntax(text) => f.write_str(text),
        }
    }
}

/// Compiles a pattern of RE2's syntax, as Go has it, that may take so many bytes.
///
/// # Errors
/// Patterns that are none or take more.
pub fn compile_pattern(pattern: &str, limit: usize) -> std::result::Result<Regex, PatternError> {
    let translated = translate(pattern).map_err(PatternError::Syntax)?;
    RegexBuilder::new(&translated).size_limit(limit).nest_limit(200).build().map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => PatternError::TooLarge(limit),
        // The last line says why; those before draw the translation.
        error => {
            let text = error.to_string();
            PatternError::Syntax(text.rsplit("error: ").next().unwrap_or_default().trim().to_owned())
        }
    })
}

/// Bytes that a pattern counts at least; one that takes more is tried with four times as many, and so on.
const MIN_COMPILED: usize = 16 * 1024;
/// Bytes of all patterns that are compiled together.
const MAX_TOGETHER: usize = 16 * 1024 * 1024;

/// Patterns that somebody sends together: equal ones are compiled once, and all of them take a bounded size and time.
#[derive(Debug)]
pub struct Patterns {
    known: HashMap<String, std::result::Result<Regex, PatternError>>,
    left: usize,
}

impl Default for Patterns {
    fn default() -> Self {
        Self::of_size(MAX_TOGETHER)
    }
}

impl Patterns {
    /// Patterns that may take so many bytes.
    #[must_use]
    pub fn of_size(left: usize) -> Self {
        Self { known: HashMap::new(), left }
    }

    /// The bytes that further patterns may take.
    #[must_use]
    pub fn left(&self) -> usize {
        self.left
    }

    /// What a pattern is compiled to.
    ///
    /// # Errors
    /// As [`compile_pattern`], and where the patterns take too much together.
    pub fn compile(&mut self, text: &str) -> std::result::Result<Regex, PatternError> {
        if let Some(known) = self.known.get(text) {
            return known.clone();
        }
        let compiled = self.compile_new(text);
        self.known.insert(text.to_owned(), compiled.clone());
        compiled
    }

    /// What was tried counts also where nothing came of it.
    fn compile_new(&mut self, text: &str) -> std::result::Result<Regex, PatternError> {
        let mut limit = MIN_COMPILED;
        while limit <= self.left {
            let tried = compile_pattern(text, limit);
            if matches!(tried, Err(PatternError::TooLarge(_))) && limit < MAX_COMPILED {
                limit *= 4;
                continue;
            }
            self.left -= limit;
            return tried;
        }
        self.left = 0;
        Err(PatternError::TooMany)
    }
}

/// The same of a pattern in an expression.
fn compile(pattern: &str) -> std::result::Result<Regex, String> {
    compile_pattern(pattern, MAX_COMPILED).map_err(|error| format!("{error}: `{pattern}`"))
}

fn pattern<'v>(args: &Args<'v, '_>) -> std::result::Result<(&'v str, Regex), EvalError> {
    Ok((args.text(0)?, compile(args.text(1)?).map_err(EvalError::data)?))
}

fn matches<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (text, pattern) = pattern(&Args(args))?;
    Ok(Value::Bool(pattern.is_match(text)))
}

fn find<'a>(args: &[Value<'a>]) -> Result<'a> {
    let (text, pattern) = pattern(&Args(args))?;
    Ok(Value::text(pattern.find(text).map_or("", |found| found.as_str())))
}

fn find_all<'a>(args: &[Value<'a>]) -> Result<'a> {
    let limit = if args.len() == 3 { Args(args).int(2)? } else { -1 };
    let (text, pattern) = pattern(&Args(args))?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    Ok(Value::list(pattern.find_iter(text).take(limit).map(|found| Value::text(found.as_str())).collect()))
}

#[cfg(test)]
mod tests {
    use super::{MAX_COMPILED, MIN_COMPILED, PatternError, Patterns, compile};

    #[test]
    fn classes_are_of_ascii_as_in_re2() {
        for (pattern, text, expected) in [
            (r"^\d+$", "123", true),
            (r"^\d+$", "١٢٣", false),
            (r"^[\w.]+$", "a_1.b", true),
            (r"^\w+$", "é", false),
            (r"^[^\s]+$", "a b", false),
            (r"\bfoo\b", "a foo b", true),
            (r"^[[:alpha:]]+$", "abc", true),
            (r"^[a-z&&b]+$", "a&b", true),
            (r"^[a-z&&x]+$", "ab", true),
            (r"^.$", "é", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_stands_for_itself_in_go_does_so_here() {
        for (pattern, text, expected) in [
            (r"^[\w.-]{1,63}$", "a-b.c", true),
            (r"^[\w-.]+$", "a-b.c", true),
            (r"^[a-c-z]+$", "b-z", true),
            (r"^[a-c-z]+$", "y", false),
            (r"^[+--]+$", "+,-", true),
            ("^[^[\\]]+$", "a(b)", true),
            ("^[^[\\]]+$", "a]b", false),
            ("^[[]a$", "[a", true),
            ("^[]a]+$", "]a", true),
            ("^[[:x]+$", "[:x", true),
            ("^[[:^alpha:]]$", "1", true),
            (r"^[\D\-]$", "7", false),
            ("^{{.*}}$", "{{x}}", true),
            ("^a{,3}$", "a{,3}", true),
            ("^a{01}$", "a{01}", true),
            ("^a{2,3}$", "aaa", true),
            ("^a{2,}$", "aaaa", true),
            (r"^\Qa.b\E$", "a.b", true),
            (r"^\Qa.b\E$", "axb", false),
            (r"^\Qa.b", "a.bc", true),
            (r"^\101\x42\x{43}[\104-\x45]\0$", "ABCE\0", true),
            (r"^\<a\>$", "<a>", true),
            (r"^\b{start}", "{start}", false),
            (r"^\p{^Lu}\pL\P{^Lu}$", "1éE", true),
            (r"^\w{25}$", &"a".repeat(25), true),
            (r"^(?:(?:ab){10}c{100}){10}$", "ab", false),
            (r"^(?:a{1000}){1}$", "a", false),
            (r"^(a{1000}){0}(a{1000}){0,1}b$", "b", true),
            (r"^(?i:a)+?(?P<n>b)*?$", "Aab", true),
            (r"^(a{30})*(b{30})(c{30}){30}$", "a", false),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn what_go_refuses_is_refused_with_the_reason() {
        for (pattern, expected) in [
            ("a{1001}", "invalid repeat count: `{1001}`"),
            ("a{1,1001}", "invalid repeat count: `{1,1001}`"),
            ("a{1001,}", "invalid repeat count: `{1001,}`"),
            ("a{3,2}", "invalid repeat count: `{3,2}`"),
            ("a{99999999999}", "invalid repeat count"),
            ("(a{100}){11}", "invalid repeat count: `{11}`"),
            ("(?:(?:a{10}b){10}|c){11}", "invalid repeat count: `{11}`"),
            ("(a{2,}){501}", "invalid repeat count: `{501}`"),
            ("((a{40})*){30,40}", "invalid repeat count: `{30,40}`"),
            ("a**", "invalid nested repetition operator: `**`"),
            ("a{2}{3}", "invalid nested repetition operator: `{2}{3}`"),
            ("a+?*?b", "invalid nested repetition operator: `+?*?`"),
            ("[a", "missing closing ]"),
            ("[]", "missing closing ]"),
            ("[z-a]", "invalid character class range: `z-a`"),
            ("[[:letter:]]", "invalid character class range: `[:letter:]`"),
            (r"(a)\1", r"invalid escape sequence: `\1`"),
            (r"\x{}", "invalid escape sequence"),
            (r"[\Qa\E]", r"invalid escape sequence: `\Q`"),
            (r"a\", "trailing backslash"),
            ("(?x: a)", "invalid or unsupported Perl syntax: `(?x`"),
            (&r"\pL".repeat(1_001), "more than 1000 Unicode classes"),
        ] {
            let error = compile(pattern).unwrap_err();
            assert!(error.starts_with(&format!("error parsing regexp: {expected}")), "{pattern}: {error}");
        }
    }

    #[test]
    fn patterns_that_take_too_much_together_are_refused_and_no_longer_tried() {
        let mut patterns = Patterns::of_size(3 * MAX_COMPILED);
        let large = |at: usize| format!(r"(\pL{{30}}){{30}}{at}");
        for at in 0..3 {
            let error = patterns.compile(&large(at)).unwrap_err();
            assert_eq!(error, PatternError::TooLarge(MAX_COMPILED));
        }
        for text in [&*large(3), "a"] {
            assert_eq!(patterns.compile(text).unwrap_err(), PatternError::TooMany, "{text}");
        }
        let mut patterns = Patterns::of_size(2 * MIN_COMPILED);
        for _ in 0..10_000 {
            assert!(patterns.compile("^a$").is_ok() && patterns.compile("a(").is_err());
        }
        assert_eq!(patterns.left(), 0);
    }

    #[test]
    fn a_pattern_that_explodes_is_refused() {
        let nested = r"((\pL{1,30}){1,30})";
        assert!(compile(nested).unwrap_err().contains("bytes when compiled"));
        assert!(compile("(((a{1000}){1000}){1000})").unwrap_err().contains("invalid repeat count"));
        assert!(compile("a(").unwrap_err().starts_with("error parsing regexp"));
        assert!(compile(&"(".repeat(10_000)).is_err());
    }
}
