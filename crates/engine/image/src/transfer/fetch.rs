//! One layer from the registry, or from the content store, to a directory of its own.

use super::pipe::{Alive, Ingest, Job, Origin, Outcome, Pipe};
use super::{LayerState, Progress};
use crate::chunked::Index;
use crate::remote::{BlobStream, RemoteClient, RemoteError};
use crate::store::{ImageStore, Loose};
use crate::{ImageError, Layer};
use hako_content::Lease;
use hako_error::Result;
use hako_oci::media_type;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use tokio::sync::OnceCell;

/// How many bytes come between two events of progress.
const STEP: u64 = 512 << 10;

/// A layer to be fetched.
pub(super) struct Fetching {
    pub(super) store: ImageStore,
    pub(super) client: RemoteClient,
    pub(super) repository: String,
    pub(super) layer: Layer,
    pub(super) is_bottom: bool,
    pub(super) unpack: bool,
    /// Whether it is the first of several equal layers.
    pub(super) counts: bool,
    pub(super) lease: Arc<Lease>,
    pub(super) progress: Progress,
    pub(super) alive: Alive,
    /// The parts of layers that are here; made by the first layer that can use it.
    pub(super) index: Arc<OnceCell<Index>>,
    /// Set when the whole pull is refused: what came of other layers is then not kept either.
    pub(super) is_spoiled: Arc<AtomicBool>,
}

/// A layer that is in the content store.
pub(super) struct Fetched {
    /// What it was unpacked to, if it was and needs nothing from below.
    pub(super) loose: Option<Loose>,
    pub(super) moved: u64,
    pub(super) saved: u64,
    /// How much of `saved` are chunks of other layers.
    pub(super) chunks_saved: u64,
}

impl Fetching {
    pub(super) async fn run(self) -> Result<Fetched> {
        let digest = self.layer.digest;
        let compression = media_type::layer_compression(&self.layer.media_type).ok_or_else(|| {
            let (digest, media_type) = (digest.to_string(), self.layer.media_type.clone());
            ImageError::MediaType { digest, media_type }
        })?;
        let job = Job {
            digest,
            size: self.layer.size,
            diff_id: self.layer.diff_id,
            compression,
            is_bottom: self.is_bottom,
            unpack: self.unpack,
        };
        let _alone = self.store.download_alone(digest).await;
        if self.lease.protect(digest).is_ok() {
            self.progress.layer(digest, LayerState::Exists);
            return self.take_here(&job).await;
        }
        if let Some(fetched) = self.take_chunks(&job).await? {
            return Ok(fetched);
        }
        self.take_from_registry(&job).await
    }

    async fn take_here(&self, job: &Job) -> Result<Fetched> {
        let saved = if self.counts { job.size } else { 0 };
        if !job.unpack {
            return Ok(Fetched { loose: None, moved: 0, saved, chunks_saved: 0 });
        }
        let blob = self.store.content().open_blob(job.digest)?;
        let mut pipe = Pipe::start(&self.store, job, Origin::Blob(blob), &self.alive)?;
        pipe.replayed().await;
        self.progress.layer(job.digest, LayerState::Extracting { done: 0, total: job.size });
        let outcome = pipe.finish(job, &self.lease, true).await?;
        Ok(Fetched { loose: loose_of(outcome), moved: 0, saved, chunks_saved: 0 })
    }

    async fn take_from_registry(&self, job: &Job) -> Result<Fetched> {
        let writer = self.store.content().resume(job.digest, format!("layer {}", job.digest))?;
        let origin = Origin::Network(Box::new(Ingest::new(writer.under(&self.lease), &self.is_spoiled)));
        let mut pipe = Pipe::start(&self.store, job, origin, &self.alive)?;
        let start = pipe.replayed().await;
        if start > 0 {
            self.progress.layer(job.digest, LayerState::Resuming { at: start });
        }
        let received = self.receive(job, &pipe, start).await;
        if received.is_ok() {
            self.progress.layer(job.digest, LayerState::Verifying);
        }
        let outcome = pipe.finish(job, &self.lease, received.is_ok()).await;
        match (received, outcome) {
            (Ok(moved), outcome) => {
                Ok(Fetched { loose: loose_of(outcome?), moved, saved: start, chunks_saved: 0 })
            }
            // The stages' own refusal is what ended the transfer, if there is one.
            (Err(Interrupted::Unwanted), outcome) => Err(outcome.err().unwrap_or_else(super::pipe::gone)),
            (Err(Interrupted::Network(error)), _) => Err(error.into()),
        }
    }

