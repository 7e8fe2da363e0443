//! From a registry into the stores.

use super::document::{self, CONFIG_LIMIT, Descriptor, Document, Manifest};
use super::fetch::{Fetched, Fetching};
use super::pipe::{Alive, blocking};
use super::places::Places;
use super::{Event, LayerState, Platform, Progress};
use crate::remote::{RemoteClient, RemoteError, RemoteManifest, RemoteOptions};
use crate::store::{Loose, Pin, Stacked};
use crate::{Budget, Image, ImageError, ImageStore, Layer, chain_id};
use hako_content::{Expected, Lease};
use hako_error::{Kind, Result};
use hako_names::{Digest, ImageRef};
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::{OnceCell, mpsc};

/// How an image is pulled.
#[derive(Clone, Debug)]
pub struct PullOptions {
    /// How the registry is spoken to, where `client` is not given.
    pub remote: RemoteOptions,
    /// A client to use: its connections and tokens are shared with other calls.
    pub client: Option<RemoteClient>,
    /// Which manifest of an index is wanted.
    pub platform: Platform,
    /// How many layers are moved at the same time.
    pub parallel: usize,
    /// Whether layers are unpacked as they come.
    pub unpack: bool,
    /// Whether the name is pointed to the image. Otherwise it stays without one, beside what has the name.
    pub is_named: bool,
    /// When unused images go to make room; `None` for never.
    pub budget: Option<Budget>,
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            remote: RemoteOptions::default(),
            client: None,
            platform: Platform::host(),
            parallel: 4,
            unpack: true,
            is_named: true,
            budget: Some(Budget::default()),
        }
    }
}

/// What a pull did.
#[derive(Clone, Debug)]
pub struct Pulled {
    /// The image, complete.
    pub image: Image,
    /// The digest that the registry has under the name: of the index, where it is one.
    pub digest: Digest,
    /// Whether the name pointed to it already and nothing had to be moved.
    pub is_up_to_date: bool,
    /// Bytes of layers and configuration that came over the network.
    pub moved: u64,
    /// Bytes of the image's layers that did not have to.
    pub saved: u64,
}

/// Brings the image `name` here and points the name to it. A failure leaves names as they were.
pub async fn pull(
    store: &ImageStore,
    name: &ImageRef,
    options: &PullOptions,
    progress: &Progress,
) -> Result<Pulled> {
    let client = match &options.client {
        Some(client) => client.clone(),
        None => RemoteClient::new(name.registry(), options.remote.clone())?,
    };
    let (alive, mut all_gone) = mpsc::channel(1);
    let pull = Pull { store, name, options, progress, client, alive };
    let pulled = pull.run().await;
    // Threads that were cut off remove what they had begun: nothing of it is left when this returns.
    drop(pull);
    let _ = all_gone.recv().await;
    let pulled = pulled.map_err(|error| error.context(format!("cannot pull {name}")))?;
    let Pulled { digest, is_up_to_date, moved, saved, .. } = pulled;
    progress.tell(Event::Finished { digest, is_up_to_date, moved, saved });
    Ok(pulled)
}

struct Pull<'a> {
    store: &'a ImageStore,
    name: &'a ImageRef,
    options: &'a PullOptions,
    progress: &'a Progress,
    client: RemoteClient,
    alive: Alive,
}

/// An image's documents, parsed and stored.
struct Plan {
    /// Of the index, where there is one.
    digest: Digest,
    manifest: Digest,
    layers: Vec<Layer>,
    moved: u64,
}

