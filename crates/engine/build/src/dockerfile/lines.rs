//! Physical lines to logical ones: comments, continuations, parser directives.

/// An instruction's words before they are understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Logical {
    /// The line it starts at, from 1.
    pub line: usize,
    /// Its lines joined, without comments.
    pub text: String,
}

/// What `# escape=` and its like at the top of the file say.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Directives {
    pub escape: char,
    /// Line and value of an escape directive that is neither backslash nor backtick.
    pub bad_escape: Option<(usize, String)>,
}

/// Reads the parser directives: comments of the form `# key=value` before anything else.
pub(super) fn directives(text: &str) -> Directives {
    let mut directives = Directives { escape: '\\', bad_escape: None };
    for (index, line) in text.lines().enumerate() {
        let Some((key, value)) = line.trim().strip_prefix('#').and_then(|rest| rest.split_once('=')) else {
            break;
        };
        let key = key.trim().to_ascii_lowercase();
        if !matches!(key.as_str(), "escape" | "syntax" | "check") {
            break;
        }
        if key == "escape" {
            match value.trim() {
                "\\" => directives.escape = '\\',
                "`" => directives.escape = '`',
                other => directives.bad_escape = Some((index + 1, other.to_owned())),
            }
        }
    }
    directives
}

/// Joins continued lines; comment lines and empty lines inside a continuation are left out.
pub(super) fn logical(text: &str, escape: char) -> Vec<Logical> {
    let mut result: Vec<Logical> = Vec::new();
    let mut open: Option<Logical> = None;
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let trimmed = line.trim_start();
        if trimmed.starts_with('#') || (trimmed.is_empty() && open.is_some()) {
            continue;
        }
        if trimmed.is_empty() {
            continue;
        }
        let piece = if open.is_some() { line } else { trimmed };
        let (piece, continues) = match piece.trim_end().strip_suffix(escape) {
            Some(rest) => (rest, true),
            None => (piece, false),
        };
        let current = open.get_or_insert_with(|| Logical { line: index + 1, text: String::new() });
        current.text.push_str(piece);
        if !continues {
            result.extend(open.take());
        }
    }
    result.extend(open);
    for logical in &mut result {
        logical.text.truncate(logical.text.trim_end().len());
    }
    result
}
