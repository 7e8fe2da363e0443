//! APIServices of what this server serves itself: those of its own kinds are made when it starts, those of custom
//! resources come and go with their definitions. Whoever takes their label off has them for itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};
use std::time::Duration;

use hako_client::{DeleteOptions, ListParams, WriteOptions};
use hako_error::{Kind, Result};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::check::api;
use super::service::AUTOMANAGED;
use crate::kinds::Kinds;
use crate::server::Inner;

/// How long after a failure it is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// Of groups of custom resources, and of their versions.
const CUSTOM: (i64, i64) = (1000, 100);
/// The group that has APIServices has none itself.
const OWN: &str = "apiregistration.k8s.io";

/// Groups in the order of discovery, as upstream has them
/// (kubernetes, pkg/controlplane/apiserver/aggregator.go).
const GROUPS: &[(&str, i64)] = &[
    (OWN, 20_000),
    ("", 18_000),
    ("apps", 17_800),
    ("events.k8s.io", 17_750),
    ("authentication.k8s.io", 17_700),
    ("authorization.k8s.io", 17_600),
    ("autoscaling", 17_500),
    ("batch", 17_400),
    ("certificates.k8s.io", 17_300),
    ("networking.k8s.io", 17_200),
    ("policy", 17_100),
    ("rbac.authorization.k8s.io", 17_000),
    ("storage.k8s.io", 16_800),
    ("storagemigration.k8s.io", 16_800),
    ("apiextensions.k8s.io", 16_700),
    ("admissionregistration.k8s.io", 16_700),
    ("scheduling.k8s.io", 16_600),
    ("coordination.k8s.io", 16_500),
    ("node.k8s.io", 16_300),
    ("discovery.k8s.io", 16_200),
    ("flowcontrol.apiserver.k8s.io", 16_100),
    ("resource.k8s.io", 15_900),
];

/// The priorities of a group and of a version of it, unless its APIService says otherwise.
pub(super) fn priorities(group: &str, version: &str) -> (i64, i64) {
    let Some((_, of_group)) = GROUPS.iter().find(|(name, _)| *name == group) else { return CUSTOM };
    let of_version = match (group, version) {
        ("", _) => 1,
        ("autoscaling", "v2") => 30,
        ("flowcontrol.apiserver.k8s.io", "v1") => 21,
        ("storagemigration.k8s.io", _) => 12,
        _ => 15,
    };
    (*of_group, of_version)
}

type Versions = BTreeSet<(String, String)>;

fn versions(kinds: &Kinds) -> Versions {
    let all = kinds.all().iter().filter(|row| row.group != OWN);
    all.map(|row| (row.group.to_string(), row.version.to_string())).collect()
}

fn object(group: &str, version: &str, label: &str) -> Value {
    let (of_group, of_version) = priorities(group, version);
    json!({
        "metadata": {"name": format!("{version}.{group}"), "labels": {AUTOMANAGED: label}},
        "spec": {"group": group, "version": version, "groupPriorityMinimum": of_group, "versionPriority": of_version},
    })
}

/// Makes those of the program's own kinds that are missing.
pub(super) async fn make(server: &Arc<Inner>) -> Result<()> {
    let api = api(server);
    let there = api.list(&ListParams::default()).await?;
    let name = |object: &Value| object["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    let there: BTreeSet<String> = there.items.iter().map(name).collect();
    for (group, version) in versions(Kinds::built_in()) {
        if !there.contains(&format!("{version}.{group}")) {
            create(server, &object(&group, &version, "onstart")).await?;
        }
    }
    Ok(())
}

async fn create(server: &Arc<Inner>, object: &Value) -> Result<()> {
    match api(server).create(object, &WriteOptions::default()).await {
        Err(error) if error.kind() != Kind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

/// Has those of custom resources follow their definitions until the server ends.
pub(super) async fn keep(server: Weak<Inner>, stop: CancellationToken) {
    loop {
        let Some(inner) = server.upgrade() else { return };
        let changed = Arc::clone(&inner.aggregated.changed);
        let Some(settled) = stop.run_until_cancelled(settle(&inner)).await else { return };
        drop(inner);
        let again = async {
            match settled {
                Ok(()) => std::future::pending().await,
                Err(error) => {
                    tracing::warn!(%error, "the APIService of a custom resource was not written");
                    tokio::time::sleep(AGAIN).await;
                }
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = changed.notified() => {}
            () = again => {}
        }
    }
}

async fn settle(server: &Arc<Inner>) -> Result<()> {
    let built_in = versions(Kinds::built_in());
    let custom: Versions = versions(&server.kinds.now()).difference(&built_in).cloned().collect();
    let services = server.aggregated.now();
    for (group, version) in &custom {
        if !services.contains_key(&format!("{version}.{group}")) {
            create(server, &object(group, version, "true")).await?;
        }
    }
    let is_over = |group: &str, version: &str| !custom.contains(&(group.to_owned(), version.to_owned()));
    for (name, service) in services.iter().filter(|(_, service)| service.is_automanaged) {
        if is_over(&service.group, &service.version) {
            let options = DeleteOptions { uid: Some(service.uid.clone()), ..DeleteOptions::default() };
            match api(server).delete(name, &options).await {
                Err(error) if !matches!(error.kind(), Kind::NotFound | Kind::Conflict) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_of_the_program_has_its_place() {
        for (group, version) in versions(Kinds::built_in()) {
            assert_ne!(priorities(&group, &version), CUSTOM, "{group}/{version}");
        }
        assert_eq!(priorities("example.org", "v1"), CUSTOM);
    }
}
