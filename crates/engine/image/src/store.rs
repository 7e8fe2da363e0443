//! The images of one data directory.
//!
//! ```text
//! DIR/names/<digest of the name>.json    {"name", "manifest"}, with "index" where it is one of several
//! DIR/used/<digest>                      empty; its time is that of the last use
//! DIR/unnamed/<digest>.json              the same without a name: images that lost theirs
//! ```

mod budget;
mod collect;
mod commit;
mod convert;
mod import;
mod index;
mod names;
mod stack;
mod unpack;
mod write;

pub use budget::{Budget, Relieved, Spare};
pub use collect::{Collected, Pin, Roots};
pub use commit::NewImage;
pub(crate) use convert::{Making, Outgoing, Planned};
pub use index::Sibling;
pub(crate) use index::named_by;
pub(crate) use stack::{Loose, Stacked};
pub use write::NewLayer;

use crate::image::{Image, Layer, parse_config};
use crate::layer::{Limits, Permits};
use crate::{ImageError, chain_id};
use budget::SparesOf;
use collect::{Pins, RootsOf};
use hako_content::{ContentStore, Lease};
use hako_error::Result;
use hako_names::{Digest, ImageRef};
use hako_oci::image::{ImageConfiguration, ImageManifest};
use hako_snapshot::{Snapshotter, State};
use names::Names;
use parking_lot::{Mutex, RwLock};
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use unpack::{Downloads, Flights};

/// All images of one data directory. Cheap to clone; one process owns a directory at a time.
#[derive(Clone)]
pub struct ImageStore {
    inner: Arc<Inner>,
}

struct Inner {
    content: ContentStore,
    snapshots: Arc<dyn Snapshotter>,
    dir: PathBuf,
    names: RwLock<Names>,
    parsed: Mutex<HashMap<Digest, Arc<Parsed>>>,
    /// What each index has that a name stands for.
    indexed: Mutex<HashMap<Digest, Arc<Roots>>>,
    flights: Flights,
    downloads: Downloads,
    pins: Mutex<Pins>,
    roots: Mutex<Vec<RootsOf>>,
    spares: Mutex<Vec<SparesOf>>,
    /// What layers from elsewhere may hold.
    permits: RwLock<Permits>,
    /// Held by the collection that runs.
    collecting: Mutex<()>,
    /// Held by who makes room.
    relieving: Mutex<()>,
}

/// A manifest and its configuration, read once.
struct Parsed {
    id: Digest,
    config: Arc<ImageConfiguration>,
    raw_config: Arc<serde_json::Value>,
    layers: Vec<Layer>,
    /// The snapshot with all layers.
    chain: Option<String>,
    size: u64,
}

/// What removing an image did.
#[derive(Clone, Debug, Default)]
pub struct Removed {
    /// Names that point to nothing now.
    pub untagged: Vec<ImageRef>,
    /// The image's id, if nothing points to it any more and it was deleted.
    pub deleted: Option<Digest>,
    /// What went with it.
    pub collected: Collected,
}

impl fmt::Debug for ImageStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ImageStore").field("dir", &self.inner.dir).finish_non_exhaustive()
    }
}

/// Starts the ids of leases that outlive their process.
const PULL: &str = "pull-";

/// Whether the lease is of a pull of an earlier process.
fn is_of_cut_pull(id: &str) -> bool {
    id.starts_with(PULL) && !id.contains(commit::own_mark())
}

impl ImageStore {
    /// Forgets what pulls that were cut left to be continued, if it is older than `unused_for`; what they had whole
    /// goes with the next collection. Returns how many bytes are free by now.
    pub fn forget_cut_pulls(&self, unused_for: Duration) -> Result<u64> {
        self.content().end_leases(|id, _| is_of_cut_pull(id));
        self.content().drop_partials(unused_for)
    }

    /// An image that is here needs nothing more of earlier attempts at it, whatever these had: one that was cut early
    /// has the documents alone. `top` is what the registry has under the name.
    pub(crate) fn settle_cut_pulls(&self, image: &Image, top: Digest) {
        let layers = image.layers.iter().map(|layer| layer.digest);
        let all: BTreeSet<Digest> = layers.chain([top, image.manifest_digest, image.id]).collect();
        let is_over = |blobs: &BTreeSet<Digest>| blobs.is_empty() || !blobs.is_disjoint(&all);
        self.content().end_leases(|id, blobs| is_of_cut_pull(id) && is_over(blobs));
        self.content().drop_partials_of(all);
    }

