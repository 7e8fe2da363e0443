//! Objects in the first line and the answer of a conversion webhook after it. What is taken of an answer is what was asked
//! for, with the metadata that was sent.

use hako_api::conversion_answered as answered;
use serde_json::Value;

const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";
const WANTED: &str = "g.io/v2";

pub fn run(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (objects, answer) = (&data[..end], &data[end + 1..]);
    let Ok(objects) = serde_json::from_slice::<Vec<Value>>(objects) else { return };
    // Stored objects have metadata.
    if !objects.iter().all(|object| object["metadata"].is_object()) {
        return;
    }
    let Ok(made) = answered(answer, UID, &objects, WANTED) else { return };
    assert_eq!(made.len(), objects.len());
    for (made, sent) in made.iter().zip(&objects) {
        assert_eq!((&made["apiVersion"], &made["kind"]), (&WANTED.into(), &sent["kind"]));
        let kept = |object: &Value| {
            let mut metadata = object["metadata"].clone();
            let members = metadata.as_object_mut().expect("metadata is an object");
            members.retain(|name, _| !matches!(name.as_str(), "labels" | "annotations"));
            metadata
        };
        assert_eq!(kept(made), kept(sent));
        for name in ["labels", "annotations"] {
            let is_text =
                |value: &Value| value.as_object().is_some_and(|all| all.values().all(Value::is_string));
            assert!(made["metadata"].get(name).is_none_or(is_text));
        }
    }
}
