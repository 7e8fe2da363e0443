//! Services as nftables maps, and DNS for them.
//!
//! Owns: the nft table `hako-<instance>-svc`, the sockets that reserve node ports, the DNS server on the gateway.
//! Does not own: the pod network itself, nor which endpoints are ready.
//! Invariant: the kernel's table is replaced or changed only by whole transactions, so a new connection finds
//! either the state before or the state after a change.
//!
//! ```text
//! informers ──> events ──> programmer (one thread) ──> index ──> DNS
//! withdraw  ──┘                └─ programme of a service ──> difference ──> one transaction
//! ```

mod dataplane;
mod dns;
mod drain;
mod endpoints;
mod index;
mod kernel;
mod layout;
mod programme;
mod programmer;

pub use dataplane::{Dataplane, DataplaneConfig, Withdrawn};