    /// Opens or creates the images in `dir`; half-unpacked layers of an earlier process go, and so do its leases,
    /// except those of pulls: what came is there to be continued with.
    pub fn open(
        content: ContentStore,
        snapshots: Arc<dyn Snapshotter>,
        dir: impl AsRef<Path>,
    ) -> Result<Self> {
        let dir = dir.as_ref().to_path_buf();
        let names = RwLock::new(Names::open(&dir)?);
        let used = dir.join("used");
        std::fs::create_dir_all(&used).map_err(ImageError::io("create", &used))?;
        for info in snapshots.list() {
            if info.name.starts_with(unpack::KEY_PREFIX) && info.state != State::Committed {
                snapshots.remove(&info.name)?;
            }
        }
        content.end_leases(|id, _| !id.starts_with(PULL) && !id.contains(commit::own_mark()));
        let inner = Inner {
            content,
            snapshots,
            dir,
            names,
            parsed: Mutex::default(),
            indexed: Mutex::default(),
            flights: Flights::default(),
            downloads: Downloads::default(),
            pins: Mutex::default(),
            roots: Mutex::default(),
            spares: Mutex::default(),
            permits: RwLock::new(Permits::LAYER),
            collecting: Mutex::default(),
            relieving: Mutex::default(),
        };
        let store = Self { inner: Arc::new(inner) };
        store.forget_converted();
        Ok(store)
    }

    /// Layers may hold that from now on, those from elsewhere and those that are written here.
    pub fn permit(&self, permits: Permits) {
        *self.inner.permits.write() = permits;
    }

    pub(crate) fn permits(&self) -> Permits {
        *self.inner.permits.read()
    }

    /// What a layer stored in `size` bytes may unpack to.
    #[must_use]
    pub fn layer_limits(&self, size: u64) -> Limits {
        Limits::for_blob(size).permitting(self.permits())
    }

    /// The content store below.
    #[must_use]
    pub fn content(&self) -> &ContentStore {
        &self.inner.content
    }

    /// The snapshots below.
    #[must_use]
    pub fn snapshots(&self) -> &Arc<dyn Snapshotter> {
        &self.inner.snapshots
    }

