//! Words: quotes, escapes and variables, as Docker's builder reads them.

use std::iter::Peekable;
use std::str::Chars;

/// Expands one word: quotes are removed, escapes taken, variables replaced. `lookup` gives a variable's value.
///
/// Understood are `$NAME`, `${NAME}` and `${NAME:-word}`, `:+`, `:?` with and without the colon.
pub fn expand(word: &str, escape: char, lookup: &dyn Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut expander = Expander { chars: word.chars().peekable(), escape, lookup };
    expander.until(None)
}

struct Expander<'a> {
    chars: Peekable<Chars<'a>>,
    escape: char,
    lookup: &'a dyn Fn(&str) -> Option<String>,
}

impl Expander<'_> {
    /// Expands up to `end`, which is consumed, or to the end of the word.
    fn until(&mut self, end: Option<char>) -> Result<String, String> {
        let mut result = String::new();
        while let Some(c) = self.chars.next() {
            match c {
                c if Some(c) == end => return Ok(result),
                '\'' => self.single_quoted(&mut result)?,
                '"' => self.double_quoted(&mut result)?,
                '$' => self.variable(&mut result)?,
                c if c == self.escape => result.push(self.chars.next().unwrap_or(c)),
                c => result.push(c),
            }
        }
        match end {
            Some(end) => Err(format!("a variable's closing {end:?} is missing")),
            None => Ok(result),
        }
    }

    fn single_quoted(&mut self, result: &mut String) -> Result<(), String> {
        for c in self.chars.by_ref() {
            if c == '\'' {
                return Ok(());
            }
            result.push(c);
        }
        Err("a single quote is not closed".into())
    }

    fn double_quoted(&mut self, result: &mut String) -> Result<(), String> {
        while let Some(c) = self.chars.next() {
            match c {
                '"' => return Ok(()),
                '$' => self.variable(result)?,
                c if c == self.escape => match self.chars.next() {
                    Some(next) if next == '"' || next == '$' || next == self.escape => result.push(next),
                    Some(next) => result.extend([c, next]),
                    None => break,
                },
                c => result.push(c),
            }
        }
        Err("a double quote is not closed".into())
    }

    fn variable(&mut self, result: &mut String) -> Result<(), String> {
        if self.chars.next_if_eq(&'{').is_some() {
            let value = self.braced()?;
            result.push_str(&value);
            return Ok(());
        }
        let name = self.name();
        if name.is_empty() {
            result.push('$');
        } else {
            result.push_str(&(self.lookup)(&name).unwrap_or_default());
        }
        Ok(())
    }

    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
            name.push(c);
        }
        name
    }

    fn braced(&mut self) -> Result<String, String> {
        let name = self.name();
        if name.is_empty() {
            return Err("\"${\" is not followed by a variable's name".into());
        }
        let value = (self.lookup)(&name);
        let has_colon = self.chars.next_if_eq(&':').is_some();
        let set = value.filter(|value| !has_colon || !value.is_empty());
        match self.chars.next() {
            Some('}') if !has_colon => Ok(set.unwrap_or_default()),
            Some('-') => {
                let word = self.until(Some('}'))?;
                Ok(set.unwrap_or(word))
            }
            Some('+') => {
                let word = self.until(Some('}'))?;
                Ok(set.map(|_| word).unwrap_or_default())
            }
            Some('?') => {
                let word = self.until(Some('}'))?;
                set.ok_or_else(|| {
                    let reason = if word.is_empty() { "it is not set" } else { &word };
                    format!("variable {name} is required: {reason}")
                })
            }
            None => Err(format!("the closing '}}' of ${{{name} is missing")),
            Some(other) => Err(format!(
                "${{{name}{}{other}…}} is not a form of expansion that is known here, expected :-, :+ or :?",
                if has_colon { ":" } else { "" }
            )),
        }
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
                word.push(c);
                word.extend(chars.next());
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
