//! `--flag=value` before an instruction's arguments.

use super::instruction::{Refused, refuse};
use super::suggest::did_you_mean;

/// What a flag takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Takes {
    /// Nothing, `true` or `false`.
    Bool,
    /// One value, once.
    Text,
    /// A value, any number of times.
    List,
}

/// The flags of one instruction, each with its value.
#[derive(Debug, Default)]
pub(super) struct Flags(Vec<(String, String)>);

impl Flags {
    /// Sorts the words into the known flags; names what is unknown, doubled or without a value.
    pub(super) fn parse(
        keyword: &str,
        words: Vec<String>,
        known: &[(&'static str, Takes)],
    ) -> Result<Self, Refused> {
        let mut flags = Self::default();
        for word in words {
            let flag = word.trim_start_matches("--");
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (flag, None),
            };
            let Some((name, takes)) = known.iter().find(|(known, _)| *known == name) else {
                let hint = did_you_mean(name, known.iter().map(|(name, _)| *name));
                return refuse(format!("{keyword} has no flag --{name}{}", hint.replace("mean ", "mean --")));
            };
            if *takes != Takes::List && flags.text(name).is_some() {
                return refuse(format!("{keyword} --{name} is given twice"));
            }
            let value = match (takes, value) {
                (Takes::Bool, None) => "true".to_owned(),
                (Takes::Bool, Some(value)) => match value.to_ascii_lowercase().as_str() {
                    value @ ("true" | "false") => value.to_owned(),
                    _ => return refuse(format!("{keyword} --{name}={value}: expected true or false")),
                },
                (_, None | Some("")) => {
                    return refuse(format!("{keyword} --{name} needs a value, as in --{name}=…"));
                }
                (_, Some(value)) => value.to_owned(),
            };
            flags.0.push(((*name).to_owned(), value));
        }
        Ok(flags)
    }

    /// The value of a flag that is given.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        self.all(name).next().map(str::to_owned)
    }

    /// The value of a switch that is given.
    pub(super) fn switch(&self, name: &str) -> Option<bool> {
        self.all(name).next().map(|value| value == "true")
    }

    /// All values of a flag, in order.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Takes the flags from the front: words that start with two dashes, up to the first other word or a lone `--`.
/// Quotes and escapes in them are taken away.
pub(super) fn split_flags(rest: &str, escape: char) -> (Vec<String>, &str) {
    let (mut flags, mut rest) = (Vec::new(), rest.trim_start());
    while rest.starts_with("--") {
        let (word, length) = flag_word(rest, escape);
        rest = rest[length..].trim_start();
        if word == "--" {
            break;
        }
        flags.push(word);
    }
    (flags, rest)
}

/// The word at the front, unquoted, and how many bytes it takes.
fn flag_word(text: &str, escape: char) -> (String, usize) {
    let (mut word, mut quote) = (String::new(), None);
    let mut chars = text.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            c if Some(c) == quote => quote = None,
            '\'' | '"' if quote.is_none() => quote = Some(c),
            c if c == escape => word.extend(chars.next().map(|(_, next)| next)),
            c if c.is_whitespace() && quote.is_none() => return (word, at),
            c => word.push(c),
        }
    }
    (word, text.len())
}
