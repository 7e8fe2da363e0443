//! The topology spread constraints of a pod, read once.

use hako_kube::Selector;
use k8s_openapi::api::core::v1::{Pod, TopologySpreadConstraint};

use crate::filters::{attracts, bears};
use crate::node_info::NodeInfo;
use crate::pod_info::PodInfo;
use crate::terms::{Labels, demands, selector};

/// How evenly pods of a kind have to be spread over the domains of a topology.
#[derive(Debug, PartialEq, Eq)]
pub struct Constraint {
    pub topology_key: String,
    pub max_skew: i64,
    /// With fewer domains than these, the emptiest counts as having no pod.
    pub min_domains: usize,
    /// `DoNotSchedule`; otherwise it is a wish.
    pub is_hard: bool,
    pub selector: Selector,
    honors_affinity: bool,
    honors_taints: bool,
}

impl Constraint {
    /// All constraints of a pod.
    pub fn all(pod: &Pod, labels: &Labels) -> Vec<Self> {
        let constraints = pod.spec.as_ref().and_then(|spec| spec.topology_spread_constraints.as_ref());
        constraints.into_iter().flatten().map(|constraint| Self::of(constraint, labels)).collect()
    }

    fn of(constraint: &TopologySpreadConstraint, labels: &Labels) -> Self {
        let further = demands(constraint.match_label_keys.as_deref(), "In", labels);
        let min_domains = constraint.min_domains.unwrap_or(1);
        Self {
            topology_key: constraint.topology_key.clone(),
            max_skew: i64::from(constraint.max_skew),
            min_domains: usize::try_from(min_domains).unwrap_or(1),
            is_hard: constraint.when_unsatisfiable != "ScheduleAnyway",
            selector: selector(constraint.label_selector.as_ref(), further),
            honors_affinity: constraint.node_affinity_policy.as_deref() != Some("Ignore"),
            honors_taints: constraint.node_taints_policy.as_deref() == Some("Honor"),
        }
    }

    /// Whether a node and its pods count: `nodeAffinityPolicy` and `nodeTaintsPolicy`.
    pub fn includes(&self, pod: &PodInfo, node: &NodeInfo) -> bool {
        (!self.honors_affinity || attracts(pod, node)) && (!self.honors_taints || bears(pod, node))
    }
}
