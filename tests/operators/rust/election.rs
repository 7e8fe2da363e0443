//! One replica acts, the others wait: whoever holds the Lease.
//!
//! INVARIANT: times of others are not compared with ours. A Lease has run out when its holder has not written it for as long as
//! it lasts by our clock.

use std::time::{Duration, Instant};

use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client, ResourceExt as _};

const NAME: &str = "site-operator";
const LASTS: Duration = Duration::from_secs(3);
const RETRY: Duration = Duration::from_millis(500);

pub struct Election {
    leases: Api<Lease>,
    identity: String,
    /// The version of the Lease that was seen last, and when it was new.
    seen: Option<(String, Instant)>,
}

impl Election {
    pub fn new(client: &Client, identity: &str) -> Self {
        Self { leases: Api::default_namespaced(client.clone()), identity: identity.to_owned(), seen: None }
    }

    /// Waits until this replica holds the Lease.
    pub async fn win(&mut self) {
        while !self.try_hold().await {
            tokio::time::sleep(RETRY).await;
        }
    }

    /// Keeps the Lease, and returns when it is lost.
    pub async fn keep(&mut self) {
        let mut kept = Instant::now();
        while kept.elapsed() < LASTS {
            tokio::time::sleep(RETRY).await;
            if self.try_hold().await {
                kept = Instant::now();
            }
        }
    }

    /// Lets go of the Lease, so that nobody has to wait until it runs out.
    pub async fn resign(&mut self) -> kube::Result<()> {
        let mut lease = self.leases.get(NAME).await?;
        let spec = lease.spec.get_or_insert_default();
        if spec.holder_identity.as_deref() == Some(self.identity.as_str()) {
            spec.holder_identity = None;
            self.leases.replace(NAME, &PostParams::default(), &lease).await?;
        }
        Ok(())
    }

    async fn try_hold(&mut self) -> bool {
        match self.hold().await {
            Ok(is_held) => is_held,
            Err(error) => {
                eprintln!("the lease: {error}");
                false
            }
        }
    }

    async fn hold(&mut self) -> kube::Result<bool> {
        let Some(mut lease) = self.leases.get_opt(NAME).await? else {
            let lease = Lease { metadata: named(), spec: Some(self.spec(None)) };
            return won(self.leases.create(&PostParams::default(), &lease).await);
        };
        let version = lease.resource_version().unwrap_or_default();
        let since = match &self.seen {
            Some((seen, since)) if *seen == version => *since,
            _ => self.seen.insert((version, Instant::now())).1,
        };
        let spec = lease.spec.get_or_insert_default();
        let is_ours = spec.holder_identity.as_deref() == Some(self.identity.as_str());
        let is_free = spec.holder_identity.as_deref().is_none_or(str::is_empty) || since.elapsed() > LASTS;
        if !is_ours && !is_free {
            return Ok(false);
        }
        *spec = self.spec(Some(spec));
        // The version says whether somebody was faster.
        won(self.leases.replace(NAME, &PostParams::default(), &lease).await)
    }

    fn spec(&self, before: Option<&LeaseSpec>) -> LeaseSpec {
        let now = MicroTime(Timestamp::now());
        let is_ours =
            before.is_some_and(|before| before.holder_identity.as_deref() == Some(self.identity.as_str()));
        let acquired = before.filter(|_| is_ours).and_then(|before| before.acquire_time.clone());
        let transitions =
            before.map_or(0, |before| before.lease_transitions.unwrap_or(0) + i32::from(!is_ours));
        LeaseSpec {
            holder_identity: Some(self.identity.clone()),
            lease_duration_seconds: i32::try_from(LASTS.as_secs()).ok(),
            acquire_time: acquired.or_else(|| Some(now.clone())),
            renew_time: Some(now),
            lease_transitions: Some(transitions),
            ..LeaseSpec::default()
        }
    }
}

fn named() -> kube::api::ObjectMeta {
    kube::api::ObjectMeta { name: Some(NAME.to_owned()), ..Default::default() }
}

fn won(written: kube::Result<Lease>) -> kube::Result<bool> {
    match written {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.is_conflict() || status.is_already_exists() => Ok(false),
        Err(error) => Err(error),
    }
}
