//! A registry that runs: stores opened, collector and listener at work.

use crate::blobs::{BlobStore, LocalBlobs};
use crate::error::RegistryError;
use crate::http::{Server, serve};
use crate::registry::{Limits, Registry};
use hako_content::ContentStore;
use hako_error::{Error, Kind, Result};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What a registry is started with.
#[derive(Clone, Debug)]
pub struct Options {
    /// Where it keeps everything.
    pub dir: PathBuf,
    /// Where it listens; port 0 lets the kernel choose.
    pub listen: SocketAddr,
    /// Its bounds.
    pub limits: Limits,
    /// How often garbage is looked for.
    pub collect_every: Duration,
}

/// A running registry.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Service {
    /// Opens the stores and begins to serve.
    pub async fn start(options: Options) -> Result<Self> {
        let dir = options.dir.clone();
        let opened = tokio::task::spawn_blocking(move || open(&dir, options.limits)).await;
        let registry = opened.map_err(|error| {
            Error::new(Kind::Internal, "opening the registry ended early").with_source(error)
        })??;
        let listener = TcpListener::bind(options.listen).await.map_err(|error| {
            Error::new(Kind::Unavailable, format!("cannot listen on {}", options.listen)).with_source(error)
        })?;
        let address = listener.local_addr().unwrap_or(options.listen);
        let stop = CancellationToken::new();
        let collector = tokio::spawn(collector(registry.clone(), options.collect_every, stop.clone()));
        let server = tokio::spawn(serve(Server { listener, registry }, stop.clone()));
        Ok(Self { address, stop, tasks: vec![server, collector] })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends it: no new requests, those under way have ten seconds.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

fn open(dir: &std::path::Path, limits: Limits) -> Result<Registry> {
    let content = ContentStore::open(dir.join("content"))?;
    let blobs: Arc<dyn BlobStore> = Arc::new(LocalBlobs::new(content));
    Ok(Registry::open(&dir.join("metadata.redb"), blobs, limits)?)
}

/// Looks for garbage until the end. What fails is tried again in the next round.
async fn collector(registry: Registry, every: Duration, stop: CancellationToken) {
    let work = async {
        match registry.sweep().await {
            Ok(0) => {}
            Ok(blobs) => tracing::info!(blobs, "removed what a crash had left"),
            Err(error) => report(&error),
        }
        loop {
            match registry.collect().await {
                Ok(done) if done == crate::Collected::default() => {}
                Ok(done) => tracing::info!(?done, "collected garbage"),
                Err(error) => report(&error),
            }
            tokio::time::sleep(every).await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = work => {}
    }
}

fn report(error: &RegistryError) {
    tracing::warn!(error = %error, "collecting garbage failed, trying again later");
}
