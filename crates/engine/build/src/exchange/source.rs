//! Where records and layers come from.

use super::config::{CONFIG_LIMIT, CacheConfig, Descriptor, Document, Offer, parse, unusable};
use super::layout;
use crate::context::Registry;
use crate::platform::Platform;
use crate::request::CacheSource;
use hako_content::Lease;
use hako_error::{Error, Kind, Result};
use hako_image::{ImageStore, Layer};
use hako_names::{Digest, ImageRef};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// A manifest may have so many bytes, distribution specification, "Pushing Manifests".
pub(super) const MANIFEST_LIMIT: u64 = 4 << 20;

/// A place with blobs.
pub(super) enum Source {
    /// The content store: the image that carries the records is one of this machine.
    Here,
    /// An OCI layout directory.
    Directory(PathBuf),
    Registry {
        registry: Arc<dyn Registry>,
        name: ImageRef,
    },
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Here => f.write_str("Here"),
            Self::Directory(path) => write!(f, "Directory({})", path.display()),
            Self::Registry { name, .. } => write!(f, "Registry({name})"),
        }
    }
}

/// Reads what is offered at a place.
pub(super) fn open(
    from: &CacheSource,
    images: &ImageStore,
    registry: Option<&Arc<dyn Registry>>,
    platform: &Platform,
) -> Result<Offer> {
    match from {
        CacheSource::Local { path, tag, digest } => {
            let manifest = match digest {
                Some(digest) => *digest,
                None => layout::find(path, tag)?,
            };
            Source::Directory(path.clone()).offer(Some(manifest), platform)
        }
        CacheSource::Registry { reference } => remote(reference, registry)?.offer(None, platform),
        CacheSource::Inline { reference } => match here(images, reference)? {
            Some(offer) => Ok(offer),
            None => remote(reference, registry)?.offer(None, platform),
        },
    }
}

fn remote(name: &ImageRef, registry: Option<&Arc<dyn Registry>>) -> Result<Source> {
    let registry = registry
        .cloned()
        .ok_or_else(|| Error::new(Kind::FailedPrecondition, "this builder speaks to no registry"))?;
    Ok(Source::Registry { registry, name: name.clone() })
}

/// The records of an image of this machine, if it carries any.
fn here(images: &ImageStore, name: &ImageRef) -> Result<Option<Offer>> {
    let Ok(image) = images.resolve(name) else { return Ok(None) };
    let Some(records) = CacheConfig::of_image(&image.raw_config)? else { return Ok(None) };
    records.offer(Source::Here, &image.layers).map(Some)
}

impl Source {
    fn offer(self, manifest: Option<Digest>, platform: &Platform) -> Result<Offer> {
        let mut document: Document = parse("the manifest", &self.manifest(manifest)?)?;
        if let Some(manifests) = &document.manifests {
            let chosen = of_platform(manifests, platform)?;
            document = parse("the manifest", &self.manifest(Some(chosen))?)?;
        }
        let Some(config) = &document.config else {
            return Err(unusable("it is neither a cache nor an image"));
        };
        if config.size > CONFIG_LIMIT {
            return Err(unusable(format!("its configuration has more than {CONFIG_LIMIT} bytes")));
        }
        let bytes = self.bytes(config.digest, config.size)?;
        let (records, layers) = CacheConfig::read(config, &bytes, &document.layers)?;
        records.offer(self, &layers)
    }

    fn manifest(&self, digest: Option<Digest>) -> Result<Vec<u8>> {
        match (self, digest) {
            (Self::Registry { registry, name }, digest) => registry.manifest(name, digest),
            (Self::Directory(path), Some(digest)) => layout::bytes(path, digest, MANIFEST_LIMIT),
            _ => Err(Error::new(Kind::Internal, "a source of a cache without a manifest")),
        }
    }

    fn bytes(&self, digest: Digest, size: u64) -> Result<Vec<u8>> {
        match self {
            Self::Registry { registry, name } => registry.bytes(name, digest, size),
            Self::Directory(path) => layout::bytes(path, digest, size),
            Self::Here => Err(Error::new(Kind::Internal, "a source of a cache without a manifest")),
        }
    }

    /// Brings a layer into the content store, verified against digest and size, under the lease.
    pub(super) fn bring(&self, images: &ImageStore, layer: &Layer, lease: &Lease) -> Result<()> {
        if lease.protect(layer.digest).is_ok() {
            return Ok(());
        }
        match self {
            Self::Here => Err(hako_content::ContentError::NotFound { digest: layer.digest }.into()),
            Self::Directory(path) => layout::take(path, images.content(), layer, lease),
            Self::Registry { registry, name } => registry.layer(name, layer, lease),
        }
    }
}

fn of_platform(manifests: &[Descriptor], platform: &Platform) -> Result<Digest> {
    let is_wanted = |one: &&Descriptor| {
        one.platform.as_ref().is_some_and(|offered| {
            offered["os"] == platform.os.as_str() && offered["architecture"] == platform.architecture.as_str()
        })
    };
    let found = manifests.iter().find(is_wanted);
    found.map(|one| one.digest).ok_or_else(|| unusable(format!("it has nothing for {platform}")))
}
