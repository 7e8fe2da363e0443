//! Patterns over paths: Go's `filepath.Match`, which COPY has, and those of .dockerignore, which know `**` too.
//!
//! Invariant: a match costs at most the product of the lengths of pattern and path.

/// A compiled pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pattern {
    /// Exactly that path.
    Exact(String),
    /// All that starts with it.
    Prefix(String),
    /// All that ends with it, and, where it starts with a slash, what is just the rest.
    Suffix(String),
    /// Anything else.
    Tokens(Vec<Token>),
}

/// A part of a pattern.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    /// That character.
    Literal(char),
    /// `?`: a character of a name.
    One,
    /// `*`: any number of characters of a name.
    Many,
    /// `**/`: nothing, or whatever ends in a slash.
    Deep,
    /// `**` at the end: whatever follows.
    Rest,
    /// `[…]`.
    Class(Class),
}

/// Characters and ranges of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Class {
    is_negated: bool,
    ranges: Vec<(char, char)>,
    /// Whether a slash can be among the negated. It can in .dockerignore and not in `filepath.Match`.
    has_slash: bool,
}

impl Class {
    fn has(&self, c: char) -> bool {
        (c != '/' || self.has_slash)
            && self.ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != self.is_negated
    }
}

/// Whether `name` matches all of `pattern` by the rules of Go's `filepath.Match`. `*` and `?` stay within one
/// name; a malformed pattern matches nothing.
#[must_use]
pub(crate) fn matches(pattern: &str, name: &str) -> bool {
    go_tokens(pattern).is_some_and(|tokens| all(&tokens, name))
}

/// Whether the text has characters that only patterns have.
#[must_use]
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

/// The tokens of a pattern of `filepath.Match`; `None` if it is malformed.
fn go_tokens(pattern: &str) -> Option<Vec<Token>> {
    let (mut tokens, mut chars) = (Vec::new(), pattern.chars().peekable());
    while let Some(c) = chars.next() {
        tokens.push(match c {
            '*' if tokens.last() == Some(&Token::Many) => continue,
            '*' => Token::Many,
            '?' => Token::One,
            '[' => Token::Class(class(&mut chars, false)?),
            '\\' => Token::Literal(chars.next()?),
            c => Token::Literal(c),
        });
    }
    Some(tokens)
}

type Chars<'a> = std::iter::Peekable<std::str::Chars<'a>>;

/// Reads a class behind its bracket: `^` negates, a backslash escapes, and neither an empty class nor a bare `-`
/// or `]` as an end of a range is possible.
fn class(chars: &mut Chars, has_slash: bool) -> Option<Class> {
    let is_negated = chars.next_if_eq(&'^').is_some();
    let mut ranges = Vec::new();
    while ranges.is_empty() || chars.next_if_eq(&']').is_none() {
        let low = class_end(chars)?;
        let high = if chars.next_if_eq(&'-').is_some() { class_end(chars)? } else { low };
        ranges.push((low, high));
    }
    Some(Class { is_negated, ranges, has_slash })
}

fn class_end(chars: &mut Chars) -> Option<char> {
    match chars.next()? {
        '-' | ']' => None,
        '\\' => chars.next(),
        c => Some(c),
    }
}

impl Pattern {
    /// Compiles a pattern of .dockerignore as moby's patternmatcher reads it; `None` if `filepath.Match` would
    /// refuse it.
    pub(crate) fn compile(pattern: &str) -> Option<Self> {
        go_tokens(pattern)?;
        let (mut tokens, mut chars) = (Vec::new(), pattern.chars().peekable());
        // What the pattern is in full once it turns out to have nothing else special.
        let mut plain = Some(Plain::Exact);
        while let Some(c) = chars.next() {
            if c == '*' && chars.next_if_eq(&'*').is_some() {
                let is_first = tokens.is_empty();
                chars.next_if_eq(&'/');
                let is_last = chars.peek().is_none();
                tokens.push(if is_last { Token::Rest } else { Token::Deep });
                plain = match plain {
                    _ if is_first => Some(Plain::Suffix),
                    Some(Plain::Exact) if is_last => Some(Plain::Prefix),
                    _ => None,
                };
                continue;
            }
            let token = match c {
                '*' => Token::Many,
                '?' => Token::One,
                '[' => Token::Class(class(&mut chars, true)?),
                '\\' => {
                    plain = None;
                    Token::Literal(chars.next()?)
                }
                c => Token::Literal(c),
            };
            if !matches!(token, Token::Literal(_)) {
                plain = None;
            }
            tokens.push(token);
        }
        Some(match plain {
            Some(Plain::Exact) => Self::Exact(pattern.to_owned()),
            Some(Plain::Prefix) => {
                Self::Prefix(pattern.trim_end_matches('/').trim_end_matches("**").to_owned())
            }
            Some(Plain::Suffix) => Self::Suffix(pattern[2..].to_owned()),
            None => Self::Tokens(tokens),
        })
    }

