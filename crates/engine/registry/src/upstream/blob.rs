//! Blobs from upstream: stored while they are sent to the one who asked first.

use super::Origin;
use super::flights::Flight;
use crate::blobs::BlobBody;
use crate::error::RegistryError;
use crate::name::Repository;
use crate::registry::Registry;
use bytes::Bytes;
use futures::StreamExt as _;
use hako_error::{Error, Kind};
use hako_image::remote::BlobStream;
use hako_names::Digest;
use tokio::sync::mpsc;

/// Pieces on their way to the client; more wait.
const PIECES: usize = 16;

/// What became of a question for a blob.
pub(crate) enum Fetched {
    /// It is here now.
    Here,
    /// It is coming: this many bytes.
    Coming(u64, BlobBody),
}

impl Origin {
    /// The blob's size at the upstream, if it has the blob.
    pub(crate) async fn blob_size(&self, digest: Digest) -> Result<Option<u64>, RegistryError> {
        self.upstream.may_ask()?;
        self.upstream.judge(self.upstream.client.head_blob(&self.name, digest).await)
    }

    /// Fetches a blob that is not here. With `is_streamed` the answer is the blob on its way; else, and for everybody
    /// who asks meanwhile, the blob is here when this returns.
    pub(crate) async fn blob(
        &self,
        registry: &Registry,
        repository: &Repository,
        digest: Digest,
        is_streamed: bool,
    ) -> Result<Fetched, RegistryError> {
        let flight = self.upstream.flights.join(&format!("{repository} {digest}")).await;
        if registry.metadata().link(repository, digest)?.is_some() {
            return Ok(Fetched::Here);
        }
        self.upstream.may_ask()?;
        let stream = self.upstream.judge(self.upstream.client.get_blob(&self.name, digest, 0).await)?;
        let total = stream.total().filter(|_| is_streamed);
        let (sender, receiver) = mpsc::channel(PIECES);
        let sender = total.is_some().then_some(sender);
        let (registry, repository, origin) = (registry.clone(), repository.clone(), self.clone());
        let store = async move { origin.store(&registry, &repository, digest, stream, sender, flight).await };
        match total {
            Some(total) => {
                tokio::spawn(store);
                let stream = tokio_stream::wrappers::ReceiverStream::new(receiver).boxed();
                Ok(Fetched::Coming(total, BlobBody::Stream(stream)))
            }
            None => match tokio::spawn(store).await {
                Ok(stored) => stored.map(|()| Fetched::Here),
                Err(error) => {
                    let ended = Error::new(Kind::Internal, "fetching a blob ended early").with_source(error);
                    Err(RegistryError::storage(ended))
                }
            },
        }
    }

    /// Stores a blob. The client, if there is one, gets the last piece only when the digest was right; one who goes
    /// away does not end the fetch.
    async fn store(
        &self,
        registry: &Registry,
        repository: &Repository,
        digest: Digest,
        mut stream: BlobStream,
        sender: Option<mpsc::Sender<hako_error::Result<Bytes>>>,
        _flight: Flight,
    ) -> Result<(), RegistryError> {
        let mut held: Option<Bytes> = None;
        let pieces = pieces_of(&mut stream, self);
        tokio::pin!(pieces);
        let tee = pieces.then(|piece| {
            let last = piece.as_ref().ok().and_then(|piece| held.replace(piece.clone()));
            let sender = sender.clone();
            async move {
                if let (Some(sender), Some(last)) = (sender, last) {
                    let _ = sender.send(Ok(last)).await;
                }
                piece
            }
        });
        let stored = registry.cache_blob(repository, digest, self.keep(), Box::pin(tee)).await;
        if let Some(sender) = sender {
            let end = match (&stored, held) {
                (Ok(()), Some(last)) => Ok(last),
                (Ok(()), None) => return stored,
                (Err(error), _) => Err(Error::new(Kind::Unavailable, error.to_string())),
            };
            let _ = sender.send(end).await;
        }
        if let Err(error) = &stored {
            tracing::warn!(%repository, %digest, %error, "fetching a blob from upstream failed");
        }
        stored
    }
}

/// The upstream's pieces.
fn pieces_of<'a>(
    stream: &'a mut BlobStream,
    origin: &'a Origin,
) -> impl futures::Stream<Item = Result<Bytes, RegistryError>> + Send + 'a {
    futures::stream::try_unfold(stream, move |stream| async move {
        let piece = origin.upstream.judge(stream.chunk().await)?;
        Ok(piece.map(|piece| (piece, stream)))
    })
}
