//! Single values in the form in which they are kept and shown, whatever form of theirs a client has sent.

use base64::Engine as _;
use base64::alphabet::STANDARD as ALPHABET;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use hako_kube::Precision;
use serde_json::Value;

/// What is after the last whole byte may be anything.
const LENIENT: GeneralPurpose =
    GeneralPurpose::new(&ALPHABET, GeneralPurposeConfig::new().with_decode_allow_trailing_bits(true));

pub(super) fn quantity(value: &mut Value) -> Result<(), String> {
    let text = match &*value {
        Value::String(text) => text.trim().to_owned(),
        other => other.to_string(),
    };
    let quantity: hako_names::Quantity = text.parse().map_err(|_| {
        "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
            .to_owned()
    })?;
    *value = quantity.to_string().into();
    Ok(())
}

/// In UTC. The zero time of Go is null.
pub(super) fn time(value: &mut Value, precision: Precision) -> Result<(), String> {
    let Value::String(text) = value else { return Ok(()) };
    match precision.canonical(text)? {
        Some(written) if written == *text => {}
        Some(written) => *text = written,
        None => *value = Value::Null,
    }
    Ok(())
}

/// Without line breaks, as programs that encode put them in (RFC 2045, section 6.8), and without bits that say nothing.
pub(super) fn bytes(value: &mut Value) -> Result<(), String> {
    let Value::String(text) = value else { return Ok(()) };
    if STANDARD.decode(&*text).is_ok() {
        return Ok(());
    }
    if let Some(at) = corrupt_at(text.as_bytes()) {
        return Err(format!("illegal base64 data at input byte {at}"));
    }
    text.retain(|char| !matches!(char, '\r' | '\n'));
    let decoded = LENIENT.decode(&*text).map_err(|error| format!("illegal base64 data: {error}"))?;
    *text = STANDARD.encode(decoded);
    Ok(())
}

/// The byte at which Go says that a text is no base64, if it says so.
fn corrupt_at(text: &[u8]) -> Option<usize> {
    let is_break = |byte: u8| matches!(byte, b'\r' | b'\n');
    let after_breaks = |from: usize| {
        let breaks = text[from..].iter().take_while(|byte| is_break(**byte)).count();
        from + breaks
    };
    let (mut at, mut in_quantum) = (0, 0);
    while let Some(byte) = text.get(at).copied() {
        at += 1;
        match byte {
            _ if is_break(byte) => {}
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'+' | b'/' => in_quantum = (in_quantum + 1) % 4,
            b'=' if in_quantum >= 2 => {
                if in_quantum == 2 {
                    at = after_breaks(at);
                    match text.get(at) {
                        Some(b'=') => at += 1,
                        Some(_) => return Some(at - 1),
                        None => return Some(text.len()),
                    }
                }
                let end = after_breaks(at);
                return (end < text.len()).then_some(end);
            }
            _ => return Some(at - 1),
        }
    }
    (in_quantum != 0).then(|| text.len() - in_quantum)
}

#[cfg(test)]
mod tests {
    use super::bytes;
    use serde_json::{Value, json};

    #[test]
    fn bytes_are_read_and_refused_as_go_does() {
        for (text, is) in [
            ("", Ok("")),
            ("YWJj", Ok("YWJj")),
            ("YW\r\nJj\n", Ok("YWJj")),
            ("YQ==\n", Ok("YQ==")),
            ("YQ=\n=", Ok("YQ==")),
            ("YR==", Ok("YQ==")),
            ("YWF=", Ok("YWE=")),
            ("!!", Err(0)),
            ("YWJ", Err(0)),
            ("YWJjY", Err(4)),
            ("YW Jj", Err(2)),
            ("YQ=", Err(3)),
            ("YQ=a", Err(2)),
            ("YQ==YQ==", Err(4)),
            ("Y===", Err(1)),
            ("YWJj-_", Err(4)),
        ] {
            let mut value = json!(text);
            let is =
                is.map(Value::from).map_err(|at: usize| format!("illegal base64 data at input byte {at}"));
            assert_eq!(bytes(&mut value).map(|()| value), is, "{text:?}");
        }
    }
}
