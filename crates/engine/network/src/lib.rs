//! The network of one instance on one machine: a bridge, an address for each sandbox, published ports. And beside it
//! the networks that people make, see [`Networks`].
//!
//! Owns: the bridge `hk<instance>`, the nft table `hako-<instance>`, the links on that bridge, the durable record
//! of who has which address. Does not own: services, policies, DNS, and every rule and link of the host.
//! Invariant: an address is recorded before the kernel hears of it, and forgotten only after the kernel did; so
//! whatever a crash leaves is either recorded or found on the bridge.

mod attachment;
mod bridge;
mod claims;
mod error;
mod network;
mod networks;
mod ports;
mod ranges;
mod records;
mod rules;

pub use attachment::{Attach, Attachment, Protocol, PublishedPort};
pub use hako_netlink::{IpNet, Ipv4Net};
pub use network::{Network, NetworkConfig};
pub use networks::*;
pub use ports::{Reservation, has_ipv6};
pub use ranges::Ranges;

use hako_error::Result;
use std::path::Path;

/// Where the instances of one machine see each other's ranges.
const RUN_DIR: &str = "/run/hako";

/// Chooses ranges that overlap no route of the host and no other instance, and records them in `state_dir`;
/// later calls return the recorded ones. Safe against other instances that choose at the same moment. Of an instance that
/// `moves` others are chosen if another has taken the recorded ones while it was away: nothing that lasts has addresses in them.
///
/// # Errors
/// `Exhausted` if every candidate is taken; `FailedPrecondition` if another instance took the recorded ranges while
/// this one was down and the machine was restarted.
pub fn choose_ranges(instance: &str, state_dir: &Path, moves: bool) -> Result<Ranges> {
    Ok(ranges::choose(instance, state_dir, Path::new(RUN_DIR), moves)?)
}

/// The ranges that are recorded in `state_dir`, whoever has them now: for who takes down what is there.
///
/// # Errors
/// `DataLoss` if the record is damaged.
pub fn recorded_ranges(state_dir: &Path) -> Result<Option<Ranges>> {
    Ok(ranges::recorded(state_dir)?)
}

/// Gives the ranges of an instance back, when its data is to be removed for good.
pub fn release_ranges(instance: &str, state_dir: &Path) {
    ranges::release(instance, state_dir, Path::new(RUN_DIR));
}
