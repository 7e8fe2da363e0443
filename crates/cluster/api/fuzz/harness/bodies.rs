//! What is read from JSON or YAML is the same when it is written and read again; both readers know JSON alike, and what
//! comes out is not much more than what came in.

use hako_api::schema::decode;
use serde_json::Value;

/// A byte of YAML may stand for what an anchor holds; of that there is a limit, whatever the document says.
const MOST_NODES: usize = 300_000;

pub fn run(data: &[u8]) {
    let json = decode::json(data);
    let plain = serde_json::from_slice::<Value>(data);
    assert_eq!(json.is_ok(), plain.is_ok(), "{json:?} {plain:?}");
    if let (Ok(json), Ok(plain)) = (&json, &plain) {
        assert_eq!(&json.value, plain);
        again(&json.value);
    }
    if let Ok(yaml) = decode::yaml(data) {
        assert!(nodes(&yaml.value) <= MOST_NODES, "{} of {} bytes", nodes(&yaml.value), data.len());
        again(&yaml.value);
    }
}

fn again(value: &Value) {
    let text = value.to_string();
    let decoded = decode::json(text.as_bytes()).expect("what was written is read");
    assert_eq!((&decoded.value, decoded.duplicates.len()), (value, 0));
}

fn nodes(value: &Value) -> usize {
    1 + match value {
        Value::Array(list) => list.iter().map(nodes).sum(),
        Value::Object(map) => map.values().map(nodes).sum::<usize>(),
        _ => 0,
    }
}
