//! What is wrong with bytes that are no JSON, in the words of Go's `encoding/json`, which clients and people know.
//!
//! Looked for only where a body could not be read, so that it need not be fast. It is one pass with a stack of a byte for each level.

use serde_json::Value;

/// What Go calls the type of a value of JSON.
pub(crate) fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Says why bytes are no JSON; none of what Go would read.
pub(crate) fn fault(bytes: &[u8]) -> Option<String> {
    let mut scan = Scan { bytes, at: 0 };
    match scan.document() {
        Ok(()) => None,
        Err(Stop::End) => Some("unexpected end of JSON input".to_owned()),
        Err(Stop::At(context)) => {
            let byte = bytes.get(scan.at).copied().unwrap_or(b' ');
            Some(format!("invalid character {} {context}", quoted(byte)))
        }
    }
}

/// Where the scan stopped.
enum Stop {
    End,
    At(String),
}

fn at(context: &str) -> Stop {
    Stop::At(context.to_owned())
}

/// A byte as Go writes it: as if it were a character of Latin-1.
fn quoted(byte: u8) -> String {
    match byte {
        b'\'' => r"'\''".to_owned(),
        b'\\' => r"'\\'".to_owned(),
        7 => r"'\a'".to_owned(),
        8 => r"'\b'".to_owned(),
        b'\t' => r"'\t'".to_owned(),
        b'\n' => r"'\n'".to_owned(),
        11 => r"'\v'".to_owned(),
        12 => r"'\f'".to_owned(),
        b'\r' => r"'\r'".to_owned(),
        0..32 | 127 => format!("'\\x{byte:02x}'"),
        128..=160 | 173 => format!("'\\u{byte:04x}'"),
        _ => format!("'{}'", char::from(byte)),
    }
}

struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Scan<'_> {
    fn document(&mut self) -> Result<(), Stop> {
        // The open brackets of what is around.
        let mut around = Vec::new();
        loop {
            let opened = self.value()?;
            if let Some(open) = opened {
                let close = if open == b'{' { b'}' } else { b']' };
                if self.peek_after_space()? == close {
                    self.at += 1;
                } else {
                    around.push(open);
                    if open == b'{' {
                        self.key()?;
                    }
                    continue;
                }
            }
            if !self.after_value(&mut around)? {
                return Ok(());
            }
        }
    }

    /// Goes on to the next value; answers whether there is one.
    fn after_value(&mut self, around: &mut Vec<u8>) -> Result<bool, Stop> {
        loop {
            let Some(open) = around.last().copied() else {
                return match self.peek_after_space() {
                    Err(_) => Ok(false),
                    Ok(_) => Err(at("after top-level value")),
                };
            };
            match (open, self.peek_after_space()?) {
                (b'{', b',') => {
                    self.at += 1;
                    self.key()?;
                    return Ok(true);
                }
                (b'[', b',') => {
                    self.at += 1;
                    return Ok(true);
                }
                (b'{', b'}') | (b'[', b']') => {
                    self.at += 1;
                    around.pop();
                }
                (b'{', _) => return Err(at("after object key:value pair")),
                _ => return Err(at("after array element")),
            }
        }
    }

    fn peek(&self) -> Result<u8, Stop> {
        self.bytes.get(self.at).copied().ok_or(Stop::End)
    }

    fn peek_after_space(&mut self) -> Result<u8, Stop> {
        while matches!(self.peek()?, b' ' | b'\t' | b'\r' | b'\n') {
            self.at += 1;
        }
        self.peek()
    }

    /// A name and the colon behind it.
    fn key(&mut self) -> Result<(), Stop> {
        if self.peek_after_space()? != b'"' {
            return Err(at("looking for beginning of object key string"));
        }
        self.string()?;
        if self.peek_after_space()? != b':' {
            return Err(at("after object key"));
        }
        self.at += 1;
        Ok(())
    }

    /// A whole value, or the bracket that opens one.
    fn value(&mut self) -> Result<Option<u8>, Stop> {
        match self.peek_after_space()? {
            open @ (b'{' | b'[') => {
                self.at += 1;
                return Ok(Some(open));
            }
            b'"' => self.string()?,
            b't' => self.literal("true")?,
            b'f' => self.literal("false")?,
            b'n' => self.literal("null")?,
            b'-' | b'0'..=b'9' => self.number()?,
            _ => return Err(at("looking for beginning of value")),
        }
        Ok(None)
    }

    fn literal(&mut self, whole: &str) -> Result<(), Stop> {
        for byte in whole.bytes() {
            if self.peek()? != byte {
                return Err(Stop::At(format!("in literal {whole} (expecting '{}')", char::from(byte))));
            }
            self.at += 1;
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Stop> {
        self.at += 1;
        loop {
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    self.at += 1;
                    self.escape()?;
                }
                0..32 => return Err(at("in string literal")),
                _ => {}
            }
            self.at += 1;
        }
        self.at += 1;
        Ok(())
    }

    /// Up to the last byte of what follows a backslash.
    fn escape(&mut self) -> Result<(), Stop> {
        match self.peek()? {
            b'b' | b'f' | b'n' | b'r' | b't' | b'\\' | b'/' | b'"' => Ok(()),
            b'u' => {
                for _ in 0..4 {
                    self.at += 1;
                    if !self.peek()?.is_ascii_hexdigit() {
                        return Err(at(r"in \u hexadecimal character escape"));
                    }
                }
                Ok(())
            }
            _ => Err(at("in string escape code")),
        }
    }

    fn number(&mut self) -> Result<(), Stop> {
        if self.peek()? == b'-' {
            self.at += 1;
        }
        match self.peek()? {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits(),
            _ => return Err(at("in numeric literal")),
        }
        if self.peek().is_ok_and(|byte| byte == b'.') {
            self.at += 1;
            self.some_digits("after decimal point in numeric literal")?;
        }
        if self.peek().is_ok_and(|byte| matches!(byte, b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek()?, b'+' | b'-') {
                self.at += 1;
            }
            self.some_digits("in exponent of numeric literal")?;
        }
        Ok(())
    }

    fn digits(&mut self) {
        while self.peek().is_ok_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
    }

    fn some_digits(&mut self, context: &str) -> Result<(), Stop> {
        if !self.peek()?.is_ascii_digit() {
            return Err(at(context));
        }
        self.digits();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::fault;

    #[test]
    fn what_is_no_json_is_told_in_go_s_words() {
        for (text, told) in [
            ("", "unexpected end of JSON input"),
            ("  ", "unexpected end of JSON input"),
            ("{", "unexpected end of JSON input"),
            (r#"{"a":[1,{"b":"#, "unexpected end of JSON input"),
            (r#""a"#, "unexpected end of JSON input"),
            ("-", "unexpected end of JSON input"),
            ("1.", "unexpected end of JSON input"),
            ("1e", "unexpected end of JSON input"),
            ("tru", "unexpected end of JSON input"),
            ("apiVersion: v1", "invalid character 'a' looking for beginning of value"),
            ("tree", "invalid character 'e' in literal true (expecting 'u')"),
            ("nil", "invalid character 'i' in literal null (expecting 'u')"),
            ("fals!", "invalid character '!' in literal false (expecting 'e')"),
            ("{a:1}", "invalid character 'a' looking for beginning of object key string"),
            (r#"{"a":1,}"#, "invalid character '}' looking for beginning of object key string"),
            (r#"{"a" 1}"#, "invalid character '1' after object key"),
            (r#"{"a":1 "b":2}"#, "invalid character '\"' after object key:value pair"),
            ("[1 2]", "invalid character '2' after array element"),
            ("[1,]", "invalid character ']' looking for beginning of value"),
            ("{} {}", "invalid character '{' after top-level value"),
            ("01", "invalid character '1' after top-level value"),
            ("1.x", "invalid character 'x' after decimal point in numeric literal"),
            ("1ex", "invalid character 'x' in exponent of numeric literal"),
            ("-x", "invalid character 'x' in numeric literal"),
            ("\"a\nb\"", "invalid character '\\n' in string literal"),
            (r#""\x""#, "invalid character 'x' in string escape code"),
            (r#""\u00g0""#, "invalid character 'g' in \\u hexadecimal character escape"),
            ("\u{0}", "invalid character '\\x00' looking for beginning of value"),
            ("'a'", "invalid character '\\'' looking for beginning of value"),
            ("é", "invalid character 'Ã' looking for beginning of value"),
        ] {
            assert_eq!(fault(text.as_bytes()).as_deref(), Some(told), "{text:?}");
        }
    }

    #[test]
    fn what_is_json_has_no_fault_and_depth_costs_nothing() {
        for text in ["{}", "[]", " 1 ", r#"{"a":[1,-2.5e+3,"x\né",true,false,null,{},[]],"b":{"c":"d"}}"#] {
            assert_eq!(fault(text.as_bytes()), None, "{text}");
        }
        let deep = [vec![b'['; 1_000_000], vec![b']'; 1_000_000]].concat();
        assert_eq!(fault(&deep), None);
        assert_eq!(fault(&deep[..1_500_000]).as_deref(), Some("unexpected end of JSON input"));
    }

    #[test]
    fn whatever_serde_reads_has_no_fault() {
        let whole = r#"{"a":[1,-2.5e+3,"x\né",true,false,null,{},[]],"b":{"c":"d\"\\"}} "#;
        for cut in 0..whole.len() {
            for byte in [b'x', b'"', b'}', b']', b',', b'0', b' '] {
                let mut bytes = whole.as_bytes().to_vec();
                bytes[cut] = byte;
                for bytes in [&bytes[..], &bytes[..cut]] {
                    let Ok(text) = std::str::from_utf8(bytes) else { continue };
                    let is_read = serde_json::from_str::<serde_json::Value>(text).is_ok();
                    assert_eq!(fault(bytes).is_none(), is_read, "{text}");
                }
            }
        }
    }
}
