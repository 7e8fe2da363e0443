//! What is said when no node can take a pod, in kube-scheduler's words: tools and people match on them.

use std::collections::BTreeMap;

/// Counts reasons over all nodes.
#[derive(Debug, Default)]
pub struct Refusals {
    nodes: usize,
    reasons: BTreeMap<String, usize>,
}

impl Refusals {
    /// Adds the reasons of one node.
    pub fn add(&mut self, reasons: impl IntoIterator<Item = String>) {
        self.nodes += 1;
        for reason in reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }

    /// The sentence of the condition and the event.
    pub fn message(&self) -> String {
        if self.nodes == 0 {
            return "no nodes available to schedule pods".into();
        }
        let mut reasons: Vec<String> =
            self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        reasons.sort();
        format!("0/{} nodes are available: {}.", self.nodes, reasons.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_and_sorted_as_kube_scheduler_does() {
        let mut refusals = Refusals::default();
        refusals.add(["Insufficient cpu".to_owned(), "Insufficient memory".to_owned()]);
        refusals.add(["Insufficient cpu".to_owned()]);
        refusals.add(["node(s) were unschedulable".to_owned()]);
        assert_eq!(
            refusals.message(),
            "0/3 nodes are available: 1 Insufficient memory, 1 node(s) were unschedulable, 2 Insufficient cpu."
        );
    }

    #[test]
    fn without_nodes_there_is_nothing_to_count() {
        assert_eq!(Refusals::default().message(), "no nodes available to schedule pods");
    }
}
