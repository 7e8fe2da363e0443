//! Registries as builds use them.

use crate::context::Registry;
use hako_error::{Error, Kind, Result};
use hako_image::remote::RemoteOptions;
use hako_image::transfer::{self, Platform, Progress, PullOptions, PushOptions};
use hako_image::{Image, ImageStore, LayerForm};
use hako_names::ImageRef;
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

/// Waits for a transfer from a thread that may block.
fn wait<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let failed = |source| Error::new(Kind::Internal, "no runtime to reach a registry by").with_source(source);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(work)
}

impl Registry for Registries {
    fn pull(&self, name: &ImageRef, platform: &str) -> Result<Image> {
        let platform: Platform = platform
            .parse()
            .map_err(|source| Error::new(Kind::Invalid, "the platform").with_source(source))?;
        let options = PullOptions { remote: (self.login)(name), platform, ..PullOptions::default() };
        Ok(wait(transfer::pull(&self.images, name, &options, &Progress::none()))?.image)
    }

    fn push(&self, image: &Image, name: &ImageRef, form: Option<LayerForm>) -> Result<()> {
        let options = PushOptions { remote: (self.login)(name), form, ..PushOptions::default() };
        wait(transfer::push(&self.images, image, name, &options, &Progress::none())).map(drop)
    }
}
