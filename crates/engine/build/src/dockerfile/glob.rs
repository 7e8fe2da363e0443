//! The patterns of `${NAME#pattern}` and its like: `*`, `?` and characters.
//!
//! Invariant: the work is bounded by a [`Budget`], whatever pattern and value are.

/// How many steps all patterns of a word may take together.
const STEPS: usize = 20_000_000;

/// What is left of the steps a word may take.
pub(super) struct Budget(usize);

impl Default for Budget {
    fn default() -> Self {
        Self(STEPS)
    }
}

impl Budget {
    fn take(&mut self, steps: usize) -> Result<(), String> {
        match self.0.checked_sub(steps) {
            Some(left) => {
                self.0 = left;
                Ok(())
            }
            None => Err("the pattern of a \"${…}\" is too much work for a value that long".into()),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Token {
    /// Any number of characters.
    Many,
    /// Any character.
    One,
    /// That character.
    Literal(char),
}

/// A pattern.
#[derive(Clone, Debug)]
pub(super) struct Glob(Vec<Token>);

impl Glob {
    /// A backslash takes the meaning from `*`, `?`, itself, `/` and `}`; before anything else it is a fault.
    pub(super) fn parse(pattern: &str) -> Result<Self, String> {
        let (mut tokens, mut chars) = (Vec::new(), pattern.chars());
        while let Some(c) = chars.next() {
            tokens.push(match c {
                // A run of them means no more than one, and costs more.
                '*' if tokens.last() == Some(&Token::Many) => continue,
                '*' => Token::Many,
                '?' => Token::One,
                '\\' => match chars.next() {
                    Some(next @ ('*' | '?' | '\\' | '/' | '}')) => Token::Literal(next),
                    Some(other) => {
                        return Err(format!("\"\\{other}\" in the pattern {pattern:?} escapes nothing"));
                    }
                    None => return Err(format!("the pattern {pattern:?} ends in a backslash")),
                },
                c => Token::Literal(c),
            });
        }
        Ok(Self(tokens))
    }

    pub(super) fn without_prefix(
        &self,
        value: &str,
        is_longest: bool,
        budget: &mut Budget,
    ) -> Result<String, String> {
        let chars: Vec<char> = value.chars().collect();
        let end = ends(&self.0, &chars, is_longest, budget)?;
        Ok(end.map_or(value.to_owned(), |end| chars[end..].iter().collect()))
    }

    pub(super) fn without_suffix(
        &self,
        value: &str,
        is_longest: bool,
        budget: &mut Budget,
    ) -> Result<String, String> {
        let tokens: Vec<Token> = self.0.iter().rev().copied().collect();
        let chars: Vec<char> = value.chars().rev().collect();
        let end = ends(&tokens, &chars, is_longest, budget)?;
        Ok(end.map_or(value.to_owned(), |end| chars[end..].iter().rev().collect()))
    }

    /// Replaces the first longest match, or every one.
    pub(super) fn replace(
        &self,
        value: &str,
        text: &str,
        is_every: bool,
        max_bytes: usize,
        budget: &mut Budget,
    ) -> Result<String, String> {
        let chars: Vec<char> = value.chars().collect();
        let (mut result, mut at, mut is_behind_match) = (String::new(), 0, false);
        while at <= chars.len() {
            let length = ends(&self.0, &chars[at..], true, budget)?;
            // Nothing matches nothing, but not right behind another match.
            if let Some(length) = length.filter(|length| *length > 0 || !is_behind_match) {
                result.push_str(text);
                at += length;
                is_behind_match = length > 0;
                if !is_every {
                    break;
                }
                if length > 0 {
                    continue;
                }
            }
            is_behind_match = false;
            result.extend(chars.get(at));
            at += 1;
            if result.len() > max_bytes {
                return Err(format!("it expands to more than {max_bytes} bytes"));
            }
        }
        result.extend(chars.get(at..).unwrap_or_default());
        Ok(result)
    }
}

/// Where a match from the start of `chars` ends: the shortest or the longest. All states at once, so the work is
/// the product of the lengths at most.
fn ends(
    tokens: &[Token],
    chars: &[char],
    is_longest: bool,
    budget: &mut Budget,
) -> Result<Option<usize>, String> {
    let mut states = vec![false; tokens.len() + 1];
    states[0] = true;
    skip_many(tokens, &mut states);
    let mut found = states[tokens.len()].then_some(0);
    for (index, c) in chars.iter().enumerate() {
        if found.is_some() && !is_longest {
            break;
        }
        budget.take(tokens.len() + 1)?;
        let mut next = vec![false; tokens.len() + 1];
        for (state, token) in tokens.iter().enumerate().filter(|(state, _)| states[*state]) {
            match token {
                // As BuildKit has it, a wildcard stops at the end of a line.
                Token::Many if *c != '\n' => next[state] = true,
                Token::One if *c != '\n' => next[state + 1] = true,
                Token::Literal(literal) if literal == c => next[state + 1] = true,
                _ => {}
            }
        }
        skip_many(tokens, &mut next);
        states = next;
        if states[tokens.len()] {
            found = Some(index + 1);
        }
        if !states.contains(&true) {
            break;
        }
    }
    Ok(found)
}

/// A star may match nothing.
fn skip_many(tokens: &[Token], states: &mut [bool]) {
    for (state, token) in tokens.iter().enumerate() {
        if states[state] && *token == Token::Many {
            states[state + 1] = true;
        }
    }
}
