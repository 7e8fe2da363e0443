//! Webhooks that refuse, all asked at once (`apiserver/pkg/admission/plugin/webhook/validating`).

use futures::FutureExt as _;
use futures::future::{BoxFuture, join_all};

use super::call::Passed;
use super::in_time;
use crate::admission::attributes::Attributes;
use crate::admission::matching::Around;
use crate::http::Outcome;

/// Lets every webhook refuse the write; the first in their order that does is heard.
pub(in crate::admission) async fn validate(attributes: &Attributes<'_>) -> Outcome<()> {
    let change = attributes.change;
    let hooks = change.server.registered.validating_hooks();
    if hooks.is_empty() || attributes.is_exempt() {
        return Ok(());
    }
    let around = Around::of(change);
    let mut concerned = Vec::new();
    for (index, hook) in hooks.iter().enumerate() {
        if let Some(matched) = hook.matched(attributes, &around).await? {
            concerned.push((index, hook, matched));
        }
    }
    if concerned.is_empty() {
        return Ok(());
    }
    in_time(change.manner.deadline)?;
    let mut asked: Vec<BoxFuture<'_, Outcome<Passed>>> = Vec::with_capacity(concerned.len());
    for (_, hook, matched) in &concerned {
        asked.push(hook.ask(attributes, matched).boxed());
    }
    for ((index, hook, _), outcome) in concerned.iter().zip(join_all(asked).await) {
        if outcome?.is_open {
            let key = format!("failed-open.validating.webhook.admission.k8s.io/round_0_index_{index}");
            change.notes.annotate(&key, hook.name.as_str());
        }
    }
    Ok(())
}
