//! What the files of an archive mean.

use super::intake::{Intake, Part, unusable};
use crate::remote::MANIFEST_LIMIT;
use crate::store::Stacked;
use crate::transfer::document::{self, Descriptor, Document};
use crate::transfer::{LayerState, Platform, layers_of};
use crate::{Image, ImageError, Layer, chain_id};
use bytes::Bytes;
use hako_error::Result;
use hako_names::{Digest, ImageRef};
use hako_oci::media_type::{self, Compression};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};

const FULL_NAME: &str = "io.containerd.image.name";
const REF_NAME: &str = "org.opencontainers.image.ref.name";
/// How many links in a row are followed.
const MOST_LINKS: usize = 8;

#[derive(Deserialize)]
struct Index {
    manifests: Vec<Named>,
}

#[derive(Deserialize)]
struct Named {
    #[serde(flatten)]
    descriptor: Descriptor,
    #[serde(default)]
    annotations: HashMap<String, String>,
}

/// An image in `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// An image that is here whole, and what it is to be called.
struct Found {
    manifest: Digest,
    /// What it is one of, where all of that came along.
    index: Option<Digest>,
    names: Vec<ImageRef>,
    /// What registries call it.
    digests: Vec<ImageRef>,
}

/// Points names to everything that came, when all of it can be used.
pub(super) fn resolve(intake: &mut Intake<'_>) -> Result<Vec<Image>> {
    let saved: Vec<Saved> = match intake.small("manifest.json") {
        Some(bytes) => json("manifest.json", &bytes)?,
        None => Vec::new(),
    };
    let mut found = Vec::new();
    match (intake.small("index.json"), saved.as_slice()) {
        (Some(index), saved) => {
            let index: Index = json("index.json", &index)?;
            for manifest in &index.manifests {
                found.extend(intake.indexed(manifest, saved)?);
            }
        }
        (None, []) => {
            let reason = "it has neither index.json nor manifest.json; a root file system is loaded with \
                          \"hako image import\"";
            return Err(unusable("the archive", reason).into());
        }
        (None, saved) => {
            for image in saved {
                found.push(intake.saved(image)?);
            }
        }
    }
    if found.is_empty() {
        return Err(unusable("the archive", "it has no image for this machine").into());
    }
    // Nobody may be left who wants them.
    intake.check()?;
    found.into_iter().map(|found| intake.point(found)).collect()
}

/// Which image of a layout is meant. Without a tag and where there are several, the one with the tag `latest`.
#[derive(Clone, Copy, Debug, Default)]
pub struct LayoutImage<'a> {
    /// As the layout has it, or that of the name that it has.
    pub tag: Option<&'a str>,
    /// Of the index, the manifest or the configuration.
    pub digest: Option<Digest>,
}

impl LayoutImage<'_> {
    fn may_be(self, named: &Named) -> bool {
        let is_of = |text: &String| {
            Some(text.as_str()) == self.tag
                || text.parse::<ImageRef>().is_ok_and(|name| name.tag().is_some() && name.tag() == self.tag)
        };
        self.tag.is_none()
            || [REF_NAME, FULL_NAME].iter().any(|key| named.annotations.get(*key).is_some_and(is_of))
    }

    fn is(self, found: &Found, top: Digest, intake: &Intake<'_>) -> Result<bool> {
        let Some(wanted) = self.digest else { return Ok(true) };
        let own = [top, found.manifest];
        Ok(own.contains(&wanted) || intake.store.image(found.manifest)?.id == wanted)
    }
}

