//! Answers in YAML for clients that ask for it, block by block and with the members of maps in the order of their names.

use bytes::Bytes;
use hako_client::body_from;
use http::{HeaderValue, header};
use http_body_util::BodyExt as _;
use serde_json::Value;

use super::{Answer, Failure};
use crate::aside::aside;

pub(crate) const MEDIA_TYPE: &str = "application/yaml";

/// The same answer in YAML, if it is JSON.
pub(crate) async fn in_yaml(answer: Answer) -> Answer {
    if answer.headers().get(header::CONTENT_TYPE).is_none_or(|value| value != "application/json") {
        return answer;
    }
    let (mut head, body) = answer.into_parts();
    let text = match body.collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return Failure::from(error).into_response(),
    };
    let yaml = aside(|| {
        let value: Value = serde_json::from_slice(&text).ok()?;
        let mut out = String::with_capacity(text.len() + text.len() / 4);
        write(&value, 0, &mut out);
        Some(out)
    });
    let Some(yaml) = yaml else { return Answer::from_parts(head, body_from(text)) };
    head.headers.remove(header::CONTENT_LENGTH);
    head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
    // Whoever keeps answers for others has to know that another client gets another one.
    head.headers.append(header::VARY, HeaderValue::from_static("Accept"));
    Answer::from_parts(head, body_from(Bytes::from(yaml)))
}

/// Writes a value that begins a line.
fn write(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut members: Vec<_> = map.iter().collect();
            members.sort_by_key(|(name, _)| *name);
            for (at, (name, value)) in members.into_iter().enumerate() {
                if at > 0 {
                    indent(depth, out);
                }
                scalar(name, out);
                out.push(':');
                member(value, depth, out);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    indent(depth, out);
                }
                out.push_str("- ");
                write(item, depth + 1, out);
            }
        }
        Value::String(text) => {
            scalar(text, out);
            out.push('\n');
        }
        // Numbers, and what is empty, are written as in JSON.
        other => {
            out.push_str(&other.to_string());
            out.push('\n');
        }
    }
}

/// What comes after the name of a member: on the same line, or below. Items stand below the name, not right of it.
fn member(value: &Value, depth: usize, out: &mut String) {
    let depth = match value {
        Value::Object(map) if !map.is_empty() => depth + 1,
        Value::Array(items) if !items.is_empty() => depth,
        other => {
            out.push(' ');
            return write(other, depth, out);
        }
    };
    out.push('\n');
    indent(depth, out);
    write(value, depth, out);
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// A text, in quotes unless nobody could take it for anything else.
fn scalar(text: &str, out: &mut String) {
    const NO_TEXTS: [&str; 9] = ["true", "false", "yes", "no", "on", "off", "y", "n", "null"];
    let is_begin = |byte: &u8| byte.is_ascii_alphabetic() || matches!(byte, b'/' | b'_');
    let is_inner = |byte: u8| {
        byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'_' | b'.' | b'-' | b'@' | b'+' | b'=')
    };
    let is_plain = text.as_bytes().first().is_some_and(is_begin)
        && text.bytes().all(is_inner)
        && !NO_TEXTS.iter().any(|other| text.eq_ignore_ascii_case(other));
    match is_plain {
        true => out.push_str(text),
        // The escapes of JSON are those of YAML too.
        false => out.push_str(&Value::from(text).to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn yaml(value: &Value) -> String {
        let mut out = String::new();
        write(value, 0, &mut out);
        out
    }

    #[test]
    fn objects_are_written_block_by_block() {
        let value = json!({"kind": "Pod", "apiVersion": "v1", "spec": {"s": 1, "list": [{"b": [], "a": {}}, [1, ["x"]], null]}});
        let expected = "apiVersion: v1\nkind: Pod\nspec:\n  list:\n  - a: {}\n    b: []\n  - - 1\n    - - x\n  - null\n  s: 1\n";
        assert_eq!(yaml(&value), expected);
    }

    #[test]
    fn what_is_written_is_read_as_it_was() {
        let texts = [
            "",
            "yes",
            "No",
            "1",
            "0x1",
            "1e3",
            ".5",
            ".inf",
            "~",
            "null",
            "a: b",
            "a #b",
            "- a",
            "*a",
            "&a",
            "!a",
            "x\ny\n",
            " a",
            "a ",
            "é\u{2028}\u{85}\u{feff}",
            "2001-01-01",
            "a:",
            "<<",
            "=",
            "%",
            "@",
            "`",
            "'",
            "\"",
            "\\",
            "\t",
            "\u{1}",
            "{",
            "1_0",
            "a/b",
        ];
        let map: Value = texts
            .iter()
            .map(|text| ((*text).to_owned(), json!(text)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        let value = json!({"map": map, "list": texts.to_vec(), "numbers": [0, -1, 1.5, 1e30, u64::MAX], "deep": [[[{"a": [{"b": true}]}]]]});
        assert_eq!(crate::schema::decode::yaml(yaml(&value).as_bytes()).unwrap().value, value);
    }
}
