//! Go's regular expressions (package `regexp/syntax` with its flags `Perl`) written as those of the crate `regex`.
//!
//! Both have RE2's syntax, and differ where this rewrites or refuses: `\d`, `\s`, `\w` and `\b` are of ASCII, a `{`
//! without a repeat and brackets within a class are themselves, classes have no operators, there are `\Q…\E` and
//! octals, and a repeat is of a thousand at most.

use std::fmt::Write as _;

/// What a repeat may ask for.
const MAX_REPEAT: u32 = 1_000;
/// Classes such as `\pL`: each takes kilobytes before a limit of the compiled size tells.
const MAX_UNICODE_CLASSES: usize = 1_000;
const POSIX: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

type Result<T> = std::result::Result<T, String>;

pub(super) fn translate(pattern: &str) -> Result<String> {
    let mut translator = Translator {
        rest: pattern,
        out: String::with_capacity(pattern.len()),
        unicode_classes: 0,
        groups: Vec::new(),
        copies: 1,
        most_copies: 1,
        repeated: None,
    };
    while !translator.rest.is_empty() {
        translator.item()?;
    }
    Ok(translator.out)
}

/// What is left of a pattern, and what was made of it.
struct Translator<'p> {
    rest: &'p str,
    out: String,
    unicode_classes: usize,
    /// Of the groups that are open, how often the innermost of what came before in them is repeated at most.
    groups: Vec<u32>,
    /// The same of the item that came last.
    copies: u32,
    /// The same of the group that is open.
    most_copies: u32,
    /// The pattern from the repeat on that came last, if nothing came behind it.
    repeated: Option<&'p str>,
}

impl<'p> Translator<'p> {
    fn next(&mut self) -> Option<char> {
        let next = self.rest.chars().next()?;
        self.rest = &self.rest[next.len_utf8()..];
        Some(next)
    }

    /// Whether a text came next, and was taken.
    fn takes(&mut self, text: &str) -> bool {
        let stripped = self.rest.strip_prefix(text);
        self.rest = stripped.unwrap_or(self.rest);
        stripped.is_some()
    }

    fn item(&mut self) -> Result<()> {
        let repeated = self.repeated.take();
        match self.rest.as_bytes().first() {
            Some(b'*' | b'+' | b'?') => return self.repeat(1, 1, repeated),
            Some(b'{') => {
                if let Some((least, most, rest)) = bounds(&self.rest[1..]) {
                    let length = self.rest.len() - rest.len();
                    let copies = self.factor(length, least, most)?;
                    return self.repeat(length, copies, repeated);
                }
                self.next();
                self.literal('{');
            }
            Some(b'(') => return self.group(),
            Some(b')') => {
                self.next();
                self.out.push(')');
                self.copies = self.most_copies;
                self.most_copies = self.groups.pop().unwrap_or(1).max(self.copies);
                return Ok(());
            }
            Some(b'\\') => self.backslash()?,
            Some(b'[') => self.class()?,
            _ => match self.next() {
                Some(c @ ('}' | ']')) => self.literal(c),
                Some(c) => self.out.push(c),
                None => {}
            },
        }
        self.copies = 1;
        Ok(())
    }

    /// A repeat of so many bytes, of what came last.
    fn repeat(&mut self, length: usize, copies: u32, repeated: Option<&'p str>) -> Result<()> {
        let start = self.rest;
        let (text, rest) = start.split_at(length);
        self.out.push_str(text);
        self.rest = rest;
        if self.takes("?") {
            self.out.push('?');
        }
        if let Some(first) = repeated {
            let both = &first[..first.len() - self.rest.len()];
            return Err(format!("invalid nested repetition operator: `{both}`"));
        }
        self.repeated = Some(start);
        self.copies = self.copies.saturating_mul(copies);
        self.most_copies = self.most_copies.max(self.copies);
        Ok(())
    }

