//! A manifest: what the registry takes is an image or an index to the engine that pulls it too, or nothing at all
//! (CVE-2021-41190).

use hako_image::transfer::{Document, parse_document};
use hako_registry::Manifest;

/// What the push's header says; the first byte chooses.
pub const CLAIMS: [Option<&str>; 6] = [
    None,
    Some("application/vnd.oci.image.manifest.v1+json"),
    Some("application/vnd.oci.image.index.v1+json"),
    Some("application/vnd.docker.distribution.manifest.v2+json"),
    Some("application/vnd.docker.distribution.manifest.list.v2+json"),
    Some("application/json"),
];

pub fn run(data: &[u8]) {
    let Some((claim, bytes)) = data.split_first() else { return };
    let claim = CLAIMS[usize::from(*claim) % CLAIMS.len()];
    let pulled = parse_document("fuzzed", claim.unwrap_or_default(), bytes);
    if let Ok(Document::Manifest(manifest)) = &pulled {
        assert!(manifest.layers.len() < 500);
    }
    let Ok(taken) = Manifest::parse(claim, bytes) else { return };
    assert!(CLAIMS[1..5].contains(&Some(taken.media_type.as_str())), "{:?}", taken.media_type);
    let is_index = Manifest::is_index(&taken.media_type);
    assert!(if is_index { taken.blobs.is_empty() } else { taken.manifests.is_empty() });
    match parse_document("fuzzed", &taken.media_type, bytes) {
        Ok(Document::Index(_)) => assert!(is_index, "the engine sees an index"),
        Ok(Document::Manifest(_)) => assert!(!is_index, "the engine sees an image"),
        Err(_) => {}
    }
}
