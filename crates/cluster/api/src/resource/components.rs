//! `componentstatuses`: what is asked of the parts of the cluster when somebody wants to know.
//!
//! The store is asked itself. Scheduler and controllers are told from the objects that only they write: each keeps a
//! lease while it works.

use std::sync::Arc;

use hako_store::{Entry, Revision};
use http::StatusCode;
use serde_json::json;

use super::encoded::{decode, encode};
use super::items;
use super::render::{self, ListHead};
use super::selection::Selection;
use super::target::{Target, registry_key};
use crate::http::{Outcome, Request};
use crate::server::Inner;

const DEPRECATED: &str = "v1 ComponentStatus is deprecated in v1.19+";

/// Reads one.
pub(crate) async fn get_component(server: &Inner, request: &Request, target: &Target) -> Outcome {
    request.notes.warn(DEPRECATED);
    let form = request.accept_of(target.row.has_protobuf)?.form;
    let all = all(server, target).await?;
    let key = target.key();
    let found = all.iter().find(|entry| entry.key == key).ok_or_else(|| target.not_found())?;
    Ok(render::value(&target.row, form, StatusCode::OK, &decode(&target.row, found)?))
}

/// Reads those that are selected.
pub(crate) async fn list_components(server: &Inner, request: &Request, target: &Target) -> Outcome {
    request.notes.warn(DEPRECATED);
    let accept = request.accept_of(target.row.has_protobuf)?;
    let selection = Selection::parse(&request.query, target)?;
    let mut entries = all(server, target).await?;
    entries.retain(|entry| selection.matches(&entry.key, &entry.value));
    let revision = server.config.store.revision().await?;
    let head = ListHead { revision, continue_token: None, remaining: None };
    items::list(target, accept, &head, entries).await
}

async fn all(server: &Inner, target: &Target) -> Outcome<Vec<Arc<Entry>>> {
    let of = |(name, fault): (&str, Option<String>)| -> Outcome<Arc<Entry>> {
        let condition = match fault {
            None => json!({"type": "Healthy", "status": "True", "message": "ok"}),
            Some(fault) => json!({"type": "Healthy", "status": "False", "message": fault}),
        };
        let (version, kind) = (target.row.api_version(), &*target.row.kind);
        let mut object = json!({
            "apiVersion": version, "kind": kind, "metadata": {"name": name}, "conditions": [condition],
        });
        let value = encode(&target.row, &mut object)?;
        let key = registry_key(&target.row, "", name);
        Ok(Arc::new(Entry { key, value, created: Revision::ZERO, modified: Revision::ZERO, lease: None }))
    };
    let connected = |user: &str| {
        let is_there = server.components.is_connected(user);
        (!is_there).then(|| "it is not connected to this API server".to_owned())
    };
    [
        ("controller-manager", connected("system:kube-controller-manager")),
        ("etcd-0", store(server).await),
        ("scheduler", connected("system:kube-scheduler")),
    ]
    .into_iter()
    .map(of)
    .collect()
}

/// Why the store does not do what it is for.
async fn store(server: &Inner) -> Option<String> {
    match server.config.store.status().await {
        Ok(status) => status.refusing,
        Err(error) => Some(error.to_string()),
    }
}