/// Keeps the one image of a layout that is meant, and gives it no name.
pub(super) fn resolve_one(intake: &mut Intake<'_>, meant: LayoutImage<'_>) -> Result<Vec<Image>> {
    let index = intake.small("index.json").ok_or_else(|| unusable("the layout", "it has no index.json"))?;
    let Index { manifests } = json("index.json", &index)?;
    let mut left: Vec<Named> = manifests.into_iter().filter(|named| meant.may_be(named)).collect();
    let latest = LayoutImage { tag: Some("latest"), ..meant };
    if meant.tag.is_none()
        && meant.digest.is_none()
        && left.len() > 1
        && left.iter().any(|it| latest.may_be(it))
    {
        left.retain(|named| latest.may_be(named));
    }
    let mut chosen: Option<Found> = None;
    for Named { descriptor, .. } in left {
        let top = descriptor.digest;
        // What the layout calls it is for those who load all of it.
        let Some(found) = intake.indexed(&Named { descriptor, annotations: HashMap::new() }, &[])? else {
            continue;
        };
        if !meant.is(&found, top, intake)? {
            continue;
        }
        if chosen.as_ref().is_some_and(|other| other.manifest != found.manifest) {
            return Err(unusable("the layout", "it has several images; name one by :TAG or @sha256:…").into());
        }
        chosen = Some(found);
    }
    intake.check()?;
    chosen.map(|found| intake.point(found)).into_iter().collect()
}

fn json<T: serde::de::DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    Ok(serde_json::from_slice(bytes)
        .map_err(|source| ImageError::Document { what: format!("{what} of the archive"), source })?)
}

