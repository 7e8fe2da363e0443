//! Registries as builds use them.

use crate::context::Registry;
use crate::error::BuildError;
use hako_content::Lease;
use hako_error::{Error, Kind, Result};
use hako_image::remote::RemoteOptions;
use hako_image::transfer::{self, Parcel, Platform, Progress, PullOptions, PushOptions, Stop};
use hako_image::{Image, ImageStore, Layer, LayerForm};
use hako_names::{Digest, ImageRef};
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// How long a build that is over may still wait for a registry.
const LOOK: Duration = Duration::from_millis(50);

/// Pulls into and pushes from a store; credentials come from `login`.
pub struct Registries {
    images: ImageStore,
    login: Arc<dyn Fn(&ImageRef) -> RemoteOptions + Send + Sync>,
    stop: Stop,
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
        Self { images, login: Arc::new(login), stop: Stop::default() }
    }
}

impl Registries {
    fn bring(&self, name: &ImageRef, platform: &str, is_named: bool) -> Result<Image> {
        let platform: Platform = platform
            .parse()
            .map_err(|source| Error::new(Kind::Invalid, "the platform").with_source(source))?;
        let options =
            PullOptions { remote: (self.login)(name), platform, is_named, ..PullOptions::default() };
        Ok(self.wait(transfer::pull(&self.images, name, &options, &self.progress()))?.image)
    }

    fn read<T>(
        &self,
        name: &ImageRef,
        work: impl AsyncFnOnce(&transfer::Repository) -> Result<T>,
    ) -> Result<T> {
        // Inside the runtime: a client has connections.
        self.wait(async { work(&transfer::Repository::new(name, (self.login)(name))?).await })
    }

    fn progress(&self) -> Progress {
        Progress::none().until(&self.stop)
    }

    /// Waits for a transfer from a thread that may block, until it is stopped.
    fn wait<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        let failed =
            |source| Error::new(Kind::Internal, "no runtime to reach a registry by").with_source(source);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        runtime.block_on(async {
            tokio::select! {
                done = work => done,
                () = self.stopped() => Err(BuildError::Cancelled.into()),
            }
        })
    }

    async fn stopped(&self) {
        while !self.stop.is_wanted() {
            tokio::time::sleep(LOOK).await;
        }
    }
}

impl Registry for Registries {
    fn until(&self, stop: &Stop) -> Option<Arc<dyn Registry>> {
        let (images, login) = (self.images.clone(), Arc::clone(&self.login));
        Some(Arc::new(Self { images, login, stop: stop.clone() }))
    }

    fn pull(&self, name: &ImageRef, platform: &str) -> Result<Image> {
        self.bring(name, platform, true)
    }

    fn pull_beside(&self, name: &ImageRef, platform: &str) -> Result<Image> {
        self.bring(name, platform, false)
    }

    fn push(&self, image: &Image, name: &ImageRef, form: Option<LayerForm>) -> Result<Digest> {
        let options = PushOptions { remote: (self.login)(name), form, ..PushOptions::default() };
        Ok(self.wait(transfer::push(&self.images, image, name, &options, &self.progress()))?.digest)
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
        self.wait(transfer::push_documents(&self.images, parcel, name, &options, &self.progress()))
    }
}
