//! From which ranges services get their addresses: those of ServiceCIDRs that are ready and to stay.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use hako_store::{Entry, Event, EventKind};
use serde::Deserialize;

use super::bootstrap::DEFAULT_CIDR;
use super::ranges::Cidr;
use crate::followed::{self, Followed};
use crate::server::Inner;

/// The ranges of each, by its name.
#[derive(Debug, Default)]
pub(crate) struct ServiceCidrs(BTreeMap<String, Vec<Cidr>>);

#[derive(Deserialize)]
struct ServiceCidr {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    deletion_timestamp: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Spec {
    cidrs: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    conditions: Vec<Condition>,
}

#[derive(Deserialize)]
struct Condition {
    r#type: String,
    status: String,
}

impl ServiceCidr {
    /// One that says nothing of itself is ready.
    fn is_open(&self) -> bool {
        let ready = self.status.conditions.iter().find(|condition| condition.r#type == "Ready");
        self.metadata.deletion_timestamp.is_none() && ready.is_none_or(|ready| ready.status == "True")
    }

    fn ranges(&self) -> Vec<Cidr> {
        let range = |cidr: &String| {
            let (network, bits) = cidr.split_once('/')?;
            Some(Cidr::new(network.parse::<Ipv4Addr>().ok()?, bits.parse().ok()?))
        };
        self.spec.cidrs.iter().filter_map(range).collect()
    }
}

impl ServiceCidrs {
    fn take(&mut self, entry: &Entry, is_there: bool) {
        let name = followed::rest::<Self>(&entry.key).to_owned();
        let read = serde_json::from_slice::<ServiceCidr>(&entry.value).ok();
        match read.filter(|cidr| is_there && cidr.is_open()) {
            Some(cidr) => drop(self.0.insert(name, cidr.ranges())),
            None => drop(self.0.remove(&name)),
        }
    }

    /// The default one is used first.
    fn tell(&self, server: &Inner) {
        let default = self.0.get(DEFAULT_CIDR).into_iter().flatten();
        let others = self.0.iter().filter(|(name, _)| *name != DEFAULT_CIDR).flat_map(|(_, ranges)| ranges);
        server.allocations.set_cidrs(default.chain(others).copied().collect());
    }
}

impl Followed for ServiceCidrs {
    const PREFIX: &'static str = "/registry/networking.k8s.io/servicecidrs/";
    const WHAT: &'static str = "service CIDRs";

    fn load(&mut self, server: &Arc<Inner>, entries: &[Arc<Entry>]) {
        self.0.clear();
        entries.iter().for_each(|entry| self.take(entry, true));
        self.tell(server);
    }

    fn change(&mut self, server: &Arc<Inner>, events: &[Arc<Event>]) {
        events.iter().for_each(|event| self.take(&event.entry, event.kind == EventKind::Put));
        self.tell(server);
    }
}
