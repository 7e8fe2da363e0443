//! Parser directives: comments of the form `# key=value` before anything else in the file.

/// What the directives at the top of a file say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directives {
    /// `syntax`: the frontend the author had in mind. Kept, and nothing is fetched for it.
    pub syntax: Option<String>,
    /// `escape`: backslash or backtick.
    pub escape: char,
    /// `check`: the line it stands at and its value, for [`crate::check`].
    pub check: Option<(usize, String)>,
}

/// A directive that is not possible: its line and why.
pub(super) type BadDirective = (usize, String);

/// Reads the directives. The first line that is none ends them, also a comment or an empty one.
pub(super) fn directives(text: &str) -> (Directives, Vec<BadDirective>) {
    let mut found = Directives { syntax: None, escape: '\\', check: None };
    let (mut bad, mut seen) = (Vec::new(), Vec::new());
    for (index, line) in text.lines().enumerate() {
        let line = if index == 0 { line.trim_start_matches('\u{feff}') } else { line };
        // A file may start with a shebang, to be built by being called.
        if index == 0 && line.starts_with("#!") {
            continue;
        }
        let Some((key, value)) = directive(line) else {
            break;
        };
        if seen.contains(&key) {
            bad.push((index + 1, format!("there are two {key} directives, one is possible")));
        }
        match key.as_str() {
            "escape" => match value {
                "\\" => found.escape = '\\',
                "`" => found.escape = '`',
                other => bad.push((
                    index + 1,
                    format!("escape={other} is not possible, expected a backslash or a backtick"),
                )),
            },
            "syntax" => found.syntax = Some(value.to_owned()),
            _ => found.check = Some((index + 1, value.to_owned())),
        }
        seen.push(key);
    }
    (found, bad)
}

/// The key, lower case, and the value of a line that is a known directive.
pub(crate) fn directive(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.trim_start().strip_prefix('#')?.trim_start().split_once('=')?;
    let key = key.trim_end().to_ascii_lowercase();
    let value = value.trim();
    (matches!(key.as_str(), "escape" | "syntax" | "check") && !value.is_empty()).then_some((key, value))
}
