//! The server: its shared state, its two doors (in-process and HTTPS), and the limits both share.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Instant;

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use hako_client::{Body, Client, Transport};
use hako_error::Result;
use parking_lot::{Mutex, RwLock};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admission::Allocations;
use crate::aggregation::{self, Aggregated};
use crate::audit::Record;
use crate::auth::{Identity, rbac};
use crate::config::{Limits, ServerConfig};
use crate::flow::{self, Flow};
use crate::http::tls::Door;
use crate::http::{Answer, Encoding, Info, LongPlaces, Outcome, Query, Request, encoded, listen};
use crate::kinds::Registry;
use crate::metrics::{Key, Objects, Requests};
use crate::node_proxy::NodeProxy;
use crate::record::Asked;
use crate::resource::{ConversionCounts, Conversions, FrameCache, Identities, Texts};
use crate::sealing::{self, Sealing};
use crate::webhook_client::Clients;
use crate::{admission, definitions, followed, route};

/// The API server. Cheap to clone; stops when [`Server::stop`] is called.
#[derive(Clone)]
pub struct Server {
    inner: Arc<Inner>,
}

/// What all requests share.
pub(crate) struct Inner {
    pub config: ServerConfig,
    /// What is served.
    pub kinds: Registry,
    /// What others serve, and where.
    pub aggregated: Aggregated,
    /// Definitions whose objects are being cleared away, by uid.
    pub clearing: Mutex<HashSet<String>>,
    pub stop: CancellationToken,
    pub frames: FrameCache,
    pub conversions: Conversions,
    pub conversion_counts: ConversionCounts,
    pub identities: Identities,
    pub texts: Arc<Texts>,
    pub allocations: Allocations,
    pub proxy: NodeProxy,
    pub rbac: RwLock<rbac::Index>,
    pub event_lease: admission::EventLease,
    /// Webhooks and policies that have a say in writes.
    pub registered: admission::Registered,
    pub admission_counts: admission::AdmissionCounts,
    /// Webhooks that refuse because nobody answers for them.
    pub down: admission::Down,
    pub webhooks: Clients,
    /// Who charges quotas; one at a time.
    pub quota_turn: tokio::sync::Mutex<()>,
    pub counts: Counts,
    pub sealing: Sealing,
    pub requests: Requests,
    pub objects: Objects,
    /// How checks of health came out: endpoint, check, whether it passed.
    pub health: Mutex<HashMap<(&'static str, &'static str, bool), u64>>,
    /// Who is let in when.
    pub flow: Flow,
    /// Requests from outside that last.
    pub long: LongPlaces,
    /// Parts of the cluster that work through this server.
    pub components: Components,
}

/// What is counted of all requests, those of this process included.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub requests: AtomicU64,
    pub watches: AtomicU64,
}

/// Parts of the cluster in this process, by the name of their user: each is there as long as it keeps its way to the
/// server.
#[derive(Default)]
pub(crate) struct Components(Mutex<HashMap<String, Vec<Weak<dyn Transport>>>>);

impl Components {
    fn note(&self, user: String, transport: &Arc<dyn Transport>) {
        let mut all = self.0.lock();
        let of_user = all.entry(user).or_default();
        of_user.retain(|it| it.strong_count() > 0);
        of_user.push(Arc::downgrade(transport));
    }

