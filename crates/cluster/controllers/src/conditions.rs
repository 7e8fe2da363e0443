//! Conditions of status: a transition time that moves only when the status does.

use hako_error::{Error, Kind, Result};
use hako_kube::Selector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{LabelSelector, Time};
use k8s_openapi::jiff::Timestamp;

/// The condition of a ReplicaSet, and of its Deployment, whose pods cannot be made or deleted.
pub(crate) const REPLICA_FAILURE: &str = "ReplicaFailure";

/// The present time, whole seconds, as conditions are written.
pub(crate) fn now() -> Time {
    let now = Timestamp::now();
    Time(Timestamp::from_second(now.as_second()).unwrap_or(now))
}

/// A typed selector ready to match.
pub(crate) fn selector(selector: &LabelSelector) -> Result<Selector> {
    let invalid =
        |error: &dyn std::error::Error| Error::new(Kind::Invalid, format!("label selector: {error}"));
    let value = serde_json::to_value(selector).map_err(|error| invalid(&error))?;
    let parsed: hako_kube::LabelSelector = serde_json::from_value(value).map_err(|error| invalid(&error))?;
    parsed.selector().map_err(|error| invalid(&error))
}

/// FNV-1a over bytes, for names that only have to differ.
pub(crate) fn fnv32(bytes: impl IntoIterator<Item = u8>) -> u32 {
    bytes.into_iter().fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}

/// A number in the alphabet of generated names: no vowels, so that no words appear.
pub(crate) fn safe_encode(number: u32) -> String {
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    number
        .to_string()
        .bytes()
        .map(|digit| char::from(ALPHABET[usize::from(digit) % ALPHABET.len()]))
        .collect()
}
