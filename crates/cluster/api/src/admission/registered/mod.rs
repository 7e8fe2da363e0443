//! Webhooks and policies that are registered, compiled: what the store says, kept current by its events.
//!
//! Owns: the lists that every write is checked against, and in which order they are asked: by the names of their
//! configurations, as upstream has it.
//! Does not own: what the entries mean ([`super::webhooks`], [`super::policies`]).
//!
//! Invariant: the lists are what the store said at some revision, all of it; they only ever move forward.

mod keep;

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use serde_json::Value;

use super::policies::Binding;
use super::policies::mutating::Mutating;
use super::policies::validating::Validating;
use super::webhooks::Hook;

/// A policy with the bindings that put it in force, at least one.
#[derive(Debug)]
pub(in crate::admission) struct Bound<P> {
    pub policy: Arc<P>,
    pub bindings: Vec<Arc<Binding>>,
}

type List<T> = RwLock<Arc<Vec<T>>>;

/// The lists; reading one costs a count.
#[derive(Debug, Default)]
pub(crate) struct Registered {
    mutating_hooks: List<Arc<Hook>>,
    validating_hooks: List<Arc<Hook>>,
    mutating: List<Bound<Mutating>>,
    validating: List<Bound<Validating>>,
}

/// What the lists are made of.
#[derive(Debug, Default)]
pub(crate) struct Index {
    mutating_hooks: BTreeMap<String, Vec<Arc<Hook>>>,
    validating_hooks: BTreeMap<String, Vec<Arc<Hook>>>,
    mutating: BTreeMap<String, Arc<Mutating>>,
    mutating_bindings: BTreeMap<String, Arc<Binding>>,
    validating: BTreeMap<String, Arc<Validating>>,
    validating_bindings: BTreeMap<String, Arc<Binding>>,
}

/// What an object registers, by its plural.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    MutatingHooks,
    ValidatingHooks,
    Mutating,
    MutatingBinding,
    Validating,
    ValidatingBinding,
}

impl Registered {
    pub(in crate::admission) fn mutating_hooks(&self) -> Arc<Vec<Arc<Hook>>> {
        Arc::clone(&self.mutating_hooks.read())
    }

    pub(in crate::admission) fn validating_hooks(&self) -> Arc<Vec<Arc<Hook>>> {
        Arc::clone(&self.validating_hooks.read())
    }

    pub(in crate::admission) fn mutating(&self) -> Arc<Vec<Bound<Mutating>>> {
        Arc::clone(&self.mutating.read())
    }

    pub(in crate::admission) fn validating(&self) -> Arc<Vec<Bound<Validating>>> {
        Arc::clone(&self.validating.read())
    }

    /// Whether anything is registered that may change objects.
    pub(in crate::admission) fn mutates(&self) -> bool {
        !self.mutating_hooks.read().is_empty() || !self.mutating.read().is_empty()
    }

    /// Whether anything is registered that may refuse objects.
    pub(in crate::admission) fn validates(&self) -> bool {
        !self.validating_hooks.read().is_empty() || !self.validating.read().is_empty()
    }

    /// Makes the lists those of the index.
    fn set(&self, index: &Index) {
        let hooks =
            |all: &BTreeMap<String, Vec<Arc<Hook>>>| Arc::new(all.values().flatten().cloned().collect());
        *self.mutating_hooks.write() = hooks(&index.mutating_hooks);
        *self.validating_hooks.write() = hooks(&index.validating_hooks);
        *self.mutating.write() = Arc::new(bound(&index.mutating, &index.mutating_bindings));
        *self.validating.write() = Arc::new(bound(&index.validating, &index.validating_bindings));
    }
}

fn bound<P>(policies: &BTreeMap<String, Arc<P>>, all: &BTreeMap<String, Arc<Binding>>) -> Vec<Bound<P>> {
    let of = |(name, policy): (&String, &Arc<P>)| {
        let bindings: Vec<_> = all.values().filter(|binding| binding.policy == *name).cloned().collect();
        (!bindings.is_empty()).then(|| Bound { policy: Arc::clone(policy), bindings })
    };
    policies.iter().filter_map(of).collect()
}

impl Index {
    /// Takes in an object, or that it is gone.
    fn put(&mut self, part: Part, name: &str, object: Option<&Value>) {
        fn set<T>(map: &mut BTreeMap<String, T>, name: &str, value: Option<T>) {
            match value {
                Some(value) => map.insert(name.to_owned(), value),
                None => map.remove(name),
            };
        }
        let hooks = |object: &Value| Hook::read_all(object, part == Part::MutatingHooks);
        let binding = |object: &Value| Arc::new(Binding::read(object));
        match part {
            Part::MutatingHooks => set(&mut self.mutating_hooks, name, object.map(hooks)),
            Part::ValidatingHooks => set(&mut self.validating_hooks, name, object.map(hooks)),
            Part::Mutating => {
                set(&mut self.mutating, name, object.map(|object| Arc::new(Mutating::read(object))));
            }
            Part::MutatingBinding => set(&mut self.mutating_bindings, name, object.map(binding)),
            Part::Validating => {
                set(&mut self.validating, name, object.map(|object| Arc::new(Validating::read(object))));
            }
            Part::ValidatingBinding => set(&mut self.validating_bindings, name, object.map(binding)),
        }
    }
}
