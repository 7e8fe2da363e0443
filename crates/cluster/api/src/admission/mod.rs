//! Rules across objects, asked on every write, whatever the kind.
//!
//! Owns: the list of plugins ([`plugins`]), webhooks and policies that are registered as objects, quotas ([`quota`]), addresses and ports of
//! services, how long events are kept, that nobody
//! grants what they do not have, and the objects every cluster has.
//! Does not own: rules within one object (`kinds`).
//!
//! Invariant: what is allocated here is kept in the objects themselves; this memory of it can be lost any time.

mod allocation;
mod amounts;
mod attributes;
mod authentication_info;
mod bootstrap;
mod conditions;
mod counts;
mod escalation;
mod evaluation;
mod event_lease;
mod fit;
mod judge;
mod manner;
mod matching;
mod plugin;
mod plugins;
mod policies;
mod quota;
mod ranges;
mod registered;
mod reinvocation;
mod service_addresses;
mod service_cidrs;
pub mod webhooks;

use hako_store::Along;
use serde_json::Value;

use crate::http::Outcome;
use crate::resource::Target;
use crate::server::Inner;

pub(crate) use allocation::{Allocations, Reservation};
pub(crate) use bootstrap::{bootstrap, keep};
pub(crate) use counts::AdmissionCounts;
pub(crate) use escalation::may_grant;
pub(crate) use event_lease::EventLease;
pub(crate) use manner::Manner;
pub(crate) use plugin::{Apart, Change, Notes, Operation, ask_others, mutate, validate};
pub(crate) use policies::note_types;
pub(crate) use quota::charge;
pub(crate) use registered::{Index as RegisteredIndex, Registered};
pub(crate) use service_addresses::keep_addresses;
pub(crate) use service_cidrs::ServiceCidrs;
pub(crate) use webhooks::down::Down;
pub use webhooks::down::DownWebhook;

/// Allocates what a service asks for; other kinds ask for nothing.
pub(crate) async fn allocate(
    server: &Inner,
    target: &Target,
    object: &mut Value,
    old: Option<&Value>,
    is_dry_run: bool,
) -> Outcome<Reservation> {
    if is_address(target) && old.is_none() && !is_dry_run {
        return server.allocations.reserve_others(server, &target.name).await;
    }
    if !is_service(target) {
        return Ok(Reservation::none());
    }
    let reservation = server.allocations.reserve(server, target, object, old).await?;
    Ok(if is_dry_run { Reservation::none() } else { reservation })
}

/// Gives back what a removed object held.
pub(crate) fn removed(server: &Inner, target: &Target, old: &Value) {
    if is_service(target) {
        server.allocations.release(old);
    } else if is_address(target) {
        server.allocations.release_others(&target.name);
    }
}

/// What goes in the step in which an object does.
pub(crate) async fn leaving(server: &Inner, target: &Target, old: &Value) -> Outcome<Vec<Along>> {
    match is_service(target) {
        true => server.allocations.leaving(server, old).await,
        false => Ok(Vec::new()),
    }
}

/// Looks once more at what the creation of an object relies on, which has changed since: its namespace.
///
/// # Errors
/// Where there can be no object any more.
pub(crate) async fn is_held(change: &Change<'_>) -> Outcome<()> {
    match change.target.row.is_namespaced() {
        true => plugins::namespace_is_open(change).await,
        false => Ok(()),
    }
}

fn is_address(target: &Target) -> bool {
    target.row.is("networking.k8s.io", "ipaddresses")
}

fn is_service(target: &Target) -> bool {
    target.row.is("", "services")
}
