//! The whole chain: fixed rules and roles, then what a node's pods need, then a webhook.

use hako_error::Result;

use super::authorize::{Attributes, forbidden, is_allowed};
use super::{Identity, node};
use crate::server::Inner;

/// Refuses what nobody in the chain allows.
pub(crate) async fn decide(server: &Inner, identity: &Identity, wanted: Attributes<'_>) -> Result<()> {
    if is_allowed(&server.rbac.read(), identity, wanted) {
        return Ok(());
    }
    let mut why = None;
    if let Some(name) = identity.node_name() {
        match node::judge(server, name, wanted).await? {
            Ok(()) => return Ok(()),
            Err(reason) => why = Some(reason),
        }
    }
    if let Some(webhook) = &server.config.external.access {
        match webhook.judge(identity, wanted).await {
            Ok(()) => return Ok(()),
            Err(reason) if !reason.is_empty() => why = Some(reason),
            Err(_) => {}
        }
    }
    Err(forbidden(identity, wanted, why.as_deref()))
}
