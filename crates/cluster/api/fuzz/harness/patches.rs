//! An object in the first line and a patch in the second. A merge patch changes nothing more the second time (RFC 7396); one
//! that was refused, or a JSON patch of tests alone, changes nothing.

use hako_api::{patch, schema};
use serde_json::Value;

const TYPES: [&str; 4] = [
    "io.k8s.api.core.v1.Pod",
    "io.k8s.api.core.v1.Service",
    "io.k8s.api.apps.v1.Deployment",
    "io.k8s.api.core.v1.ServiceAccount",
];

pub fn run(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes);
    let (Ok(object), Ok(change)) = (json(&data[..end]), json(&data[end + 1..])) else { return };
    let merged = patch::merge(&object, &change);
    assert_eq!(patch::merge(&merged, &change), merged);
    if let Ok(patched) = patch::json(&object, &change) {
        let all = change.as_array().expect("a JSON patch is a list");
        if all.iter().all(|operation| operation["op"] == "test") {
            assert_eq!(patched, object);
        }
    }
    let model = schema::model();
    for name in TYPES {
        if let Ok(patched) = patch::strategic(model, model.shape(name), &object, &change) {
            assert!(patched.is_object(), "{patched}");
        }
    }
}
