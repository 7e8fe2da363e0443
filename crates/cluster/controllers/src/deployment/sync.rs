//! One step of a Deployment.

use super::history::{self, DESIRED};
use super::rolling::{self, Counts, Limits};
use super::template::{self, HASH_LABEL};
use super::{Controller, status};
use crate::conditions;
use crate::wiring::{Key, is_controlled_by, is_orphan};
use hako_client::{Api, DeleteOptions, Patch};
use hako_error::{Kind, Result};
use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet, ReplicaSetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use k8s_openapi::jiff::Timestamp;
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

/// A deployment with its ReplicaSets sorted out.
struct Scene<'a> {
    deployment: &'a Deployment,
    api: Api<ReplicaSet>,
    new: Option<Arc<ReplicaSet>>,
    /// Oldest first.
    old: Vec<Arc<ReplicaSet>>,
}

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let Some(deployment) = self.deployments.get(&key.0, &key.1) else {
            return Ok(None);
        };
        let uid = deployment.metadata.uid.clone().unwrap_or_default();
        let api: Api<ReplicaSet> = self.client.namespaced(&key.0);
        if deployment.metadata.deletion_timestamp.is_none() {
            self.claim(&deployment, &uid, &key, &api).await?;
        }
        let mut owned: Vec<Arc<ReplicaSet>> =
            self.sets.list_in(&key.0).into_iter().filter(|set| is_controlled_by(&**set, &uid)).collect();
        owned.sort_by_key(|set| {
            (set.metadata.creation_timestamp.as_ref().map(|time| time.0), set.metadata.name.clone())
        });
        let new = template::newest(&deployment, &owned).cloned();
        let old = owned
            .iter()
            .filter(|set| new.as_ref().is_none_or(|new| new.metadata.uid != set.metadata.uid))
            .cloned()
            .collect();
        let mut scene = Scene { deployment: &deployment, api, new, old };
        if deployment.metadata.deletion_timestamp.is_none() {
            self.advance(&mut scene).await?;
        }
        self.report(&scene, &key).await
    }

    async fn claim(
        &self,
        deployment: &Deployment,
        uid: &str,
        key: &Key,
        api: &Api<ReplicaSet>,
    ) -> Result<()> {
        for set in self.sets.list_in(&key.0) {
            let matches = selects(deployment, &set);
            let patch = if matches && is_orphan(&*set) && set.metadata.deletion_timestamp.is_none() {
                json!({ "metadata": { "uid": set.metadata.uid, "ownerReferences": [owner_reference(deployment)] } })
            } else if !matches && is_controlled_by(&*set, uid) {
                json!({ "metadata": { "uid": set.metadata.uid, "ownerReferences": [{ "$patch": "delete", "uid": uid }] } })
            } else {
                continue;
            };
            api.patch(set.metadata.name.as_deref().unwrap_or_default(), &Patch::Strategic(patch)).await?;
        }
        Ok(())
    }

    async fn advance(&self, scene: &mut Scene<'_>) -> Result<()> {
        let spec = scene.deployment.spec.clone().unwrap_or_default();
        if spec.paused == Some(true) || self.is_rescaled(scene) {
            return self.rescale(scene).await;
        }
        let recreate = spec.strategy.and_then(|strategy| strategy.type_).as_deref() == Some("Recreate");
        if recreate {
            self.recreate(scene).await?;
        } else {
            self.roll(scene).await?;
        }
        for set in history::superfluous(&scene.old, spec.revision_history_limit.unwrap_or(10)) {
            let options = DeleteOptions { uid: set.metadata.uid.clone(), ..DeleteOptions::default() };
            match scene.api.delete(set.metadata.name.as_deref().unwrap_or_default(), &options).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether somebody changed the number of replicas since the ReplicaSets were last sized.
    fn is_rescaled(&self, scene: &Scene<'_>) -> bool {
        let wanted = Limits::of(scene.deployment).replicas;
        scene.new.iter().chain(&scene.old).filter(|set| replicas(set) > 0).any(|set| {
            let desired =
                set.metadata.annotations.as_ref().and_then(|all| all.get(DESIRED)?.parse::<i32>().ok());
            desired.is_some_and(|desired| desired != wanted)
        })
    }

    async fn rescale(&self, scene: &mut Scene<'_>) -> Result<()> {
        let limits = Limits::of(scene.deployment);
        let all: Vec<Arc<ReplicaSet>> =
            scene.new.iter().chain(scene.old.iter().rev()).filter(|set| replicas(set) > 0).cloned().collect();
        let most = limits.replicas + limits.surge;
        // Nothing runs, or all of it is of one template: that one is as large as the deployment.
        let shares = match (all.len(), &scene.new) {
            (0, Some(new)) => return self.resize(scene, new, limits.replicas).await.map(drop),
            (0, None) => return Ok(()),
            (1, _) => vec![limits.replicas],
            _ if limits.replicas == 0 => vec![0; all.len()],
            _ => rolling::proportional(&sized(scene.deployment, &all), most),
        };
        for (set, share) in all.iter().zip(shares) {
            self.resize(scene, set, share).await?;
        }
        Ok(())
    }

    async fn recreate(&self, scene: &mut Scene<'_>) -> Result<()> {
        for set in scene.old.clone() {
            self.resize(scene, &set, 0).await?;
        }
        let old_uids: Vec<&str> = scene.old.iter().filter_map(|set| set.metadata.uid.as_deref()).collect();
        let namespace = scene.deployment.metadata.namespace.as_deref().unwrap_or_default();
        let is_of_old = |pod: &k8s_openapi::api::core::v1::Pod| {
            old_uids.iter().any(|uid| is_controlled_by(pod, uid))
                && !matches!(crate::pods::phase(pod), "Succeeded" | "Failed")
        };
        if self.pods.list_in(namespace).iter().any(|pod| is_of_old(pod)) {
            return Ok(());
        }
        let wanted = Limits::of(scene.deployment).replicas;
        let new = self.ensure_new(scene, wanted).await?;
        self.resize(scene, &new, wanted).await.map(drop)
    }

    async fn roll(&self, scene: &mut Scene<'_>) -> Result<()> {
        let limits = Limits::of(scene.deployment);
        let old: Vec<Counts> = scene.old.iter().map(|set| counts(set)).collect();
        let first = rolling::grow_new(limits, scene.new.as_deref().map(counts).unwrap_or_default(), &old);
        let new = self.ensure_new(scene, first).await?;
        let size = rolling::grow_new(limits, counts(&new), &old);
        let grown = self.resize(scene, &new, size).await?;
        let sizes = rolling::shrink_old(limits, counts(&grown), &old);
        for (set, size) in scene.old.clone().iter().zip(sizes) {
            self.resize(scene, set, size).await?;
        }
        Ok(())
    }

    /// The ReplicaSet of the present template, made where there is none, with its revision.
    async fn ensure_new(&self, scene: &mut Scene<'_>, size: i32) -> Result<Arc<ReplicaSet>> {
        let limits = Limits::of(scene.deployment);
        let revision = history::next_revision(scene.new.as_deref(), &scene.old);
        let annotations = history::annotations(
            scene.deployment,
            scene.new.as_deref(),
            revision,
            limits.replicas,
            limits.replicas + limits.surge,
        );
        let made = match &scene.new {
            Some(set) if set.metadata.annotations.as_ref() == Some(&annotations) => Arc::clone(set),
            Some(set) => {
                let patch = Patch::Merge(json!({ "metadata": { "annotations": annotations } }));
                Arc::new(scene.api.patch(set.metadata.name.as_deref().unwrap_or_default(), &patch).await?)
            }
            None => Arc::new(self.create(scene, annotations, size).await?),
        };
        self.record_revision(scene.deployment, revision).await?;
        scene.new = Some(Arc::clone(&made));
        Ok(made)
    }

    async fn create(
        &self,
        scene: &Scene<'_>,
        annotations: std::collections::BTreeMap<String, String>,
        size: i32,
    ) -> Result<ReplicaSet> {
        let deployment = scene.deployment;
        let collisions = deployment.status.as_ref().and_then(|status| status.collision_count).unwrap_or(0);
        let set = replica_set(deployment, annotations, size, collisions);
        let name = set.metadata.name.clone().unwrap_or_default();
        match scene.api.create(&set).await {
            Ok(set) => {
                if size > 0 {
                    self.events.normal(
                        deployment,
                        "ScalingReplicaSet",
                        &format!("Scaled up replica set {name} from 0 to {size}"),
                    );
                }
                Ok(set)
            }
            Err(error) if error.kind() == Kind::AlreadyExists => {
                let there = scene.api.get(&name).await?;
                let uid = deployment.metadata.uid.as_deref().unwrap_or_default();
                let there = Arc::new(there);
                if is_controlled_by(&*there, uid)
                    && template::newest(deployment, std::slice::from_ref(&there)).is_some()
                {
                    return Ok(Arc::unwrap_or_clone(there));
                }
                // Another template has this hash: count it, so that the next step draws another.
                let mut changed = deployment.clone();
                changed.status.get_or_insert_default().collision_count = Some(collisions + 1);
                let deployments: Api<Deployment> =
                    self.client.namespaced(deployment.metadata.namespace.as_deref().unwrap_or_default());
                deployments
                    .replace_status(deployment.metadata.name.as_deref().unwrap_or_default(), &changed)
                    .await?;
                Err(error)
            }
            Err(error) => {
                self.events.warning(
                    deployment,
                    "ReplicaSetCreateError",
                    &format!("Failed to create new replica set {name:?}: {}", error.chain()),
                );
                Err(error)
            }
        }
    }

    /// The revision is on the deployment too: `kubectl rollout` reads it there.
    async fn record_revision(&self, deployment: &Deployment, revision: i64) -> Result<()> {
        if history::revision(deployment.metadata.annotations.as_ref()) == revision {
            return Ok(());
        }
        let api: Api<Deployment> =
            self.client.namespaced(deployment.metadata.namespace.as_deref().unwrap_or_default());
        let patch = Patch::Merge(
            json!({ "metadata": { "annotations": { history::REVISION: revision.to_string() } } }),
        );
        api.patch(deployment.metadata.name.as_deref().unwrap_or_default(), &patch).await.map(drop)
    }

    /// Sets a ReplicaSet's size and the sizes its controller had in mind, where they differ.
    async fn resize(&self, scene: &Scene<'_>, set: &Arc<ReplicaSet>, size: i32) -> Result<Arc<ReplicaSet>> {
        let limits = Limits::of(scene.deployment);
        let (from, name) = (replicas(set), set.metadata.name.clone().unwrap_or_default());
        let desired = set.metadata.annotations.as_ref().and_then(|all| all.get(DESIRED)).cloned();
        if from == size && (size == 0 || desired == Some(limits.replicas.to_string())) {
            return Ok(Arc::clone(set));
        }
        let patch = json!({
            "metadata": { "resourceVersion": set.metadata.resource_version, "annotations": {
                DESIRED: limits.replicas.to_string(), history::MAXIMUM: (limits.replicas + limits.surge).to_string(),
            } },
            "spec": { "replicas": size },
        });
        let changed = scene.api.patch(&name, &Patch::Merge(patch)).await?;
        if from != size {
            let verb = if size > from { "up" } else { "down" };
            self.events.normal(
                scene.deployment,
                "ScalingReplicaSet",
                &format!("Scaled {verb} replica set {name} from {from} to {size}"),
            );
        }
        Ok(Arc::new(changed))
    }

    async fn report(&self, scene: &Scene<'_>, key: &Key) -> Result<Option<Duration>> {
        let all: Vec<Arc<ReplicaSet>> = scene.new.iter().chain(&scene.old).cloned().collect();
        let (status, wait) = status::status(scene.deployment, scene.new.as_ref(), &all, Timestamp::now());
        if scene.deployment.status.as_ref() != Some(&status) {
            let api: Api<Deployment> = self.client.namespaced(&key.0);
            // The deployment may have got its revision in this very step: the status goes alone.
            let patch = Patch::Merge(json!({ "status": nulls_for_zeroes(&status) }));
            match api.patch_status(&key.1, &patch).await {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => {}
            }
        }
        Ok(wait)
    }
}

/// A merge patch leaves out what is absent: a count that fell to zero has to be said.
fn nulls_for_zeroes(status: &k8s_openapi::api::apps::v1::DeploymentStatus) -> serde_json::Value {
    let mut value = serde_json::to_value(status).unwrap_or_default();
    for field in [
        "replicas",
        "updatedReplicas",
        "readyReplicas",
        "availableReplicas",
        "unavailableReplicas",
        "terminatingReplicas",
    ] {
        if value.get(field).is_none() {
            value[field] = serde_json::Value::Null;
        }
    }
    value
}

fn sized(deployment: &Deployment, sets: &[Arc<ReplicaSet>]) -> Vec<rolling::Sized> {
    let now = deployment.status.as_ref().and_then(|status| status.replicas).unwrap_or(0);
    let of = |set: &ReplicaSet| {
        let annotations = set.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(history::MAXIMUM)?.parse().ok()).unwrap_or(now)
    };
    sets.iter().map(|set| rolling::Sized { wanted: replicas(set), of: of(set) }).collect()
}

