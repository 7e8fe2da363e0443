//! One step of a migration: all of it.

use super::Controller;
use crate::conditions;
use crate::discovery::{self, Served};
use crate::wiring::Key;
use hako_client::{Api, DynamicApi, ListParams, Patch, ResourceType, WriteOptions};
use hako_error::{Error, Kind, Result, Retry};
use hako_kube::{GroupVersionKind, Head};
use k8s_openapi::api::storagemigration::v1beta1::StorageVersionMigration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use serde_json::{Value, json};
use std::time::Duration;

const PAGE: u32 = 500;
/// How long after a migration was asked for its resource may come to be there.
const GRACE: Duration = Duration::from_secs(60);
/// Until it is looked again whether it is there, or whether the server keeps it in its new form.
const AGAIN: Duration = Duration::from_millis(200);

/// How a migration stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    Running,
    Succeeded,
    /// Why.
    Failed(String),
}

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let Some(migration) = self.migrations.get("", &key.1).filter(|it| is_open(it)) else {
            return Ok(None);
        };
        let wanted = &migration.spec.as_ref().map(|spec| spec.resource.clone()).unwrap_or_default();
        let Some(served) = discovery::resource(&self.client, &wanted.group, &wanted.resource).await? else {
            if is_young(&migration, Timestamp::now()) {
                return Ok(Some(AGAIN));
            }
            return self.tell(&migration, None, State::Failed("resource not found".into())).await;
        };
        if !served.can("list") || !served.can("patch") {
            let why = format!("{} cannot be listed and patched", wanted.resource);
            return self.tell(&migration, None, State::Failed(why)).await;
        }
        if !self.is_kept_as_defined(&served).await? {
            return Ok(Some(AGAIN));
        }
        let version = migration.status.as_ref().and_then(|status| status.resource_version.as_deref());
        if version.is_none_or(str::is_empty) {
            let all = self.client.dynamic(&served.resource, None);
            let now = all.list_heads(&ListParams::default().limit(1)).await?.resource_version;
            // The change wakes the migration, which then begins.
            return self.tell(&migration, Some(now), State::Running).await;
        }
        let state = match self.migrate(&served).await {
            Ok(()) => State::Succeeded,
            Err(error) if error.kind().retry() != Retry::Never => return Err(error),
            Err(error) => State::Failed(error.chain().to_string()),
        };
        self.tell(&migration, None, state).await
    }

    /// Whether what is written now is kept as the definition of the resource says, if it has one: the server learns of a
    /// change a moment after it was made.
    async fn is_kept_as_defined(&self, served: &Served) -> Result<bool> {
        let ResourceType { group, plural, .. } = &served.resource;
        let definitions = ResourceType::new("apiextensions.k8s.io", "v1", "customresourcedefinitions");
        match self.client.dynamic(&definitions, None).get(&format!("{plural}.{group}")).await {
            Err(error) if error.is_not_found() => Ok(true),
            Err(error) => Err(error),
            Ok(definition) => {
                Ok(stored_hash(&definition, group, &served.kind).is_none_or(|it| it == served.hash))
            }
        }
    }

    async fn migrate(&self, served: &Served) -> Result<()> {
        let all = self.client.dynamic(&served.resource, None);
        let mut page = ListParams::default().limit(PAGE);
        loop {
            let heads = all.list_heads(&page).await?;
            for head in &heads.items {
                self.rewrite(served, head).await?;
            }
            if heads.continue_token.is_none() {
                return Ok(());
            }
            page.continue_token = heads.continue_token;
        }
    }

    /// Writes an object as it is. Whoever changed it meanwhile has done so already.
    async fn rewrite(&self, served: &Served, head: &Head) -> Result<()> {
        let meta = &head.metadata;
        let api: DynamicApi = self.client.dynamic(&served.resource, meta.namespace.as_deref());
        let same = json!({"metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}});
        match api.patch(&meta.name, None, &Patch::Merge(same), &WriteOptions::default()).await {
            Ok(_) => Ok(()),
            Err(error) if matches!(error.kind(), Kind::Conflict | Kind::NotFound) => Ok(()),
            Err(error) => {
                let place = meta.namespace.iter().map(|it| format!("{it}/")).collect::<String>();
                let text = format!("{} {place}{} could not be written", served.resource.plural, meta.name);
                Err(Error::new(error.kind(), text).with_source(error))
            }
        }
    }

    async fn tell(
        &self,
        migration: &StorageVersionMigration,
        version: Option<String>,
        state: State,
    ) -> Result<Option<Duration>> {
        let meta = &migration.metadata;
        let mut status = migration.status.clone().unwrap_or_default();
        if version.is_some() {
            status.resource_version = version;
        }
        set(status.conditions.get_or_insert_default(), &state);
        let patch = Patch::Merge(json!({
            "metadata": {"uid": meta.uid, "resourceVersion": meta.resource_version}, "status": status,
        }));
        let api: Api<StorageVersionMigration> = self.client.all();
        match api.patch_status(meta.name.as_deref().unwrap_or_default(), &patch).await {
            // Gone, or changed: then the change wakes it again.
            Err(error) if !matches!(error.kind(), Kind::NotFound | Kind::Conflict) => Err(error),
            _ => Ok(None),
        }
    }
}

/// Whether it is still to be done.
fn is_open(migration: &StorageVersionMigration) -> bool {
    let mut all = migration.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let is_end = |it: &Condition| matches!(it.type_.as_str(), "Succeeded" | "Failed") && it.status == "True";
    migration.metadata.deletion_timestamp.is_none() && !all.any(is_end)
}

/// Whether its resource may yet come to be there.
fn is_young(migration: &StorageVersionMigration, now: Timestamp) -> bool {
    let created = migration.metadata.creation_timestamp.as_ref();
    created.is_some_and(|at| Duration::try_from(now.duration_since(at.0)).is_ok_and(|age| age < GRACE))
}

/// What stands for the version in which a definition says that objects are kept.
fn stored_hash(definition: &Value, group: &str, kind: &str) -> Option<String> {
    let versions = definition["spec"]["versions"].as_array()?;
    let version = versions.iter().find(|version| version["storage"] == true)?["name"].as_str()?;
    Some(GroupVersionKind::new(group, version, kind).storage_version_hash())
}

/// Says how it stands, in the words of upstream.
fn set(conditions: &mut Vec<Condition>, state: &State) {
    let (kind, reason, message) = match state {
        State::Running => ("Running", "StorageVersionMigrationInProgress", ""),
        State::Succeeded => ("Succeeded", "StorageVersionMigrationSucceeded", ""),
        State::Failed(why) => ("Failed", "StorageVersionMigrationFailed", why.as_str()),
    };
    let mut one = |kind: &str, status: &str| {
        let new = Condition {
            type_: kind.into(),
            status: status.into(),
            reason: reason.into(),
            message: message.into(),
            last_transition_time: conditions::now(),
            observed_generation: None,
        };
        match conditions.iter_mut().find(|it| it.type_ == kind) {
            Some(old) if old.status == status => {}
            Some(old) => *old = new,
            None => conditions.push(new),
        }
    };
    if *state != State::Running {
        one("Running", "False");
    }
    one(kind, "True");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(status: Value) -> StorageVersionMigration {
        let metadata = json!({"name": "m", "creationTimestamp": "2026-01-01T00:00:00Z"});
        let spec = json!({"resource": {"group": "g.io", "resource": "tabs"}});
        serde_json::from_value(json!({"metadata": metadata, "spec": spec, "status": status})).unwrap()
    }

    fn conditions_of(states: &[State]) -> Vec<(String, String)> {
        let mut all = Vec::new();
        states.iter().for_each(|state| set(&mut all, state));
        all.into_iter().map(|it| (it.type_, it.status)).collect()
    }

    #[test]
    fn a_migration_runs_until_it_succeeds_or_fails_and_never_again() {
        let pair = |kind: &str, status: &str| (kind.to_owned(), status.to_owned());
        assert_eq!(conditions_of(&[State::Running]), [pair("Running", "True")]);
        let ended = conditions_of(&[State::Running, State::Succeeded]);
        assert_eq!(ended, [pair("Running", "False"), pair("Succeeded", "True")]);
        let failed = conditions_of(&[State::Failed("x".into())]);
        assert_eq!(failed, [pair("Running", "False"), pair("Failed", "True")]);
        assert!(is_open(&migration(json!({}))));
        for kind in ["Succeeded", "Failed"] {
            let done = json!({"conditions": [{"type": kind, "status": "True", "reason": "X", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
            assert!(!is_open(&migration(done)));
        }
    }

    #[test]
    fn a_resource_that_is_not_there_is_waited_for_a_minute() {
        let at = |second: &str| format!("2026-01-01T00:{second}Z").parse::<Timestamp>().unwrap();
        assert!(is_young(&migration(json!({})), at("00:59")));
        assert!(!is_young(&migration(json!({})), at("01:00")));
    }

    #[test]
    fn the_version_in_which_objects_are_kept_is_that_of_the_definition() {
        let versions = json!([{"name": "v1", "storage": false}, {"name": "v2", "storage": true}]);
        let found = stored_hash(&json!({"spec": {"versions": versions}}), "g.io", "Tab").unwrap();
        assert_eq!(found, GroupVersionKind::new("g.io", "v2", "Tab").storage_version_hash());
    }
}
