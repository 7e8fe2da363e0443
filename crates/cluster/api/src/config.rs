//! What a server is told at its start.

use std::fmt;
use std::net::Ipv4Addr;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use hako_store::Store;

use crate::audit::Audit;
use crate::auth::External;
use crate::pki::Pki;
use crate::record::Recorder;

/// The version told to clients.
pub(crate) const GIT_VERSION: &str = "v1.36.0+hako";

/// Everything a [`crate::Server`] needs.
#[derive(Clone)]
pub struct ServerConfig {
    /// Where objects live.
    pub store: Arc<dyn Store>,
    /// Certificates of the listener and of calls to nodes.
    pub pki: Arc<Pki>,
    /// Addresses of services: network and prefix length. The first is that of the API itself.
    pub service_cidr: (Ipv4Addr, u8),
    /// Ports of services on nodes.
    pub node_ports: RangeInclusive<u16>,
    /// Where pods and other machines reach this server.
    pub advertise: (Ipv4Addr, u16),
    /// Whether `proxy` also leads to pods and endpoints whose address is a loopback: this machine's own.
    pub proxies_to_loopback: bool,
    /// How long events are kept at least after they were last written.
    pub event_ttl: Duration,
    /// What clients may take of it.
    pub limits: Limits,
    /// Who else says who somebody is and what they may do.
    pub external: Arc<External>,
    /// Where it is recorded who asks for what.
    pub audit: Option<Arc<Audit>>,
    /// Who is told what was asked and answered.
    pub recorder: Option<Recorder>,
}

/// What clients over HTTPS may take at once, together. Components in this process bound themselves.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections; for one more, one gives way on which nothing is asked, or it waits.
    pub connections: usize,
    /// Seats of all priority levels: requests being read or worked on, but for long and exempt ones. What does not fit
    /// waits as its level says, or is answered by 429.
    pub in_flight: usize,
    /// Requests of exempt levels, far above all others; more are answered by 429.
    pub exempt: usize,
    /// How long a request may wait for a seat until it is answered by 429.
    pub queue_time: Duration,
    /// Watches, streamed logs and sessions; more are answered by 429.
    pub long_running: usize,
    /// Those of one user; administrators may have all there are.
    pub long_running_each: usize,
    /// Bytes of a body; a larger one is answered by 413.
    pub body_bytes: usize,
    /// How long a body may take to arrive; a slower one is answered by 408.
    pub body_time: Duration,
    /// How long a request may take that does not last, also where it asks for more; one that takes longer is answered
    /// by 504.
    pub request_time: Duration,
    /// How long a TLS handshake may take.
    pub handshake_time: Duration,
    /// How long a client may take for a request's headers, and until its first request.
    pub header_time: Duration,
    /// How long a client may take nothing of an answer, but for one that lasts, until its connection is closed.
    pub send_time: Duration,
    /// How long a connection is kept between requests.
    pub idle_time: Duration,
}

impl Limits {
    /// What applies unless a server is told otherwise.
    pub const DEFAULT: Self = Self {
        connections: 2048,
        in_flight: 600,
        exempt: 4096,
        queue_time: Duration::from_secs(15),
        long_running: 16_384,
        long_running_each: 4096,
        body_bytes: 3 << 20,
        body_time: Duration::from_secs(30),
        request_time: Duration::from_secs(60),
        handshake_time: Duration::from_secs(10),
        header_time: Duration::from_secs(15),
        send_time: Duration::from_secs(60),
        idle_time: Duration::from_secs(300),
    };
}

impl ServerConfig {
    /// With the customary ranges: 10.96.0.0/16 and 30000 to 32767.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, pki: Arc<Pki>) -> Self {
        Self {
            store,
            pki,
            service_cidr: (Ipv4Addr::new(10, 96, 0, 0), 16),
            node_ports: 30_000..=32_767,
            advertise: (Ipv4Addr::LOCALHOST, 6443),
            proxies_to_loopback: false,
            event_ttl: Duration::from_secs(3600),
            limits: Limits::DEFAULT,
            external: Arc::default(),
            audit: None,
            recorder: None,
        }
    }

    /// The address of the service `kubernetes`: the first of the range.
    #[must_use]
    pub fn api_service_ip(&self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.service_cidr.0).saturating_add(1))
    }
}

impl fmt::Debug for ServerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerConfig")
            .field("service_cidr", &self.service_cidr)
            .field("node_ports", &self.node_ports)
            .field("advertise", &self.advertise)
            .field("limits", &self.limits)
            .finish_non_exhaustive()
    }
}
