//! What is read from protobuf is an object of the kind that it says.

use hako_api::protobuf;

pub fn run(data: &[u8]) {
    for body in [data.to_vec(), [b"k8s\0", data].concat()] {
        if let Ok(object) = protobuf::object(&body) {
            let text = object.to_string();
            let again: serde_json::Value = serde_json::from_str(&text).expect("an object is JSON");
            assert!(again["kind"].is_string() && again["apiVersion"].is_string(), "{text}");
        }
    }
}
