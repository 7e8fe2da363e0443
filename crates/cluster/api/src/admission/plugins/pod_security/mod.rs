//! The Pod Security Standards, at the levels that labels of the namespace say.
//!
//! Pods are refused by `enforce`; what makes pods is only warned of. A namespace whose labels become stricter is
//! told which of its pods would not be let in any more.

mod baseline;
mod checks;
mod existing;
mod policy;
mod restricted;

use futures::FutureExt as _;
use hako_error::FieldCause;
use serde_json::Value;

use self::checks::{Subject, violations};
use self::policy::{Level, Policy};
use super::{Change, Operation, Plugin, items, text};
use crate::http::Outcome;

pub(super) const PLUGIN: Plugin = Plugin {
    name: "PodSecurity",
    handles: |change| {
        change.writes("", "pods")
            || change.is_of("", "pods") && change.part == "ephemeralcontainers"
            || change.writes("", "namespaces")
            || is_maker(change)
    },
    validate: Some(|change, object| match &*change.target.row.plural {
        "pods" => pod(change, object).boxed(),
        "namespaces" => namespace(change, object).boxed(),
        _ => maker(change, object).boxed(),
    }),
    ..Plugin::BASE
};

const ANNOTATIONS: &str = "pod-security.kubernetes.io/";

/// Where kinds that make pods have what they make them of.
const MAKERS: &[(&str, &str, &str)] = &[
    ("", "podtemplates", "/template"),
    ("", "replicationcontrollers", "/spec/template"),
    ("apps", "replicasets", "/spec/template"),
    ("apps", "deployments", "/spec/template"),
    ("apps", "statefulsets", "/spec/template"),
    ("apps", "daemonsets", "/spec/template"),
    ("batch", "jobs", "/spec/template"),
    ("batch", "cronjobs", "/spec/jobTemplate/spec/template"),
];

fn is_maker(change: &Change<'_>) -> bool {
    MAKERS.iter().any(|(group, plural, _)| change.writes(group, plural))
}

async fn policy_of(change: &Change<'_>) -> Outcome<(Policy, Vec<FieldCause>)> {
    let namespace = change.find("", "namespaces", "", change.namespace()).await?;
    Ok(Policy::of(namespace.as_ref().and_then(|it| it.pointer("/metadata/labels"))))
}

async fn pod(change: &Change<'_>, pod: &Value) -> Outcome<()> {
    if change.operation == Operation::Update && !change.old.is_some_and(|old| is_significant(pod, old)) {
        return Ok(());
    }
    let (policy, faults) = policy_of(change).await?;
    judge(change, &policy, &faults, &Subject::of(pod), true)
}

async fn maker(change: &Change<'_>, object: &Value) -> Outcome<()> {
    let row = &change.target.row;
    let place = MAKERS.iter().find(|(group, plural, _)| row.is(group, plural));
    let Some(template) = place.and_then(|(.., pointer)| object.pointer(pointer)) else { return Ok(()) };
    let (policy, faults) = policy_of(change).await?;
    judge(change, &policy, &faults, &Subject::of(template), false)
}

fn judge(
    change: &Change<'_>,
    policy: &Policy,
    faults: &[FieldCause],
    pod: &Subject<'_>,
    is_enforced: bool,
) -> Outcome<()> {
    let note = |name: &str, value: String| change.notes.annotate(&format!("{ANNOTATIONS}{name}"), value);
    if !faults.is_empty() {
        let texts: Vec<String> =
            faults.iter().map(|cause| format!("{}: {}", cause.field, cause.message)).collect();
        note("error", format!("Failed to parse policy: {}", texts.join(", ")));
    }
    let audited = violations(pod, policy.audit);
    if !audited.is_empty() {
        note(
            "audit-violations",
            format!("would violate PodSecurity \"{}\": {}", policy.audit, details(&audited)),
        );
    }
    if is_enforced {
        note("enforce-policy", policy.enforce.to_string());
        let found = violations(pod, policy.enforce);
        if !found.is_empty() {
            let text = format!("violates PodSecurity \"{}\": {}", policy.enforce, details(&found));
            return Err(change.forbidden(text));
        }
    }
    let warned = violations(pod, policy.warn);
    if !warned.is_empty() {
        let text = format!("would violate PodSecurity \"{}\": {}", policy.warn, details(&warned));
        change.notes.warn(text);
    }
    Ok(())
}

fn details(found: &[checks::Violation]) -> String {
    let texts = found.iter().map(|it| match it.detail.is_empty() {
        true => it.reason.clone(),
        false => format!("{} ({})", it.reason, it.detail),
    });
    texts.collect::<Vec<_>>().join(", ")
}

/// Whether a changed pod may do something it could not do before.
fn is_significant(pod: &Value, old: &Value) -> bool {
    let images = |pod: &Value| -> Vec<String> {
        let lists =
            ["initContainers", "containers", "ephemeralContainers"].map(|list| format!("/spec/{list}"));
        lists.iter().flat_map(|list| items(pod, list)).map(|it| text(it, "/image").to_owned()).collect()
    };
    let profiles = |pod: &Value| -> Vec<(String, Value)> {
        let all =
            pod.pointer("/metadata/annotations").and_then(Value::as_object).cloned().unwrap_or_default();
        all.into_iter().filter(|(key, _)| baseline::is_profile_annotation(key)).collect()
    };
    images(pod) != images(old) || profiles(pod) != profiles(old)
}

async fn namespace(change: &Change<'_>, namespace: &Value) -> Outcome<()> {
    let of = |object: &Value| Policy::of(object.pointer("/metadata/labels"));
    let (new, faults) = of(namespace);
    let Some(old) = change.old else {
        return if faults.is_empty() { Ok(()) } else { Err(change.target.invalid(faults)) };
    };
    let (old, old_faults) = of(old);
    if !faults.is_empty() && faults != old_faults {
        return Err(change.target.invalid(faults));
    }
    let (is, was) = (new.enforce, old.enforce);
    let is_relaxed = is.version == was.version && is.level <= was.level;
    if is == was || is.level == Level::Privileged || is_relaxed {
        return Ok(());
    }
    let pods = change.all("", "pods", &change.target.name).await?;
    existing::warn(change, &pods, is);
    Ok(())
}
