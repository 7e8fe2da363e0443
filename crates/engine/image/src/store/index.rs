//! Indexes of this machine: images for several machines, or an image with what is said about it, under one name.
//!
//! ```text
//! name ──> index ──┬─> manifest that this machine runs; what the name is resolved to
//!                  ├─> manifests for other machines
//!                  └─> attestation manifests (vnd.docker.reference.digest: of which of them) ──> statements
//! ```
//! Layers may leave in another form than they are stored in, which gives their manifest another digest: index and
//! statements are then written anew with that one, so that what is said is said of what is there.

use super::convert::Outgoing;
use super::{ImageStore, Roots};
use crate::ImageError;
use crate::form::LayerForm;
use crate::image::{Image, Layer};
use crate::transfer::{Document, Platform, document};
use hako_content::Lease;
use hako_error::Result;
use hako_names::{Digest, ImageRef};
use hako_oci::media_type;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::Arc;

const SUBJECT: &str = "vnd.docker.reference.digest";

/// The image for another machine that a name stands for too.
#[derive(Clone, Debug)]
pub enum Sibling {
    /// It is wholly here.
    Here(Box<Image>),
    /// It is where the image came from, under that digest.
    Elsewhere(ImageRef),
    /// Nothing is known of it.
    Unknown,
}

impl ImageStore {
    /// Stores an index of manifests that are in the content store, given as descriptors, and points the names to it.
    /// `own`, the manifest of one of them, is what the names are resolved to.
    pub fn commit_index(
        &self,
        manifests: &[Value],
        own: Digest,
        names: &[ImageRef],
        lease: &Lease,
    ) -> Result<Image> {
        let index = json!({"schemaVersion": 2, "mediaType": media_type::INDEX, "manifests": manifests});
        let index = self.content().put("an index", &super::commit::to_vec(&index)?, Some(lease))?.digest;
        // Reading it first: what cannot be used gets no name.
        self.indexed(index)?;
        let image = self.point_among(own, Some(index), names, &[])?;
        Ok(Image { index: Some(index), ..image })
    }

    /// The image for `platform` beside one that was not made for it.
    pub fn sibling(&self, image: &Image, platform: &Platform) -> Result<Sibling> {
        let own = image.index.map(|digest| (digest, None));
        let called = image.repo_digests.iter().filter_map(|name| Some((name.digest()?, Some(name))));
        for (index, name) in own.into_iter().chain(called) {
            let what = format!("index {index}");
            let Ok(bytes) = self.content().read(index) else { continue };
            let Ok(Document::Index(manifests)) = document::parse(&what, "", &bytes) else { continue };
            let Ok(chosen) = document::select(&what, &manifests, platform) else { continue };
            let found = self.image(chosen.digest).ok();
            let is_whole = |it: &Image| it.layers.iter().all(|layer| self.content().exists(layer.digest));
            match (found.filter(is_whole), name) {
                (Some(image), _) => return Ok(Sibling::Here(Box::new(image))),
                (None, Some(name)) => return Ok(Sibling::Elsewhere(name.with_digest(chosen.digest))),
                (None, None) => {}
            }
        }
        Ok(Sibling::Unknown)
    }

    /// What the index of an image has, with sizes.
    pub fn index_blobs(&self, image: &Image) -> Vec<(Digest, u64)> {
        let Some(parts) = image.index.and_then(|index| self.indexed(index).ok()) else { return Vec::new() };
        parts.blobs.iter().filter_map(|blob| Some((*blob, self.content().size(*blob).ok()?))).collect()
    }

    /// All that an index has: its blobs, and what its images may be unpacked to.
    pub(super) fn indexed(&self, index: Digest) -> Result<Arc<Roots>> {
        if let Some(known) = self.inner.indexed.lock().get(&index) {
            return Ok(known.clone());
        }
        let mut parts = Roots::default();
        parts.blobs.insert(index);
        for descriptor in list(&self.json(index)?["manifests"]) {
            let digest = digest_of(descriptor)?;
            if subject(descriptor).is_none() {
                let image = self.parsed(digest)?;
                parts.add(Self::pieces(&image, digest, &[]));
                continue;
            }
            let manifest = self.json(digest)?;
            parts.blobs.insert(digest);
            for blob in list(&manifest["layers"]).chain([&manifest["config"]]) {
                parts.blobs.insert(digest_of(blob)?);
            }
        }
        let parts = Arc::new(parts);
        self.inner.indexed.lock().insert(index, parts.clone());
        Ok(parts)
    }

