//! Taints of effect NoSchedule and NoExecute that a pod does not tolerate.

use k8s_openapi::api::core::v1::{Taint, Toleration};

use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;

pub fn filter(pod: &PodInfo, node: &NodeInfo) -> Vec<String> {
    let hard = |taint: &&Taint| matches!(&taint.effect[..], "NoSchedule" | "NoExecute");
    let mut taints = node.taints().iter().filter(hard);
    match taints.find(|taint| !tolerates(pod.tolerations(), taint)) {
        Some(taint) => {
            let value = taint.value.as_deref().unwrap_or_default();
            vec![format!("node(s) had untolerated taint {{{}: {value}}}", taint.key)]
        }
        None => Vec::new(),
    }
}

/// Whether one of the tolerations covers a taint.
pub fn tolerates(tolerations: &[Toleration], taint: &Taint) -> bool {
    tolerations.iter().any(|toleration| covers(toleration, taint))
}

fn covers(toleration: &Toleration, taint: &Taint) -> bool {
    let given = |field: &Option<String>| field.clone().filter(|text| !text.is_empty());
    let effect = given(&toleration.effect).is_none_or(|effect| effect == taint.effect);
    let key = given(&toleration.key).is_none_or(|key| key == taint.key);
    let value = match toleration.operator.as_deref() {
        Some("Exists") => true,
        None | Some("" | "Equal") => {
            given(&toleration.key).is_some()
                && toleration.value.as_deref().unwrap_or_default()
                    == taint.value.as_deref().unwrap_or_default()
        }
        _ => false,
    };
    effect && key && value
}
