//! Addresses of mail, as Go's `mail.ParseAddress` takes them (RFC 5322): alone, or between `<` and `>` after a name.

pub(super) fn is_email(text: &str) -> bool {
    let text = skip_blanks(text);
    let after = address(text).or_else(|| named(text));
    after.and_then(skip_comments).is_some_and(str::is_empty)
}

/// What follows an address in front.
fn address(text: &str) -> Option<&str> {
    let rest = if text.starts_with('"') {
        quoted(text).filter(|_| !text.starts_with("\"\""))?
    } else {
        dotted(text)?
    };
    let domain = skip_blanks(rest.strip_prefix('@')?);
    match domain.strip_prefix('[') {
        Some(literal) => {
            let (address, after) = literal.split_once(']')?;
            address.parse::<std::net::IpAddr>().is_ok().then_some(after)
        }
        None => dotted(domain),
    }
}

/// What follows a name, if there is one, and an address in angle brackets.
fn named(text: &str) -> Option<&str> {
    let mut rest = text;
    while !rest.starts_with('<') {
        let after = if rest.starts_with('"') {
            quoted(rest)?
        } else {
            rest.trim_start_matches(|c: char| is_atom(c) || c == '.')
        };
        if after.len() == rest.len() {
            return None;
        }
        rest = skip_comments(after)?;
    }
    address(skip_blanks(rest.strip_prefix('<')?))?.strip_prefix('>')
}

/// What follows words with dots between them.
fn dotted(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| is_atom(c) || c == '.');
    let words = &text[..text.len() - rest.len()];
    words.split('.').all(|word| !word.is_empty()).then_some(rest)
}

/// What follows a text in quotation marks.
fn quoted(text: &str) -> Option<&str> {
    let mut is_escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if is_escaped => is_escaped = false,
            '\\' => is_escaped = true,
            '"' => return Some(&text[at + 1..]),
            c if c != '\t' && c.is_ascii_control() => return None,
            _ => {}
        }
    }
    None
}

fn is_atom(c: char) -> bool {
    !c.is_ascii() || c.is_ascii_graphic() && !"()<>[]:;@\\,.\"".contains(c)
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

/// What follows comments, which nest, and blanks; none where one is not closed.
fn skip_comments(text: &str) -> Option<&str> {
    let mut rest = skip_blanks(text);
    while rest.starts_with('(') {
        let (mut depth, mut is_escaped) = (0_usize, false);
        let end = rest.char_indices().find_map(|(at, c)| {
            match c {
                _ if is_escaped => is_escaped = false,
                '\\' => is_escaped = true,
                '(' => depth += 1,
                ')' => depth -= 1,
                _ => {}
            }
            (depth == 0).then_some(at + 1)
        })?;
        rest = skip_blanks(&rest[end..]);
    }
    Some(rest)
}