    /// Feeds the pipe from byte `start` on; a broken connection is continued where it broke. Returns how many
    /// bytes came.
    async fn receive(&self, job: &Job, pipe: &Pipe, start: u64) -> Result<u64, Interrupted> {
        let (mut at, mut failures, mut told) = (start, 0, start);
        while at < job.size {
            let before = at;
            // Opening it was tried often enough by the client itself.
            let opened = self.client.get_blob(&self.repository, job.digest, at).await?;
            let error = match self.stream(job, pipe, opened, &mut at, &mut told).await {
                Ok(()) if at == job.size => break,
                Ok(()) => self.short(job, at),
                Err(Interrupted::Network(error)) => error,
                Err(unwanted) => return Err(unwanted),
            };
            if at > before {
                failures = 0;
            }
            let is_short = matches!(error, RemoteError::Protocol { .. });
            if !(error.is_transient() || is_short && at > before) || failures >= self.client.options().retries
            {
                return Err(Interrupted::Network(error));
            }
            tracing::debug!(layer = %job.digest, at, %error, "a download is continued");
            self.progress.layer(job.digest, LayerState::Resuming { at });
            tokio::time::sleep(self.client.wait_before(failures, &error)).await;
            failures += 1;
        }
        self.progress.layer(job.digest, LayerState::Downloading { done: at, total: job.size });
        Ok(at - start)
    }

    pub(super) async fn stream(
        &self,
        job: &Job,
        pipe: &Pipe,
        mut stream: BlobStream,
        at: &mut u64,
        told: &mut u64,
    ) -> Result<(), Interrupted> {
        if stream.total().is_some_and(|total| total != job.size) {
            return Err(self.wrong_size(job, stream.total().unwrap_or(0)).into());
        }
        while let Some(bytes) = stream.chunk().await? {
            *at += bytes.len() as u64;
            if *at > job.size {
                return Err(self.wrong_size(job, *at).into());
            }
            if !pipe.send(bytes).await {
                return Err(Interrupted::Unwanted);
            }
            if *at - *told >= STEP {
                *told = *at;
                let state = LayerState::Downloading { done: *at, total: job.size };
                self.progress.layer(job.digest, state);
            }
        }
        Ok(())
    }

    fn wrong_size(&self, job: &Job, actual: u64) -> RemoteError {
        let reason = format!("size mismatch, the manifest says {} bytes, it has {actual}", job.size);
        self.protocol(job, reason)
    }

    fn short(&self, job: &Job, at: u64) -> RemoteError {
        self.protocol(job, format!("size mismatch, it ended after {at} of {} bytes", job.size))
    }

    fn protocol(&self, job: &Job, reason: String) -> RemoteError {
        let (host, what) = (self.client.host().to_owned(), format!("layer {}", job.digest));
        RemoteError::Protocol { host, what, reason }
    }
}

/// Why not all bytes came.
pub(super) enum Interrupted {
    /// The network's or the registry's fault.
    Network(RemoteError),
    /// The bytes are refused, or cannot be stored.
    Unwanted,
}

impl From<RemoteError> for Interrupted {
    fn from(error: RemoteError) -> Self {
        Self::Network(error)
    }
}

pub(super) fn loose_of(outcome: Outcome) -> Option<Loose> {
    match outcome {
        Outcome::Unpacked(loose) => Some(loose),
        Outcome::Stored | Outcome::NeedsMerged => None,
    }
}
