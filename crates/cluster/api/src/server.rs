//! The server: its shared state, its two doors (in-process and HTTPS), and the limits both share.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hako_client::{Body, Client, Transport};
use hako_error::Result;
use hako_kube::Status;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::admission::Allocations;
use crate::auth::Identity;
use crate::config::ServerConfig;
use crate::http::{Answer, Failure, Query, Request, listen};
use crate::node_proxy::NodeProxy;
use crate::resource::FrameCache;
use crate::{admission, route};

/// Requests being worked on at once, watches and other streams not counted.
const IN_FLIGHT: usize = 512;

/// The API server. Cheap to clone; stops when [`Server::stop`] is called.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

/// What all requests share.
pub(crate) struct Inner {
    pub config: ServerConfig,
    pub stop: CancellationToken,
    pub frames: FrameCache,
    pub allocations: Allocations,
    pub proxy: NodeProxy,
    pub event_lease: admission::EventLease,
    pub counts: Counts,
    slots: Semaphore,
}

/// What `/metrics` tells.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub requests: AtomicU64,
    pub failures: AtomicU64,
    pub rejected: AtomicU64,
    pub watches: AtomicU64,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("config", &self.inner.config).finish_non_exhaustive()
    }
}

impl Server {
    /// A server over a store, with the objects every cluster has.
    pub async fn new(config: ServerConfig) -> Result<Self> {
        let proxy = NodeProxy::new(Arc::clone(&config.pki));
        let inner = Inner {
            config,
            stop: CancellationToken::new(),
            frames: FrameCache::default(),
            allocations: Allocations::default(),
            proxy,
            event_lease: admission::EventLease::default(),
            counts: Counts::default(),
            slots: Semaphore::new(IN_FLIGHT),
        };
        let server = Self { inner: Arc::new(inner) };
        admission::bootstrap(&server.inner).await?;
        tokio::spawn(admission::keep(Arc::downgrade(&server.inner), server.inner.stop.clone()));
        Ok(server)
    }

    pub(crate) fn of(inner: &Arc<Inner>) -> Self {
        Self { inner: Arc::clone(inner) }
    }

    /// The door for a component in this process: same rights, same rules as over HTTPS.
    #[must_use]
    pub fn handler(&self, identity: Identity) -> Arc<dyn Transport> {
        Arc::new(InProcess { inner: Arc::clone(&self.inner), identity })
    }

    /// A client for a component in this process.
    #[must_use]
    pub fn client(&self, identity: Identity) -> Client {
        Client::new(self.handler(identity))
    }

    /// Serves HTTPS on a listener until the server stops.
    pub async fn serve(&self, listener: TcpListener) -> Result<()> {
        let tls = listen::tls(&self.inner.config.pki)?;
        listen::serve(Arc::clone(&self.inner), listener, tls).await;
        Ok(())
    }

    /// Ends listeners, connections and watches.
    pub fn stop(&self) {
        self.inner.stop.cancel();
    }
}

impl Inner {
    /// Answers one request, whatever it is.
    pub(crate) async fn answer(self: &Arc<Self>, request: Request) -> Answer {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        let outcome = if self.stop.is_cancelled() {
            let text = "the API server is stopping";
            Err(hako_error::Error::new(hako_error::Kind::Unavailable, text).into())
        } else if route::is_long_running(&request) {
            route::dispatch(self, request).await
        } else {
            match self.slots.try_acquire() {
                Ok(_slot) => route::dispatch(self, request).await,
                Err(_) => Err(self.too_many()),
            }
        };
        outcome.unwrap_or_else(|failure| {
            self.counts.failures.fetch_add(1, Ordering::Relaxed);
            if failure.status().code >= 500 {
                tracing::warn!(status = failure.status().message, "request failed");
            }
            failure.into_response()
        })
    }

    fn too_many(&self) -> Failure {
        self.counts.rejected.fetch_add(1, Ordering::Relaxed);
        let text = "Too many requests, please try again later.";
        let mut status = Status::failure(429, "TooManyRequests", text);
        status.details =
            Some(hako_kube::StatusDetails { retry_after_seconds: Some(1), ..Default::default() });
        status.into()
    }
}

/// The in-process transport.
struct InProcess {
    inner: Arc<Inner>,
    identity: Identity,
}

impl Transport for InProcess {
    fn call(&self, request: ::http::Request<Bytes>) -> BoxFuture<'_, Result<::http::Response<Body>>> {
        let (parts, body) = request.into_parts();
        let request = Request {
            identity: self.identity.clone(),
            method: parts.method,
            path: parts.uri.path().to_owned(),
            query: Query::parse(parts.uri.query().unwrap_or("")),
            headers: parts.headers,
            body,
            upgrade: None,
            is_inside: true,
        };
        async move { Ok(self.inner.answer(request).await) }.boxed()
    }
}
