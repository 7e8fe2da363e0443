//! Percent-encoding of URLs: RFC 3986, section 2, and the `+` of forms.

use std::fmt::Write as _;

/// Encodes everything but unreserved characters.
#[must_use]
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    encode_into(&mut out, text);
    out
}

/// As [`encode`], behind what is there already.
pub fn encode_into(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
            out.push(byte as char);
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
}

/// Decodes a segment of a path. What is no encoding stays as it is, what is no UTF-8 is replaced.
#[must_use]
pub fn decode(text: &str) -> String {
    decode_bytes(text, false)
}

/// Decodes the names and values of a query string, in order; a name without `=` has an empty value.
pub fn query_pairs(text: &str) -> impl Iterator<Item = (String, String)> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode_bytes(name, true), decode_bytes(value, true))
    })
}

fn decode_bytes(text: &str, plus_is_space: bool) -> String {
    let digit = |byte: Option<&u8>| byte.and_then(|byte| (*byte as char).to_digit(16));
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while let Some(&byte) = bytes.get(at) {
        match (byte, digit(bytes.get(at + 1)), digit(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(b'?'));
                at += 3;
                continue;
            }
            (b'+', ..) if plus_is_space => out.push(b' '),
            _ => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_encoded_is_decoded_again() {
        let text = "a/b c+d=%&ü~._-";
        assert_eq!(encode("a/b c"), "a%2Fb%20c");
        assert_eq!(decode(&encode(text)), text);
        assert_eq!(decode("a+b%zz%4"), "a+b%zz%4", "what is no encoding stays");
    }

    #[test]
    fn pairs_of_a_query_come_in_order_with_their_spaces() {
        let pairs: Vec<_> = query_pairs("a%3D=1+2&&y&a=%20%41%").collect();
        let text = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(pairs, [text("a=", "1 2"), text("y", ""), text("a", " A%")]);
    }
}
