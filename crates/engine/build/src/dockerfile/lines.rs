//! Physical lines to logical ones: comments, continuations, here-documents.
//!
//! Invariant: every line of the file is looked at once, and lengths and counts are bounded.

use super::heredoc::{Heredoc, announced};
use super::instruction::{is_json, may_have_heredocs};

/// The longest line of a file, in bytes, as in BuildKit.
const MAX_LINE_BYTES: usize = 65_535;
/// The longest instruction, its lines joined, in bytes.
const MAX_LOGICAL_BYTES: usize = 1 << 20;
/// The most here-documents of one instruction.
const MAX_HEREDOCS: usize = 64;

/// An instruction's words before they are understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Logical {
    /// The line it starts at, from 1.
    pub line: usize,
    /// The line it ends at; of its last here-document if it has one.
    pub last_line: usize,
    /// Its lines joined, without comments.
    pub text: String,
    /// Its here-documents.
    pub heredocs: Vec<Heredoc>,
    /// The comments directly above it, without `#` and spaces around.
    pub comments: Vec<String>,
    /// The first line between its own that has nothing in it.
    pub empty_line: Option<usize>,
}

impl Logical {
    /// The keyword as written, and what follows it.
    pub(crate) fn split(&self) -> (&str, &str) {
        split_keyword(&self.text)
    }
}

/// The first word of an instruction and the rest.
pub(crate) fn split_keyword(text: &str) -> (&str, &str) {
    let text = text.trim();
    text.split_once([' ', '\t', '\r', '\u{b}', '\u{c}'])
        .map_or((text, ""), |(keyword, rest)| (keyword, rest.trim()))
}

/// A fault of the lines themselves.
pub(crate) type LineFault = (usize, String);

/// Joins continued lines and takes heredocs to the instruction they belong to.
pub(crate) fn logical(text: &str, escape: char) -> (Vec<Logical>, Vec<LineFault>) {
    let mut reader = Reader {
        lines: text.trim_start_matches('\u{feff}').split_inclusive('\n').collect(),
        at: 0,
        escape,
        faults: Vec::new(),
    };
    let (mut result, mut comments) = (Vec::new(), Vec::new());
    while let Some(line) = reader.next() {
        let trimmed = line.trim();
        if let Some(comment) = trimmed.strip_prefix('#') {
            match comment.trim() {
                "" => comments.clear(),
                comment => comments.push(comment.to_owned()),
            }
            continue;
        }
        if trimmed.is_empty() {
            comments.clear();
            continue;
        }
        let mut logical = reader.instruction(line);
        logical.comments = std::mem::take(&mut comments);
        reader.heredocs(&mut logical);
        result.push(logical);
    }
    (result, reader.faults)
}

struct Reader<'a> {
    lines: Vec<&'a str>,
    at: usize,
    escape: char,
    faults: Vec<LineFault>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Option<&'a str> {
        let line = self.lines.get(self.at).copied()?;
        self.at += 1;
        if line.len() > MAX_LINE_BYTES {
            self.faults.push((self.at, format!("the line is longer than {MAX_LINE_BYTES} bytes")));
            return Some("");
        }
        Some(line)
    }

    /// Reads the rest of the instruction that starts with `line`.
    fn instruction(&mut self, line: &str) -> Logical {
        let mut logical = Logical { line: self.at, last_line: self.at, ..Logical::default() };
        let (piece, mut continues) = continuation(line.trim_start(), self.escape);
        logical.text.push_str(piece);
        while continues {
            let Some(line) = self.next() else { break };
            logical.last_line = self.at;
            let trimmed = line.trim();
            if trimmed.starts_with('#') {
                continue;
            }
            if trimmed.is_empty() {
                logical.empty_line.get_or_insert(self.at);
                continue;
            }
            let (piece, more) = continuation(line, self.escape);
            if logical.text.len() + piece.len() > MAX_LOGICAL_BYTES {
                let message = format!("the instruction is longer than {MAX_LOGICAL_BYTES} bytes");
                self.faults.push((logical.line, message));
                break;
            }
            logical.text.push_str(piece);
            continues = more;
        }
        logical.text.truncate(logical.text.trim_end().len());
        logical
    }

    fn heredocs(&mut self, logical: &mut Logical) {
        let (mut keyword, mut rest) = logical.split();
        if keyword.eq_ignore_ascii_case("ONBUILD") {
            (keyword, rest) = split_keyword(rest);
        }
        if !may_have_heredocs(keyword) || is_json(rest) {
            return;
        }
        let announced = announced(rest);
        if announced.len() > MAX_HEREDOCS {
            self.faults
                .push((logical.line, format!("the instruction has more than {MAX_HEREDOCS} heredocs")));
            return;
        }
        for mut heredoc in announced {
            heredoc.line = self.at + 1;
            let is_ended = self.heredoc(&mut heredoc);
            logical.last_line = self.at;
            if !is_ended {
                let message =
                    format!("the heredoc is not closed: no line after this one is just {:?}", heredoc.name);
                self.faults.push((logical.line, message));
            }
            logical.heredocs.push(heredoc);
        }
    }

    fn heredoc(&mut self, heredoc: &mut Heredoc) -> bool {
        while let Some(line) = self.next() {
            if heredoc.is_end(line) {
                return true;
            }
            heredoc.content.push_str(line);
        }
        false
    }
}

/// A line without its end, and whether it goes on: the escape is its last character but for blanks, and not
/// itself escaped.
fn continuation(line: &str, escape: char) -> (&str, bool) {
    let line = line.trim_end_matches(['\r', '\n']);
    match line.trim_end_matches([' ', '\t']).strip_suffix(escape) {
        Some(rest) if !rest.ends_with(escape) => (rest, true),
        _ => (line, false),
    }
}
