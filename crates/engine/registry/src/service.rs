//! A registry that runs: stores opened, collector and listener at work.

use crate::auth::Auth;
use crate::blobs::{BlobStore, LocalBlobs, S3Blobs};
use crate::config::Config;
use crate::error::RegistryError;
use crate::events::Events;
use crate::http::{Door, Front, Server, acceptor, serve};
use crate::metadata::Metadata;
use crate::policy::Policy;
use crate::registry::Registry;
use crate::upstream::Upstreams;
use hako_content::ContentStore;
use hako_error::{Error, Kind, Result};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// A running registry.
#[derive(Debug)]
pub struct Service {
    address: SocketAddr,
    metrics_address: Option<SocketAddr>,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Service {
    /// Opens the stores and begins to serve. Everything that it keeps is in `dir`. A configuration that cannot work is refused
    /// before it listens.
    pub async fn start(config: Config, dir: PathBuf) -> Result<Self> {
        let examined =
            tokio::task::spawn_blocking(move || config.examine(&dir).map(|()| (config, dir))).await;
        let (config, dir) = examined.map_err(|error| {
            Error::new(Kind::Internal, "looking at the configuration ended early").with_source(error)
        })??;
        let (listener, address) = listen(config.listen).await?;
        let watched = match config.metrics_listen {
            Some(address) => Some(listen(address).await?),
            None => None,
        };
        let collect_every = config.collect_every;
        let events = Events::open(&config)?;
        let opened = tokio::task::spawn_blocking(move || open(&config, &dir, events)).await;
        let (front, tls) = opened.map_err(|error| {
            Error::new(Kind::Internal, "opening the registry ended early").with_source(error)
        })??;
        let stop = CancellationToken::new();
        let front = Arc::new(front);
        let collector = tokio::spawn(collector(Arc::clone(&front), collect_every, stop.clone()));
        let mut tasks = vec![collector];
        let metrics_address = watched.as_ref().map(|(_, address)| *address);
        if let Some((listener, _)) = watched {
            let server = Server { listener, tls: None, front: Arc::clone(&front), door: Door::Watch };
            tasks.push(tokio::spawn(serve(server, stop.clone())));
        }
        let door = if metrics_address.is_some() { Door::Objects } else { Door::All };
        tasks.push(tokio::spawn(serve(Server { listener, tls, front, door }, stop.clone())));
        Ok(Self { address, metrics_address, stop, tasks })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it tells its metrics, if that is an address of its own.
    #[must_use]
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics_address
    }

    /// Ends it: no new requests, those under way have ten seconds.
    pub async fn stop(self) {
        self.stop.cancel();
        for task in self.tasks {
            let _ = task.await;
        }
    }
}

async fn listen(address: SocketAddr) -> Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Error::new(Kind::Unavailable, format!("cannot listen on {address}")).with_source(error)
    })?;
    let bound = listener.local_addr().unwrap_or(address);
    Ok((listener, bound))
}

fn open(config: &Config, dir: &Path, events: Events) -> Result<(Front, Option<TlsAcceptor>)> {
    std::fs::create_dir_all(dir).map_err(|error| {
        Error::new(Kind::Invalid, format!("cannot create {}", dir.display())).with_source(error)
    })?;
    // The records first: they tell whether another process is at work here, before opening the blobs removes what looks
    // like uploads of a process that ended.
    let metadata = Metadata::open(dir)?;
    let blobs: Arc<dyn BlobStore> = match &config.s3 {
        Some(bucket) => Arc::new(S3Blobs::open(bucket, Some(dir.join("bucket-uploads")))?),
        None => Arc::new(LocalBlobs::new(ContentStore::open(dir.join("content"))?)),
    };
    let registry = Registry::new(metadata, blobs, config.limits, Policy::of(config));
    let auth = Auth::open(&config.auth, &config.rules, dir)?;
    let tls = config.tls.as_ref().map(|tls| acceptor(tls, dir)).transpose()?;
    let upstreams = Upstreams::open(&config.upstreams)?;
    Ok((Front { registry, auth, upstreams, events, is_tls: tls.is_some() }, tls))
}

/// Between two rounds of the collector, however often it is asked for.
const BREATH: Duration = Duration::from_millis(100);

/// Looks for garbage until the end. What fails is tried again in the next round.
async fn collector(front: Arc<Front>, every: Duration, stop: CancellationToken) {
    let work = async {
        let registry = &front.registry;
        // Once, but a bucket may be away while the registry starts.
        let mut is_swept = false;
        loop {
            if !is_swept {
                match registry.sweep().await {
                    Ok(0) => is_swept = true,
                    Ok(blobs) => {
                        is_swept = true;
                        tracing::info!(blobs, "removed what a crash had left");
                    }
                    Err(error) => report(&error),
                }
            }
            let is_cache = |repository: &_| front.upstreams.origin(repository).is_some();
            if let Err(error) = registry.retain(is_cache).await {
                report(&error);
            }
            if let Err(error) = front.upstreams.expire(registry).await {
                report(&error);
            }
            match registry.collect().await {
                Ok(done) if done == crate::Collected::default() => {}
                Ok(done) => {
                    tracing::info!(?done, "collected garbage");
                    front.events.metrics.collected(done);
                }
                Err(error) => report(&error),
            }
            tokio::time::sleep(every.max(BREATH)).await;
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
