//! A new node takes no pods until it is known to be ready.

use serde_json::json;

use super::{Plugin, items, pass};

pub(super) const PLUGIN: Plugin = Plugin {
    name: "TaintNodesByCondition",
    handles: |change| change.creates("", "nodes"),
    mutate: Some(|_, node| {
        let taint = json!({"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"});
        let is_it = |it: &serde_json::Value| it["key"] == taint["key"] && it["effect"] == taint["effect"];
        if !items(node, "/spec/taints").iter().any(is_it) {
            match node["spec"]["taints"].as_array_mut() {
                Some(taints) => taints.push(taint),
                None => node["spec"]["taints"] = json!([taint]),
            }
        }
        pass()
    }),
    ..Plugin::BASE
};
