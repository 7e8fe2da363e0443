//! Words: quotes, escapes and variables, as BuildKit reads them.
//!
//! Owns: the one lexer behind every expansion. Does not own: which instruction expands what.
//!
//! Invariant: the result and the work are bounded ([`MAX_EXPANDED_BYTES`], [`MAX_DEPTH`]), whatever the word.

use super::glob::{Budget, Glob};
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::str::Chars;

/// The longest text a word may become.
pub const MAX_EXPANDED_BYTES: usize = 1 << 20;
/// How deep `${a:-${b:-…}}` may nest.
const MAX_DEPTH: usize = 32;

/// Gives the value of a variable; `None` where it is not set.
pub type Lookup<'a> = &'a dyn Fn(&str) -> Option<String>;

/// What a word became.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expansion {
    /// The text.
    pub text: String,
    /// The variables that were asked for and are set.
    pub used: BTreeSet<String>,
    /// The variables that were asked for and are not set.
    pub missing: BTreeSet<String>,
}

/// Expands one word: quotes are removed, escapes taken, variables replaced. `lookup` gives a variable's value.
///
/// Understood are `$NAME`, `${NAME}` and `${NAME…}` with `:-`, `-`, `:+`, `+`, `:?`, `?`, `#`, `##`, `%`, `%%`,
/// `/pattern/text` and `//pattern/text` (Dockerfile reference, "Environment replacement").
pub fn expand(word: &str, escape: char, lookup: Lookup) -> Result<String, String> {
    expand_noting(word, escape, lookup).map(|expansion| expansion.text)
}

/// As [`expand`], and tells which variables the word asked for.
pub fn expand_noting(word: &str, escape: char, lookup: Lookup) -> Result<Expansion, String> {
    let mut lexer = Lexer::new(word, escape, lookup);
    let text = lexer.until(None)?.text;
    Ok(Expansion { text, used: lexer.used, missing: lexer.missing })
}

/// Expands and then splits at the spaces that no quote or escape protects, as EXPOSE does.
pub fn expand_words(word: &str, escape: char, lookup: Lookup) -> Result<Vec<String>, String> {
    Lexer::new(word, escape, lookup).until(None).map(|piece| piece.words)
}

/// Expands the text of a heredoc: variables and backslashes count, quotes do not.
pub fn expand_heredoc(text: &str, lookup: Lookup) -> Result<String, String> {
    expand_heredoc_noting(text, lookup).map(|expansion| expansion.text)
}

/// As [`expand_heredoc`], and tells which variables the text asked for.
pub fn expand_heredoc_noting(text: &str, lookup: Lookup) -> Result<Expansion, String> {
    let mut lexer = Lexer::new(text, '\\', lookup);
    lexer.mode.plain_quotes = true;
    let text = lexer.until(None)?.text;
    Ok(Expansion { text, used: lexer.used, missing: lexer.missing })
}

/// Splits a line into words without expanding: quotes, escapes and variables stay as they are. Fails where a
/// quote or a brace is left open.
pub(super) fn raw_words(line: &str) -> Result<Vec<String>, String> {
    let mut lexer = Lexer::new(line, '\\', &|_| None);
    lexer.mode = Mode { raw_quotes: true, raw_escapes: true, keep_unset: true, plain_quotes: false };
    lexer.until(None).map(|piece| piece.words)
}

/// Takes the quotes and escapes of a heredoc's name away; variables stay. `None` unless it is one word.
pub(super) fn unquoted_word(word: &str) -> Result<Option<String>, String> {
    let mut lexer = Lexer::new(word, '\\', &|_| None);
    lexer.mode.keep_unset = true;
    let mut words = lexer.until(None)?.words;
    Ok(if words.len() == 1 { words.pop() } else { None })
}

#[derive(Clone, Copy, Default)]
struct Mode {
    /// Quotes stay in the result.
    raw_quotes: bool,
    /// Escapes stay in the result.
    raw_escapes: bool,
    /// What is not set stays as it is written.
    keep_unset: bool,
    /// Quotes mean nothing.
    plain_quotes: bool,
}

/// A text and the words it splits into.
#[derive(Default)]
struct Piece {
    text: String,
    words: Vec<String>,
    word: String,
}

impl Piece {
    /// A character that separates words if it is a space.
    fn plain(&mut self, c: char) {
        self.text.push(c);
        self.value(c);
    }

    fn value(&mut self, c: char) {
        if !c.is_whitespace() {
            self.word.push(c);
        } else if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
    }

    /// A character of a word, whatever it is.
    fn literal(&mut self, c: char) {
        self.text.push(c);
        self.word.push(c);
    }

    fn literals(&mut self, text: &str) {
        self.text.push_str(text);
        self.word.push_str(text);
    }

    /// The value of a variable: its spaces separate words.
    fn variable(&mut self, value: &str) {
        self.text.push_str(value);
        value.chars().for_each(|c| self.value(c));
    }

    fn finish(mut self) -> Self {
        if !self.word.is_empty() {
            self.words.push(std::mem::take(&mut self.word));
        }
        self
    }
}

