//! Reviews: what is sent to a webhook, and what its answers say (`admission.k8s.io/v1` and `v1beta1`).

use std::collections::BTreeMap;

use base64::Engine as _;
use hako_kube::Status;
use serde::Deserialize;
use serde_json::{Map, Value, json};

const GROUP: &str = "admission.k8s.io";

/// The versions of reviews, and which of them a webhook takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// All of an answer is checked.
    V1,
    /// Its kind and its identity are not.
    V1Beta1,
}

/// What a webhook says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Verdict {
    /// Whether the request may go on.
    pub is_allowed: bool,
    /// What is to be changed; nothing if it is nothing.
    pub patch: Option<Value>,
    /// Why not.
    pub status: Option<Status>,
    /// For whoever asked.
    pub warnings: Vec<String>,
    /// For whoever reads the record of requests.
    pub annotations: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct Review {
    api_version: String,
    kind: String,
    response: Option<Response>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Response {
    uid: String,
    allowed: bool,
    status: Option<Status>,
    #[serde(deserialize_with = "octets")]
    patch: Vec<u8>,
    patch_type: Option<String>,
    audit_annotations: Option<BTreeMap<String, String>>,
    warnings: Option<Vec<String>>,
}

/// Octets as Go reads them: in base64, or as a list of numbers, which is what the crate `kube` writes.
fn octets<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "neither base64 nor a list of octets")]
    enum Octets {
        Base64(String),
        List(Vec<u8>),
    }
    Ok(match Option::deserialize(from)? {
        None => Vec::new(),
        Some(Octets::List(octets)) => octets,
        Some(Octets::Base64(text)) => base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|error| serde::de::Error::custom(format!("illegal base64 data: {error}")))?,
    })
}