    /// How often the innermost of what came last is there more often for a repeat: with all repeats around it a thousand
    /// times at most.
    fn factor(&mut self, length: usize, least: u32, most: Option<u32>) -> Result<u32> {
        let factor = most.unwrap_or(least).max(1);
        if most == Some(0) {
            self.copies = 1;
        }
        let is_sound = factor.max(least) <= MAX_REPEAT
            && most.is_none_or(|most| least <= most)
            && self.copies.saturating_mul(factor) <= MAX_REPEAT;
        if is_sound { Ok(factor) } else { Err(format!("invalid repeat count: `{}`", &self.rest[..length])) }
    }

    /// A character that stands for itself wherever it is.
    fn literal(&mut self, c: char) {
        if c.is_ascii() && !c.is_ascii_alphanumeric() {
            let _ = write!(self.out, "\\x{{{:X}}}", u32::from(c));
        } else {
            self.out.push(c);
        }
    }

    fn backslash(&mut self) -> Result<()> {
        if self.takes("\\Q") {
            let (quoted, rest) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
            self.rest = rest;
            quoted.chars().for_each(|c| self.literal(c));
        } else if let Some(edge) = ["\\A", "\\z"].into_iter().find(|edge| self.takes(edge)) {
            self.out.push_str(edge);
        } else if let Some(edge) = ["\\b", "\\B"].into_iter().find(|edge| self.takes(edge)) {
            self.out.push_str("(?-u:");
            self.out.push_str(edge);
            self.out.push(')');
        } else if !self.shorthand(false)? {
            let c = self.escaped()?;
            self.literal(c);
        }
        Ok(())
    }

