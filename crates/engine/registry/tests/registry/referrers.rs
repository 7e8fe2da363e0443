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

/// All pages of a list of referrers, and how many those are.
fn all(registry: &Fixture, path: String) -> (Vec<serde_json::Value>, usize) {
    let (mut next, mut descriptors, mut pages) = (path, Vec::new(), 0);
    while !next.is_empty() {
        let page = registry.get(&next);
        assert_eq!(page.status, 200, "{next}");
        // What clients read of an index.
        assert!(page.body.len() <= 4 << 20, "{} bytes", page.body.len());
        descriptors.extend(page.json()["manifests"].as_array().unwrap().clone());
        pages += 1;
        next = page.header("link").split(['<', '>']).nth(1).unwrap_or_default().to_owned();
    }
    (descriptors, pages)
}

#[test]
fn referrers_with_long_annotations_come_in_pages_and_through_a_cache() {
    let registry = Fixture::start();
    let subject = registry.push_image("a", "v1", b"layer");
    let mut expected = Vec::new();
    for number in 0..5 {
        let mut long = artifact(&registry, subject, &format!("application/x; of=\"{}\"", number % 2));
        long["annotations"] =
            serde_json::json!({"long": "x".repeat(1_400_000), "number": number.to_string()});
        let digest = Digest::of(long.to_string().as_bytes()).to_string();
        expected.push(registry.put_manifest("a", &digest, &long).to_string());
    }
    let listed: Vec<_> =
        (0..3_u8).map(|number| registry.push_image("a", &format!("old{number}"), &[number])).collect();
    let mut index = serde_json::json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": []});
    for digest in &listed {
        let mut descriptor = registry.descriptor("a", *digest);
        descriptor["annotations"] = serde_json::json!({"long": "y".repeat(1_200_000)});
        index["manifests"].as_array_mut().unwrap().push(descriptor);
        expected.push(digest.to_string());
    }
    registry.put_manifest("a", &format!("sha256-{}", subject.hex()), &index);
    expected.sort_unstable();

    let upstreams = vec![hako_registry::config::UpstreamConfig::new("up", registry.host())];
    let cache = Fixture::start_with(|config| config.upstreams = upstreams);
    let digests = |descriptors: Vec<serde_json::Value>| {
        let mut digests: Vec<_> =
            descriptors.iter().map(|one| one["digest"].as_str().unwrap().to_owned()).collect();
        digests.sort_unstable();
        digests
    };
    for (from, name) in [(&registry, "a"), (&cache, "up/a")] {
        let path = format!("/v2/{name}/referrers/{subject}");
        let (descriptors, pages) = all(from, path.clone());
        assert_eq!(digests(descriptors), expected, "{name}");
        assert!(pages > 1, "{name}");
        let (even, pages) = all(from, format!("{path}?artifactType=application%2Fx%3B%20of%3D%220%22"));
        assert_eq!((even.len(), pages), (3, 2), "{name}");
        let nowhere = from.get(&format!("{path}?last=v1"));
        assert_eq!((nowhere.status, nowhere.code().as_str()), (400, "UNSUPPORTED"), "{name}");
    }
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
