//! DNS for services and pods, on the gateway's port 53.
//!
//! Owns: the cluster's zone and the reverse names of its addresses. Does not own: any other name, those are asked of
//! the upstream resolvers. Invariant: an answer is written from the same index the kernel's table is.

mod forward;
mod server;
mod zone;

pub(crate) use server::{Dns, bind};