impl Version {
    /// The first that a webhook takes and we know.
    pub(super) fn choose(taken: &[String]) -> Option<Self> {
        taken.iter().find_map(|version| match version.as_str() {
            "v1" => Some(Self::V1),
            "v1beta1" => Some(Self::V1Beta1),
            _ => None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1Beta1 => "v1beta1",
        }
    }
}

/// A review to send.
pub(super) fn request(
    version: Version,
    uid: &str,
    of: Map<String, Value>,
    object: &Value,
    old: &Value,
) -> Value {
    let mut request = Map::new();
    request.insert("uid".to_owned(), uid.into());
    for (name, value) in of {
        if name == "dryRun" {
            request.insert("object".to_owned(), object.clone());
            request.insert("oldObject".to_owned(), old.clone());
        }
        request.insert(name, value);
    }
    json!({"kind": "AdmissionReview", "apiVersion": format!("{GROUP}/{}", version.name()), "request": request})
}

/// Reads an answer.
///
/// # Errors
/// What is wrong with it, in upstream's words.
pub fn read(answer: &[u8], version: Version, uid: &str, is_mutating: bool) -> Result<Verdict, ReadError> {
    let review: Review =
        serde_json::from_slice(answer).map_err(|error| ReadError::Json(error.to_string()))?;
    let fault = |why: String| ReadError::Invalid(why);
    let response = review.response.ok_or_else(|| fault("webhook response was absent".to_owned()))?;
    let (patch, patch_type) = (response.patch, response.patch_type);
    if version == Version::V1 {
        if response.uid != uid {
            return Err(fault(format!("expected response.uid={uid:?}, got {:?}", response.uid)));
        }
        let (wanted, kind) = (format!("{GROUP}/v1"), "AdmissionReview");
        if review.api_version != wanted || review.kind != kind {
            let got = if review.api_version.is_empty() { "/" } else { review.api_version.as_str() };
            let got = format!("{got}, Kind={}", review.kind);
            return Err(fault(format!("expected webhook response of {wanted}, Kind={kind}, got {got}")));
        }
        check_patch(&patch, patch_type.as_deref(), is_mutating).map_err(fault)?;
    }
    let patch = if is_mutating && !patch.is_empty() { Some(decoded(&patch)?) } else { None };
    Ok(Verdict {
        is_allowed: response.allowed,
        patch: patch.filter(|patch| patch.as_array().is_some_and(|all| !all.is_empty())),
        status: response.status,
        warnings: response.warnings.unwrap_or_default(),
        annotations: response.audit_annotations.unwrap_or_default(),
    })
}

/// A patch comes with its type, and only from a webhook that may change something.
fn check_patch(patch: &[u8], patch_type: Option<&str>, is_mutating: bool) -> Result<(), String> {
    let why = match (is_mutating, patch.is_empty(), patch_type) {
        (true, false, None) => "webhook returned response.patch but not response.patchType",
        (true, true, Some(_)) => "webhook returned response.patchType but not response.patch",
        (true, false, Some("")) => "webhook returned invalid response.patchType of \"\"",
        (true, false, Some(other)) if other != "JSONPatch" => {
            return Err(format!("unsupported patch type {other:?}"));
        }
        (false, false, _) => "validating webhook may not return response.patch",
        (false, _, Some(_)) => "validating webhook may not return response.patchType",
        _ => return Ok(()),
    };
    Err(why.to_owned())
}

/// A patch, which is a list of objects; what these say counts only where they are applied.
fn decoded(patch: &[u8]) -> Result<Value, ReadError> {
    let unfit = |error: serde_json::Error| ReadError::Patch(error.to_string());
    let patch: Value = serde_json::from_slice(patch).map_err(unfit)?;
    Option::<Vec<Option<Map<String, Value>>>>::deserialize(&patch).map_err(unfit)?;
    Ok(patch)
}

/// Why an answer is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// It is not even of the right form.
    #[error("failed to call webhook: couldn't get version/kind; json parse error: {0}")]
    Json(String),
    /// It does not say what it has to.
    #[error("received invalid webhook response: {0}")]
    Invalid(String),
    /// Its patch is none.
    #[error("received undecodable patch in webhook response: {0}")]
    Patch(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(review: &Value, is_mutating: bool) -> Result<Verdict, String> {
        read(review.to_string().as_bytes(), Version::V1, "u", is_mutating).map_err(|error| error.to_string())
    }

    fn answer(response: Value) -> Value {
        json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
    }

    #[test]
    fn what_is_wrong_with_an_answer_is_told_in_upstreams_words() {
        let base64 = |text: &str| base64::engine::general_purpose::STANDARD.encode(text);
        let patch = base64("[]");
        for (review, is_mutating, why) in [
            (json!({}), true, "received invalid webhook response: webhook response was absent"),
            (
                answer(json!({"uid": "x"})),
                true,
                "received invalid webhook response: expected response.uid=\"u\", got \"x\"",
            ),
            (
                json!({"response": {"uid": "u"}}),
                true,
                "received invalid webhook response: expected webhook response of admission.k8s.io/v1, Kind=AdmissionReview, got /, Kind=",
            ),
            (
                answer(json!({"uid": "u", "patch": patch})),
                true,
                "received invalid webhook response: webhook returned response.patch but not response.patchType",
            ),
            (
                answer(json!({"uid": "u", "patchType": "JSONPatch"})),
                true,
                "received invalid webhook response: webhook returned response.patchType but not response.patch",
            ),
            (
                answer(json!({"uid": "u", "patch": patch, "patchType": ""})),
                true,
                "received invalid webhook response: webhook returned invalid response.patchType of \"\"",
            ),
            (
                answer(json!({"uid": "u", "patch": patch, "patchType": "Merge"})),
                true,
                "received invalid webhook response: unsupported patch type \"Merge\"",
            ),
            (
                answer(json!({"uid": "u", "patch": patch})),
                false,
                "received invalid webhook response: validating webhook may not return response.patch",
            ),
            (
                answer(json!({"uid": "u", "patchType": "JSONPatch"})),
                false,
                "received invalid webhook response: validating webhook may not return response.patchType",
            ),
        ] {
            assert_eq!(of(&review, is_mutating).unwrap_err(), why, "{review}");
        }
        for patch in ["{", r#"{"op": "remove", "path": "/a"}"#, r#"["remove"]"#] {
            let undecodable = answer(json!({"uid": "u", "patch": base64(patch), "patchType": "JSONPatch"}));
            assert!(of(&undecodable, true).unwrap_err().starts_with("received undecodable patch"), "{patch}");
        }
        assert!(of(&json!({"response": {"allowed": "yes"}}), true).unwrap_err().contains("json parse error"));
    }

    #[test]
    fn a_patch_is_base64_or_a_list_of_octets() {
        let patch = json!([{"op": "remove", "path": "/a"}]);
        let list: Vec<u8> = patch.to_string().into_bytes();
        let base64 = base64::engine::general_purpose::STANDARD.encode(&list);
        for form in [json!(base64), json!(list)] {
            let answer =
                answer(json!({"uid": "u", "allowed": true, "patch": form, "patchType": "JSONPatch"}));
            assert_eq!(of(&answer, true).unwrap().patch.as_ref(), Some(&patch), "{answer}");
        }
        let none = answer(json!({"uid": "u", "allowed": true, "patch": null}));
        assert_eq!(of(&none, true).unwrap().patch, None);
        for (form, why) in [
            (json!([300]), "neither base64 nor a list of octets"),
            (json!({}), "neither base64 nor a list of octets"),
            (json!("?"), "illegal base64 data"),
        ] {
            let said = of(&answer(json!({"uid": "u", "patch": form})), true).unwrap_err();
            assert!(said.contains("json parse error") && said.contains(why), "{said}");
        }
    }

    #[test]
    fn an_older_review_is_taken_without_its_names() {
        let answer = json!({"response": {"allowed": true, "patch": "W10="}});
        let verdict = read(answer.to_string().as_bytes(), Version::V1Beta1, "u", true).unwrap();
        assert_eq!(verdict, Verdict { is_allowed: true, ..Verdict::default() });
    }
}
