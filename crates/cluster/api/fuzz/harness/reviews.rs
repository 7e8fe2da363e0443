//! An object in the first line and a webhook's answer after it. What is read of an answer is its own, says the same each
//! time, and makes no more of the object than the answer and its copies can bring.

use hako_api::admission_review::{Version, read};
use hako_api::patch;
use serde_json::Value;

const UID: &str = "705ab4f5-6393-11e8-b7cc-42010a800002";
/// Bytes that copies of one patch may add, and what quotes and escapes may make of them.
const COPIED: usize = 4 << 20;

pub fn run(data: &[u8]) {
    let Some(end) = data.iter().position(|byte| *byte == b'\n') else { return };
    let (object, answer) = (&data[..end], &data[end + 1..]);
    for version in [Version::V1, Version::V1Beta1] {
        if let Ok(verdict) = read(answer, version, UID, false) {
            assert_eq!(verdict.patch, None, "a webhook that validates changes nothing");
        }
        let Ok(verdict) = read(answer, version, UID, true) else { continue };
        assert_eq!(read(answer, version, UID, true).as_ref(), Ok(&verdict));
        if version == Version::V1 {
            let whole: Value = serde_json::from_slice(answer).expect("an answer that was read is JSON");
            assert_eq!(whole["response"]["uid"], UID);
            assert_eq!(whole["kind"], "AdmissionReview");
        }
        let (Ok(object), Some(patch)) = (serde_json::from_slice::<Value>(object), verdict.patch) else {
            continue;
        };
        if let Ok(patched) = patch::json(&object, &patch) {
            let longest = object.to_string().len() + patch.to_string().len() + COPIED;
            assert!(patched.to_string().len() <= longest);
        }
    }
}