    pub(crate) fn is_connected(&self, user: &str) -> bool {
        self.0.lock().get(user).is_some_and(|all| all.iter().any(|it| it.strong_count() > 0))
    }
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
        let Limits { in_flight, exempt, queue_time, long_running, long_running_each, .. } = config.limits;
        let inner = Inner {
            config,
            kinds: Registry::default(),
            aggregated: Aggregated::default(),
            clearing: Mutex::default(),
            stop: CancellationToken::new(),
            frames: FrameCache::default(),
            conversions: Conversions::default(),
            conversion_counts: ConversionCounts::default(),
            identities: Identities::default(),
            texts: Arc::default(),
            allocations: Allocations::default(),
            proxy,
            rbac: RwLock::default(),
            event_lease: admission::EventLease::default(),
            registered: admission::Registered::default(),
            admission_counts: admission::AdmissionCounts::default(),
            down: admission::Down::default(),
            webhooks: Clients::default(),
            quota_turn: tokio::sync::Mutex::default(),
            counts: Counts::default(),
            sealing,
            requests: Requests::default(),
            objects: Objects::default(),
            health: Mutex::default(),
            flow: Flow::new(in_flight, exempt, queue_time),
            long: LongPlaces::new(long_running, long_running_each),
            components: Components::default(),
        };
        let server = Self { inner: Arc::new(inner) };
        server.inner.webhooks.begin(Arc::downgrade(&server.inner));
        admission::bootstrap(&server.inner).await?;
        server.keep_access().await?;
        definitions::start(&server.inner).await?;
        aggregation::start(&server.inner).await?;
        followed::follow(&server.inner, admission::RegisteredIndex::default()).await?;
        tokio::spawn(keep_certificates(Arc::clone(&server.inner.config.pki), server.inner.stop.clone()));
        tokio::spawn(sealing::keep(Arc::downgrade(&server.inner), server.inner.stop.clone()));
        flow::start(&server.inner).await?;
        followed::follow(&server.inner, flow::Kept::default()).await?;
        followed::follow(&server.inner, admission::ServiceCidrs::default()).await?;
        tokio::spawn(admission::keep(Arc::downgrade(&server.inner), server.inner.stop.clone()));
        tokio::spawn(admission::keep_addresses(Arc::downgrade(&server.inner), server.inner.stop.clone()));
        Ok(server)
    }

    /// Reads what roles grant, makes the roles every cluster has, and follows both from then on.
    async fn keep_access(&self) -> Result<()> {
        let inner = &self.inner;
        followed::follow(inner, rbac::Roles).await?;
        rbac::bootstrap(inner).await
    }

    pub(crate) fn of(inner: &Arc<Inner>) -> Self {
        Self { inner: Arc::clone(inner) }
    }

    /// The door for a component in this process: same rights, same rules as over HTTPS.
    #[must_use]
    pub fn handler(&self, identity: Identity) -> Arc<dyn Transport> {
        let user = identity.user.clone();
        let transport: Arc<dyn Transport> = Arc::new(InProcess { inner: Arc::clone(&self.inner), identity });
        self.inner.components.note(user, &transport);
        transport
    }

    /// A client for a component in this process.
    #[must_use]
    pub fn client(&self, identity: Identity) -> Client {
        Client::new(self.handler(identity))
    }

    /// Serves HTTPS on a listener until the server stops.
    pub async fn serve(&self, listener: TcpListener) -> Result<()> {
        let door = Door::new(&self.inner.config)?;
        listen::serve(Arc::clone(&self.inner), listener, door).await;
        Ok(())
    }

    /// The webhooks that lately refused what they could not be asked about.
    #[must_use]
    pub fn webhooks_down(&self) -> Vec<admission::DownWebhook> {
        self.inner.down.lately(Instant::now())
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
    async fn answer(self: &Arc<Self>, mut request: Request) -> Answer {
        let (began, key) = (Instant::now(), Key::of(&self.kinds, &request, &Info::of(&request)));
        let is_long = route::is_long_running(&request);
        let encoding = request.encoding();
        let mut record = self.begin_record(&mut request).await;
        let outcome = match self.begin() {
            Ok(()) => self.attend(request, record.as_mut()).await,
            Err(failure) => Err(failure),
        };
        let mut answer = self.finish(outcome, encoding).await;
        if let Some(record) = record {
            answer = record.answered(answer, is_long).await;
        }
        self.requests.answered(&key, answer.status().as_u16(), (!is_long).then(|| began.elapsed()));
        answer
    }

    async fn attend(self: &Arc<Self>, request: Request, record: Option<&mut Record>) -> Outcome {
        let permit = self.permit(&request, record.is_some()).await?;
        if let Some(record) = record {
            record.read(&request);
        }
        route::carry_out(self, Box::new(request), permit).await
    }

    /// What is asked, where somebody is told of it.
    pub(crate) fn asked(&self, request: &Request) -> Option<Asked> {
        self.config.recorder.as_ref().map(|recorder| recorder.asked(request))
    }

    pub(crate) fn begin(&self) -> Outcome<()> {
        self.counts.requests.fetch_add(1, Ordering::Relaxed);
        if self.stop.is_cancelled() {
            let text = "the API server is stopping";
            return Err(hako_error::Error::new(hako_error::Kind::Unavailable, text).into());
        }
        Ok(())
    }

    pub(crate) async fn finish(&self, outcome: Outcome, encoding: Encoding) -> Answer {
        let failure = match outcome {
            Ok(answer) => return answer,
            Err(failure) => failure,
        };
        if failure.status().code >= 500 {
            tracing::warn!(status = failure.status().message, "request failed");
        }
        encoded(failure.into_response(), encoding).await
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
            peer: None,
            impersonator: None,
            is_inside: true,
        };
        async move {
            let asked = self.inner.asked(&request);
            let answer = self.inner.answer(request).await;
            if let Some(asked) = asked {
                asked.answered(&answer);
            }
            Ok(answer)
        }
        .boxed()
    }
}