impl Intake<'_> {
    /// The part of that name, through links.
    fn part(&self, path: &str) -> Option<&Part> {
        let mut path = crate::layer::clean(path.as_bytes()).ok()?;
        for _ in 0..MOST_LINKS {
            match self.parts.get(&path)? {
                Part::Link(target) => path.clone_from(target),
                part => return Some(part),
            }
        }
        None
    }

    fn point(&self, found: Found) -> Result<Image> {
        let Found { manifest, index, mut names, digests } = found;
        let mut image = self.store.point_among(manifest, index, &names, &digests)?;
        names.sort_unstable();
        image.names = names;
        if image.name.is_none() {
            image.index = index;
        }
        Ok(image)
    }

    fn small(&self, path: &str) -> Option<Bytes> {
        match self.part(path)? {
            Part::Small(bytes) => Some(bytes.clone()),
            _ => None,
        }
    }

    /// A document of a layout, verified against its digest; what the archive lacks may be here already.
    fn document(&self, digest: Digest) -> Result<Bytes> {
        let path = format!("blobs/sha256/{}", digest.hex());
        let bytes = self.small_blob(&path, digest)?;
        if bytes.len() > MANIFEST_LIMIT {
            return Err(unusable(&format!("{path} of the archive"), "it is too large for a document").into());
        }
        Ok(bytes)
    }

    /// A blob of a layout that is no layer, verified.
    fn small_blob(&self, path: &str, digest: Digest) -> Result<Bytes> {
        let Some(bytes) = self.small(path) else {
            let known = self.store.content().read(digest);
            return known
                .map(Bytes::from)
                .map_err(|error| error.context(format!("the archive lacks {path}")));
        };
        let actual = Digest::of(&bytes);
        if actual != digest {
            let what = format!("{path} of the archive");
            return Err(unusable(&what, format!("its bytes hash to {actual}")).into());
        }
        self.store.content().put(path, &bytes, Some(self.lease))?;
        Ok(bytes)
    }

    fn check(&self) -> Result<()> {
        Ok(self.progress.stop().check().map_err(ImageError::io("unpack", "the archive".as_ref()))?)
    }

    /// The image of a layout's index; `None` if it is for other machines only.
    fn indexed(&mut self, named: &Named, saved: &[Saved]) -> Result<Option<Found>> {
        let (top, mut digest) = (named.descriptor.digest, named.descriptor.digest);
        let what = |digest: Digest| format!("manifest {digest} of the archive");
        let mut said = named.descriptor.media_type.clone();
        let mut found = document::parse(&what(top), &said, &self.document(top)?)?;
        if let Document::Index(manifests) = &found {
            let present: Vec<Descriptor> = manifests.iter().filter(|it| self.has(it)).cloned().collect();
            let Ok(chosen) = document::select(&what(top), &present, &Platform::host()) else {
                return Ok(None);
            };
            digest = chosen.digest;
            said.clone_from(&chosen.media_type);
            found = document::parse(&what(digest), &said, &self.document(digest)?)?;
        }
        let Document::Manifest(manifest) = found else {
            return Err(unusable(&what(digest), "it is an index again").into());
        };
        let config = self.document(manifest.config.digest)?;
        let layers = layers_of(&what(digest), &manifest, &config)?;
        for layer in &layers {
            self.require(layer)?;
        }
        self.unpack(&layers)?;
        let (names, own) = names_of(named, saved, manifest.config.digest)?;
        // A layout is its digests; of docker's archives the images count, whatever form their layers have there.
        if !saved.is_empty()
            && let Some(here) = self.already_here(manifest.config.digest)
        {
            return Ok(Some(Found { manifest: here, index: None, names, digests: Vec::new() }));
        }
        if top == digest {
            return Ok(Some(Found { manifest: digest, index: None, names, digests: own }));
        }
        let digests: Vec<ImageRef> = names.iter().map(|name| name.with_digest(top)).chain(own).collect();
        let index = (saved.is_empty() && self.has_all(top)?).then_some(top);
        Ok(Some(Found { manifest: digest, index, names, digests }))
    }

    /// Whether all that an index names came along; the name then stands for it. It is protected then.
    fn has_all(&self, index: Digest) -> Result<bool> {
        let take = |digest: Digest| {
            let path = format!("blobs/sha256/{}", digest.hex());
            self.lease.protect(digest).is_ok() || self.small_blob(&path, digest).is_ok()
        };
        let Ok(manifests) = crate::store::named_by(&self.document(index)?) else { return Ok(false) };
        for manifest in manifests {
            // What is no image and no attestation, such as an index again, is not taken along.
            let blobs = take(manifest).then(|| crate::store::named_by(&self.document(manifest)?));
            let Some(Ok(blobs)) = blobs else { return Ok(false) };
            if !blobs.into_iter().all(take) {
                return Ok(false);
            }
        }
        Ok(self.store.is_usable(index))
    }

    /// The manifest of an image with that configuration that is wholly here, and stays.
    fn already_here(&self, id: Digest) -> Option<Digest> {
        let images = self.store.list().unwrap_or_default();
        let found = images.into_iter().find(|image| {
            let layers = image.layers.iter().map(|layer| layer.digest);
            image.id == id
                && layers.chain([image.manifest_digest, id]).all(|blob| self.lease.protect(blob).is_ok())
        });
        found.map(|image| image.manifest_digest)
    }

    fn has(&self, descriptor: &Descriptor) -> bool {
        self.part(&format!("blobs/sha256/{}", descriptor.digest.hex())).is_some()
            || self.store.content().exists(descriptor.digest)
    }

    fn require(&self, layer: &Layer) -> Result<()> {
        self.lease.protect(layer.digest).map_err(|error| {
            error.context(format!("the archive lacks layer {}, or its bytes are others", layer.digest))
        })?;
        let actual = self.store.content().size(layer.digest)?;
        if actual != layer.size {
            let reason = format!("it has {actual} bytes, its manifest says {}", layer.size);
            return Err(unusable(&format!("layer {}", layer.digest), reason).into());
        }
        self.check_diff_id(layer)
    }

    fn check_diff_id(&self, layer: &Layer) -> Result<()> {
        match self.diff_ids.get(&layer.digest) {
            Some(actual) if *actual != layer.diff_id => {
                let (digest, expected) = (layer.digest.to_string(), layer.diff_id.to_string());
                Err(ImageError::DiffId { digest, expected, actual: actual.to_string() }.into())
            }
            _ => Ok(()),
        }
    }

    /// An image of `manifest.json`, which has no manifest: one is made for it.
    fn saved(&mut self, saved: &Saved) -> Result<Found> {
        let bytes = self
            .small(&saved.config)
            .ok_or_else(|| unusable("manifest.json", format!("the archive lacks {}", saved.config)))?;
        let id = self.store.content().put("an image configuration", &bytes, Some(self.lease))?.digest;
        let config = crate::image::parse_config(&bytes, &format!("{} of the archive", saved.config))?;
        let (paths, diff_ids) = (saved.layers.as_deref().unwrap_or_default(), config.rootfs().diff_ids());
        if paths.len() != diff_ids.len() {
            let reason =
                format!("it lists {} layers, {} lists {}", paths.len(), saved.config, diff_ids.len());
            return Err(unusable("manifest.json", reason).into());
        }
        let mut layers = Vec::new();
        for (path, diff_id) in paths.iter().zip(diff_ids) {
            let Some(Part::Blob { digest, size, compression }) = self.part(path) else {
                return Err(unusable("manifest.json", format!("the archive lacks the layer {path}")).into());
            };
            let media_type = match compression {
                Compression::None => media_type::LAYER_TAR,
                Compression::Gzip => media_type::LAYER_GZIP,
                Compression::Zstd => media_type::LAYER_ZSTD,
            };
            let layer = Layer {
                digest: *digest,
                size: *size,
                media_type: media_type.into(),
                diff_id: diff_id.parse()?,
                annotations: BTreeMap::new(),
            };
            self.check_diff_id(&layer)?;
            layers.push(layer);
        }
        let names = tags_of(saved)?;
        self.unpack(&layers)?;
        let manifest = match self.already_here(id) {
            Some(here) => here,
            None => self.store.manifest_for(id, &layers, self.lease)?,
        };
        Ok(Found { manifest, index: None, names, digests: Vec::new() })
    }

    /// Stacks what was applied on the way; the rest is applied now.
    fn unpack(&mut self, layers: &[Layer]) -> Result<()> {
        let mut parent: Option<String> = None;
        for (at, layer) in layers.iter().enumerate() {
            self.check()?;
            let upto = chain_id(layers[..=at].iter().map(|layer| layer.diff_id));
            let chain = upto.map(|id| id.hex()).unwrap_or_default();
            // Until a name points to the image.
            self.pins.push(self.store.pin(&chain));
            let stacked = match self.loose.remove(&layer.diff_id) {
                Some(loose) => self.store.stack(loose, &chain, parent.as_deref())?,
                None => Stacked::NeedsMerged,
            };
            if stacked == Stacked::NeedsMerged {
                self.store.unpack_layer_until(&chain, parent.as_deref(), layer, self.progress.stop())?;
            }
            self.progress.layer(layer.digest, LayerState::Done { saved: 0 });
            parent = Some(chain);
        }
        Ok(())
    }
}

