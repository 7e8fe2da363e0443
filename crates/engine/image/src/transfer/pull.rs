//! From a registry into the stores.

use super::{Platform, Progress};
use crate::remote::{RemoteClient, RemoteOptions};
use crate::{Image, ImageStore};
use hako_error::{Error, Kind, Result};
use hako_names::{Digest, ImageRef};

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
}

impl Default for PullOptions {
    fn default() -> Self {
        Self {
            remote: RemoteOptions::default(),
            client: None,
            platform: Platform::host(),
            parallel: 4,
            unpack: true,
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
    /// Bytes that came over the network.
    pub moved: u64,
    /// Bytes of the image's layers that did not have to.
    pub saved: u64,
}

/// Brings the image `name` here and points the name to it.
pub async fn pull(
    store: &ImageStore,
    name: &ImageRef,
    options: &PullOptions,
    progress: &Progress,
) -> Result<Pulled> {
    let _ = (store, options, progress);
    Err(Error::new(Kind::Unimplemented, format!("pulling {name} is not built yet")))
}