struct Lexer<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    lookup: Lookup<'a>,
    mode: Mode,
    depth: usize,
    produced: usize,
    budget: Budget,
    used: BTreeSet<String>,
    missing: BTreeSet<String>,
}

impl<'a> Lexer<'a> {
    fn new(word: &'a str, escape: char, lookup: Lookup<'a>) -> Self {
        Self {
            chars: word.chars().peekable(),
            escape,
            lookup,
            mode: Mode::default(),
            depth: 0,
            produced: 0,
            budget: Budget::default(),
            used: BTreeSet::new(),
            missing: BTreeSet::new(),
        }
    }

    /// Reads up to `end`, which is consumed, or to the end of the word.
    fn until(&mut self, end: Option<char>) -> Result<Piece, String> {
        let mut piece = Piece::default();
        while let Some(c) = self.chars.next() {
            match c {
                c if Some(c) == end => return Ok(piece.finish()),
                '\'' if !self.mode.plain_quotes => piece.literals(&self.single_quoted()?),
                '"' if !self.mode.plain_quotes => piece.literals(&self.double_quoted()?),
                '$' => piece.variable(&self.variable()?),
                '<' => piece.literals(&self.angle()),
                c if c == self.escape => {
                    if self.mode.raw_escapes {
                        piece.literal(c);
                    }
                    match self.chars.next() {
                        Some(next) => piece.literal(next),
                        None => break,
                    }
                }
                c => piece.plain(c),
            }
            self.bound(piece.text.len())?;
        }
        match end {
            Some(end) => Err(format!("the closing {end:?} of a \"${{…}}\" is missing")),
            None => Ok(piece.finish()),
        }
    }

