//! Commands about the cluster's objects, for those without kubectl: a client of the Kubernetes API.

mod apply;
mod delete;
mod get;
mod logs;
mod manifest;
mod resource;
mod scale;
mod why;

pub(crate) use apply::{apply, apply_all};
pub(crate) use delete::delete;
pub(crate) use get::get;
pub(crate) use logs::logs;
pub(crate) use manifest::read_all;
pub(crate) use scale::scale;
pub(crate) use why::why;

use crate::locate::Target;
use hako_client::Client;

/// The API of the platform that a command is meant for.
fn client(target: &Target) -> anyhow::Result<Client> {
    Ok(Client::from_kubeconfig(&target.kubeconfig()?)?.named("hako"))
}
