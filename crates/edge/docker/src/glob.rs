//! Shell patterns as Docker's `reference` filter has them: `*` and `?` stop at a slash, `[a-z]`, `\` escapes.

/// Whether all of `text` matches `pattern`; a pattern that is malformed matches nothing.
pub(crate) fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    rest_matches(&pattern, &text)
}

fn rest_matches(mut pattern: &[char], mut text: &[char]) -> bool {
    // The last star, and the text from where it may still take one more character.
    let mut retry: Option<(&[char], &[char])> = None;
    loop {
        if let Some(('*', after)) = pattern.split_first().map(|(first, after)| (*first, after)) {
            (pattern, retry) = (after, Some((after, text)));
            continue;
        }
        if pattern.is_empty() && text.is_empty() {
            return true;
        }
        if let Some((after, left)) = text.split_first().and_then(|(c, left)| Some((one(pattern, *c)?, left)))
        {
            (pattern, text) = (after, left);
            continue;
        }
        match retry {
            Some((after, [taken, left @ ..])) if *taken != '/' => {
                (pattern, text, retry) = (after, left, Some((after, left)));
            }
            _ => return false,
        }
    }
}

/// The rest of the pattern, if its first element matches `c`.
fn one(pattern: &[char], c: char) -> Option<&[char]> {
    match pattern {
        ['?', rest @ ..] => (c != '/').then_some(rest),
        ['\\', literal, rest @ ..] => (*literal == c).then_some(rest),
        ['[', rest @ ..] => class(rest, c),
        [literal, rest @ ..] => (*literal == c).then_some(rest),
        [] => None,
    }
}

/// `[abc]`, `[a-z]`, `[^a]`, from behind the opening bracket.
fn class(pattern: &[char], c: char) -> Option<&[char]> {
    let end = pattern.iter().skip(1).position(|c| *c == ']')? + 1;
    let (mut set, rest) = (&pattern[..end], &pattern[end + 1..]);
    let negated = set.first() == Some(&'^');
    if negated {
        set = &set[1..];
    }
    let mut found = false;
    while let [first, after @ ..] = set {
        (found, set) = match after {
            ['-', last, after @ ..] => (found || (*first..=*last).contains(&c), after),
            _ => (found || *first == c, after),
        };
    }
    (found != negated && c != '/').then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stop_at_slashes() {
        let cases = [
            ("busybox", "busybox", true),
            ("busy*", "busybox", true),
            ("*", "other/x", false),
            ("*/*", "other/x", true),
            ("*/x:[0-9]", "other/x:1", true),
            ("*/x:[^0-9]", "other/x:1", false),
            ("o?her/*", "other/x", true),
            ("a*b*c", "aXbYbZc", true),
            ("a*b*c", "aXbYbZ", false),
            ("\\*", "*", true),
            ("[", "[", false),
            ("", "", true),
        ];
        for (pattern, text, expected) in cases {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
