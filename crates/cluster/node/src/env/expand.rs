//! `$(NAME)` in values, commands and arguments.

/// Replaces every `$(NAME)` that `lookup` knows; unknown ones stay as written and `$$` is one dollar sign.
pub(crate) fn expand<'a>(text: &str, lookup: impl Fn(&str) -> Option<&'a str>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        rest = match rest.as_bytes().first() {
            Some(b'$') => {
                out.push('$');
                &rest[1..]
            }
            Some(b'(') => reference(&mut out, &rest[1..], &lookup),
            _ => {
                out.push('$');
                rest
            }
        };
    }
    out.push_str(rest);
    out
}

/// Reads `NAME)`; without a closing parenthesis the text is no reference.
fn reference<'t, 'a>(out: &mut String, rest: &'t str, lookup: &impl Fn(&str) -> Option<&'a str>) -> &'t str {
    let Some(end) = rest.find(')') else {
        out.push_str("$(");
        return rest;
    };
    let name = &rest[..end];
    match lookup(name) {
        Some(value) => out.push_str(value),
        None => {
            out.push_str("$(");
            out.push_str(name);
            out.push(')');
        }
    }
    &rest[end + 1..]
}

#[cfg(test)]
mod tests {
    use super::expand;

    fn expanded(text: &str) -> String {
        expand(text, |name| match name {
            "A" => Some("1"),
            "EMPTY" => Some(""),
            _ => None,
        })
    }

    #[test]
    fn known_names_are_replaced_and_all_else_stays() {
        for (text, want) in [
            ("", ""),
            ("x$(A)y$(A)", "x1y1"),
            ("$(B)", "$(B)"),
            ("$$(A)", "$(A)"),
            ("$$$(A)", "$1"),
            ("$(A", "$(A"),
            ("$", "$"),
            ("a$b", "a$b"),
            ("$(EMPTY)|", "|"),
            ("$()", "$()"),
            ("$($(A))", "$($(A))"),
        ] {
            assert_eq!(expanded(text), want, "{text:?}");
        }
    }
}
