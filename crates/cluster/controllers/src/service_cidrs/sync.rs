//! One step: the finalizer and the condition `Ready` come first, and the finalizer goes last.

use super::Controller;
use crate::conditions;
use crate::wiring::Key;
use hako_client::{Api, ListParams, Patch};
use hako_error::{Kind, Result};
use k8s_openapi::api::networking::v1::{IPAddress, ServiceCIDR};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";
const MANAGER: &str = "service-cidrs-controller";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by=ipallocator.k8s.io";
/// So long after its deletion a range stays at least: until then everybody knows who gives addresses of it.
const GRACE: Duration = Duration::from_secs(10);
/// How often one that is still in use is looked at.
const AGAIN: Duration = Duration::from_secs(2);
const HELD: &str =
    "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";

impl Controller {
    pub(super) async fn sync(&self, (_, name): Key) -> Result<Option<Duration>> {
        let Some(cidr) = self.cidrs.get("", &name) else { return Ok(None) };
        let api: Api<ServiceCIDR> = self.client.all();
        let done = match age_of_deletion(&cidr) {
            Some(age) => self.end(&api, &cidr, age).await,
            None => begin(&api, &cidr).await.map(|()| None),
        };
        match done {
            Err(error) if error.kind() == Kind::NotFound => Ok(None),
            done => done,
        }
    }

    async fn end(
        &self,
        api: &Api<ServiceCIDR>,
        cidr: &ServiceCIDR,
        age: Duration,
    ) -> Result<Option<Duration>> {
        if !has_finalizer(cidr) {
            return Ok(None);
        }
        if !self.is_free(cidr).await? {
            tell(api, cidr, "False", "Terminating", HELD).await?;
            return Ok(Some(AGAIN));
        }
        if age < GRACE {
            return Ok(Some(GRACE - age));
        }
        let mut free = cidr.clone();
        if let Some(finalizers) = &mut free.metadata.finalizers {
            finalizers.retain(|it| it != FINALIZER);
        }
        api.replace(&name(cidr), &free).await?;
        Ok(None)
    }

    /// Whether each of its addresses that a service has is of another range too.
    async fn is_free(&self, cidr: &ServiceCIDR) -> Result<bool> {
        let all = self.cidrs.list();
        let others = all.iter().filter(|it| name(it) != name(cidr) && age_of_deletion(it).is_none());
        let others: Vec<Prefix> = others.flat_map(|it| prefixes(it)).collect();
        let lone: Vec<Prefix> =
            prefixes(cidr).into_iter().filter(|own| !others.iter().any(|other| other.holds(*own))).collect();
        if lone.is_empty() {
            return Ok(true);
        }
        let params = ListParams { label_selector: Some(MANAGED_BY.into()), ..ListParams::default() };
        let addresses = self.client.all::<IPAddress>().list_all(&params).await?;
        let is_lone = |address: &IPAddress| {
            let address: Option<IpAddr> = address.metadata.name.as_deref().and_then(|name| name.parse().ok());
            let is_in =
                |prefixes: &[Prefix]| address.is_some_and(|it| prefixes.iter().any(|one| one.has(it)));
            is_in(&lone) && !is_in(&others)
        };
        Ok(!addresses.items.iter().any(is_lone))
    }
}

async fn begin(api: &Api<ServiceCIDR>, cidr: &ServiceCIDR) -> Result<()> {
    if !has_finalizer(cidr) {
        let mut held = cidr.clone();
        held.metadata.finalizers.get_or_insert_default().push(FINALIZER.to_owned());
        // The change wakes this controller again.
        return api.replace(&name(cidr), &held).await.map(drop);
    }
    tell(api, cidr, "True", "", "Kubernetes Service CIDR is ready").await
}

/// Says how it is, if it says something else.
async fn tell(
    api: &Api<ServiceCIDR>,
    cidr: &ServiceCIDR,
    status: &str,
    reason: &str,
    message: &str,
) -> Result<()> {
    let conditions = cidr.status.iter().flat_map(|status| status.conditions.iter().flatten());
    if conditions.into_iter().any(|it| it.type_ == "Ready" && it.status == status) {
        return Ok(());
    }
    let ready = json!({
        "type": "Ready", "status": status, "reason": reason, "message": message,
        "lastTransitionTime": conditions::now(),
    });
    let object: Value = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": name(cidr)}, "status": {"conditions": [ready]},
    });
    let patch = Patch::Apply { object, manager: MANAGER.to_owned(), force: true };
    api.patch_status(&name(cidr), &patch).await.map(drop)
}

fn name(cidr: &ServiceCIDR) -> String {
    cidr.metadata.name.clone().unwrap_or_default()
}

fn has_finalizer(cidr: &ServiceCIDR) -> bool {
    cidr.metadata.finalizers.iter().flatten().any(|it| it == FINALIZER)
}

/// How long ago it was deleted, if it was.
fn age_of_deletion(cidr: &ServiceCIDR) -> Option<Duration> {
    let deleted = cidr.metadata.deletion_timestamp.as_ref()?;
    Some(conditions::now().0.duration_since(deleted.0).try_into().unwrap_or_default())
}

/// A range of addresses.
#[derive(Clone, Copy, Debug)]
struct Prefix {
    first: IpAddr,
    bits: u32,
}

impl Prefix {
    fn parse(text: &str) -> Option<Self> {
        let (first, bits) = text.split_once('/')?;
        Some(Self { first: first.parse().ok()?, bits: bits.parse().ok()? })
    }

    fn has(&self, address: IpAddr) -> bool {
        let is_same = |one: u128, other: u128, width: u32| {
            let rest = width.saturating_sub(self.bits);
            one.checked_shr(rest).unwrap_or(0) == other.checked_shr(rest).unwrap_or(0)
        };
        match (self.first, address) {
            (IpAddr::V4(one), IpAddr::V4(other)) => is_same(one.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(one), IpAddr::V6(other)) => is_same(one.to_bits(), other.to_bits(), 128),
            _ => false,
        }
    }

    fn holds(&self, other: Self) -> bool {
        self.bits <= other.bits && self.has(other.first)
    }
}

fn prefixes(cidr: &ServiceCIDR) -> Vec<Prefix> {
    let cidrs = cidr.spec.iter().flat_map(|spec| spec.cidrs.iter().flatten());
    cidrs.filter_map(|cidr| Prefix::parse(cidr)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_holds_smaller_ones_and_its_addresses() {
        let prefix = |text: &str| Prefix::parse(text).unwrap();
        let wide = prefix("10.0.0.0/16");
        for (inner, is_held) in [
            ("10.0.0.0/16", true),
            ("10.0.7.0/24", true),
            ("10.1.0.0/24", false),
            ("10.0.0.0/8", false),
            ("fd00::/64", false),
        ] {
            assert_eq!(wide.holds(prefix(inner)), is_held, "{inner}");
        }
        assert!(wide.has("10.0.255.255".parse().unwrap()) && !wide.has("10.1.0.0".parse().unwrap()));
        assert!(prefix("fd00::/64").has("fd00::1".parse().unwrap()));
        assert!(Prefix::parse("10.0.0.0").is_none());
    }
}
