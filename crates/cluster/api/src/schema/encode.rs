//! From values to JSON.

use serde_json::Value;

/// Appends JSON, as `serde_json` does, which looks at each byte of a text by itself.
pub(crate) fn value(out: &mut Vec<u8>, value: &Value) {
    match value {
        Value::String(it) => text(out, it),
        Value::Array(items) => {
            let mut open = b'[';
            for item in items {
                out.push(std::mem::replace(&mut open, b','));
                self::value(out, item);
            }
            close(out, items.is_empty(), b"[]");
        }
        Value::Object(members) => {
            let mut open = b'{';
            for (name, member) in members {
                out.push(std::mem::replace(&mut open, b','));
                text(out, name);
                out.push(b':');
                self::value(out, member);
            }
            close(out, members.is_empty(), b"{}");
        }
        // INVARIANT: writing to a `Vec` cannot fail.
        other => drop(serde_json::to_writer(out, other)),
    }
}

fn close(out: &mut Vec<u8>, is_empty: bool, brackets: &[u8; 2]) {
    out.extend_from_slice(if is_empty { brackets } else { &brackets[1..] });
}

/// Appends a text.
pub(crate) fn text(out: &mut Vec<u8>, text: &str) {
    text_after(out, "", text);
}

/// Appends a text that begins with something in which there is nothing to escape.
pub(crate) fn text_after(out: &mut Vec<u8>, begin: &str, text: &str) {
    // Without a way out, so that many bytes are compared at once.
    let is_odd = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    if text.bytes().fold(false, |odd, byte| odd | is_odd(byte)) {
        // INVARIANT: writing to a `Vec` cannot fail.
        return drop(serde_json::to_writer(out, &[begin, text].concat()));
    }
    out.push(b'"');
    out.extend_from_slice(begin.as_bytes());
    out.extend_from_slice(text.as_bytes());
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn values_are_written_as_serde_json_writes_them() {
        let odd: String = (0..0x300).filter_map(char::from_u32).collect();
        let values = json!([
            {}, [], "", odd, "plain", "é\u{7f}\u{2028}", null, true, -3, 0.5, 1e300, u64::MAX,
            {"a": {"b\"": [[], {}, [1, [2]]]}, "": "\\"},
        ]);
        let mut out = Vec::new();
        value(&mut out, &values);
        assert_eq!(String::from_utf8(out).unwrap(), serde_json::to_string(&values).unwrap());
    }

    #[test]
    fn what_comes_before_a_text_is_written_into_it() {
        for rest in ["a", "", "\"\\\n", "é"] {
            let mut out = Vec::new();
            text_after(&mut out, "k:", rest);
            assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), format!("k:{rest}"));
        }
    }
}
