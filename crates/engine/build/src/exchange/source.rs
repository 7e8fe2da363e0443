//! Where records and layers come from.

use super::config::{CONFIG_LIMIT, CacheConfig, Descriptor, Document, Offer, parse, unusable};
use super::layout;
use crate::context::Registry;
use crate::platform::Platform;
use crate::request::CacheSource;
use hako_content::Lease;
use hako_error::{Error, Kind, Result};
use hako_image::{ImageStore, Layer, Sibling};
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

/// Reads what is offered at a place; of an index, what is offered for each of the platforms.
pub(super) fn open(
    from: &CacheSource,
    images: &ImageStore,
    registry: Option<&Arc<dyn Registry>>,
    platforms: &[Platform],
) -> Result<Vec<Offer>> {
    match from {
        CacheSource::Local { path, tag, digest } => {
            let manifest = match digest {
                Some(digest) => *digest,
                None => layout::find(path, tag)?,
            };
            offers(&Arc::new(Source::Directory(path.clone())), Some(manifest), platforms)
        }
        CacheSource::Registry { reference } => offers(&remote(reference, registry)?, None, platforms),
        CacheSource::Inline { reference } => match here(images, reference, platforms)? {
            found if !found.is_empty() => Ok(found),
            _ => offers(&remote(reference, registry)?, None, platforms),
        },
    }
}

fn remote(name: &ImageRef, registry: Option<&Arc<dyn Registry>>) -> Result<Arc<Source>> {
    let registry = registry
        .cloned()
        .ok_or_else(|| Error::new(Kind::FailedPrecondition, "this builder speaks to no registry"))?;
    Ok(Arc::new(Source::Registry { registry, name: name.clone() }))
}

/// The records of the images of this machine that have the name, if they carry any.
fn here(images: &ImageStore, name: &ImageRef, platforms: &[Platform]) -> Result<Vec<Offer>> {
    let Ok(image) = images.resolve(name) else { return Ok(Vec::new()) };
    let mut offers = Vec::new();
    for platform in platforms {
        let sibling = match platform.is_of(&image) {
            true => Sibling::Here(Box::new(image.clone())),
            false => images.sibling(&image, &platform.of_images())?,
        };
        let Sibling::Here(image) = sibling else { continue };
        if let Some(records) = CacheConfig::of_image(&image.raw_config)? {
            offers.push(records.offer(&Arc::new(Source::Here), &image.layers)?);
        }
    }
    Ok(offers)
}

/// What a manifest offers, or of an index those for the platforms.
fn offers(source: &Arc<Source>, manifest: Option<Digest>, platforms: &[Platform]) -> Result<Vec<Offer>> {
    let document: Document = parse("the manifest", &source.manifest(manifest)?)?;
    let Some(manifests) = &document.manifests else { return Ok(vec![source.offer(&document)?]) };
    let mut offers = Vec::new();
    for chosen in of_platforms(manifests, platforms)? {
        offers.push(source.offer(&parse("the manifest", &source.manifest(Some(chosen))?)?)?);
    }
    Ok(offers)
}

impl Source {
    fn offer(self: &Arc<Self>, document: &Document) -> Result<Offer> {
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

fn of_platforms(manifests: &[Descriptor], platforms: &[Platform]) -> Result<Vec<Digest>> {
    let found = platforms.iter().filter_map(|platform| {
        let is_wanted = |one: &&Descriptor| {
            one.platform.as_ref().is_some_and(|offered| {
                let variant = platform.variant.as_deref();
                offered["os"] == platform.os.as_str()
                    && offered["architecture"] == platform.architecture.as_str()
                    && variant.is_none_or(|variant| offered["variant"] == variant)
            })
        };
        manifests.iter().find(is_wanted).map(|one| one.digest)
    });
    let found: Vec<Digest> = found.collect();
    if found.is_empty() {
        let all: Vec<String> = platforms.iter().map(ToString::to_string).collect();
        return Err(unusable(format!("it has nothing for {}", all.join(", "))));
    }
    Ok(found)
}
