//! Patterns (`pattern` in schemas), which are Go's regular expressions.

use hako_cel::PatternError;
use regex::Regex;

/// The patterns of a definition: equal ones are compiled once, and together they take a bounded size and time.
#[derive(Debug, Default)]
pub struct Patterns(hako_cel::Patterns);

impl Patterns {
    /// What a pattern is compiled to, or what is wrong with it.
    pub(crate) fn compile(&mut self, text: &str) -> Result<Regex, String> {
        self.0.compile(text).map_err(|error| match error {
            PatternError::TooLarge(_) => "the pattern takes too much memory when it is compiled".to_owned(),
            PatternError::TooMany => {
                "the patterns of the definition take too much memory together when they are compiled"
                    .to_owned()
            }
            PatternError::Syntax(_) => format!("must be a valid regular expression, but isn't: {error}"),
        })
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
        let all = hako_cel::Patterns::default().left();
        assert!(all - patterns.0.left() < all / 100, "{} of {all}", patterns.0.left());
    }

    #[test]
    fn patterns_that_take_too_much_together_are_refused() {
        let mut patterns = Patterns(hako_cel::Patterns::of_size(2 << 20));
        let error = patterns.compile(r"(\pL{30}){30}").unwrap_err();
        assert!(error.contains("the pattern takes too much memory"), "{error}");
        assert!((0..64).all(|at| patterns.compile(&format!("^a{at}$")).is_ok()));
        assert!(patterns.compile("b").unwrap_err().contains("together"));
    }
}
