//! Which node a pod goes to, and why.
//!
//! Owns: the queue of pods without a node, the picture of what every node has left and of who is where ([`explain`]
//! uses the same), the filters and scores, binding, preemption.
//! Does not own: nodes and pods themselves; it reads them through the informers and writes through the client only.
//!
//! Invariant: a pod that is on its way to a node counts there from the moment of the decision, so decisions made
//! while binds are under way never give the same room twice.
//!
//! ```text
//!  pods without node ─► queue (priority, age) ─► filters ─► scores ─► assume ─► bind (many at once) ─► watch confirms
//!                          ▲                        │ none fits                  │ refused
//!                          └── a relevant change ───┴── condition, event ────────┘
//!                                                   └─► preempt: lower priorities leave, the room waits (nominated)
//! ```

mod cache;
mod choose;
mod conditions;
mod constraints;
mod explain;
mod filters;
mod follow;
mod message;
mod neighbours;
mod node_info;
mod nominations;
mod others;
mod pod_info;
mod preempt;
mod queue;
mod resources;
mod scheduler;
mod scores;
mod terms;
#[cfg(test)]
mod testing;

pub use explain::{Explanation, explain};
pub use scheduler::{Handle, SchedulerConfig, start};
