//! Registries as builds use them.

use crate::context::Registry;
use hako_content::Lease;
use hako_error::{Error, Kind, Result};
use hako_image::remote::RemoteOptions;
use hako_image::transfer::{self, Parcel, Platform, Progress, PullOptions, PushOptions};
use hako_image::{Image, ImageStore, Layer, LayerForm};
use hako_names::{Digest, ImageRef};
use std::fmt;
use std::future::Future;

/// Pulls into and pushes from a store; credentials come from `login`.
pub struct Registries {
    images: ImageStore,
    login: Box<dyn Fn(&ImageRef) -> RemoteOptions + Send + Sync>,
}

impl fmt::Debug for Registries {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Registries")
    }
}

impl Registries {
    /// `login` says how the registry of a name is spoken to.
    pub fn new(
        images: ImageStore,
        login: impl Fn(&ImageRef) -> RemoteOptions + Send + Sync + 'static,
    ) -> Self {
        Self { images, login: Box::new(login) }
    }
}

impl Registries {
    fn bring(&self, name: &ImageRef, platform: &str, is_named: bool) -> Result<Image> {
        let platform: Platform = platform
            .parse()
            .map_err(|source| Error::new(Kind::Invalid, "the platform").with_source(source))?;
        let options =
            PullOptions { remote: (self.login)(name), platform, is_named, ..PullOptions::default() };
        Ok(wait(transfer::pull(&self.images, name, &options, &Progress::none()))?.image)
    }

    fn read<T>(
        &self,
        name: &ImageRef,
        work: impl AsyncFnOnce(&transfer::Repository) -> Result<T>,
    ) -> Result<T> {
        // Inside the runtime: a client has connections.
        wait(async { work(&transfer::Repository::new(name, (self.login)(name))?).await })
    }
}

/// Waits for a transfer from a thread that may block.
fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let failed = |source| Error::new(Kind::Internal, "no runtime to reach a registry by").with_source(source);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(work)
}

impl Registry for Registries {
    fn pull(&self, name: &ImageRef, platform: &str) -> Result<Image> {
        self.bring(name, platform, true)
    }

    fn pull_beside(&self, name: &ImageRef, platform: &str) -> Result<Image> {
        self.bring(name, platform, false)
    }

    fn push(&self, image: &Image, name: &ImageRef, form: Option<LayerForm>) -> Result<Digest> {
        let options = PushOptions { remote: (self.login)(name), form, ..PushOptions::default() };
        Ok(wait(transfer::push(&self.images, image, name, &options, &Progress::none()))?.digest)
    }

    fn manifest(&self, name: &ImageRef, digest: Option<Digest>) -> Result<Vec<u8>> {
        Ok(self.read(name, async |repository| repository.manifest(digest).await)?.bytes.to_vec())
    }

    fn has(&self, name: &ImageRef, digest: Digest) -> Result<bool> {
        self.read(name, async |repository| repository.has(digest).await)
    }

    fn bytes(&self, name: &ImageRef, digest: Digest, size: u64) -> Result<Vec<u8>> {
        self.read(name, async |repository| repository.bytes(digest, size).await)
    }

    fn layer(&self, name: &ImageRef, layer: &Layer, lease: &Lease) -> Result<()> {
        self.read(name, async |repository| repository.layer(&self.images, layer, lease).await)
    }

    fn send(&self, name: &ImageRef, parcel: &Parcel) -> Result<()> {
        let options = PushOptions { remote: (self.login)(name), ..PushOptions::default() };
        wait(transfer::push_documents(&self.images, parcel, name, &options, &Progress::none()))
    }
}
