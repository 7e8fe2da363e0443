//! The whole chain: fixed rules and roles, then what a node's pods need, then a webhook.

use hako_error::Result;

use super::authorize::{Attributes, forbidden, is_allowed};
use super::{Identity, node};
use crate::server::Inner;

/// Refuses what nobody in the chain allows.
pub(crate) async fn decide(server: &Inner, identity: &Identity, wanted: Attributes<'_>) -> Result<()> {
    decide_selected(server, identity, wanted, "").await
}

/// The same for a list or watch of what a field selector leaves.
pub(crate) async fn decide_selected(
    server: &Inner,
    identity: &Identity,
    wanted: Attributes<'_>,
    fields: &str,
) -> Result<()> {
    if is_allowed(&server.rbac.read(), identity, wanted) {
        return Ok(());
    }
    let mut why = None;
    if let Some(name) = identity.node_name() {
        match Box::pin(node::judge(server, name, wanted, fields)).await? {
            Ok(()) => return Ok(()),
            Err(reason) => why = Some(reason),
        }
    }
    if let Some(webhook) = &server.config.external.access {
        match Box::pin(webhook.judge(identity, wanted)).await {
            Ok(()) => return Ok(()),
            Err(reason) if !reason.is_empty() => why = Some(reason),
            Err(_) => {}
        }
    }
    Err(forbidden(identity, wanted, why.as_deref()))
}
