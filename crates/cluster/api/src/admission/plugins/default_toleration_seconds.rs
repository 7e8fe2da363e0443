//! Pods stay on a node that is lost for five minutes, unless they say otherwise.

use serde_json::{Value, json};

use super::{Plugin, items, pass, text};

pub(super) const PLUGIN: Plugin = Plugin {
    name: "DefaultTolerationSeconds",
    handles: |change| change.writes("", "pods"),
    mutate: Some(|_, pod| {
        for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
            tolerate(pod, key);
        }
        pass()
    }),
    ..Plugin::BASE
};

const SECONDS: i64 = 300;

/// Tolerates a taint for a while, unless the pod says something about it itself.
fn tolerate(pod: &mut Value, key: &str) {
    let is_said = items(pod, "/spec/tolerations").iter().any(|toleration| {
        let (its_key, effect) = (text(toleration, "/key"), text(toleration, "/effect"));
        (its_key.is_empty() || its_key == key) && (effect.is_empty() || effect == "NoExecute")
    });
    if is_said || !pod["spec"].is_object() {
        return;
    }
    let toleration =
        json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": SECONDS});
    match pod["spec"]["tolerations"].as_array_mut() {
        Some(tolerations) => tolerations.push(toleration),
        None => pod["spec"]["tolerations"] = json!([toleration]),
    }
}
