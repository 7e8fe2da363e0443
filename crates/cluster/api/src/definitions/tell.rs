//! What definitions say of themselves.

use std::sync::Arc;

use hako_client::{DynamicApi, Patch, ResourceType, WriteOptions};
use hako_error::Kind;
use serde_json::{Value, json};

use super::clear;
use super::known::{Known, One};
use crate::auth::Identity;
use crate::kinds::custom_resource::{approval, condition, condition_of, set_condition};
use crate::server::{Inner, Server};

/// Definitions, as the server itself changes them.
pub(super) fn api(server: &Arc<Inner>) -> DynamicApi {
    let client = Server::of(server).client(Identity::admin()).named("kube-apiserver");
    client.dynamic(&ResourceType::new("apiextensions.k8s.io", "v1", "customresourcedefinitions"), None)
}

/// Writes the status of all that do not say yet how they stand, and begins to clear away what is deleted; whether all say
/// it now. A write may be refused for a while: by a webhook that is down, or by a store that is away.
pub(super) async fn all(server: &Arc<Inner>, known: &mut Known) -> bool {
    let mut is_said = true;
    for (name, one) in known.all.iter_mut().filter(|(_, one)| !one.is_told) {
        one.is_told = true;
        if one.is_ending {
            clear::begin(server, name, one);
            continue;
        }
        if let Err(error) = status(server, name, one).await {
            tracing::warn!(name, %error, "the status of a definition is not written yet");
            one.is_told = false;
            is_said = false;
        }
    }
    is_said
}

async fn status(server: &Arc<Inner>, name: &str, one: &One) -> hako_error::Result<()> {
    let stored = match api(server).get(name).await {
        Err(error) if error.kind() == Kind::NotFound => return Ok(()),
        other => other?,
    };
    if stored["metadata"]["uid"] != one.uid.as_str() {
        return Ok(());
    }
    let mut wanted = stored.clone();
    wanted["status"]["acceptedNames"] = accepted(one);
    for condition in conditions(&stored, one) {
        let [kind, status, reason, message] =
            ["type", "status", "reason", "message"].map(|it| condition.get(it));
        let is_said = condition_of(&stored, kind.and_then(Value::as_str).unwrap_or("")).is_some_and(|said| {
            [said.get("status"), said.get("reason"), said.get("message")] == [status, reason, message]
        });
        if !is_said {
            set_condition(&mut wanted, condition);
        }
    }
    if wanted["status"] == stored["status"] {
        return Ok(());
    }
    let patch = Patch::Merge(json!({
        "metadata": {"resourceVersion": stored["metadata"]["resourceVersion"], "uid": one.uid},
        "status": {"acceptedNames": wanted["status"]["acceptedNames"], "conditions": wanted["status"]["conditions"]},
    }));
    match api(server).patch(name, Some("status"), &patch, &WriteOptions::default()).await {
        // Whoever was faster caused an event, and with it another turn.
        Err(error) if !matches!(error.kind(), Kind::NotFound | Kind::Conflict) => Err(error),
        _ => Ok(()),
    }
}

/// Names as the status has them: what is empty is left out, but for the two that always are there.
fn accepted(one: &One) -> Value {
    let names = &one.accepted;
    let mut value = json!({"plural": names.plural, "kind": names.kind});
    for (name, text) in [("singular", &names.singular), ("listKind", &names.list_kind)] {
        if !text.is_empty() {
            value[name] = text.as_str().into();
        }
    }
    for (name, list) in [("shortNames", &names.short_names), ("categories", &names.categories)] {
        if !list.is_empty() {
            value[name] = json!(list);
        }
    }
    value
}

fn conditions(stored: &Value, one: &One) -> Vec<Value> {
    let mut all = vec![match &one.conflict {
        None => condition("NamesAccepted", "True", "NoConflicts", "no conflicts found"),
        Some((reason, message)) => condition("NamesAccepted", "False", reason, message),
    }];
    all.push(match (one.is_established, &one.conflict) {
        (true, _) => {
            condition("Established", "True", "InitialNamesAccepted", "the initial names have been accepted")
        }
        (false, Some(_)) => condition("Established", "False", "NotAccepted", "not all names are accepted"),
        (false, None) => {
            let message = "The conversion webhook CABundle is invalid";
            condition("Established", "False", "InvalidCABundle", message)
        }
    });
    if let Some((status, reason, message)) = approval(stored) {
        all.push(condition("KubernetesAPIApprovalPolicyConformant", status, reason, &message));
    }
    all
}
