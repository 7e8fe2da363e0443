//! Values of literals: escapes of strings, forms of numbers (langdef.md, "String and Bytes Values", "Numeric Values").

use crate::lex::Token;

/// A number token of `text`; hexadecimal when it begins with `0x`.
pub(crate) fn number(text: &str, float: bool, unsigned: bool) -> Result<Token, String> {
    if float {
        return text.parse().map(Token::Double).map_err(|_| format!("invalid double literal '{text}'"));
    }
    let (digits, radix) = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => (digits, 16),
        None => (text, 10),
    };
    let kind = if unsigned { "uint" } else { "int" };
    let value = u64::from_str_radix(digits, radix).map_err(|_| format!("invalid {kind} literal '{text}'"))?;
    if unsigned {
        return Ok(Token::Uint(value));
    }
    match i64::try_from(value) {
        Ok(value) => Ok(Token::Int(value)),
        Err(_) if value == 1 << 63 => Ok(Token::MinInt),
        Err(_) => Err(format!("invalid int literal '{text}'")),
    }
}

/// The text between the quotes with its escapes resolved.
pub(crate) fn unquote(text: &[char], raw: bool, bytes: bool) -> Result<Token, String> {
    let mut out = Out { text: String::new(), octets: Vec::new(), bytes };
    let mut rest = text.iter().copied();
    while let Some(c) = rest.next() {
        if c != '\\' || raw {
            out.push(c);
        } else {
            escape(&mut rest, &mut out)?;
        }
    }
    Ok(if bytes { Token::Bytes(out.octets) } else { Token::String(out.text) })
}

struct Out {
    text: String,
    octets: Vec<u8>,
    bytes: bool,
}

impl Out {
    fn push(&mut self, c: char) {
        if self.bytes {
            self.octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        } else {
            self.text.push(c);
        }
    }

    /// A code of an escape: an octet in bytes, a code point in strings.
    fn push_code(&mut self, code: u32, octet: bool) -> Result<(), String> {
        if self.bytes && octet {
            self.octets.push(u8::try_from(code).map_err(|_| "an escape of bytes is over 255".to_owned())?);
            return Ok(());
        }
        let c =
            char::from_u32(code).ok_or_else(|| format!("invalid unicode code point in escape: {code:#x}"))?;
        self.push(c);
        Ok(())
    }
}

fn escape(rest: &mut impl Iterator<Item = char>, out: &mut Out) -> Result<(), String> {
    let Some(c) = rest.next() else { return Err("a string ends in a backslash".into()) };
    match c {
        'a' => out.push('\u{7}'),
        'b' => out.push('\u{8}'),
        'f' => out.push('\u{c}'),
        'n' => out.push('\n'),
        'r' => out.push('\r'),
        't' => out.push('\t'),
        'v' => out.push('\u{b}'),
        '\\' | '\'' | '"' | '`' | '?' => out.push(c),
        'x' | 'X' => out.push_code(digits(rest, String::new(), 2, 16)?, true)?,
        'u' if !out.bytes => out.push_code(digits(rest, String::new(), 4, 16)?, false)?,
        'U' if !out.bytes => out.push_code(digits(rest, String::new(), 8, 16)?, false)?,
        '0'..='3' => out.push_code(digits(rest, c.into(), 3, 8)?, true)?,
        _ => return Err(format!("unable to unescape string: invalid escape '\\{c}'")),
    }
    Ok(())
}

fn digits(
    rest: &mut impl Iterator<Item = char>,
    mut text: String,
    count: usize,
    radix: u32,
) -> Result<u32, String> {
    while text.len() < count {
        match rest.next() {
            Some(c) if c.is_digit(radix) => text.push(c),
            _ => return Err("unable to unescape string: too few digits in an escape".into()),
        }
    }
    u32::from_str_radix(&text, radix).map_err(|_| "unable to unescape string: escape out of range".to_owned())
}
