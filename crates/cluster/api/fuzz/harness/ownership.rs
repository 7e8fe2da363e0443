//! An object in the first line, a configuration in the second. Who applied a configuration owns what is in it: applying it
//! again changes nothing, and `fieldsV1` says the same when it is read and written again.

use hako_api::patch::apply::{Apply, Reach, Write, apply, track};
use hako_api::patch::fields::FieldSet;
use hako_api::schema::model;
use jiff::Timestamp;
use serde_json::Value;

const TYPES: [&str; 3] =
    ["io.k8s.api.core.v1.Pod", "io.k8s.api.core.v1.Service", "io.k8s.api.apps.v1.Deployment"];

pub fn run(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes);
    let (Ok(live), Ok(applied)) = (json(&data[..end]), json(&data[end + 1..])) else { return };
    let entries = live.pointer("/metadata/managedFields").and_then(Value::as_array);
    for entry in entries.into_iter().flatten() {
        let once = FieldSet::decode(&entry["fieldsV1"]).encode();
        assert_eq!(FieldSet::decode(&once).encode(), once);
    }
    if live.is_object() && applied.is_object() {
        TYPES.iter().for_each(|name| write(name, &live, &applied));
    }
}

fn write(type_name: &str, live: &Value, applied: &Value) {
    let now = Timestamp::UNIX_EPOCH;
    let shape = model().shape(type_name);
    let request = Apply {
        shape,
        live: Some(live),
        applied,
        manager: "one",
        force: true,
        api_version: "v1",
        subresource: "",
        reach: Reach::AllButStatus,
        now,
    };
    let mut changed = applied.clone();
    let Apply { live, api_version, subresource, reach, .. } = request;
    track(Write { shape, live, manager: "two", api_version, subresource, reach, now }, &mut changed);
    if let Ok(once) = apply(request) {
        // Where nobody owns anything, the object is taken for one of before the first application.
        if once.pointer("/metadata/managedFields").is_none() {
            return;
        }
        let twice = apply(Apply { live: Some(&once), ..request }).expect("what was applied applies again");
        assert_eq!(twice, once);
    }
}