    /// Whether it matches all of a path, which has no slash in front.
    pub(crate) fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(exact) => path == exact,
            Self::Prefix(prefix) => path.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => {
                path.ends_with(suffix.as_str()) || suffix.strip_prefix('/').is_some_and(|rest| path == rest)
            }
            Self::Tokens(tokens) => all(tokens, path),
        }
    }
}

enum Plain {
    Exact,
    Prefix,
    Suffix,
}

/// Where in the tokens a match may be, one bit each; the second half is for being inside of a `**/`.
struct States(Vec<u64>);

impl States {
    fn new(count: usize) -> Self {
        Self(vec![0; count / 64 + 1])
    }

    fn set(&mut self, state: usize) -> bool {
        let bit = 1 << (state % 64);
        let is_new = self.0[state / 64] & bit == 0;
        self.0[state / 64] |= bit;
        is_new
    }

    fn has(&self, state: usize) -> bool {
        self.0[state / 64] & (1 << (state % 64)) != 0
    }

    fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    fn clear(&mut self) {
        self.0.fill(0);
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().enumerate().flat_map(|(index, word)| {
            let mut word = *word;
            std::iter::from_fn(move || {
                let bit = (word != 0).then(|| word.trailing_zeros() as usize)?;
                word &= word - 1;
                Some(index * 64 + bit)
            })
        })
    }
}

/// Whether the tokens match all of the text. All possibilities are followed at once.
fn all(tokens: &[Token], text: &str) -> bool {
    let end = tokens.len();
    let inside = end + 1;
    let (mut states, mut next) = (States::new(2 * inside), States::new(2 * inside));
    enter(tokens, 0, &mut states);
    for c in text.chars() {
        for state in states.iter() {
            if state == end {
                continue;
            }
            if state > end {
                if c != '\n' {
                    next.set(state);
                }
                if c == '/' {
                    enter(tokens, state - inside + 1, &mut next);
                }
                continue;
            }
            match &tokens[state] {
                Token::Literal(literal) if *literal == c => enter(tokens, state + 1, &mut next),
                Token::One if c != '/' => enter(tokens, state + 1, &mut next),
                Token::Class(class) if class.has(c) => enter(tokens, state + 1, &mut next),
                Token::Many if c != '/' => enter(tokens, state, &mut next),
                Token::Rest if c != '\n' => enter(tokens, state, &mut next),
                _ => {}
            }
        }
        std::mem::swap(&mut states, &mut next);
        next.clear();
        if states.is_empty() {
            return false;
        }
    }
    states.has(end)
}

/// Reaches a state and those that need no character more.
fn enter(tokens: &[Token], mut state: usize, states: &mut States) {
    while states.set(state) {
        match tokens.get(state) {
            Some(Token::Deep) => drop(states.set(tokens.len() + 1 + state)),
            Some(Token::Many | Token::Rest) => {}
            _ => return,
        }
        state += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_match_like_gos() {
        for (pattern, path, expected) in [
            ("*.txt", "a.txt", true),
            ("*.txt", "d/a.txt", false),
            ("d/*", "d/a", true),
            ("d/*", "d/a/b", false),
            ("a?c", "abc", true),
            ("a?c", "a/c", false),
            ("a?c", "aéc", true),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("x[^a]b", "x/b", false),
            ("[!a]", "!", true),
            ("[!a]", "b", false),
            ("[\\]x]", "]", true),
            ("[\\-]", "-", true),
            ("[a-\\]]", "]", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("**", "ab", true),
            ("**", "a/b", false),
            ("", "", true),
            ("*", "", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn malformed_patterns_match_nothing() {
        for pattern in ["[", "[a", "[]a]", "[-]", "[a-]", "[^]", "\\", "a[]"] {
            assert!(!matches(pattern, "a") && !matches(pattern, pattern), "{pattern}");
            assert_eq!(Pattern::compile(pattern), None, "{pattern}");
        }
    }

    #[test]
    fn patterns_of_dockerignore_know_double_stars() {
        for (pattern, path, expected) in [
            ("**", "a/b/c", true),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "a/bx", false),
            // Nothing else special in it: it is a suffix, whatever is before.
            ("**x", "abx", true),
            ("**x*", "abx", false),
            ("**x*", "ab/xy", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a**", "abc/d", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("a/**/c", "a/bc", false),
            ("a**b", "ab", true),
            ("a**b", "ax/b", true),
            ("a**b", "axb", false),
            ("**/*.md", "a/b.md", true),
            ("**/**", "a", true),
            ("*/**", "a", false),
            ("*/**", "a/b/c", true),
            ("x[^a]b", "x/b", true),
            ("a.b", "axb", false),
            ("a+(b)|c$", "a+(b)|c$", true),
        ] {
            let compiled = Pattern::compile(pattern).unwrap();
            assert_eq!(compiled.matches(path), expected, "{pattern} {path} {compiled:?}");
        }
    }

    #[test]
    fn many_stars_take_no_time() {
        let pattern = "*a".repeat(200);
        let name = "a".repeat(4000) + "b";
        assert!(!matches(&pattern, &name));
        assert!(!Pattern::compile(&"**/a/".repeat(200)).unwrap().matches(&name));
    }
}
