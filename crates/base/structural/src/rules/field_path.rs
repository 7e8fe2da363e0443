//! `fieldPath` of rules: a path of members, `.spec.name` or `.labels['a.b']`.

use crate::schema::{Additional, Schema};
use hako_kube::field;

/// The path in the form of messages, if it leads to something in `schema`.
pub(super) fn normalized(path: &str, schema: &Schema) -> Option<String> {
    let (mut rest, mut schema, mut out) = (path, schema, String::new());
    while !rest.is_empty() {
        let (name, after) = match rest.strip_prefix('.') {
            Some(after) => {
                let end = after.find(['.', '[', ']']).unwrap_or(after.len());
                (after[..end].to_owned(), &after[end..])
            }
            None => quoted(rest.strip_prefix("['")?)?,
        };
        (schema, out) = match (&schema.additional, schema.properties.get(&name)) {
            (_, Some(property)) => (property, field::child(&out, &name)),
            (Additional::Fits(value), None) if schema.properties.is_empty() => {
                (&**value, field::key(&out, &name))
            }
            _ => return None,
        };
        rest = after;
    }
    Some(out)
}

/// A quoted name and what follows its bracket.
fn quoted(text: &str) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut rest = text.char_indices();
    while let Some((at, c)) = rest.next() {
        match c {
            '\'' => return Some((name, text[at + 1..].strip_prefix(']')?)),
            '\\' => name.push(match rest.next()?.1 {
                'a' => '\u{7}',
                'b' => '\u{8}',
                'f' => '\u{c}',
                'n' => '\n',
                'r' => '\r',
                't' => '\t',
                'v' => '\u{b}',
                other @ ('\'' | '\\') => other,
                _ => return None,
            }),
            c => name.push(c),
        }
    }
    None
}
