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
use hyper::body::Incoming;
use parking_lot::RwLock;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::admission::Allocations;
use crate::auth::{Identity, authenticate, rbac};
use crate::config::{Limits, ServerConfig};
use crate::http::{self, Answer, Failure, Outcome, Query, Request, body, listen};
use crate::node_proxy::NodeProxy;
use crate::resource::FrameCache;
use crate::sealing::{self, Sealing};
use crate::{admission, proxy, route};

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
    pub rbac: RwLock<rbac::Index>,
    pub event_lease: admission::EventLease,
    /// Who charges quotas; one at a time.
    pub quota_turn: tokio::sync::Mutex<()>,
    pub counts: Counts,
    pub sealing: Sealing,
    /// Requests from outside that may be worked on, and long ones that may run.
    slots: Arc<Semaphore>,
    long_slots: Arc<Semaphore>,
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
        let (config, sealing) = sealing::seal(config).await?;
        let proxy = NodeProxy::new(Arc::clone(&config.pki));
        let Limits { in_flight, long_running, .. } = config.limits;
        let inner = Inner {
            config,
            stop: CancellationToken::new(),
            frames: FrameCache::default(),
            allocations: Allocations::default(),
            proxy,
            rbac: RwLock::default(),
            event_lease: admission::EventLease::default(),
            quota_turn: tokio::sync::Mutex::default(),
            counts: Counts::default(),
            sealing,
            slots: Arc::new(Semaphore::new(in_flight)),
            long_slots: Arc::new(Semaphore::new(long_running)),
        };
        let server = Self { inner: Arc::new(inner) };
        admission::bootstrap(&server.inner).await?;
        server.keep_access().await?;
        tokio::spawn(keep_certificates(Arc::clone(&server.inner.config.pki), server.inner.stop.clone()));
        tokio::spawn(sealing::keep(Arc::downgrade(&server.inner), server.inner.stop.clone()));
        tokio::spawn(admission::keep(Arc::downgrade(&server.inner), server.inner.stop.clone()));
        Ok(server)
    }

    /// Reads what roles grant, makes the roles every cluster has, and follows both from then on.
    async fn keep_access(&self) -> Result<()> {
        let inner = &self.inner;
        let (index, revision) = rbac::load(&*inner.config.store).await?;
        *inner.rbac.write() = index;
        tokio::spawn(rbac::follow(Arc::downgrade(inner), revision, inner.stop.clone()));
        rbac::bootstrap(inner).await
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
        let tls = listen::tls(&self.inner.config)?;
        listen::serve(Arc::clone(&self.inner), listener, tls).await;
        Ok(())
    }

    /// Ends listeners, connections and watches.
    pub fn stop(&self) {
        self.inner.stop.cancel();
    }
}

async fn keep_certificates(pki: Arc<crate::pki::Pki>, stop: CancellationToken) {
    tokio::select! {
        () = stop.cancelled() => {}
        () = pki.keep_renewed() => {}
    }
}

impl Inner {
    /// Answers a component in this process.
    async fn answer(self: &Arc<Self>, request: Request) -> Answer {
        let outcome = match self.begin() {
            Ok(()) => route::dispatch(self, request).await,
            Err(failure) => Err(failure),
        };
        self.finish(outcome)
    }

    /// Answers a client outside, whose body has not been read.
    pub(crate) async fn receive(self: &Arc<Self>, mut request: Request, mut body: Incoming) -> Answer {
        if proxy::is_meant(&request.path) {
            request.incoming = Some(body);
            let outcome = match self.begin() {
                Ok(()) => self.admit(request, None).await,
                Err(failure) => Err(failure),
            };
            return self.finish(outcome);
        }
        let outcome = match self.begin() {
            Ok(()) => self.admit(request, Some(&mut body)).await,
            Err(failure) => Err(failure),
        };
        if outcome.as_ref().is_err_and(|failure| !failure.is(408)) {
            body::drain(body, self.config.limits.body_time);
        }
        self.finish(outcome)
    }

    /// Lets in as many as the limits say. Who may not do what it asks for is told so before its body is read.
    async fn admit(self: &Arc<Self>, mut request: Request, body: Option<&mut Incoming>) -> Outcome {
        let is_long = route::is_long_running(&request);
        let slots = if is_long { &self.long_slots } else { &self.slots };
        let slot = Arc::clone(slots).try_acquire_owned().map_err(|_| self.too_many())?;
        authenticate(self, &mut request).await?;
        route::may(self, &request).await?;
        if let Some(body) = body {
            request.body = body::read(body, &self.config.limits).await?;
        }
        if !is_long {
            return route::dispatch(self, request).await;
        }
        if request.upgrade.is_some() {
            request.slot = Some(slot);
            return route::dispatch(self, request).await;
        }
        let answer = route::dispatch(self, request).await?;
        Ok(answer.map(|body| http::until_sent(body, slot)))
    }

    fn begin(&self) -> Outcome<()> {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        if self.stop.is_cancelled() {
            let text = "the API server is stopping";
            return Err(hako_error::Error::new(hako_error::Kind::Unavailable, text).into());
        }
        Ok(())
    }

    fn finish(&self, outcome: Outcome) -> Answer {
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
            incoming: None,
            upgrade: None,
            slot: None,
            notes: Arc::default(),
            is_proxied: false,
            is_inside: true,
        };
        async move { Ok(self.inner.answer(request).await) }.boxed()
    }
}
