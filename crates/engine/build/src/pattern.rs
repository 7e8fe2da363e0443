//! Patterns over paths: Go's filepath.Match for COPY, with `**` for .dockerignore.

/// Whether `path` matches all of `pattern`. `*` and `?` stay within one name, `**` spans any number of them.
#[must_use]
pub(crate) fn matches(pattern: &str, path: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let path: Vec<char> = path.chars().collect();
    at(&pattern, &path)
}

/// Whether the text has characters that only patterns have.
#[must_use]
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '\\'])
}

fn at(pattern: &[char], path: &[char]) -> bool {
    match pattern {
        [] => path.is_empty(),
        ['*', '*', '/', rest @ ..] => {
            // Zero directories or any number of them.
            at(rest, path) || path.iter().enumerate().any(|(i, c)| *c == '/' && at(rest, &path[i + 1..]))
        }
        ['*', '*', rest @ ..] => (0..=path.len()).any(|taken| at(rest, &path[taken..])),
        ['*', rest @ ..] => {
            let name = path.iter().position(|c| *c == '/').unwrap_or(path.len());
            (0..=name).any(|taken| at(rest, &path[taken..]))
        }
        ['?', rest @ ..] => path.first().is_some_and(|c| *c != '/') && at(rest, &path[1..]),
        ['[', rest @ ..] => class(rest, path),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
            path.first() == Some(literal) && at(rest, &path[1..])
        }
    }
}

/// `[a-z]`, `[^a-z]`; a class that is never closed matches nothing.
fn class(pattern: &[char], path: &[char]) -> bool {
    let Some(c) = path.first().filter(|c| **c != '/') else {
        return false;
    };
    let (negated, mut pattern) = match pattern {
        ['^' | '!', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let (mut found, mut is_first) = (false, true);
    loop {
        pattern = match pattern {
            [] => return false,
            [']', rest @ ..] if !is_first => return found != negated && at(rest, &path[1..]),
            [low, '-', high, rest @ ..] if *high != ']' => {
                found |= (*low..=*high).contains(c);
                rest
            }
            ['\\', one, rest @ ..] | [one, rest @ ..] => {
                found |= one == c;
                rest
            }
        };
        is_first = false;
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
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[]x]", "]", true),
            ("[a", "a", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("**", "a/b/c", true),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "a/bx", false),
            ("a/**", "a/b/c", true),
            ("a/**/c", "a/c", true),
            ("a/**/c", "a/b/b/c", true),
            ("", "", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }
}
