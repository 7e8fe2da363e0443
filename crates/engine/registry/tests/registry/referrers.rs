use crate::support::{Fixture, OCI_INDEX, OCI_MANIFEST};
use hako_names::Digest;

/// A manifest in repository `a` that refers to another one.
pub fn artifact(registry: &Fixture, subject: Digest, artifact_type: &str) -> serde_json::Value {
    let mut manifest = registry.manifest("a", artifact_type.as_bytes());
    manifest["artifactType"] = artifact_type.into();
    manifest["subject"] = serde_json::json!({"mediaType": OCI_MANIFEST, "digest": subject, "size": 1});
    manifest["annotations"] = serde_json::json!({"of": artifact_type});
    manifest
}

#[test]
fn referrers_are_listed_filtered_and_gone_with_their_manifest() {
    let registry = Fixture::start();
    let subject = registry.push_image("a", "v1", b"layer");
    let path = format!("/v2/a/referrers/{subject}");
    let none = registry.get(&path);
    assert_eq!((none.status, none.header("content-type")), (200, OCI_INDEX));
    assert_eq!(none.json()["manifests"], serde_json::json!([]));

    let sbom = artifact(&registry, subject, "application/sbom");
    let put =
        registry.send("PUT", "/v2/a/manifests/sbom", &[("content-type", OCI_MANIFEST)], sbom.to_string());
    assert_eq!((put.status, put.header("oci-subject")), (201, subject.to_string().as_str()));
    let signature = registry.put_manifest("a", "sig", &artifact(&registry, subject, "application/signature"));

    assert_eq!(registry.get(&path).json()["manifests"].as_array().unwrap().len(), 2);
    let filtered = registry.get(&format!("{path}?artifactType=application%2Fsignature"));
    assert_eq!(filtered.header("oci-filters-applied"), "artifactType");
    let manifests = filtered.json()["manifests"].clone();
    assert_eq!(manifests.as_array().unwrap().len(), 1);
    assert_eq!(manifests[0]["digest"], signature.to_string());
    assert_eq!(manifests[0]["artifactType"], "application/signature");
    assert_eq!(manifests[0]["annotations"]["of"], "application/signature");

    assert_eq!(registry.send("DELETE", &format!("/v2/a/manifests/{signature}"), &[], "").status, 202);
    assert_eq!(registry.get(&path).json()["manifests"].as_array().unwrap().len(), 1);
}

#[test]
fn a_subject_may_come_later_or_never() {
    let registry = Fixture::start();
    let subject = Digest::of(b"not yet");
    registry.put_manifest("a", "early", &artifact(&registry, subject, "application/early"));
    let list = registry.get(&format!("/v2/a/referrers/{subject}")).json();
    assert_eq!(list["manifests"].as_array().unwrap().len(), 1);
}

#[test]
fn what_a_client_listed_under_the_fallback_tag_is_shown_once() {
    let registry = Fixture::start();
    let subject = registry.push_image("a", "v1", b"layer");
    let known = registry.put_manifest("a", "known", &artifact(&registry, subject, "application/known"));
    let old = registry.push_image("a", "old", b"made before subjects");
    let descriptor = |digest: Digest, artifact_type: &str| {
        let mut descriptor = registry.descriptor("a", digest);
        descriptor["artifactType"] = artifact_type.into();
        descriptor
    };
    let index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        descriptor(old, "application/old"), descriptor(known, "application/known")]});
    registry.put_manifest("a", &format!("sha256-{}", subject.hex()), &index);
    let path = format!("/v2/a/referrers/{subject}");
    assert_eq!(registry.get(&path).json()["manifests"].as_array().unwrap().len(), 2);
    let filtered = registry.get(&format!("{path}?artifactType=application/old")).json();
    assert_eq!(filtered["manifests"][0]["digest"], old.to_string());
}
