//! Topology spread constraints.

use super::super::value::{items, number, text};
use super::affinity::selector_faults;
use super::{Check, label_keys};
use hako_kube::field;
use serde_json::Value;
use std::collections::HashMap;

const ACTIONS: [&str; 2] = ["DoNotSchedule", "ScheduleAnyway"];
const POLICIES: [&str; 2] = ["Honor", "Ignore"];
const NOT_POSITIVE: &str = "must be greater than zero";

impl Check<'_> {
    pub(super) fn spread(&mut self) {
        let constraints = items(self.spec, &["topologySpreadConstraints"]);
        let last: HashMap<(&str, &str), usize> =
            constraints.iter().enumerate().map(|(index, other)| (kind(other), index)).collect();
        for (index, constraint) in constraints.iter().enumerate() {
            let path = field::index(&self.child("topologySpreadConstraints"), index);
            let (key, action) = kind(constraint);
            let skew = number(constraint, &["maxSkew"]).unwrap_or(0);
            if skew <= 0 {
                self.causes.push(field::invalid(field::child(&path, "maxSkew"), skew, NOT_POSITIVE));
            }
            if key.is_empty() {
                self.causes.push(field::required(field::child(&path, "topologyKey"), "can not be empty"));
            }
            if !ACTIONS.contains(&action) {
                let path = field::child(&path, "whenUnsatisfiable");
                self.causes.push(field::not_supported(path, action, &ACTIONS));
            }
            if last.get(&(key, action)).is_some_and(|last| *last > index) {
                let path = field::child(&path, "{topologyKey, whenUnsatisfiable}");
                self.causes.push(field::duplicate(path, format!("{{{key}, {action}}}")));
            }
            self.min_domains(constraint, action, &field::child(&path, "minDomains"));
            for name in ["nodeAffinityPolicy", "nodeTaintsPolicy"] {
                let policy = text(constraint, &[name]);
                if !policy.is_empty() && !POLICIES.contains(&policy) {
                    let path = field::child(&path, name);
                    self.causes.push(field::not_supported(path, policy, &POLICIES));
                }
            }
            self.causes.extend(label_keys::constraint_faults(constraint, &path));
            self.causes.extend(selector_faults(constraint, "labelSelector", &path));
        }
    }

    fn min_domains(&mut self, constraint: &Value, action: &str, path: &str) {
        let Some(domains) = number(constraint, &["minDomains"]) else { return };
        if domains <= 0 {
            self.causes.push(field::invalid(path, domains, NOT_POSITIVE));
        }
        if action != "DoNotSchedule" {
            let detail = format!("can only use minDomains if whenUnsatisfiable=DoNotSchedule, not {action}");
            self.causes.push(field::invalid(path, domains, &detail));
        }
    }
}

/// What a pod may have one constraint of.
fn kind(constraint: &Value) -> (&str, &str) {
    (text(constraint, &["topologyKey"]), text(constraint, &["whenUnsatisfiable"]))
}
