//! A cache in a directory: an OCI image layout, with one manifest a tag.

use super::config::{parse, unusable};
use super::source::MANIFEST_LIMIT;
use crate::dest;
use crate::error::BuildError;
use hako_content::{ContentStore, Expected, Lease};
use hako_error::Result;
use hako_image::Layer;
use hako_names::Digest;
use hako_oci::media_type;
use serde_json::{Value, json};
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

const TAG: &str = "org.opencontainers.image.ref.name";

fn blob(dir: &Path, digest: Digest) -> PathBuf {
    dir.join("blobs/sha256").join(digest.hex())
}

/// Opens a file of the layout; a link could name any file of this machine.
fn open(path: &Path) -> Result<File> {
    let is_file = fs::symlink_metadata(path).map_err(BuildError::io("read", path))?.is_file();
    if !is_file {
        return Err(unusable(format!("{} is no file", path.display())));
    }
    Ok(File::open(path).map_err(BuildError::io("read", path))?)
}

fn index(dir: &Path) -> Result<Value> {
    let path = dir.join("index.json");
    let mut bytes = Vec::new();
    open(&path)?.take(MANIFEST_LIMIT).read_to_end(&mut bytes).map_err(BuildError::io("read", &path))?;
    parse("index.json", &bytes)
}

/// The manifest of a tag.
pub(super) fn find(dir: &Path, tag: &str) -> Result<Digest> {
    let index = index(dir)?;
    let manifests = index["manifests"].as_array().map(Vec::as_slice).unwrap_or_default();
    let tagged = manifests.iter().find(|one| one["annotations"][TAG] == tag);
    let digest = tagged.and_then(|one| one["digest"].as_str()).and_then(|digest| digest.parse().ok());
    digest.ok_or_else(|| unusable(format!("{} has no manifest {tag:?}", dir.display())))
}

/// A small blob, verified.
pub(super) fn bytes(dir: &Path, digest: Digest, limit: u64) -> Result<Vec<u8>> {
    let path = blob(dir, digest);
    let mut bytes = Vec::new();
    open(&path)?.take(limit + 1).read_to_end(&mut bytes).map_err(BuildError::io("read", &path))?;
    if bytes.len() as u64 > limit || Digest::of(&bytes) != digest {
        return Err(unusable(format!("{} is not what its name says", path.display())));
    }
    Ok(bytes)
}

/// Takes a layer into the content store.
pub(super) fn take(dir: &Path, content: &ContentStore, layer: &Layer, lease: &Lease) -> Result<()> {
    let path = blob(dir, layer.digest);
    // One byte more than promised is enough to know that it is too long.
    let mut file = open(&path)?.take(layer.size + 1);
    let mut writer = content.writer(format!("layer {} of a cache", layer.digest))?.under(lease);
    io::copy(&mut file, &mut writer).map_err(BuildError::io("copy", &path))?;
    writer.commit(Expected { digest: Some(layer.digest), size: Some(layer.size) }).map(drop)
}

/// Whether the layout has the blob.
pub(super) fn has(dir: &Path, digest: Digest) -> bool {
    blob(dir, digest).is_file()
}

/// Writes a manifest and its blobs, those that are not there yet, and points the tag to it.
pub(super) fn write(
    dir: &Path,
    tag: &str,
    content: &ContentStore,
    manifest: Digest,
    blobs: &[Digest],
) -> Result<()> {
    let parent = dir.join("blobs/sha256");
    fs::create_dir_all(&parent).map_err(BuildError::io("create", &parent))?;
    for digest in blobs.iter().chain([&manifest]).filter(|digest| !has(dir, **digest)) {
        let mut from = content.open_blob(*digest)?;
        let path = blob(dir, *digest);
        dest::write(&path, |mut file| {
            io::copy(&mut from, &mut file).map_err(BuildError::io("write", &path))?;
            Ok(())
        })?;
    }
    let mut index = index(dir).unwrap_or_else(|_| json!({"manifests": []}));
    index["schemaVersion"] = 2.into();
    index["mediaType"] = media_type::INDEX.into();
    if !index["manifests"].is_array() {
        index["manifests"] = json!([]);
    }
    if let Some(manifests) = index["manifests"].as_array_mut() {
        manifests.retain(|one| one["annotations"][TAG] != tag);
        manifests.push(json!({
            "mediaType": media_type::MANIFEST, "digest": manifest, "size": content.size(manifest)?,
            "annotations": {TAG: tag},
        }));
    }
    for (name, bytes) in
        [("oci-layout", r#"{"imageLayoutVersion":"1.0.0"}"#.into()), ("index.json", index.to_string())]
    {
        let path = dir.join(name);
        dest::write(&path, |mut file| {
            file.write_all(bytes.as_bytes()).map_err(BuildError::io("write", &path))?;
            Ok(())
        })?;
    }
    Ok(())
}
