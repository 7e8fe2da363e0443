//! What all other pods mean for one decision, counted once before the nodes are asked.
//!
//! Owns: the counts by domain that the filters and scores of inter-pod affinity and topology spread look into.
//! Does not own: what follows from them (see `filters` and `scores`).
//!
//! Costs nothing if neither the pod nor any pod on a node minds others.

use std::collections::HashMap;

use crate::cache::Cache;
use crate::constraints::Constraint;
use crate::neighbours::OnNodes;
use crate::pod_info::PodInfo;
use crate::terms::{Affinity, Labels};

/// What a required affinity of a pod that is there already weighs as a wish of the new one; kube-scheduler's default.
const HARD_AFFINITY_WEIGHT: i64 = 1;

/// Numbers by topology key and the value of it.
#[derive(Debug, Default)]
pub struct Domains(HashMap<String, HashMap<String, i64>>);

impl Domains {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, key: &str, value: &str) -> i64 {
        self.0.get(key).and_then(|values| values.get(value)).copied().unwrap_or(0)
    }

    /// The topology keys in which a node is in a domain, with the domain's number.
    pub fn of(&self, labels: &Labels) -> impl Iterator<Item = (&str, i64)> {
        self.0.iter().filter_map(|(key, values)| Some((key.as_str(), *values.get(labels.get(key)?)?)))
    }

    /// Counts pods in the domains of the nodes that they are on.
    fn add(&mut self, key: &str, pods: &OnNodes, weight: i64, cache: &Cache) {
        for (node, count) in pods {
            let Some(value) = cache.labels(node).and_then(|labels| labels.get(key)) else { continue };
            let values = self.0.entry(key.to_owned()).or_default();
            *values.entry(value.clone()).or_default() += weight * count;
        }
    }
}

/// One constraint and how it stands.
#[derive(Debug)]
pub struct Spread {
    pub topology_key: String,
    pub max_skew: i64,
    /// Pods that count, in every domain that does.
    pub counts: HashMap<String, i64>,
    /// What the emptiest domain counts as.
    pub fewest: i64,
    /// Whether the pod itself would count.
    pub counts_itself: bool,
}

/// What all other pods mean for one decision.
#[derive(Debug, Default)]
pub struct Others {
    /// Pods that meet all required terms of affinity.
    pub wanted: Domains,
    /// Whether the pod itself meets them: then it may be the first of its kind.
    pub wants_itself: bool,
    /// Pods that its required anti-affinity keeps it away from.
    pub unwanted: Domains,
    /// Pods whose required anti-affinity keeps it away.
    pub unwelcoming: Domains,
    /// Preferences in both directions, by weight.
    pub preferred: Domains,
    /// Constraints that have to hold.
    pub hard: Vec<Spread>,
    /// Constraints that are wishes.
    pub soft: Vec<Spread>,
}

impl Others {
    pub fn of(pod: &PodInfo, cache: &Cache) -> Self {
        let mut others = Self::default();
        others.ask_pod(pod, cache);
        others.ask_neighbours(pod, cache);
        let (hard, soft): (Vec<_>, Vec<_>) = pod.constraints.iter().partition(|it| it.is_hard);
        others.hard = spread(pod, &hard, cache);
        others.soft = spread(pod, &soft, cache);
        others
    }

    /// Counts those that the pod's own terms mean.
    fn ask_pod(&mut self, pod: &PodInfo, cache: &Cache) {
        let affinity: &Affinity = &pod.likeness.affinity;
        if affinity.is_empty() {
            return;
        }
        let neighbours = &cache.neighbours;
        let namespaces = &neighbours.namespaces;
        self.wants_itself = affinity.is_met_by(&pod.likeness, namespaces);
        for (other, on) in neighbours.all() {
            if affinity.is_met_by(other, namespaces) {
                for term in &affinity.required {
                    self.wanted.add(&term.topology_key, on, 1, cache);
                }
            }
            for term in affinity.required_anti.iter().filter(|term| term.matches(other, namespaces)) {
                self.unwanted.add(&term.topology_key, on, 1, cache);
            }
            for (weight, term) in &affinity.preferred {
                if term.matches(other, namespaces) {
                    self.preferred.add(&term.topology_key, on, *weight, cache);
                }
            }
        }
    }

    /// Counts those whose own terms mean the pod.
    fn ask_neighbours(&mut self, pod: &PodInfo, cache: &Cache) {
        let neighbours = &cache.neighbours;
        let namespaces = &neighbours.namespaces;
        for (other, on) in neighbours.minding() {
            let affinity = &other.affinity;
            for term in affinity.required_anti.iter().filter(|it| it.matches(&pod.likeness, namespaces)) {
                self.unwelcoming.add(&term.topology_key, on, 1, cache);
            }
            let required = affinity.required.iter().map(|term| (HARD_AFFINITY_WEIGHT, term));
            for (weight, term) in required.chain(affinity.preferred.iter().map(|(weight, it)| (*weight, it)))
            {
                if term.matches(&pod.likeness, namespaces) {
                    self.preferred.add(&term.topology_key, on, weight, cache);
                }
            }
        }
    }
}

/// How constraints of one kind stand. Only nodes that have the topology keys of all of them count.
fn spread(pod: &PodInfo, constraints: &[&Constraint], cache: &Cache) -> Vec<Spread> {
    if constraints.is_empty() {
        return Vec::new();
    }
    let has_all = |labels: &Labels| constraints.iter().all(|it| labels.contains_key(&it.topology_key));
    let nodes: Vec<_> = cache.nodes().filter(|node| has_all(node.labels())).collect();
    let stand = |constraint: &&Constraint| {
        let pods = matching(pod, constraint, cache);
        let mut counts: HashMap<String, i64> = HashMap::new();
        for node in nodes.iter().filter(|node| constraint.includes(pod, node)) {
            let Some(value) = node.labels().get(&constraint.topology_key) else { continue };
            let here = pods.get(node.name.as_str()).copied().unwrap_or(0);
            match counts.get_mut(value) {
                Some(count) => *count += here,
                None => drop(counts.insert(value.clone(), here)),
            }
        }
        let is_short = counts.len() < constraint.min_domains;
        Spread {
            topology_key: constraint.topology_key.clone(),
            max_skew: constraint.max_skew,
            fewest: if is_short { 0 } else { counts.values().copied().min().unwrap_or(0) },
            counts_itself: constraint.selector.matches(&pod.likeness.labels),
            counts,
        }
    };
    constraints.iter().map(stand).collect()
}

/// The pods that a constraint counts, by node.
fn matching<'a>(pod: &PodInfo, constraint: &Constraint, cache: &'a Cache) -> HashMap<&'a str, i64> {
    let mut pods: HashMap<&str, i64> = HashMap::new();
    let others = cache.neighbours.within(&pod.likeness.namespace);
    let counted =
        others.filter(|(other, _)| !other.is_terminating && constraint.selector.matches(&other.labels));
    for (node, count) in counted.flat_map(|(_, on)| on) {
        *pods.entry(node).or_default() += count;
    }
    pods
}
