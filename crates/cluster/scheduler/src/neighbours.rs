//! Who is where, by what other pods can tell of them.
//!
//! Pods of one template are one entry, so a selector is tried once per template instead of once per pod, and what
//! nobody asks about costs no more than its count.
//!
//! INVARIANT: an entry is here exactly as long as a pod of it counts on a node.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::terms::{Likeness, Namespaces};

/// How many pods are on each node.
pub type OnNodes = HashMap<String, i64>;

/// Who is where.
#[derive(Debug, Default)]
pub struct Neighbours {
    /// What namespace selectors are tried on.
    pub namespaces: Namespaces,
    by_namespace: HashMap<String, HashMap<Arc<Likeness>, OnNodes>>,
    /// Those with affinity or anti-affinity of their own.
    minding: HashSet<Arc<Likeness>>,
}

impl Neighbours {
    pub fn add(&mut self, node: &str, pod: &Arc<Likeness>) {
        if !self.by_namespace.contains_key(&pod.namespace) {
            self.by_namespace.insert(pod.namespace.clone(), HashMap::new());
        }
        let Some(alike) = self.by_namespace.get_mut(&pod.namespace) else { return };
        let on = alike.entry(Arc::clone(pod)).or_default();
        match on.get_mut(node) {
            Some(count) => *count += 1,
            None => drop(on.insert(node.to_owned(), 1)),
        }
        if !pod.affinity.is_empty() {
            self.minding.insert(Arc::clone(pod));
        }
    }

    pub fn remove(&mut self, node: &str, pod: &Likeness) {
        let Some(alike) = self.by_namespace.get_mut(&pod.namespace) else { return };
        let Some(on) = alike.get_mut(pod) else { return };
        let Some(count) = on.get_mut(node) else { return };
        *count -= 1;
        if *count > 0 {
            return;
        }
        on.remove(node);
        if on.is_empty() {
            alike.remove(pod);
            self.minding.remove(pod);
        }
        if alike.is_empty() {
            self.by_namespace.remove(&pod.namespace);
        }
    }

    /// All pods, those that are alike together.
    pub fn all(&self) -> impl Iterator<Item = (&Likeness, &OnNodes)> {
        self.by_namespace.values().flatten().map(|(pod, on)| (&**pod, on))
    }

    /// The pods of a namespace.
    pub fn within(&self, namespace: &str) -> impl Iterator<Item = (&Likeness, &OnNodes)> {
        self.by_namespace.get(namespace).into_iter().flatten().map(|(pod, on)| (&**pod, on))
    }

    /// The pods with affinity or anti-affinity of their own.
    pub fn minding(&self) -> impl Iterator<Item = (&Likeness, &OnNodes)> {
        let whereabouts = |pod: &Likeness| self.by_namespace.get(&pod.namespace)?.get(pod);
        self.minding.iter().filter_map(move |pod| Some((&**pod, whereabouts(pod)?)))
    }

    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.by_namespace.is_empty() && self.minding.is_empty()
    }
}
