//! From the stores to a registry.

use super::Progress;
use crate::remote::{RemoteClient, RemoteOptions};
use crate::{Image, ImageStore};
use hako_error::{Error, Kind, Result};
use hako_names::{Digest, ImageRef};

/// How an image is pushed.
#[derive(Clone, Debug)]
pub struct PushOptions {
    /// How the registry is spoken to, where `client` is not given.
    pub remote: RemoteOptions,
    /// A client to use: its connections and tokens are shared with other calls.
    pub client: Option<RemoteClient>,
    /// How many blobs are moved at the same time.
    pub parallel: usize,
    /// The largest piece of a blob in one request, in bytes.
    pub piece: u64,
}

impl Default for PushOptions {
    fn default() -> Self {
        Self { remote: RemoteOptions::default(), client: None, parallel: 4, piece: 1 << 40 }
    }
}

/// What a push did.
#[derive(Clone, Debug)]
pub struct Pushed {
    /// The manifest's digest at the registry.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes that went over the network.
    pub moved: u64,
    /// Bytes of the image's blobs that the registry had or took from elsewhere.
    pub saved: u64,
}

/// Sends `image` to the registry, repository and tag of `name`.
pub async fn push(
    store: &ImageStore,
    image: &Image,
    name: &ImageRef,
    options: &PushOptions,
    progress: &Progress,
) -> Result<Pushed> {
    let _ = (store, image, options, progress);
    Err(Error::new(Kind::Unimplemented, format!("pushing {name} is not built yet")))
}
