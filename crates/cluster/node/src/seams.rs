//! What the node needs of others besides the engine and the API.

use async_trait::async_trait;
use hako_error::{Error, Kind, Result};
use hako_image::ImageStore;
use hako_names::ImageRef;
use std::net::IpAddr;
use std::sync::Arc;
use tokio::time::Instant;

/// Keeps connections away from a pod that is about to end; implemented over the dataplane.
#[async_trait]
pub trait EndpointDrain: Send + Sync + 'static {
    /// Returns once no new connection can reach `ip` and those that were open have ended, or at `deadline`.
    /// With a deadline that has passed it only withdraws.
    async fn withdraw(&self, ip: IpAddr, deadline: Instant) -> Result<()>;

    /// Ends a withdrawal: the address is free for another pod.
    async fn readmit(&self, ip: IpAddr) -> Result<()>;
}

/// A drain for nodes without a dataplane: there is nobody to keep away.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDrain;

#[async_trait]
impl EndpointDrain for NoDrain {
    async fn withdraw(&self, _ip: IpAddr, _deadline: Instant) -> Result<()> {
        Ok(())
    }

    async fn readmit(&self, _ip: IpAddr) -> Result<()> {
        Ok(())
    }
}

/// An image of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalImage {
    /// All names that point to it.
    pub names: Vec<String>,
    /// Its id, `sha256:…`.
    pub id: String,
    /// Bytes as stored.
    pub size: u64,
    /// Whom it runs as, `user[:group]`; empty is root.
    pub user: String,
}

/// Which images are here, and how others get here.
#[async_trait]
pub trait Images: Send + Sync + 'static {
    /// The image `name` points to, `None` when it is not here.
    async fn find(&self, name: &ImageRef) -> Result<Option<LocalImage>>;

    /// Brings the image here. `Unimplemented` where no registry can be asked.
    async fn pull(&self, name: &ImageRef) -> Result<LocalImage>;

    /// All images, for the node's status.
    async fn list(&self) -> Result<Vec<LocalImage>>;
}

/// The images of the machine's store; nothing is pulled.
#[derive(Clone)]
pub struct StoredImages(pub Arc<ImageStore>);

impl std::fmt::Debug for StoredImages {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StoredImages").finish_non_exhaustive()
    }
}

fn local(image: &hako_image::Image) -> LocalImage {
    LocalImage {
        names: image.names.iter().map(ToString::to_string).collect(),
        id: image.id.to_string(),
        size: image.size,
        user: user_of(image),
    }
}

fn user_of(image: &hako_image::Image) -> String {
    let config = image.config.config().as_ref();
    config.and_then(|config| config.user().clone()).unwrap_or_default()
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined
        .unwrap_or_else(|error| Err(Error::new(Kind::Internal, "image store task ended").with_source(error)))
}

#[async_trait]
impl Images for StoredImages {
    async fn find(&self, name: &ImageRef) -> Result<Option<LocalImage>> {
        let (store, name) = (Arc::clone(&self.0), name.clone());
        match blocking(move || store.resolve(&name)).await {
            Ok(image) => Ok(Some(local(&image))),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn pull(&self, name: &ImageRef) -> Result<LocalImage> {
        Err(Error::new(
            Kind::Unimplemented,
            format!(
                "image {name} is not on this node and pulling is not built yet, build it with \"hako build -t {name} DIR\" or import it with \"hako image import ROOTFS.tar {name}\""
            ),
        ))
    }

    async fn list(&self) -> Result<Vec<LocalImage>> {
        let store = Arc::clone(&self.0);
        let images = blocking(move || store.list()).await?;
        Ok(images.iter().map(local).collect())
    }
}
