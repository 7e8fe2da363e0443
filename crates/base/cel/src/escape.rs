//! Names of properties as identifiers (Kubernetes documentation, "Common Expression Language in Kubernetes",
//! "Escaping").

/// Words of the language that name no variable (langdef.md, "Syntax").
const RESERVED: &[&str] = &[
    "true",
    "false",
    "null",
    "in",
    "as",
    "break",
    "const",
    "continue",
    "else",
    "for",
    "function",
    "if",
    "import",
    "let",
    "loop",
    "package",
    "namespace",
    "return",
    "var",
    "void",
    "while",
];

/// Whether `name` is a word of the language: it may be a field, but no variable.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name)
}

/// The identifier for `name`; none when it has characters that no identifier can stand for.
pub(crate) fn escape(name: &str) -> Option<String> {
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if is_reserved(name) {
        return Some(format!("__{name}__"));
    }
    let mut escaped = String::with_capacity(name.len());
    let mut rest = name;
    while let Some(c) = rest.chars().next() {
        let taken = match c {
            '_' if rest.starts_with("__") => {
                escaped.push_str("__underscores__");
                2
            }
            '.' => push(&mut escaped, "__dot__"),
            '-' => push(&mut escaped, "__dash__"),
            '/' => push(&mut escaped, "__slash__"),
            '_' | 'a'..='z' | 'A'..='Z' | '0'..='9' => {
                escaped.push(c);
                1
            }
            _ => return None,
        };
        rest = &rest[taken..];
    }
    Some(escaped)
}

fn push(text: &mut String, part: &str) -> usize {
    text.push_str(part);
    1
}

#[cfg(test)]
mod tests {
    use super::escape;

    #[test]
    fn names_of_properties_become_identifiers() {
        for (name, escaped) in [
            ("plain", Some("plain")),
            ("namespace", Some("__namespace__")),
            ("foo-bar", Some("foo__dash__bar")),
            ("a.b/c", Some("a__dot__b__slash__c")),
            ("redact__d", Some("redact__underscores__d")),
            ("string", Some("string")),
            ("1st", None),
            ("ä", None),
            ("", None),
        ] {
            assert_eq!(escape(name).as_deref(), escaped, "{name}");
        }
    }
}
