//! The node agent: the pods bound to this node, as containers of the engine.
//!
//! Owns: the life of each pod from binding to deletion, its volumes and environment, probes and hooks, its
//! status and events, the Node object with its Lease, and the node's HTTPS API (logs, exec).
//! Does not own: how a container is made (`hako-container`), which node a pod goes to, who may call the API.
//!
//! Invariant: the engine's objects and the API's status say everything. Nothing is remembered in memory that a
//! restart would need, so `kill -9` between any two steps leaves a state that the next start goes on from:
//!
//! | killed | what is there | the next start |
//! |---|---|---|
//! | after the pod was bound | nothing | begins |
//! | while volumes are written | some files | writes them again; an unfinished version is never shown |
//! | after the sandbox was made | a sandbox labelled with the pod's uid | adopts it |
//! | between create and start of a container | a created container | removes it, makes the same attempt again |
//! | while containers run | running containers with labels uid, name, attempt, restarts | adopts them with their processes; ready as the status said until a probe says otherwise |
//! | between a container's exit and its restart | an exited container | goes on with its back-off |
//! | before a status was written | a status that lags | writes it |
//! | while a pod drains or stops | a pod with deletionTimestamp | goes on, bounded by that time |
//! | after clean-up, before the object's deletion | a pod with deletionTimestamp and nothing else | deletes the object |
//! | after the object's deletion | maybe a sandbox of an unknown pod | removes it after the first complete list |

mod config;
mod context;
mod env;
#[cfg(test)]
mod fakes;
mod handle;
mod node;
mod pod;
mod probe;
mod register;
mod seams;
mod server;
mod tokens;
mod volume;

pub use config::{ClusterDns, NodeConfig, NodeServer};
pub use handle::{ContainerReport, NodeHandle, PodReport};
pub use node::Node;
pub use seams::{EndpointDrain, Images, LocalImage, NoDrain, StoredImages};

/// What clients of `exec`, `attach` and `port-forward` say on the wire, for whoever reads it without a pod.
pub mod wire {
    pub use crate::server::{Frame, FromClient, Headers, Protocol, Reader, SpdyError, Writer};
}
