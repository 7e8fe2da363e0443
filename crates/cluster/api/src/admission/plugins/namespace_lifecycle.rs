//! Namespaces have to be there and open for what is created in them, and some stay.

use std::sync::Arc;

use futures::FutureExt as _;
use hako_error::{Error, FieldCause, Kind};

use super::{Change, Operation, Plugin, pass};
use crate::http::{Failure, Outcome};
use crate::kinds;
use crate::resource::{Target, registry_key};

pub(super) const PLUGIN: Plugin = Plugin {
    name: "NamespaceLifecycle",
    handles: |change| match change.operation {
        Operation::Create => change.target.row.is_namespaced() && change.part.is_empty(),
        Operation::Delete => change.is_of("", "namespaces"),
        Operation::Update | Operation::Connect => false,
    },
    mutate: Some(|change, _| namespace_is_open(change).boxed()),
    validate: Some(|change, _| match change.operation {
        Operation::Delete => futures::future::ready(may_be_deleted(change)).boxed(),
        _ => pass(),
    }),
};

/// Namespaces that stay.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// Refuses creation in a namespace that is missing or ending.
pub(in super::super) async fn namespace_is_open(change: &Change<'_>) -> Outcome<()> {
    let Some(row) = kinds::by_resource("", "v1", "namespaces") else { return Ok(()) };
    let (target, name) = (change.target, &change.target.namespace);
    let namespace = Target { row: Arc::clone(row), namespace: String::new(), name: name.clone() };
    let read = change.server.config.store.get(&registry_key(row, "", name)).await?;
    let entry = read.entry.ok_or_else(|| namespace.not_found())?;
    let is_deleting = change.server.identities.of(&entry).is_ok_and(|identity| identity.deleted.is_some());
    if !is_deleting {
        // Nothing may be left behind when it goes meanwhile.
        change.notes.rely_on(&entry);
        return Ok(());
    }
    let subject = target.subject();
    let text = format!(
        "{} {:?} is forbidden: unable to create new content in namespace {name} because it is being terminated",
        subject.group_resource(),
        target.name
    );
    let cause = FieldCause {
        reason: "NamespaceTerminating".into(),
        message: format!("namespace {name} is being terminated"),
        field: "metadata.namespace".into(),
    };
    Err(Failure::about(&Error::new(Kind::Forbidden, text).with_causes(vec![cause]), &subject))
}

fn may_be_deleted(change: &Change<'_>) -> Outcome<()> {
    if IMMORTAL.contains(&change.target.name.as_str()) {
        return Err(change.forbidden("this namespace may not be deleted"));
    }
    Ok(())
}
