//! Containers that are added to a pod that runs, to look into it.

use super::super::place::{Faults, Place};
use super::beside::Beside;

/// What would promise something about containers that promise nothing.
const REFUSED: [&str; 9] = [
    "ports",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
];
const DETAIL: &str = "cannot be set for an Ephemeral Container";

/// All faults that others do not have.
pub(super) fn validate(container: &Place<'_>, beside: &Beside<'_>, faults: &mut Faults) {
    let refused = REFUSED.map(|name| container.at(&[name]));
    faults.extend(refused.iter().filter(|place| !place.is_empty()).map(|place| place.forbidden(DETAIL)));
    let target = container.at(&["targetContainerName"]);
    if !target.is_empty() && !beside.containers.contains(target.text()) {
        faults.push(hako_kube::field::not_found(target.path(), target.text()));
    }
    for mount in container.at(&["volumeMounts"]).items() {
        let given = ["subPath", "subPathExpr"].map(|name| mount.at(&[name]));
        faults.extend(given.iter().filter(|place| !place.is_empty()).map(|place| place.forbidden(DETAIL)));
    }
}
