//! Pods: each is a state machine and a worker that carries out what the machine says.
//!
//! Owns: the life of a pod and what the API shows of it. Does not own: which pods there are (the node watches).
//! Invariant: only [`machine::Machine::step`] decides; the worker never does anything on its own account.

mod action;
mod adopt;
mod backoff;
pub(crate) mod labels;
mod machine;
mod slot;
mod status;

pub(crate) use action::{Action, Input, PodEvent, Run, StartFailure, Verdict};
pub(crate) use adopt::Leftovers;
pub(crate) use machine::{Machine, Stage, identity};
