//! Containers that are added to a pod that runs, to look into it.

use super::super::value::{items, text};
use super::Check;
use hako_kube::field;
use serde_json::Value;

/// What would promise something about containers that promise nothing.
const REFUSED: [&str; 7] =
    ["ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "resources", "resizePolicy"];

impl Check<'_> {
    pub(super) fn ephemeral(&mut self, container: &Value, path: &str) {
        for name in REFUSED {
            let is_set = container.get(name).is_some_and(|value| match value {
                Value::Object(map) => !map.is_empty(),
                Value::Array(list) => !list.is_empty(),
                value => !value.is_null(),
            });
            if is_set {
                let detail = "cannot be set for an Ephemeral Container";
                self.causes.push(field::forbidden(field::child(path, name), detail));
            }
        }
        let target = text(container, &["targetContainerName"]);
        let is_target = |one: &Value| text(one, &["name"]) == target;
        let mut known =
            ["containers", "initContainers"].into_iter().flat_map(|list| items(self.spec, &[list]));
        if !target.is_empty() && !known.any(is_target) {
            self.causes.push(field::not_found(field::child(path, "targetContainerName"), target));
        }
        for (index, mount) in items(container, &["volumeMounts"]).iter().enumerate() {
            let path = field::index(&field::child(path, "volumeMounts"), index);
            for name in ["subPath", "subPathExpr"] {
                if !text(mount, &[name]).is_empty() {
                    let detail = "cannot be set for an Ephemeral Container";
                    self.causes.push(field::forbidden(field::child(&path, name), detail));
                }
            }
        }
    }
}
