//! fsutil's way to move a tree of files over a stream of packets.
//!
//! ```text
//! sender                                   receiver
//!   STAT entry 0, 1, 2, …, STAT (none)  →
//!                                       ←  REQ n, for every file whose content is wanted
//!   DATA n bytes, …, DATA n (none)      →      contents of several files interleave
//!                                       ←  FIN, when everything has come
//!   FIN                                 →
//! ```
//! Entries come in the order of a walk, a directory before what it holds. Either side may say ERR and why.

mod mode;
mod receive;
mod send;
mod wish;

pub(crate) use receive::{receive, received};
pub(crate) use send::send;
pub(crate) use wish::{Wish, patterns};