/// A full name, or the tags that `manifest.json` gives the same configuration; and the names that end in the
/// descriptor's own digest, as containerd writes them.
fn names_of(named: &Named, saved: &[Saved], config: Digest) -> Result<(Vec<ImageRef>, Vec<ImageRef>)> {
    let mut all: Vec<ImageRef> = Vec::new();
    if let Some(full) = named.annotations.get(FULL_NAME) {
        all.push(full.parse::<ImageRef>().map_err(|_| bad_tag(full))?);
    } else if let Some(short) = named.annotations.get(REF_NAME).filter(|name| name.contains(['/', ':'])) {
        // Others write only the tag there, or something of their own, which names nothing.
        all.extend(short.parse::<ImageRef>());
    }
    let (own, mut names): (Vec<ImageRef>, Vec<ImageRef>) =
        all.into_iter().partition(|name| name.digest() == Some(named.descriptor.digest));
    if let Some(foreign) = names.iter().find(|name| name.digest().is_some()) {
        return Err(bad_digest(&foreign.to_string()).into());
    }
    let hex = config.hex();
    for saved in saved.iter().filter(|saved| saved.config.contains(&hex)) {
        names.extend(tags_of(saved)?);
    }
    names.sort();
    names.dedup();
    Ok((names, own))
}

fn tags_of(saved: &Saved) -> Result<Vec<ImageRef>> {
    let tag = |text: &String| -> Result<ImageRef> {
        let name = text.parse::<ImageRef>().map_err(|_| bad_tag(text))?;
        if name.digest().is_some() { Err(bad_digest(text).into()) } else { Ok(name) }
    };
    saved.repo_tags.iter().flatten().map(tag).collect()
}

fn bad_tag(text: &str) -> ImageError {
    ImageError::Tag { text: text.to_owned(), reason: "it is no name of an image" }
}

/// An archive could make anything of a name that others trust for its digest.
fn bad_digest(text: &str) -> ImageError {
    ImageError::Tag { text: text.to_owned(), reason: "the digest in it is not that of the image" }
}