    /// Whether a digest is what an image can be called by: its manifest's, that of an index which names it, or that of
    /// the same image in another form. The document behind the digest says so; a name alone may have come from anywhere.
    pub(crate) fn stands_for(&self, digest: Digest, manifest: Digest) -> bool {
        if digest == manifest {
            return true;
        }
        let (Ok(document), Ok(parsed)) = (self.json(digest), self.parsed(manifest)) else { return false };
        match document.get("manifests") {
            None => document.get("config").and_then(|config| digest_of(config).ok()) == Some(parsed.id),
            Some(manifests) => {
                let named: Vec<Digest> = list(manifests).filter_map(|it| digest_of(it).ok()).collect();
                // Of an index that was pushed in another form, the manifests went with it.
                let is_elsewhere = !named.is_empty() && !named.iter().any(|it| self.content().exists(*it));
                named.contains(&manifest) || is_elsewhere
            }
        }
    }

    /// Whether a name can stand for an index: all that it names is here, and is an image or said of one.
    pub(crate) fn is_usable(&self, index: Digest) -> bool {
        self.indexed(index).is_ok()
    }

    /// Changes names, and lets go what indexes had that no name stands for any more.
    pub(super) fn rename<T>(&self, change: impl FnOnce(&mut super::Names) -> Result<T>) -> Result<T> {
        let (changed, loose) = self.renaming(change)?;
        if !loose.blobs.is_empty() {
            self.collect_among(loose)?;
        }
        Ok(changed)
    }

    /// Changes names; returns what indexes had that no name stands for any more.
    pub(super) fn renaming<T>(
        &self,
        change: impl FnOnce(&mut super::Names) -> Result<T>,
    ) -> Result<(T, Roots)> {
        let (changed, gone) = {
            let mut names = self.inner.names.write();
            let before = names.indexes();
            let changed = change(&mut names)?;
            let after = names.indexes();
            (changed, before.into_iter().filter(move |index| !after.contains(index)))
        };
        let mut loose = Roots::default();
        for index in gone {
            // What cannot be read is found by the next collection of all.
            let Ok(parts) = self.indexed(index) else { continue };
            loose.add(Roots::clone(&parts));
            self.inner.indexed.lock().remove(&index);
        }
        Ok((changed, loose))
    }

    /// Plans an index with all that it names.
    pub(super) fn outgoing_index(
        &self,
        index: Digest,
        form: &dyn Fn(&Layer) -> LayerForm,
        lease: &Lease,
    ) -> Result<Outgoing> {
        let stored = self.content().read(index)?;
        let mut document = self.json(index)?;
        let (mut outgoing, mut renamed) = (Outgoing::default(), HashMap::new());
        let manifests = document["manifests"].as_array_mut().map(std::mem::take).unwrap_or_default();
        let (images, said): (Vec<_>, Vec<_>) = manifests.iter().partition(|it| subject(it).is_none());
        for descriptor in images {
            let digest = digest_of(descriptor)?;
            let one = self.outgoing_image(&self.image(digest)?, form, lease)?;
            renamed.insert(digest, outgoing.add(one));
        }
        for descriptor in said {
            let digest = digest_of(descriptor)?;
            let of = subject(descriptor).and_then(|of| Some((of, *renamed.get(&of)?)));
            let one = self.statements(digest, of.filter(|(of, now)| of != now), lease)?;
            renamed.insert(digest, outgoing.add(one));
        }
        if renamed.iter().all(|(old, now)| old == now) {
            outgoing.documents.push((index, stored));
            return Ok(outgoing);
        }
        let manifests = manifests.into_iter().map(|it| outgoing.described(it, &renamed));
        document["manifests"] = manifests.collect::<Result<Vec<Value>>>()?.into();
        let bytes = super::commit::to_vec(&document)?;
        outgoing.documents.push((Digest::of(&bytes), bytes));
        Ok(outgoing)
    }

