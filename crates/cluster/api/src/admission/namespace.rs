//! Namespaces have to be there and open for what is created in them.

use hako_error::{Error, FieldCause, Kind};
use hako_kube::Head;

use crate::http::{Failure, Outcome};
use crate::kinds;
use crate::resource::{Target, registry_key};
use crate::server::Inner;

/// Namespaces that stay.
const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

/// Refuses creation in a namespace that is missing or ending.
pub(crate) async fn namespace_is_open(server: &Inner, target: &Target) -> Outcome<()> {
    if !target.row.is_namespaced() {
        return Ok(());
    }
    let Some(row) = kinds::by_resource("", "v1", "namespaces") else { return Ok(()) };
    let name = &target.namespace;
    let namespace = Target { row, namespace: String::new(), name: name.clone() };
    let read = server.config.store.get(&registry_key(row, "", name)).await?;
    let entry = read.entry.ok_or_else(|| namespace.not_found())?;
    let is_deleting = Head::parse(&entry.value).is_ok_and(|head| head.is_deleting());
    if !is_deleting {
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

/// Refuses deletion of what every cluster needs.
pub(crate) fn may_be_deleted(target: &Target) -> Outcome<()> {
    let name = target.name.as_str();
    let why = match (target.row.group, target.row.plural) {
        ("", "namespaces") if IMMORTAL.contains(&name) => "this namespace may not be deleted",
        ("scheduling.k8s.io", "priorityclasses")
            if kinds::SYSTEM_PRIORITIES.iter().any(|(system, ..)| *system == name) =>
        {
            "this is a system priority class and cannot be deleted"
        }
        _ => return Ok(()),
    };
    let subject = target.subject();
    let text = format!("{} {name:?} is forbidden: {why}", subject.group_resource());
    Err(Failure::about(&Error::new(Kind::Forbidden, text), &subject))
}
