//! Webhooks that change what is written, one after the other (`apiserver/pkg/admission/plugin/webhook/mutating`).

use serde_json::{Value, json};

use super::Hook;
use crate::admission::attributes::{Attributes, Matched};
use crate::admission::fit::{self, restore};
use crate::admission::matching::Around;
use crate::admission::plugin::Change;
use crate::admission::reinvocation::Turns;
use crate::http::{Failure, Outcome};
use crate::patch;

/// Webhooks are known by their configuration and their place in it.
pub(in crate::admission) type Key = usize;

/// Lets every webhook change the object, of which there is none on delete.
pub(in crate::admission) async fn mutate(
    change: &Change<'_>,
    mut object: Option<&mut Value>,
    turns: &mut Turns<Key>,
) -> Outcome<()> {
    let hooks = change.server.registered.mutating_hooks();
    if hooks.is_empty() || (Attributes { change, object: None }).is_exempt() {
        return Ok(());
    }
    if let Some(object) = object.as_deref() {
        turns.begin(object);
    }
    let around = Around::of(change);
    for (index, hook) in hooks.iter().enumerate() {
        let attributes = Attributes { change, object: object.as_deref() };
        let Some(matched) = hook.matched(&attributes, &around).await? else { continue };
        if !turns.is_due(&index) {
            continue;
        }
        let has_changed =
            invoke(hook, change, object.as_deref_mut(), &matched, (turns.round(), index)).await?;
        turns.invoked(index, has_changed, hook.is_reinvoked);
    }
    if let Some(object) = object.as_deref() {
        turns.end(object);
    }
    Ok(())
}

/// Asks one; whether it changed the object.
async fn invoke(
    hook: &Hook,
    change: &Change<'_>,
    object: Option<&mut Value>,
    matched: &Matched,
    (round, index): (usize, usize),
) -> Outcome<bool> {
    let place = format!("round_{round}_index_{index}");
    let asked = hook.ask(&Attributes { change, object: object.as_deref() }, matched).await;
    let taken = match asked {
        Ok(passed) => {
            if passed.is_open {
                let key = format!("failed-open.mutation.webhook.admission.k8s.io/{place}");
                change.notes.annotate(&key, hook.name.as_str());
            }
            take(hook, change, object, matched, passed.patch.as_ref(), &place).await
        }
        Err(failure) => Err(failure),
    };
    let has_changed = *taken.as_ref().unwrap_or(&false);
    let told = json!({"configuration": hook.configuration, "webhook": hook.name, "mutated": has_changed});
    change.notes.annotate(&format!("mutation.webhook.admission.k8s.io/{place}"), told.to_string());
    taken
}

/// Patches the object.
async fn take(
    hook: &Hook,
    change: &Change<'_>,
    object: Option<&mut Value>,
    matched: &Matched,
    patch: Option<&Value>,
    place: &str,
) -> Outcome<bool> {
    let Some(patch) = patch else { return Ok(false) };
    let Some(object) = object else {
        let name = &hook.name;
        return Err(Failure::internal(&format!(
            "admission webhook {name:?} attempted to modify the object, which is not supported for this operation"
        )));
    };
    let made = {
        let attributes = Attributes { change, object: Some(object) };
        let versioned = attributes.versioned(matched).await?;
        let made = patch::json(versioned.object(), patch);
        let made = made.map_err(|error| Failure::internal(&error.why()))?;
        fit::same_kind(versioned.object(), &made)?;
        made
    };
    if !made.is_object() {
        return Err(Failure::internal(&format!("admission webhook {:?} left no object", hook.name)));
    }
    let made = matched.back(change, made).await?;
    let mut made =
        fit::admitted(change, made).map_err(|failure| Failure::internal(&failure.status().message))?;
    restore(change, object, &mut made);
    let told = json!({
        "configuration": hook.configuration, "webhook": hook.name, "patch": patch, "patchType": "JSONPatch",
    });
    change.notes.annotate_bodies(&format!("patch.webhook.admission.k8s.io/{place}"), told.to_string());
    let has_changed = made != *object;
    *object = made;
    Ok(has_changed)
}