    /// `\d`, `\pL` and the like, if one comes next.
    fn shorthand(&mut self, is_in_class: bool) -> Result<bool> {
        match self.rest.as_bytes().get(..2) {
            Some(b"\\p" | b"\\P") => self.unicode_class().map(|()| true),
            Some(&[b'\\', class @ (b'd' | b'D' | b's' | b'S' | b'w' | b'W')]) => {
                self.rest = &self.rest[2..];
                push_class(&mut self.out, char::from(class), is_in_class);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// `\pL`, `\p{Greek}`, `\P{^Greek}`.
    fn unicode_class(&mut self) -> Result<()> {
        self.unicode_classes += 1;
        if self.unicode_classes > MAX_UNICODE_CLASSES {
            return Err(format!("more than {MAX_UNICODE_CLASSES} Unicode classes"));
        }
        let mut is_negated = self.rest.starts_with("\\P");
        self.rest = &self.rest[2..];
        let name = if self.takes("{") {
            let (name, rest) = self.rest.split_once('}').ok_or("invalid character class range")?;
            self.rest = rest;
            is_negated ^= name.starts_with('^');
            name.strip_prefix('^').unwrap_or(name).to_owned()
        } else {
            self.next().ok_or("invalid character class range")?.to_string()
        };
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err("invalid character class range".to_owned());
        }
        self.out.push_str(if is_negated { "\\P{" } else { "\\p{" });
        self.out.push_str(&name);
        self.out.push('}');
        Ok(())
    }

    /// The character that comes next behind a `\`.
    fn escaped(&mut self) -> Result<char> {
        self.next();
        let invalid = || "invalid escape sequence".to_owned();
        match self.next().ok_or("trailing backslash at end of expression")? {
            // One digit alone would be a reference back, which there is not, except for zero.
            c @ '1'..='7' if !self.rest.starts_with(|next| matches!(next, '0'..='7')) => {
                Err(format!("invalid escape sequence: `\\{c}`"))
            }
            c @ '0'..='7' => {
                let digits = self.rest.bytes().take(2).take_while(|byte| matches!(byte, b'0'..=b'7')).count();
                let (digits, rest) = self.rest.split_at(digits);
                self.rest = rest;
                u32::from_str_radix(&format!("{c}{digits}"), 8)
                    .ok()
                    .and_then(char::from_u32)
                    .ok_or_else(invalid)
            }
            'x' => self.hexadecimal().ok_or_else(invalid),
            'a' => Ok('\x07'),
            'f' => Ok('\x0C'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0B'),
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
            c => Err(format!("invalid escape sequence: `\\{c}`")),
        }
    }

    /// What stands behind `\x`: two digits, or some in braces.
    fn hexadecimal(&mut self) -> Option<char> {
        let (digits, rest) = match self.rest.strip_prefix('{') {
            Some(rest) => rest.split_once('}')?,
            None => self.rest.split_at_checked(2)?,
        };
        self.rest = rest;
        let is_sound = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_sound.then(|| u32::from_str_radix(digits, 16).ok().and_then(char::from_u32))?
    }

    /// The start of a group; flags that RE2 does not have are refused.
    fn group(&mut self) -> Result<()> {
        self.next();
        self.out.push('(');
        self.groups.push(self.most_copies);
        self.most_copies = 1;
        if let Some(rest) = self.rest.strip_prefix('?') {
            let end = rest.find(|c: char| !c.is_ascii_alphabetic() && c != '-').unwrap_or(rest.len());
            if rest[..end].contains(['u', 'x', 'R']) {
                return Err(format!("invalid or unsupported Perl syntax: `(?{}`", &rest[..end]));
            }
            self.rest = rest;
            self.out.push('?');
        }
        Ok(())
    }

    /// A class in brackets.
    fn class(&mut self) -> Result<()> {
        self.next();
        self.out.push('[');
        if self.takes("^") {
            self.out.push('^');
        }
        let mut is_first = true;
        while is_first || !self.rest.starts_with(']') {
            is_first = false;
            if self.rest.is_empty() {
                return Err("missing closing ]".to_owned());
            }
            if !self.posix_class()? && !self.shorthand(true)? {
                self.range()?;
            }
        }
        self.next();
        self.out.push(']');
        Ok(())
    }

    /// `[:alpha:]` and the like, if one comes next.
    fn posix_class(&mut self) -> Result<bool> {
        let Some((name, rest)) = self.rest.strip_prefix("[:").and_then(|rest| rest.split_once(":]")) else {
            return Ok(false);
        };
        if !POSIX.contains(&name.strip_prefix('^').unwrap_or(name)) {
            return Err(format!("invalid character class range: `[:{name}:]`"));
        }
        self.out.push_str("[:");
        self.out.push_str(name);
        self.out.push_str(":]");
        self.rest = rest;
        Ok(true)
    }

    /// A character of a class, or those from one to another.
    fn range(&mut self) -> Result<()> {
        let from = self.class_character()?;
        self.literal(from);
        // A minus at the end is one.
        if self.rest.starts_with('-') && self.rest.len() > 1 && !self.rest.starts_with("-]") {
            self.next();
            let to = self.class_character()?;
            if to < from {
                return Err(format!("invalid character class range: `{from}-{to}`"));
            }
            self.out.push('-');
            self.literal(to);
        }
        Ok(())
    }

    fn class_character(&mut self) -> Result<char> {
        if self.rest.starts_with('\\') {
            return self.escaped();
        }
        self.next().ok_or_else(|| "missing closing ]".to_owned())
    }
}

/// The bounds of a repeat and what is behind it, if `text` begins with one after the brace.
fn bounds(text: &str) -> Option<(u32, Option<u32>, &str)> {
    let (least, rest) = count(text)?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((least, Some(least), rest));
    }
    let rest = rest.strip_prefix(',')?;
    if let Some(rest) = rest.strip_prefix('}') {
        return Some((least, None, rest));
    }
    let (most, rest) = count(rest)?;
    Some((least, Some(most), rest.strip_prefix('}')?))
}

/// A number without zeros ahead; one that is too long is too large.
fn count(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    if digits.is_empty() || (digits.len() > 1 && digits.starts_with('0')) {
        return None;
    }
    Some((digits.parse().unwrap_or(u32::MAX), rest))
}

fn push_class(out: &mut String, class: char, is_in_class: bool) {
    let items = match class.to_ascii_lowercase() {
        'd' => "0-9",
        's' => "\\t\\n\\x0C\\r ",
        _ => "0-9A-Za-z_",
    };
    if is_in_class && class.is_ascii_lowercase() {
        out.push_str(items);
        return;
    }
    out.push_str(if class.is_ascii_uppercase() { "[^" } else { "[" });
    out.push_str(items);
    out.push(']');
}