    /// As [`Self::until`] with escapes kept or taken.
    fn argument(&mut self, end: char, raw_escapes: bool) -> Result<String, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("variables are nested more than {MAX_DEPTH} deep"));
        }
        let before = std::mem::replace(&mut self.mode.raw_escapes, raw_escapes);
        let piece = self.until(Some(end));
        self.mode.raw_escapes = before;
        self.depth -= 1;
        piece.map(|piece| piece.text)
    }

    fn bound(&self, length: usize) -> Result<(), String> {
        if length.max(self.produced) > MAX_EXPANDED_BYTES {
            return Err(format!("it expands to more than {MAX_EXPANDED_BYTES} bytes"));
        }
        Ok(())
    }

    /// `<<` and spaces after it stay together: that is how heredocs are found.
    fn angle(&mut self) -> String {
        let mut text = "<".to_owned();
        if self.chars.next_if_eq(&'<').is_some() {
            text.push('<');
            while let Some(c) = self.chars.next_if(|c| matches!(c, ' ' | '\t' | '\r')) {
                text.push(c);
            }
        }
        text
    }

    fn single_quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        if self.mode.raw_quotes {
            text.push('\'');
        }
        for c in self.chars.by_ref() {
            if c != '\'' {
                text.push(c);
                continue;
            }
            if self.mode.raw_quotes {
                text.push('\'');
            }
            return Ok(text);
        }
        Err("a single quote is not closed".into())
    }

    fn double_quoted(&mut self) -> Result<String, String> {
        let mut text = String::new();
        if self.mode.raw_quotes {
            text.push('"');
        }
        while let Some(c) = self.chars.next() {
            match c {
                '"' => {
                    if self.mode.raw_quotes {
                        text.push('"');
                    }
                    return Ok(text);
                }
                '$' => text.push_str(&self.variable()?),
                c if c == self.escape => self.escaped_in_quotes(&mut text),
                c => text.push(c),
            }
            self.bound(text.len())?;
        }
        Err("a double quote is not closed".into())
    }

    /// In double quotes an escape counts only before a quote, a dollar and itself.
    fn escaped_in_quotes(&mut self, text: &mut String) {
        if self.mode.raw_escapes {
            text.push(self.escape);
        }
        let escape = self.escape;
        match self.chars.next_if(|c| matches!(c, '"' | '$') || *c == escape) {
            Some(next) => text.push(next),
            None if self.chars.peek().is_some() => text.push(escape),
            None => {}
        }
    }

    fn variable(&mut self) -> Result<String, String> {
        let value = if self.chars.next_if_eq(&'{').is_some() {
            self.braced()?
        } else {
            let name = self.name();
            match self.get(&name) {
                _ if name.is_empty() => "$".to_owned(),
                None if self.mode.keep_unset => format!("${name}"),
                value => value.unwrap_or_default(),
            }
        };
        self.produced += value.len();
        self.bound(0)?;
        Ok(value)
    }

    fn get(&mut self, name: &str) -> Option<String> {
        if name.is_empty() {
            return None;
        }
        let value = (self.lookup)(name);
        let noted = if value.is_some() { &mut self.used } else { &mut self.missing };
        if noted.len() < 1000 {
            noted.insert(name.to_owned());
        }
        value
    }

    /// A name, a number, or one of the shell's special parameters.
    fn name(&mut self) -> String {
        let mut name = String::new();
        if let Some(digit) = self.chars.next_if(|c| c.is_numeric()) {
            name.push(digit);
            while let Some(digit) = self.chars.next_if(|c| c.is_numeric()) {
                name.push(digit);
            }
        } else if let Some(special) =
            self.chars.next_if(|c| matches!(c, '@' | '*' | '#' | '?' | '-' | '$' | '!'))
        {
            name.push(special);
        } else {
            while let Some(c) = self.chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                name.push(c);
            }
        }
        name
    }

    fn braced(&mut self) -> Result<String, String> {
        if matches!(self.chars.peek(), Some('{' | '}' | ':')) {
            return Err("\"${\" is not followed by a variable's name".into());
        }
        let name = self.name();
        let modifier = self.chars.next();
        if name.is_empty() && modifier.is_some() {
            return Err("\"${\" is not followed by a variable's name".into());
        }
        match modifier {
            None => Err(format!("the closing '}}' of ${{{name} is missing")),
            Some('}') => Ok(match self.get(&name) {
                None if self.mode.keep_unset => format!("${{{name}}}"),
                value => value.unwrap_or_default(),
            }),
            Some(':') => match self.chars.next() {
                Some(modifier @ ('-' | '+' | '?')) => self.conditional(&name, modifier, true),
                other => Err(unknown_modifier(&name, ":", other)),
            },
            Some(modifier @ ('-' | '+' | '?')) => self.conditional(&name, modifier, false),
            Some(modifier @ ('#' | '%')) => self.trimmed(&name, modifier),
            Some('/') => self.replaced(&name),
            other => Err(unknown_modifier(&name, "", other)),
        }
    }

    /// `-`, `+` and `?`; with a colon an empty value counts as none.
    fn conditional(&mut self, name: &str, modifier: char, has_colon: bool) -> Result<String, String> {
        let word = self.argument('}', false)?;
        let value = self.get(name);
        if self.mode.keep_unset && value.is_none() {
            let colon = if has_colon { ":" } else { "" };
            return Ok(format!("${{{name}{colon}{modifier}{word}}}"));
        }
        let is_set = value.is_some();
        let value = value.filter(|value| !has_colon || !value.is_empty());
        match modifier {
            '-' => Ok(value.unwrap_or(word)),
            '+' => Ok(value.map(|_| word).unwrap_or_default()),
            _ => value.ok_or_else(|| {
                let reason = match (word.as_str(), is_set) {
                    ("", true) => "it is empty",
                    ("", false) => "it is not set",
                    (word, _) => word,
                };
                format!("variable {name} is required: {reason}")
            }),
        }
    }

    /// `#`, `##`, `%` and `%%`.
    fn trimmed(&mut self, name: &str, modifier: char) -> Result<String, String> {
        let word = self.argument('}', true)?;
        let Some(value) = self.get(name) else {
            return Ok(if self.mode.keep_unset {
                format!("${{{name}{modifier}{word}}}")
            } else {
                String::new()
            });
        };
        let (pattern, is_longest) = match word.strip_prefix(modifier) {
            Some(pattern) => (pattern, true),
            None => (word.as_str(), false),
        };
        let glob = Glob::parse(pattern)?;
        if modifier == '#' {
            glob.without_prefix(&value, is_longest, &mut self.budget)
        } else {
            glob.without_suffix(&value, is_longest, &mut self.budget)
        }
    }

    /// `/pattern/text` and `//pattern/text`.
    fn replaced(&mut self, name: &str) -> Result<String, String> {
        let is_every = self.chars.next_if_eq(&'/').is_some();
        let pattern = self.argument('/', true)?;
        let text = self.argument('}', true)?;
        let Some(value) = self.get(name) else {
            return Ok(if self.mode.keep_unset {
                format!("${{{name}/{pattern}/{text}}}")
            } else {
                String::new()
            });
        };
        let glob = Glob::parse(&pattern)?;
        glob.replace(&value, &text, is_every, MAX_EXPANDED_BYTES, &mut self.budget)
    }
}

fn unknown_modifier(name: &str, colon: &str, modifier: Option<char>) -> String {
    match modifier {
        None => format!("the closing '}}' of ${{{name} is missing"),
        Some(other) => format!(
            "${{{name}{colon}{}…}} is no form of expansion, expected :-, -, :+, +, :?, ?, #, ##, %, %%, / or //",
            other.escape_debug()
        ),
    }
}

/// Splits at spaces outside of quotes; quotes and escapes stay in the words.
#[must_use]
pub fn split_words(text: &str, escape: char) -> Vec<String> {
    let (mut words, mut word, mut quote) = (Vec::new(), String::new(), None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            c if c == escape && quote != Some('\'') => {
                // One at the very end escapes nothing and is dropped.
                if let Some(next) = chars.next() {
                    word.push(c);
                    word.push(next);
                }
                continue;
            }
            '\'' | '"' if quote.is_none() => quote = Some(c),
            c if Some(c) == quote => quote = None,
            c if c.is_whitespace() && quote.is_none() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}
