//! Here-documents: which words of a line announce one, and the text they stand for.

use super::expand::{raw_words, unquoted_word};

/// A here-document of a RUN, COPY or ADD.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Heredoc {
    /// The word that ends it, and the file's name in COPY and ADD.
    pub name: String,
    /// The number before `<<`; 0 where there is none.
    pub descriptor: u32,
    /// Whether variables in it are expanded (by COPY and ADD): its name is not quoted.
    pub is_expanded: bool,
    /// Whether tabs at the start of lines are dropped: `<<-`.
    pub drops_tabs: bool,
    /// Its lines as written, with their ends.
    pub content: String,
    /// The line in the file where it starts, from 1.
    pub line: usize,
}

impl Heredoc {
    /// Its text: the lines, without leading tabs where `<<-` asks for that.
    #[must_use]
    pub fn text(&self) -> String {
        if self.drops_tabs {
            self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
        } else {
            self.content.clone()
        }
    }

    /// Whether that line of the file ends it.
    pub(super) fn is_end(&self, line: &str) -> bool {
        let line = line.trim_end_matches(['\r', '\n']);
        let line = if self.drops_tabs { line.trim_start_matches('\t') } else { line };
        line == self.name
    }
}

/// The heredocs that a line announces, without their content. None where the line's quotes do not close: then
/// the shell may say what is wrong.
pub(super) fn announced(line: &str) -> Vec<Heredoc> {
    if !line.contains("<<") {
        return Vec::new();
    }
    let words = raw_words(line).unwrap_or_default();
    words.iter().filter_map(|word| heredoc(word)).collect()
}

/// Reads `<<NAME`, `<<-NAME`, `3<<"NAME"`: digits, `<<`, a dash, spaces and one word.
pub(super) fn heredoc(word: &str) -> Option<Heredoc> {
    let digits = word.len() - word.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (descriptor, rest) = word.split_at(digits);
    let rest = rest.strip_prefix("<<")?;
    let (drops_tabs, rest) = match rest.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    let rest = rest.trim_start();
    // The shell's own signs end the word, as in `cat <<EOF|sh`; with parentheses it is arithmetic: $((1 << 2)).
    let is_quoted = rest.contains(['"', '\'']);
    let rest = match rest.find([';', '&', '|', '>']) {
        Some(at) if !is_quoted => &rest[..at],
        _ => rest,
    };
    if rest.is_empty() || rest.contains('<') || !is_quoted && rest.contains(['(', ')']) {
        return None;
    }
    let name = unquoted_word(rest).ok()??;
    let quotes = |text: &str| text.matches(['"', '\'']).count();
    let is_expanded = quotes(&name) == quotes(rest);
    Some(Heredoc {
        descriptor: descriptor.parse().unwrap_or(0),
        name,
        is_expanded,
        drops_tabs,
        content: String::new(),
        line: 0,
    })
}