impl Pull<'_> {
    async fn run(&self) -> Result<Pulled> {
        let reference = reference(self.name);
        if let Some(found) = self.present(&reference).await? {
            return Ok(found);
        }
        self.make_room().await;
        let lease = Arc::new(self.store.lease("pull")?);
        let plan = self.plan(&reference, &lease).await?;
        let _pins = pins(self.store, &plan.layers);
        let (mut moved, mut saved) = (plan.moved, 0);
        for fetched in self.layers(&plan.layers, &lease).await? {
            moved += fetched.moved;
            saved += fetched.saved;
        }
        let names: Vec<ImageRef> = self.tag().into_iter().collect();
        // What a registry calls the index is the one for this machine.
        let digest = if self.options.is_named { plan.digest } else { plan.manifest };
        let digests = [self.name.with_digest(digest)];
        let (store, digest) = (self.store.clone(), plan.digest);
        let image = blocking(move || {
            let image = store.point(plan.manifest, &names, &digests)?;
            store.settle_cut_pulls(&image, digest);
            Ok(image)
        })
        .await?;
        self.make_room().await;
        let image = Image { name: Some(self.name.clone()), ..image };
        Ok(Pulled { image, digest, is_up_to_date: false, moved, saved })
    }

    /// The name to point to the image.
    fn tag(&self) -> Option<ImageRef> {
        self.name.tag().filter(|_| self.options.is_named).map(|_| self.name.without_digest())
    }

    /// A pull is what fills disks. What it brought is the newest and stays.
    async fn make_room(&self) {
        let (store, Some(budget)) = (self.store.clone(), self.options.budget) else { return };
        if let Err(error) = blocking(move || store.relieve(&budget)).await {
            tracing::warn!(error = error.chain(), "no room could be made for images");
        }
    }

    /// The image, if the registry has under the name what is here. Costs one HEAD.
    async fn present(&self, reference: &str) -> Result<Option<Pulled>> {
        let named = self.store.resolve(self.name).ok();
        if named.is_none() && !self.store.knows_repository(self.name) {
            return Ok(None);
        }
        let Some(digest) = self.digest_there(reference).await? else { return Ok(None) };
        let name = self.name.with_digest(digest);
        let is_same = |here: &Image| {
            here.manifest_digest == digest
                || here.repo_digests.contains(&name) && self.store.stands_for(digest, here.manifest_digest)
        };
        let named = named.filter(is_same);
        let is_up_to_date = named.is_some();
        // What was pushed from here, or pulled by another tag, needs only the name.
        let Some(here) = named.or_else(|| self.store.called(&name)) else { return Ok(None) };
        let is_ours =
            here.manifest_digest == digest || self.options.platform.rank(&platform_of(&here)).is_some();
        if !(is_ours && here.layers.iter().all(|layer| self.store.content().exists(layer.digest))) {
            return Ok(None);
        }
        self.progress.tell(Event::Resolved { name: self.name.clone(), digest });
        let saved = here.layers.iter().map(|layer| layer.size).sum();
        if !is_up_to_date {
            here.layers.iter().for_each(|layer| self.progress.layer(layer.digest, LayerState::Exists));
        }
        let image = self.adopt(here, name, is_up_to_date).await?;
        Ok(Some(Pulled { image, digest, is_up_to_date, moved: 0, saved }))
    }

    /// What the registry has under the name now; `None` if only a pull can tell.
    async fn digest_there(&self, reference: &str) -> Result<Option<Digest>> {
        if let Some(digest) = self.name.digest() {
            return Ok(Some(digest));
        }
        match self.client.head_manifest(self.name.repository(), reference).await {
            Ok(head) => Ok(head.and_then(|head| head.digest)),
            // Some registries answer HEAD with less than GET.
            Err(error) if error.status().is_some_and(|status| status.as_u16() >= 404) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives an image that is here the names that it was asked for by, unpacked as a pulled one is.
    async fn adopt(&self, here: Image, digest: ImageRef, is_named: bool) -> Result<Image> {
        let is_unpacked = here.chain_id().is_none_or(|chain| self.store.is_unpacked(&chain));
        let unpack = self.options.unpack && !is_unpacked;
        let is_known = here.repo_digests.contains(&digest);
        let tag = self.tag().filter(|_| !is_named);
        let store = self.store.clone();
        let image = blocking(move || {
            if let Some(top) = digest.digest() {
                store.settle_cut_pulls(&here, top);
            }
            if unpack {
                store.unpack(&here)?;
            }
            if is_known && tag.is_none() {
                return Ok(here);
            }
            let names: Vec<ImageRef> = tag.into_iter().collect();
            let lease = store.lease("pull")?;
            store.hold(&here, &lease)?;
            store.point(here.manifest_digest, &names, &[digest])
        })
        .await?;
        Ok(Image { name: Some(self.name.clone()), ..image })
    }

    /// Fetches index, manifest and configuration.
    async fn plan(&self, reference: &str, lease: &Arc<Lease>) -> Result<Plan> {
        let top = self.manifest(reference).await?;
        let digest = top.digest;
        self.progress.tell(Event::Resolved { name: self.name.clone(), digest });
        let what = format!("manifest {}", self.name);
        self.keep(&what, &top, lease).await?;
        let (found, manifest) = match document::parse(&what, &top.media_type, &top.bytes)? {
            Document::Manifest(manifest) => (top, manifest),
            Document::Index(manifests) => self.of_platform(&manifests, lease).await?,
        };
        let (config, moved) = self.config(&manifest, lease).await?;
        let layers = layers_of(&what, &manifest, &config)?;
        Ok(Plan { digest, manifest: found.digest, layers, moved })
    }

    async fn of_platform(
        &self,
        manifests: &[Descriptor],
        lease: &Arc<Lease>,
    ) -> Result<(RemoteManifest, Manifest)> {
        let what = format!("index {}", self.name);
        let chosen = document::select(&what, manifests, &self.options.platform)?;
        let found = self.manifest(&chosen.digest.to_string()).await?;
        if found.bytes.len() as u64 != chosen.size {
            let reason = format!(
                "manifest {} has {} bytes, the index says {}",
                chosen.digest,
                found.bytes.len(),
                chosen.size
            );
            return Err(ImageError::Unusable { what, reason }.into());
        }
        let name = format!("manifest {}", chosen.digest);
        let said = if found.media_type.is_empty() { &chosen.media_type } else { &found.media_type };
        let Document::Manifest(manifest) = document::parse(&name, said, &found.bytes)? else {
            let reason = format!("{name} is an index again");
            return Err(ImageError::Unusable { what, reason }.into());
        };
        self.keep(&name, &found, lease).await?;
        Ok((found, manifest))
    }

    /// A manifest, from here if it is known by digest, else from the registry.
    async fn manifest(&self, reference: &str) -> Result<RemoteManifest> {
        if let Ok(digest) = reference.parse::<Digest>()
            && let Ok(bytes) = self.store.content().read(digest)
        {
            return Ok(RemoteManifest { bytes: bytes.into(), media_type: String::new(), digest });
        }
        Ok(self.client.get_manifest(self.name.repository(), reference).await?)
    }

    async fn keep(&self, what: &str, found: &RemoteManifest, lease: &Arc<Lease>) -> Result<()> {
        let (content, what) = (self.store.content().clone(), what.to_owned());
        let (bytes, lease) = (found.bytes.clone(), lease.clone());
        blocking(move || content.put(&what, &bytes, Some(&lease)).map(drop)).await
    }

    /// The configuration's bytes, and how many of them came over the network.
    async fn config(&self, manifest: &Manifest, lease: &Arc<Lease>) -> Result<(Vec<u8>, u64)> {
        let (digest, size) = (manifest.config.digest, manifest.config.size);
        if lease.protect(digest).is_ok()
            && let Ok(bytes) = self.store.content().read(digest)
        {
            return Ok((bytes, 0));
        }
        let mut stream = self.client.get_blob(self.name.repository(), digest, 0).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = stream.chunk().await? {
            if (bytes.len() + piece.len()) as u64 > size.min(CONFIG_LIMIT) {
                let (host, what) = (self.client.host().to_owned(), format!("configuration {digest}"));
                return Err(RemoteError::TooLarge { host, what, limit: size }.into());
            }
            bytes.extend_from_slice(&piece);
        }
        let (content, lease) = (self.store.content().clone(), lease.clone());
        blocking(move || {
            let mut writer = content.writer(format!("configuration {digest}"))?.under(&lease);
            writer.append(&bytes)?;
            writer.commit(Expected { digest: Some(digest), size: Some(size) })?;
            Ok((bytes, size))
        })
        .await
    }

    /// All layers at once, as many at a time as allowed; each is stacked as soon as all below it are.
    async fn layers(&self, layers: &[Layer], lease: &Arc<Lease>) -> Result<Vec<Fetched>> {
        let mut places = Places::new(self.options.parallel);
        let (chains, is_spoiled) = (chains(layers), Arc::new(AtomicBool::new(false)));
        let index = Arc::new(OnceCell::new());
        let mut seen = HashSet::new();
        for (at, layer) in layers.iter().enumerate() {
            self.progress.layer(layer.digest, LayerState::Waiting);
            let fetching = Fetching {
                store: self.store.clone(),
                client: self.client.clone(),
                repository: self.name.repository().to_owned(),
                layer: layer.clone(),
                is_bottom: at == 0,
                unpack: self.options.unpack && !self.store.is_unpacked(&chains[at]),
                counts: seen.insert(layer.digest),
                lease: lease.clone(),
                progress: self.progress.clone(),
                alive: self.alive.clone(),
                index: index.clone(),
                is_spoiled: is_spoiled.clone(),
            };
            places.begin(async move { (at, fetching.run().await) });
        }
        let mut stacking = Stacking { pull: self, layers, chains: &chains, ready: Vec::new(), next: 0 };
        stacking.ready.resize_with(layers.len(), || None);
        let all = stacking.run(&mut places).await;
        if let Err(error) = &all
            && !matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded)
        {
            is_spoiled.store(true, Ordering::Relaxed);
        }
        all
    }
}

