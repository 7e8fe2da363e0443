//! What is said about a result beside it: `--sbom`, `--provenance`, `--attest`.
//!
//! Owns: what is said and its form, the one of BuildKit, so that its readers find it. Does not own: the index that holds
//! image and statements together and writes them anew when layers leave in another form (hako-image).
//!
//! ```text
//! index ──> the image's manifest
//!      └──> attestation manifest (vnd.docker.reference.type), one in-toto statement a layer
//! files     sbom.spdx.json, provenance.json beside them, with a subject for every file
//! ```
//! Invariant: the image itself is the same with and without. What is said names no manifest but in `subject`.

mod packages;
mod provenance;
mod sbom;

use crate::error::BuildError;
use crate::files::Source;
use crate::platform::Platform;
use crate::request::BuildRequest;
use crate::shared::Shared;
use hako_error::Result;
use hako_image::{Image, NewImage};
use hako_names::{Digest, Hasher, ImageRef, percent};
use hako_oci::media_type;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};

/// in-toto Attestation Framework, "Statement".
const STATEMENT: &str = "https://in-toto.io/Statement/v0.1";
const STATEMENT_TYPE: &str = "application/vnd.in-toto+json";

/// What is known of a build besides its result.
pub(crate) struct Began {
    pub at: jiff::Timestamp,
    /// The Dockerfile's text.
    pub text: String,
    /// Base images and remote sources with their digests.
    pub materials: BTreeMap<String, String>,
}

/// One thing that is said.
pub(crate) struct Said {
    kind: &'static str,
    /// What its file is called beside files.
    pub file: &'static str,
    predicate: Value,
}

/// What the request wants said about an image.
pub(crate) fn say(
    shared: &Shared,
    request: &BuildRequest,
    began: &Began,
    platform: &Platform,
    image: &NewImage,
) -> Result<Vec<Said>> {
    let mut said = Vec::new();
    if request.sbom {
        let predicate = sbom::document(shared, request, image)?;
        said.push(Said { kind: sbom::PREDICATE, file: "sbom.spdx.json", predicate });
    }
    if let Some(wanted) = &request.provenance {
        let predicate = provenance::predicate(shared, request, began, platform, wanted);
        said.push(Said { kind: provenance::PREDICATE, file: "provenance.json", predicate });
    }
    Ok(said)
}

impl Said {
    fn statement(&self, subjects: &[Value]) -> Value {
        json!({
            "_type": STATEMENT, "predicateType": self.kind, "subject": subjects, "predicate": self.predicate,
        })
    }

    /// The statement as a file beside `files`.
    pub(crate) fn of_files(&self, subjects: &[Value]) -> Vec<u8> {
        format!("{:#}\n", self.statement(subjects)).into_bytes()
    }
}

/// Stores what is said of an image; returns the descriptor of its attestation manifest.
pub(crate) fn beside_image(
    shared: &Shared,
    request: &BuildRequest,
    platform: &Platform,
    image: &Image,
    said: &[Said],
) -> Result<Value> {
    let subjects = subjects_of_image(image, platform, &request.tags);
    let (mut layers, mut diff_ids) = (Vec::new(), Vec::new());
    for one in said {
        let (digest, size) = put(shared, &one.statement(&subjects))?;
        diff_ids.push(digest);
        layers.push(json!({
            "mediaType": STATEMENT_TYPE, "digest": digest, "size": size,
            "annotations": {"in-toto.io/predicate-type": one.kind},
        }));
    }
    let config = json!({
        "architecture": "unknown", "os": "unknown", "config": {},
        "rootfs": {"type": "layers", "diff_ids": diff_ids},
    });
    let (config, size) = put(shared, &config)?;
    let manifest = json!({
        "schemaVersion": 2, "mediaType": media_type::MANIFEST,
        "config": {"mediaType": media_type::CONFIG, "digest": config, "size": size}, "layers": layers,
    });
    let (digest, size) = put(shared, &manifest)?;
    Ok(json!({
        "mediaType": media_type::MANIFEST, "digest": digest, "size": size,
        "annotations": {
            "vnd.docker.reference.digest": image.manifest_digest,
            "vnd.docker.reference.type": "attestation-manifest",
        },
        "platform": {"architecture": "unknown", "os": "unknown"},
    }))
}

fn put(shared: &Shared, value: &Value) -> Result<(Digest, u64)> {
    let content = shared.images.content();
    let blob = content.put("an attestation", value.to_string().as_bytes(), Some(&shared.lease))?;
    Ok((blob.digest, blob.size))
}

/// The image under each of its names, as a package-url.
fn subjects_of_image(image: &Image, platform: &Platform, names: &[ImageRef]) -> Vec<Value> {
    let digest = json!({"sha256": image.manifest_digest.hex()});
    let named = names.iter().map(|name| json!({"name": image_purl(name, platform), "digest": digest}));
    let named: Vec<Value> = named.collect();
    if named.is_empty() { vec![json!({"name": "_", "digest": digest})] } else { named }
}

/// package-url specification, type `docker`, with BuildKit's qualifiers.
pub(crate) fn image_purl(name: &ImageRef, platform: &Platform) -> String {
    let mut purl = format!("pkg:docker/{}", name.familiar_name());
    if let Some(tag) = name.tag() {
        purl.push('@');
        purl.push_str(tag);
    }
    let digest = name.digest().map(|digest| format!("digest={digest}&")).unwrap_or_default();
    format!("{purl}?{digest}platform={}", percent::encode(&platform.to_string()))
}

/// Every regular file.
pub(crate) fn subjects_of_files(files: &Source) -> Result<Vec<Value>> {
    let mut subjects = Vec::new();
    for found in files.walk("")?.iter().filter(|found| found.metadata.is_file()) {
        let sha256 = digest_of(&found.path)?.hex();
        subjects.push(json!({"name": found.below.to_string_lossy(), "digest": {"sha256": sha256}}));
    }
    Ok(subjects)
}

fn digest_of(path: &std::path::Path) -> Result<Digest> {
    let read = || -> io::Result<Digest> {
        let (mut file, mut hasher, mut buffer) = (File::open(path)?, Hasher::new(), vec![0; 1 << 17]);
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hasher.finish()),
                count => hasher.update(&buffer[..count]),
            }
        }
    };
    Ok(read().map_err(BuildError::io("read", path))?)
}
