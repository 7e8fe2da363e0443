//! One step of a namespace's end.

use super::Controller;
use crate::wiring::Key;
use crate::{conditions, discovery};
use hako_client::{Api, Client, DeleteOptions, ListParams, ResourceType};
use hako_error::Result;
use k8s_openapi::api::core::v1::{Namespace, NamespaceCondition};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Duration;

/// How often the contents are looked at until they are gone: pods take their grace period.
const AGAIN: Duration = Duration::from_millis(100);
const FINALIZER: &str = "kubernetes";

/// What is still in a namespace.
#[derive(Debug, Default, PartialEq, Eq)]
struct Remains {
    /// Objects by resource.
    counts: BTreeMap<String, usize>,
    /// Objects by the finalizer they wait for.
    finalizers: BTreeMap<String, usize>,
}

impl Controller {
    pub(super) async fn sync(&self, key: Key) -> Result<Option<Duration>> {
        let Some(namespace) = self.namespaces.get("", &key.1) else {
            return Ok(None);
        };
        let has_ours = namespace
            .spec
            .iter()
            .flat_map(|spec| spec.finalizers.iter().flatten())
            .any(|one| one == FINALIZER);
        if namespace.metadata.deletion_timestamp.is_none() || !has_ours {
            return Ok(None);
        }
        let remains = self.empty(&key.1).await?;
        let api: Api<Namespace> = self.client.all();
        // Read again: the step may have taken long.
        let Some(mut present) = api.get_opt(&key.1).await? else {
            return Ok(None);
        };
        if remains.counts.is_empty() {
            present
                .spec
                .get_or_insert_default()
                .finalizers
                .get_or_insert_default()
                .retain(|one| one != FINALIZER);
            return match api.replace_subresource(&key.1, "finalize", &present).await {
                Err(error) if !error.is_not_found() => Err(error),
                _ => Ok(None),
            };
        }
        if report(&mut present, &remains) {
            api.replace_status(&key.1, &present).await?;
        }
        Ok(Some(AGAIN))
    }

    /// Deletes everything that is not being deleted yet; says what is still there.
    async fn empty(&self, namespace: &str) -> Result<Remains> {
        let mut remains = Remains::default();
        for resource in resources(&self.client).await? {
            let api = self.client.dynamic(&resource, Some(namespace));
            let is_waiting = |item: &Value| item["metadata"]["deletionTimestamp"].is_null();
            let mut items = api.list(&ListParams::default()).await?.items;
            if items.iter().any(is_waiting) {
                api.delete_collection(&ListParams::default(), &DeleteOptions::default()).await?;
                items = api.list(&ListParams::default()).await?.items;
            }
            if items.is_empty() {
                continue;
            }
            let group =
                if resource.group.is_empty() { String::new() } else { format!(".{}", resource.group) };
            remains.counts.insert(format!("{}{group}", resource.plural), items.len());
            for finalizer in
                items.iter().flat_map(|item| item["metadata"]["finalizers"].as_array().into_iter().flatten())
            {
                *remains.finalizers.entry(finalizer.as_str().unwrap_or_default().to_owned()).or_default() +=
                    1;
            }
        }
        Ok(remains)
    }
}

/// The namespaced resources whose objects can be listed and deleted, as discovery tells them.
async fn resources(client: &Client) -> Result<Vec<ResourceType>> {
    let served = discovery::resources(client).await?;
    let wanted = |one: &discovery::Served| {
        one.is_namespaced && ["list", "delete", "deletecollection"].iter().all(|verb| one.can(verb))
    };
    Ok(served.into_iter().filter(wanted).map(|one| one.resource).collect())
}

/// Says in the conditions what the namespace waits for; whether that is news.
fn report(namespace: &mut Namespace, remains: &Remains) -> bool {
    let list = |all: &BTreeMap<String, usize>, what: &str| {
        let parts: Vec<String> =
            all.iter().map(|(name, count)| format!("{name} {what} {count} resource instances")).collect();
        parts.join(", ")
    };
    let content = format!("Some resources are remaining: {}", list(&remains.counts, "has"));
    let mut changed =
        set_condition(namespace, "NamespaceContentRemaining", true, "SomeResourcesRemain", &content);
    let (reason, message) = if remains.finalizers.is_empty() {
        ("ContentHasNoFinalizers", "All content-preserving finalizers finished".to_owned())
    } else {
        (
            "SomeFinalizersRemain",
            format!(
                "Some content in the namespace has finalizers remaining: {}",
                list(&remains.finalizers, "in")
            ),
        )
    };
    changed |= set_condition(
        namespace,
        "NamespaceFinalizersRemaining",
        !remains.finalizers.is_empty(),
        reason,
        &message,
    );
    changed
}

fn set_condition(namespace: &mut Namespace, kind: &str, is: bool, reason: &str, message: &str) -> bool {
    let status = if is { "True" } else { "False" };
    let all = namespace.status.get_or_insert_default().conditions.get_or_insert_default();
    let condition = NamespaceCondition {
        type_: kind.into(),
        status: status.into(),
        reason: Some(reason.into()),
        message: Some(message.into()),
        last_transition_time: Some(conditions::now()),
    };
    match all.iter_mut().find(|condition| condition.type_ == kind) {
        Some(old) if old.status == status && old.message.as_deref() == Some(message) => false,
        Some(old) => {
            *old = condition;
            true
        }
        None => {
            all.push(condition);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blocks_a_namespace_is_said_once() {
        let mut namespace = Namespace::default();
        let remains =
            Remains { counts: [("pods".to_owned(), 2)].into(), finalizers: [("x/y".to_owned(), 1)].into() };
        assert!(report(&mut namespace, &remains));
        assert!(!report(&mut namespace, &remains));
        let messages: Vec<String> =
            namespace.status.unwrap().conditions.unwrap().into_iter().filter_map(|one| one.message).collect();
        assert_eq!(messages[0], "Some resources are remaining: pods has 2 resource instances");
        assert_eq!(
            messages[1],
            "Some content in the namespace has finalizers remaining: x/y in 1 resource instances"
        );
    }
}