/// Layers that wait for those below them.
struct Stacking<'a> {
    pull: &'a Pull<'a>,
    layers: &'a [Layer],
    chains: &'a [String],
    /// By position: whether it came, and what it was unpacked to.
    ready: Vec<Option<(Option<Loose>, u64)>>,
    next: usize,
}

impl Stacking<'_> {
    async fn run(&mut self, places: &mut Places<(usize, Result<Fetched>)>) -> Result<Vec<Fetched>> {
        let mut all = Vec::new();
        while let Some(done) = places.next().await {
            let (at, fetched) = done?;
            let mut fetched = fetched?;
            self.ready[at] = Some((fetched.loose.take(), fetched.chunks_saved));
            all.push(fetched);
            self.advance().await?;
        }
        Ok(all)
    }

    async fn advance(&mut self) -> Result<()> {
        while let Some((loose, saved)) = self.ready.get_mut(self.next).and_then(Option::take) {
            let (at, store) = (self.next, self.pull.store.clone());
            self.next += 1;
            let layer = self.layers[at].clone();
            if self.pull.options.unpack {
                let chain = self.chains[at].clone();
                let parent = at.checked_sub(1).map(|below| self.chains[below].clone());
                blocking(move || {
                    let stacked = match loose {
                        Some(loose) => store.stack(loose, &chain, parent.as_deref())?,
                        None => Stacked::NeedsMerged,
                    };
                    match stacked {
                        Stacked::Done => Ok(()),
                        Stacked::NeedsMerged => store.unpack_layer(&chain, parent.as_deref(), &layer),
                    }
                })
                .await?;
            }
            self.pull.progress.layer(self.layers[at].digest, LayerState::Done { saved });
        }
        Ok(())
    }
}

