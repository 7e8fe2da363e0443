//! Commands about what keeps the cluster's objects: how much there is, saving it, bringing it back, other keys.
//!
//! Owns: the file of a backup ([`archive`]). Does not own: what the store says of itself (the API's paths below
//! `/hako/v1/store`), nor the form of a snapshot (`hako_store::snapshot`).

mod archive;
mod backup;
mod restore;
mod secrets;
mod size;

pub(crate) use backup::backup;
pub(crate) use restore::restore;
pub(crate) use secrets::secrets;
pub(crate) use size::store;

use crate::locate::Target;
use hako_client::Client;

/// The API of the platform that a command is meant for, as its administrator.
fn client(target: &Target) -> anyhow::Result<Client> {
    Ok(Client::from_kubeconfig(&target.kubeconfig()?)?.named("hako"))
}
