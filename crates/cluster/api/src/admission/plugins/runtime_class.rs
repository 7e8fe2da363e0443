//! Pods of a runtime class take over its overhead and where it can run.

use futures::FutureExt as _;
use serde_json::{Value, json};

use super::{Change, Plugin, text};
use crate::http::Outcome;

pub(super) const PLUGIN: Plugin = Plugin {
    name: "RuntimeClass",
    handles: |change| change.creates("", "pods"),
    mutate: Some(|change, pod| take_over(change, pod).boxed()),
    validate: Some(|change, pod| check(change, pod).boxed()),
};

async fn class_of(change: &Change<'_>, pod: &Value) -> Outcome<Option<Value>> {
    let name = text(pod, "/spec/runtimeClassName");
    if name.is_empty() {
        return Ok(None);
    }
    let class = change.find("node.k8s.io", "runtimeclasses", "", name).await?;
    let missing = || change.forbidden(format!("pod rejected: RuntimeClass {name:?} not found"));
    class.map(Some).ok_or_else(missing)
}

async fn take_over(change: &Change<'_>, pod: &mut Value) -> Outcome<()> {
    let Some(class) = class_of(change, pod).await? else { return Ok(()) };
    if let Some(overhead) = overhead_of(&class) {
        let own = pod["spec"].get("overhead").filter(|own| !own.is_null());
        if own.is_some_and(|own| own != overhead) {
            let why = "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead";
            return Err(change.forbidden(why));
        }
        pod["spec"]["overhead"] = overhead.clone();
    }
    for (key, value) in
        class.pointer("/scheduling/nodeSelector").and_then(Value::as_object).into_iter().flatten()
    {
        let own = pod["spec"]["nodeSelector"].get(key).and_then(Value::as_str);
        let wanted = value.as_str().unwrap_or("");
        if let Some(own) = own.filter(|own| *own != wanted) {
            return Err(change.forbidden(format!(
                "conflict: runtimeClass.scheduling.nodeSelector[{key}] = {wanted}; pod.spec.nodeSelector[{key}] = {own}"
            )));
        }
        pod["spec"]["nodeSelector"][key] = value.clone();
    }
    for toleration in super::items(&class, "/scheduling/tolerations") {
        match pod["spec"]["tolerations"].as_array_mut() {
            Some(own) if own.contains(toleration) => {}
            Some(own) => own.push(toleration.clone()),
            None => pod["spec"]["tolerations"] = json!([toleration]),
        }
    }
    Ok(())
}

fn overhead_of(class: &Value) -> Option<&Value> {
    class.pointer("/overhead/podFixed").filter(|fixed| fixed.as_object().is_some_and(|map| !map.is_empty()))
}

async fn check(change: &Change<'_>, pod: &Value) -> Outcome<()> {
    let own = pod["spec"]["overhead"].as_object().filter(|own| !own.is_empty());
    if own.is_none() {
        return Ok(());
    }
    match class_of(change, pod).await? {
        Some(class) if overhead_of(&class).is_some() => Ok(()),
        _ => Err(change
            .forbidden("pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead")),
    }
}