/// The tag or digest to ask the registry for.
pub(super) fn reference(name: &ImageRef) -> String {
    match (name.digest(), name.tag()) {
        (Some(digest), _) => digest.to_string(),
        (None, tag) => tag.unwrap_or("latest").to_owned(),
    }
}

fn platform_of(image: &Image) -> Platform {
    let text = |key: &str| image.raw_config.get(key).and_then(|value| value.as_str()).unwrap_or_default();
    Platform::new(text("os"), text("architecture"), Some(text("variant")))
}

/// The chain id of each layer.
fn chains(layers: &[Layer]) -> Vec<String> {
    let upto = |end| chain_id(layers[..=end].iter().map(|layer| layer.diff_id));
    (0..layers.len()).filter_map(upto).map(|id| id.hex()).collect()
}

fn pins(store: &ImageStore, layers: &[Layer]) -> Vec<Pin> {
    chains(layers).iter().map(|chain| store.pin(chain)).collect()
}

/// The manifest's layers with the configuration's diff ids.
pub(crate) fn layers_of(what: &str, manifest: &Manifest, config: &[u8]) -> Result<Vec<Layer>> {
    let name = format!("image configuration {}", manifest.config.digest);
    let config = crate::image::parse_config(config, &name)?;
    let diff_ids = config.rootfs().diff_ids();
    if diff_ids.len() != manifest.layers.len() {
        let reason =
            format!("it lists {} layers, its configuration {}", manifest.layers.len(), diff_ids.len());
        return Err(ImageError::Unusable { what: what.to_owned(), reason }.into());
    }
    let pairs = manifest.layers.iter().zip(diff_ids);
    pairs
        .map(|(layer, diff_id)| {
            Ok(Layer {
                digest: layer.digest,
                size: layer.size,
                media_type: layer.media_type.clone(),
                diff_id: diff_id.parse()?,
                annotations: layer.annotations.clone().unwrap_or_default(),
            })
        })
        .collect()
}