    /// An attestation manifest with its statements, which `of` says are now about another manifest.
    fn statements(&self, digest: Digest, of: Option<(Digest, Digest)>, lease: &Lease) -> Result<Outgoing> {
        let stored = self.content().read(digest)?;
        let mut manifest = self.json(digest)?;
        let mut outgoing = Outgoing::default();
        let Some((old, now)) = of else {
            for blob in list(&manifest["layers"]).chain([&manifest["config"]]) {
                outgoing.blobs.push((digest_of(blob)?, blob["size"].as_u64().unwrap_or_default()));
            }
            outgoing.documents.push((digest, stored));
            return Ok(outgoing);
        };
        let mut put = |descriptor: &mut Value, value: &Value| -> Result<Digest> {
            let blob = self.content().put("an attestation", &super::commit::to_vec(value)?, Some(lease))?;
            (descriptor["digest"], descriptor["size"]) = (json!(blob.digest), blob.size.into());
            outgoing.blobs.push((blob.digest, blob.size));
            Ok(blob.digest)
        };
        let mut diff_ids = Vec::new();
        for layer in manifest["layers"].as_array_mut().into_iter().flatten() {
            let mut statement = self.json(digest_of(layer)?)?;
            for subject in statement["subject"].as_array_mut().into_iter().flatten() {
                if subject["digest"]["sha256"] == old.hex() {
                    subject["digest"]["sha256"] = now.hex().into();
                }
            }
            diff_ids.push(put(layer, &statement)?);
        }
        let mut config = self.json(digest_of(&manifest["config"])?)?;
        config["rootfs"]["diff_ids"] = json!(diff_ids);
        put(&mut manifest["config"], &config)?;
        let bytes = super::commit::to_vec(&manifest)?;
        outgoing.documents.push((Digest::of(&bytes), bytes));
        Ok(outgoing)
    }

    fn json(&self, digest: Digest) -> Result<Value> {
        let bytes = self.content().read(digest)?;
        Ok(serde_json::from_slice(&bytes)
            .map_err(|source| ImageError::Document { what: format!("document {digest}"), source })?)
    }
}

impl Outgoing {
    /// Adds an image or attestation; returns the digest of its manifest.
    fn add(&mut self, other: Self) -> Digest {
        let (digest, _) = other.top();
        self.layers.extend(other.layers);
        self.blobs.extend(other.blobs);
        self.documents.extend(other.documents);
        digest
    }

    /// A descriptor of the index with the digests that things have now.
    fn described(&self, mut descriptor: Value, renamed: &HashMap<Digest, Digest>) -> Result<Value> {
        let old = digest_of(&descriptor)?;
        let now = renamed.get(&old).copied().unwrap_or(old);
        let bytes = self.documents.iter().find(|(digest, _)| *digest == now).map(|(_, bytes)| bytes.len());
        (descriptor["digest"], descriptor["size"]) = (json!(now), json!(bytes));
        if let Some(of) = subject(&descriptor).and_then(|of| renamed.get(&of)) {
            descriptor["annotations"][SUBJECT] = json!(of);
        }
        Ok(descriptor)
    }
}

/// The digests in an index or manifest.
pub(crate) fn named_by(document: &[u8]) -> Result<Vec<Digest>> {
    let document: Value = serde_json::from_slice(document)
        .map_err(|source| ImageError::Document { what: "a document of an index".into(), source })?;
    let config = document.get("config");
    let all = list(&document["manifests"]).chain(list(&document["layers"])).chain(config);
    all.map(digest_of).collect()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn digest_of(descriptor: &Value) -> Result<Digest> {
    Ok(descriptor["digest"].as_str().unwrap_or_default().parse()?)
}

/// The manifest that an attestation manifest is about.
fn subject(descriptor: &Value) -> Option<Digest> {
    descriptor["annotations"][SUBJECT].as_str()?.parse().ok()
}
