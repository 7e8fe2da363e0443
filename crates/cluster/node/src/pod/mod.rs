//! Pods: each is a state machine and a worker that carries out what the machine says.
//!
//! Owns: the life of a pod and what the API shows of it. Does not own: which pods there are (the node watches).
//! Invariant: only [`machine::Machine::step`] decides; the worker never does anything on its own account.

mod action;
mod adopt;
mod backoff;
mod ending;
mod events;
pub(crate) mod labels;
mod machine;
mod report;
mod resize;
mod room;
mod slot;
mod spec;
mod start;
mod status;
mod stop;
mod worker;

pub(crate) use action::{Input, PodEvent, Verdict};
pub(crate) use adopt::{Leftovers, Useless};
pub(crate) use machine::identity;
pub(crate) use room::{Granted, Room};
pub(crate) use stop::remove_all;
pub(crate) use worker::{Message, Shared, Worker};
