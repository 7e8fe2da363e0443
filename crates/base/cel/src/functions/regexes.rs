//! Regular expressions of RE2's syntax (langdef.md, "Regular Expressions"; Kubernetes' `find`, `findAll`).

use super::{Args, Result};
use crate::overload::{Cost, Row};
use crate::{EvalError, Value};
use regex::{Regex, RegexBuilder};

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

/// Compiles `pattern`. RE2's classes `\d`, `\w`, `\s` and its `\b` are of ASCII only.
pub(crate) fn compile(pattern: &str) -> std::result::Result<Regex, String> {
    let compiled =
        RegexBuilder::new(&ascii_classes(pattern)).size_limit(MAX_COMPILED).nest_limit(200).build();
    compiled.map_err(|error| match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("error parsing regexp: it takes more than {limit} bytes when compiled: `{pattern}`")
        }
        _ => format!("error parsing regexp: `{pattern}`"),
    })
}

fn ascii_classes(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len());
    let mut rest = pattern.chars();
    let mut in_class = false;
    while let Some(c) = rest.next() {
        match c {
            '\\' => match rest.next() {
                Some(class @ ('d' | 'D' | 's' | 'S' | 'w' | 'W')) => push_class(&mut out, class, in_class),
                Some(edge @ ('b' | 'B')) if !in_class => {
                    out.push_str("(?-u:\\");
                    out.push(edge);
                    out.push(')');
                }
                Some(other) => {
                    out.push('\\');
                    out.push(other);
                }
                None => out.push('\\'),
            },
            '[' if in_class && !out.ends_with('[') && !rest.as_str().starts_with(':') => out.push_str("\\["),
            c => {
                in_class = (in_class || c == '[') && c != ']';
                // A bracket that opens or closes a class stays; `&&`, `--` and `~~` have no meaning in RE2.
                if in_class && matches!(c, '&' | '~') {
                    out.push('\\');
                }
                out.push(c);
            }
        }
    }
    out
}

fn push_class(out: &mut String, class: char, in_class: bool) {
    let items = match class.to_ascii_lowercase() {
        'd' => "0-9",
        's' => "\\t\\n\\x0C\\r ",
        _ => "0-9A-Za-z_",
    };
    let negated = class.is_ascii_uppercase();
    match (in_class, negated) {
        (true, false) => out.push_str(items),
        (_, true) => {
            out.push_str("[^");
            out.push_str(items);
            out.push(']');
        }
        (false, false) => {
            out.push('[');
            out.push_str(items);
            out.push(']');
        }
    }
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
    use super::compile;

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
            (r"^.$", "é", true),
        ] {
            assert_eq!(compile(pattern).unwrap().is_match(text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn a_pattern_that_explodes_is_refused() {
        assert!(compile("(((a{1000}){1000}){1000})").unwrap_err().contains("bytes when compiled"));
        assert!(compile("a(").unwrap_err().starts_with("error parsing regexp"));
        assert!(compile(&"(".repeat(10_000)).is_err());
    }
}