fn replicas(set: &ReplicaSet) -> i32 {
    set.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or(0)
}

fn counts(set: &ReplicaSet) -> Counts {
    let status = set.status.clone().unwrap_or_default();
    Counts {
        wanted: replicas(set),
        have: status.replicas,
        available: status.available_replicas.unwrap_or(0).min(replicas(set)),
    }
}

pub(super) fn selects(deployment: &Deployment, set: &ReplicaSet) -> bool {
    let selector = deployment.spec.as_ref().and_then(|spec| conditions::selector(&spec.selector).ok());
    selector.is_some_and(|selector| selector.matches_opt(set.metadata.labels.as_ref()))
}

fn owner_reference(deployment: &Deployment) -> OwnerReference {
    OwnerReference {
        api_version: "apps/v1".into(),
        kind: "Deployment".into(),
        name: deployment.metadata.name.clone().unwrap_or_default(),
        uid: deployment.metadata.uid.clone().unwrap_or_default(),
        controller: Some(true),
        block_owner_deletion: Some(true),
    }
}

fn replica_set(
    deployment: &Deployment,
    annotations: std::collections::BTreeMap<String, String>,
    size: i32,
    collisions: i32,
) -> ReplicaSet {
    let spec = deployment.spec.clone().unwrap_or_default();
    let hash = template::hash(&spec.template, collisions);
    let mut template = spec.template;
    template
        .metadata
        .get_or_insert_default()
        .labels
        .get_or_insert_default()
        .insert(HASH_LABEL.to_owned(), hash.clone());
    let mut selector = spec.selector;
    selector.match_labels.get_or_insert_default().insert(HASH_LABEL.to_owned(), hash.clone());
    ReplicaSet {
        metadata: ObjectMeta {
            name: Some(format!("{}-{hash}", deployment.metadata.name.as_deref().unwrap_or_default())),
            namespace: deployment.metadata.namespace.clone(),
            labels: template.metadata.as_ref().and_then(|meta| meta.labels.clone()),
            annotations: Some(annotations),
            owner_references: Some(vec![owner_reference(deployment)]),
            ..ObjectMeta::default()
        },
        spec: Some(ReplicaSetSpec {
            replicas: Some(size),
            min_ready_seconds: spec.min_ready_seconds,
            selector,
            template: Some(template),
        }),
        status: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replica_set_is_named_and_selected_by_its_template() {
        let deployment: Deployment = serde_json::from_value(json!({
            "metadata": { "name": "d", "namespace": "n", "uid": "u" },
            "spec": { "selector": { "matchLabels": { "a": "b" } }, "template": { "metadata": { "labels": { "a": "b" } } } },
        }))
        .unwrap();
        let set = replica_set(&deployment, Default::default(), 3, 0);
        let hash = &set.metadata.labels.as_ref().unwrap()[HASH_LABEL];
        assert_eq!(set.metadata.name.as_deref(), Some(format!("d-{hash}").as_str()));
        assert!(selects(&deployment, &set) && is_controlled_by(&set, "u"));
        assert!(template::newest(&deployment, &[Arc::new(set)]).is_some());
    }
}