    /// The directory the store was opened in; users of the store may keep state in subdirectories of their own.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.inner.dir
    }

    /// The image of that name. With a digest in the name, the image must have it as manifest digest or id, or be the
    /// one of an index with that digest that is for this machine.
    pub fn resolve(&self, name: &ImageRef) -> Result<Image> {
        let manifest = match name.digest() {
            Some(digest) => {
                let known = self.inner.names.read().get(&name.with_digest(digest));
                known.filter(|manifest| self.stands_for(digest, *manifest)).or_else(|| self.by_digest(digest))
            }
            None => self.inner.names.read().get(name),
        };
        let manifest = manifest.ok_or_else(|| ImageError::NotFound { name: name.to_string() })?;
        let mut image = self.image(manifest)?;
        image.index = match name.digest() {
            Some(digest) => image.index.filter(|index| *index == digest),
            None => self.inner.names.read().index_of(name),
        };
        image.name = Some(name.clone());
        Ok(image)
    }

    /// The image that people mean by `text`: a name, an id (with or without `sha256:`), or the unique start of
    /// an id.
    pub fn find(&self, text: &str) -> Result<Image> {
        if let Ok(digest) = text.parse::<Digest>() {
            let manifest = self.by_digest(digest);
            return self.image(manifest.ok_or_else(|| ImageError::NotFound { name: text.into() })?);
        }
        match text.parse::<ImageRef>().map(|name| self.resolve(&name)) {
            Ok(Err(error)) if error.is_not_found() => self.by_prefix(text)?.ok_or(error),
            Ok(found) => found,
            Err(unparsable) => self.by_prefix(text)?.ok_or_else(|| unparsable.into()),
        }
    }

    fn by_digest(&self, digest: Digest) -> Option<Digest> {
        let (known, of_index) = {
            let names = self.inner.names.read();
            (names.manifests(), names.manifest_of(digest))
        };
        if known.contains(&digest) {
            return Some(digest);
        }
        let has_id = |manifest: &Digest| self.parsed(*manifest).is_ok_and(|parsed| parsed.id == digest);
        let forms: Vec<Digest> = known.into_iter().filter(has_id).collect();
        // The same image may be here in several forms of its layers: the one that has a name is meant.
        let names = self.inner.names.read();
        let named = forms.iter().find(|manifest| !names.names_of(**manifest).is_empty());
        named.or(forms.first()).copied().or(of_index)
    }

    fn by_prefix(&self, text: &str) -> Result<Option<Image>> {
        let digits = text.strip_prefix("sha256:").unwrap_or(text);
        let is_prefix = (4..=64).contains(&digits.len())
            && digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !is_prefix {
            return Ok(None);
        }
        let images = self.list()?;
        let matching: BTreeSet<Digest> =
            images.iter().map(|image| image.id).filter(|id| id.hex().starts_with(digits)).collect();
        match matching.len() {
            0 | 1 => matching.first().and_then(|id| self.by_digest(*id)).map(|it| self.image(it)).transpose(),
            count => Err(ImageError::Ambiguous { prefix: text.into(), count }.into()),
        }
    }

    /// Every image once, newest first.
    pub fn list(&self) -> Result<Vec<Image>> {
        let manifests = self.inner.names.read().manifests();
        let mut images = Vec::new();
        for manifest in manifests {
            match self.image(manifest) {
                Ok(image) => images.push(image),
                Err(error) => tracing::warn!(%manifest, error = error.chain(), "an image cannot be read"),
            }
        }
        images.sort_by_key(|image| (std::cmp::Reverse(image.created()), image.id));
        Ok(images)
    }

    /// Points another name to an image; an image that loses its last name by this stays, without a name.
    pub fn tag(&self, image: &Image, name: &ImageRef) -> Result<Image> {
        // Its last other name may be on its way out.
        let lease = self.lease("tag")?;
        self.hold(image, &lease)?;
        self.rename(|names| names.set(name, image.manifest_digest, image.index))?;
        self.resolve(name)
    }

    /// Protects all that an image has, also from losing its last name.
    pub(crate) fn hold(&self, image: &Image, lease: &Lease) -> Result<()> {
        let layers = image.layers.iter().map(|layer| layer.digest);
        layers.chain([image.id, image.manifest_digest]).try_for_each(|blob| lease.protect(blob))?;
        match image.index {
            Some(index) => self.indexed(index)?.blobs.iter().try_for_each(|blob| lease.protect(*blob)),
            None => Ok(()),
        }
    }

    /// The image that a registry calls so.
    pub(crate) fn called(&self, name: &ImageRef) -> Option<Image> {
        let manifest = self.inner.names.read().get(name)?;
        let is_it = name.digest().is_some_and(|digest| self.stands_for(digest, manifest));
        self.image(manifest).ok().filter(|_| is_it)
    }

    /// Whether any image here was pulled from or pushed to the repository of `name`.
    pub(crate) fn knows_repository(&self, name: &ImageRef) -> bool {
        self.inner.names.read().knows_repository(name)
    }

    /// Removes the name `text`, or the image with that id; the image goes with its last name. An id with
    /// several names needs `force`.
    pub fn remove(&self, text: &str, force: bool) -> Result<Removed> {
        let image = self.find(text)?;
        if let Some(digest) = image.name.clone().filter(|name| name.digest().is_some())
            && !image.names.is_empty()
            && image.repo_digests.contains(&digest)
        {
            // Only what a registry calls it goes; its tags stay.
            self.inner.names.write().unset(&digest)?;
            return Ok(Removed { untagged: vec![digest], ..Removed::default() });
        }
        let named = image.name.clone().filter(|name| name.digest().is_none() && image.names.contains(name));
        let untagged = match named {
            Some(name) => vec![name],
            None if image.names.len() > 1 && !force => {
                let names: Vec<String> = image.names.iter().map(ToString::to_string).collect();
                return Err(ImageError::Named { id: image.id.short(), names: names.join(", ") }.into());
            }
            None => image.names.clone(),
        };
        self.let_go(&image, untagged, |_| true)
    }

    /// Removes an image of a list with all of its names, unless others have come or gone meanwhile: then it is not
    /// found. Other forms of the same image stay.
    pub fn remove_listed(&self, image: &Image) -> Result<Removed> {
        let is_as_listed = |names: &Names| {
            let is_known = names.manifests().contains(&image.manifest_digest);
            is_known && names.names_of(image.manifest_digest) == image.names
        };
        self.let_go(image, image.names.clone(), is_as_listed)
    }

    /// Takes these names from an image, which goes with its last one.
    fn let_go(
        &self,
        image: &Image,
        untagged: Vec<ImageRef>,
        is_meant: impl FnOnce(&Names) -> bool,
    ) -> Result<Removed> {
        let (is_gone, mut pieces) = self.renaming(|names| {
            if !is_meant(names) {
                return Err(ImageError::NotFound { name: image.manifest_digest.to_string() }.into());
            }
            for name in &untagged {
                names.unset(name)?;
            }
            let is_gone = names.names_of(image.manifest_digest).is_empty();
            if is_gone {
                names.drop_image(image.manifest_digest)?;
            }
            Ok(is_gone)
        })?;
        if is_gone {
            self.untouch(image.manifest_digest);
            let parsed = self.inner.parsed.lock().remove(&image.manifest_digest);
            if let Some(parsed) = parsed {
                pieces.add(Self::pieces(&parsed, image.manifest_digest, &image.repo_digests));
            }
        }
        let is_loose = is_gone || !pieces.blobs.is_empty();
        let collected = if is_loose { self.collect_among(pieces)? } else { Collected::default() };
        Ok(Removed { untagged, deleted: is_gone.then_some(image.id), collected })
    }

    /// The image whose manifest is in the content store.
    pub(crate) fn image(&self, manifest_digest: Digest) -> Result<Image> {
        let parsed = self.parsed(manifest_digest)?;
        let (names, repo_digests, index) = {
            let table = self.inner.names.read();
            let index = table.index_with(manifest_digest);
            (table.names_of(manifest_digest), table.digests_of(manifest_digest), index)
        };
        Ok(Image {
            name: None,
            names,
            repo_digests,
            manifest_digest,
            index,
            id: parsed.id,
            config: parsed.config.clone(),
            raw_config: parsed.raw_config.clone(),
            layers: parsed.layers.clone(),
            size: parsed.size,
        })
    }

    fn parsed(&self, manifest_digest: Digest) -> Result<Arc<Parsed>> {
        if let Some(parsed) = self.inner.parsed.lock().get(&manifest_digest) {
            return Ok(parsed.clone());
        }
        let parsed = Arc::new(self.parse(manifest_digest)?);
        self.inner.parsed.lock().insert(manifest_digest, parsed.clone());
        Ok(parsed)
    }

    fn parse(&self, manifest_digest: Digest) -> Result<Parsed> {
        let content = &self.inner.content;
        let bytes = content.read(manifest_digest)?;
        let what = format!("manifest {manifest_digest}");
        let manifest: ImageManifest = serde_json::from_slice(&bytes)
            .map_err(|source| ImageError::Document { what: what.clone(), source })?;
        let id: Digest = manifest.config().digest().to_string().parse()?;
        let config_bytes = content.read(id)?;
        let what_config = format!("image configuration {id}");
        let config = parse_config(&config_bytes, &what_config)?;
        let raw_config = serde_json::from_slice(&config_bytes)
            .map_err(|source| ImageError::Document { what: what_config, source })?;
        let diff_ids = config.rootfs().diff_ids();
        if diff_ids.len() != manifest.layers().len() {
            let reason =
                format!("it lists {} layers, its configuration {}", manifest.layers().len(), diff_ids.len());
            return Err(ImageError::Unusable { what, reason }.into());
        }
        let mut size = (bytes.len() + config_bytes.len()) as u64;
        let mut layers = Vec::new();
        for (layer, diff_id) in manifest.layers().iter().zip(diff_ids) {
            size += layer.size();
            layers.push(Layer {
                digest: layer.digest().to_string().parse()?,
                size: layer.size(),
                media_type: layer.media_type().to_string(),
                diff_id: diff_id.parse()?,
                annotations: layer.annotations().clone().unwrap_or_default().into_iter().collect(),
            });
        }
        let chain = chain_id(layers.iter().map(|layer: &Layer| layer.diff_id)).map(|id| id.hex());
        Ok(Parsed { id, config: Arc::new(config), raw_config: Arc::new(raw_config), layers, chain, size })
    }
}

#[cfg(test)]
mod stack_tests;
#[cfg(test)]
mod tests;
